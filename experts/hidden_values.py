"""Known values that are hidden in turn, as examples of values that nobody has seen.

A few values of a property are taken away together with the labels of their items: these are scored
by experts that have learned neither (:meth:`experts.ridge.FittedRidge.coefficients_without`). From
these cells and those of visible values the ranker and the gate of :mod:`experts.open_values` are
learned.

Shapes: N items, H items with a hidden value, V values of a property, C cells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, logit

from experts.open_values import (
    GATE_FEATURES,
    HIDDEN_LOGIT,
    GateExamples,
    OpenProperty,
    OpenValues,
    SpanExample,
    Writing,
    fit_gate,
    fit_ranker,
    gate_features,
    rank_spans,
    share_of_new_values,
)
from experts.said_values import SaidValues
from experts.situations import TitleState
from experts.stacker import Shortlists, Weights
from experts.title_spans import SpanReader, SpanStatistics, features_of, spanned, words_of
from fusion.inference.featurizer import PropertyValue
from schema.arrays import BoolArray, FloatArray, IntArray
from schema.ontology import Ontology

GROUPS = 3
"""Groups of values of a property that are hidden, each by itself."""
GROUP_ITEMS = 300
"""Items from which on a group is large enough: leaving them out takes a system of their size."""
GROUP_VALUES = 0.2
"""The share of a property's values that a group has at most: with few left, all look alike."""
MOST_COMMON = 0.1
"""The share of items up to which a value is hidden: new ones are rare."""
SHORTENED_WEIGHT = 0.1
"""How much a cell with a blinded or thinned out title counts beside one with a title as it is.

A title without any known value of a property is a sign of an unknown one, as titles are: of fashion
products, 1 in 200 lacks the colour, but half of the shortened ones do."""
MAX_GATE_CELLS = 600
"""Cells of visible values in a situation that a property's gate is fitted on at most."""
MOST_LABELLED = 6_000
"""Items of which it is a share at most: the more items have a hidden value, the larger a system."""
_NEVER = -1.0


@dataclass(frozen=True)
class HiddenGroup:
    """Values that are hidden together, by their positions, and the items [H] that have one."""

    values: frozenset[int]
    items: IntArray


def hidden_groups(true: BoolArray, rng: np.random.Generator) -> list[HiddenGroup]:
    """Choose groups of values to hide, given which items have which [N, V].

    An item with a visible value besides is in no group.
    """
    counts = true.sum(0)
    labelled = min(int(true.any(1).sum()), MOST_LABELLED)
    rare = np.flatnonzero((counts > 0) & (counts <= MOST_COMMON * labelled))
    # At least one value stays visible.
    if len(rare) == np.count_nonzero(counts):
        rare = rare[1:]
    most = max(1, int(GROUP_VALUES * np.count_nonzero(counts)))
    groups: list[HiddenGroup] = []
    values: list[int] = []
    for value in rng.permutation(rare).tolist():
        values.append(value)
        if len(values) == most or counts[values].sum() >= GROUP_ITEMS:
            groups.append(_group(true, values))
            values = []
        if len(groups) == GROUPS:
            return groups
    return [*groups, _group(true, values)] if values else groups


def _group(true: BoolArray, values: Sequence[int]) -> HiddenGroup:
    visible = np.ones(true.shape[1], bool)
    visible[values] = False
    items = np.flatnonzero(true[:, values].any(1) & ~true[:, visible].any(1))
    return HiddenGroup(frozenset(values), items)


def shortlists_without(scores: NDArray[np.floating], hidden: frozenset[int]) -> Shortlists:
    """Shortlist by experts' scores [E, C, V] where some values are hidden."""
    visible = scores.copy()
    visible[:, :, sorted(hidden)] = _NEVER
    return Shortlists.of(visible)


def logits_without(
    shortlists: Shortlists, hidden: frozenset[int], weights: Weights
) -> NDArray[np.float32]:
    """Return the stacker's logits [C, V] of cells with some values hidden.

    Those of hidden values are as good as impossible.
    """
    logits = weights.logits(shortlists).astype(np.float64)
    logits[:, sorted(hidden)] = -np.inf
    return np.maximum(log_softmax(logits, axis=1), HIDDEN_LOGIT).astype(np.float32)


@dataclass(frozen=True)
class ScoredTitles:
    """C cells of one property, as scored with titles in some form.

    Attributes:
        logits: those of the known values [C, V]
        state: what the title tells of the property
        items: the items' numbers [C]
        titles: the titles that were shown [C]
        weights: how much each cell counts [C]
    """

    logits: NDArray[np.floating]
    state: TitleState
    items: IntArray
    titles: Sequence[str | None]
    weights: FloatArray

    def select(self, places: IntArray) -> ScoredTitles:
        """Return the cells at ``places``, which count for all of them."""
        weights = self.weights[places]
        return ScoredTitles(
            self.logits[places],
            self.state,
            self.items[places],
            [self.titles[place] for place in places.tolist()],
            weights * (self.weights.sum() / max(weights.sum(), 1e-12)),
        )


@dataclass
class OpenExamples:
    """A property's cells: those of visible values, and by group those of hidden ones."""

    visible: list[ScoredTitles] = field(default_factory=list)
    hidden: list[tuple[HiddenGroup, ScoredTitles]] = field(default_factory=list)


class OpenFitting:
    """Fits what offers unknown values.

    Args:
        ontology: the properties and values
        titles: those of the N labelled items
        known: their statements
        seed: of the choice of cells
        not_learned: by property, the share of the catalogue's statements whose values the ontology
            lacks because there are too many
    """

    def __init__(
        self,
        ontology: Ontology,
        titles: Sequence[str | None],
        known: Sequence[Sequence[PropertyValue]],
        seed: int = 0,
        not_learned: Mapping[str, float] | None = None,
    ) -> None:
        self._ontology = ontology
        self._not_learned = not_learned or {}
        self._titles = titles
        self._known = known
        self._rng = np.random.default_rng(seed)
        self._reader = SpanReader(titles, known, ontology)
        self._statistics: dict[tuple[str, frozenset[int]], SpanStatistics] = {}
        self._said_values: dict[str, SaidValues] = {}
        self._evidence: dict[tuple[str, bytes], dict[str | None, float]] = defaultdict(dict)

    def fit(self, examples: Mapping[str, OpenExamples]) -> OpenValues:
        """Fit ranker and gate of every property that has visible cells."""
        spans = {name: self._span_examples(name, each) for name, each in examples.items()}
        shared, own = fit_ranker(spans)
        rankers = {name: own.get(name, shared) for name in examples}
        cells = {name: self._cells(name, each, rankers[name]) for name, each in examples.items()}
        learnable = {name: each for name, each in cells.items() if each.unknown.any()}
        gates = fit_gate(learnable)[1] if learnable else {}
        properties = {}
        for name in examples:
            alone = np.zeros(GATE_FEATURES)
            alone[0] = logit(self._share_of_new(name))
            properties[name] = OpenProperty(
                statistics=self._of(name),
                ranker=rankers[name],
                gate=gates.get(name, alone),
                writing=self._writing(name),
                said=self._said(name),
            )
        return OpenValues(self._reader.vocabulary, properties)

    def evidence(self, property: str, ranker: FloatArray, cells: ScoredTitles) -> FloatArray:
        """Return how much the titles of labelled items say an unknown value [C].

        They are scored as if they had not been learned from.
        """
        statistics = self._of(property)
        # Titles come again in every situation of their items.
        own = self._evidence[property, ranker.tobytes()]
        for title in cells.titles:
            if title not in own:
                own[title] = self._evidence_of(statistics, ranker, title, is_labelled=True)
        return np.array([own[title] for title in cells.titles])

    def said(self, property: str, cells: ScoredTitles) -> FloatArray:
        """Return what titles tell of their cells' best known values [C, 4]."""
        return self._said(property).features(cells.logits.argmax(1), cells.titles)

    def _said(self, property: str) -> SaidValues:
        if property not in self._said_values:
            spec = self._ontology[property]
            self._said_values[property] = SaidValues.fit(spec, self._titles, self._known)
        return self._said_values[property]

    def _of(self, property: str, hidden: frozenset[int] = frozenset()) -> SpanStatistics:
        key = property, hidden
        if key not in self._statistics:
            self._statistics[key] = self._reader.statistics(property, hidden)
        return self._statistics[key]

    def _share_of_new(self, property: str) -> float:
        return share_of_new_values(
            self._ontology[property].counts, self._not_learned.get(property, 0.0)
        )

    def _span_examples(self, property: str, examples: OpenExamples) -> list[SpanExample]:
        """Return one example of each item with a hidden value and a title."""
        found = []
        for group in {group.values: group for group, _ in examples.hidden}.values():
            for item in group.items.tolist():
                statistics = self._of_hidden(property, group, item)
                title = spanned(self._titles[item])
                if not title.spans:
                    continue
                numbers, features = features_of(
                    self._reader.vocabulary, statistics, title, is_counted=True
                )
                values = {words_of(text) for name, text in self._known[item] if name == property}
                said = [
                    place
                    for place, number in enumerate(numbers.tolist())
                    if title.spans[number].words in values
                ]
                found.append(SpanExample(features, said[0] if said else None))
        return found

    def _cells(self, property: str, examples: OpenExamples, ranker: FloatArray) -> GateExamples:
        """Return the cells that a property's gate is fitted on."""
        features = []
        unknown = []
        weights = []
        for cells in examples.visible:
            chosen = self._some(cells)
            features.append(
                gate_features(
                    chosen.logits,
                    chosen.state,
                    self.evidence(property, ranker, chosen),
                    self.said(property, chosen),
                )
            )
            unknown.append(np.zeros(len(chosen.items), bool))
            weights.append(chosen.weights)
        for group, cells in examples.hidden:
            evidence = np.array(
                [
                    self._evidence_of(
                        self._of_hidden(property, group, item), ranker, title, is_labelled=False
                    )
                    for item, title in zip(cells.items.tolist(), cells.titles, strict=True)
                ]
            )
            features.append(
                gate_features(cells.logits, cells.state, evidence, self.said(property, cells))
            )
            unknown.append(np.ones(len(cells.items), bool))
            weights.append(cells.weights)
        is_unknown = np.concatenate(unknown)
        weight = np.concatenate(weights)
        # However many were hidden, new values are rare.
        share = self._share_of_new(property)
        weight[is_unknown] *= share / max(weight[is_unknown].sum(), 1e-12)
        weight[~is_unknown] *= (1 - share) / max(weight[~is_unknown].sum(), 1e-12)
        return GateExamples(np.concatenate(features), is_unknown, weight)

    def _some(self, cells: ScoredTitles) -> ScoredTitles:
        if len(cells.items) <= MAX_GATE_CELLS:
            return cells
        return cells.select(np.sort(self._rng.permutation(len(cells.items))[:MAX_GATE_CELLS]))

    def _of_hidden(self, property: str, group: HiddenGroup, item: int) -> SpanStatistics:
        """Return the statistics by which an item with a hidden value is looked at.

        A new value may stand in titles of other items without a label, or in none. Each is so for
        half of the items.
        """
        statistics = self._of(property, group.values)
        return statistics.unseen() if item % 2 else statistics

    def _evidence_of(
        self,
        statistics: SpanStatistics,
        ranker: FloatArray,
        title: str | None,
        *,
        is_labelled: bool,
    ) -> float:
        spans, features = features_of(
            self._reader.vocabulary,
            statistics,
            spanned(title),
            is_counted=True,
            is_labelled=is_labelled,
        )
        return rank_spans(ranker, spans, features).evidence

    def _writing(self, property: str) -> Writing:
        """Learn from the titles that say their item's value."""
        spec = self._ontology[property]
        pairs = []
        for title, known in zip(self._titles, self._known, strict=True):
            for name, value in known:
                if name == property and title:
                    words = words_of(value)
                    said = (span for span in spanned(title).spans if span.words == words)
                    pairs += [(title[span.start : span.end], value) for span in said]
        return Writing.of(spec, pairs)
