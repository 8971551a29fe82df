"""Fit experts and their stacker on the labelled items of a catalogue.

Every expert is fitted on all labelled items. What it would say of each of them without having
learned from it follows in closed form (:mod:`experts.ridge`), also with the title blinded, with
some of its words dropped, without an image, or with some of the other statements alone. These
left-out scores are what the stacker is fitted on. The stacker's own predictions for the cells are
cross-fitted by items, so that the cells can serve to calibrate, like those of held-out items.

Shapes: N items, M landmarks, V values, E experts, C cells.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experts.categories import CategoryKernel
from experts.ensemble import (
    EXPERTS,
    VALUE_IN_CATEGORY,
    Expert,
    ExpertEnsemble,
    Kernels,
    LinearScores,
    Part,
    Stacker,
    answering,
)
from experts.hidden_values import (
    SHORTENED_WEIGHT,
    HiddenGroup,
    OpenExamples,
    OpenFitting,
    ScoredTitles,
    hidden_groups,
    logits_without,
)
from experts.kernels import ImageKernel, KernelRows, StatementKernel, TitleKernel
from experts.labelled_items import HeldOutCells, LabelledItems
from experts.landmarks import choose_landmarks
from experts.open_values import OpenValues, add_unknown
from experts.ridge import DuplicateRidge, ExactRidge, FittedRidge, NystromRidge
from experts.situations import (
    CatalogueWords,
    CategoryState,
    Situation,
    TitleState,
    text_of,
)
from experts.stacker import Examples, Shortlists
from experts.stacking import GatheredCells, fit_stacker
from experts.variants import (
    LEARNED,
    SHORTENED,
    VARIANTS,
    CategoryVariant,
    Form,
    KnownVariant,
    Shown,
    TitleVariant,
    Variant,
    hides_values,
)
from fusion.inference.featurizer import PropertyValue
from schema.arrays import BoolArray, IntArray
from schema.errors import TrainingError
from schema.frequencies import value_frequencies
from schema.ontology import Ontology
from schema.progress import ProgressCallback, no_progress
from schema.wording import WORD

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

MAX_EXACT = 6_000
"""Items up to which each is a landmark. The inverse takes their number to the third power: 1.3 s
for 5,200 on two cores."""
CANDIDATES = 6_000
"""How many of more items may be landmarks; rare values first."""
LANDMARKS = 2_048
"""How many of more items are landmarks."""
MAX_ITEMS = 20_000
"""Items that are learned from at most, so that the kernels stay in memory; rare values first."""
MAX_HELD_OUT = 6_000
"""Cells of a property in a variant that are kept at most: the more, the more can be proven.

Beside those of hidden values, no other items are scored as if left out.
"""
MAX_COEFFICIENTS = 10_000_000
"""Coefficients of an expert, landmarks times values, up to which all experts learn a property.
Beyond, only the ``FEW_EXPERTS`` do, so that it takes a third of the time, memory and disk."""
FEW_EXPERTS = frozenset(
    Expert(parts)
    for parts in (
        (Part.TITLE,),
        (Part.IMAGE,),
        (Part.STATEMENTS,),
        (Part.DESCRIPTION,),
        (Part.CATEGORY,),
        (Part.TITLE, Part.IMAGE, Part.STATEMENTS),
    )
)
MAX_LEFT_OUT = 4_000_000
"""Left-out scores of a property by one expert at most: items times values."""
LEAST_ASKED = 400
"""Items that are scored as if left out however many values there are."""
_DROPPED = (0.1, 0.6)
"""The share of words that a title loses is drawn between these."""


@dataclass(frozen=True)
class FittedExperts:
    """Fitted experts, and how they score what they learned from when it is left out."""

    ensemble: ExpertEnsemble
    held_out: dict[tuple[Situation, str], HeldOutCells]
    items: LabelledItems
    shown: Shown


def fit_experts(
    name: str,
    ontology: Ontology,
    items: LabelledItems,
    *,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> FittedExperts:
    """Fit all experts on labelled items, and the stacker on what they say of items left out.

    Raises TrainingError if no item has a value of a property that is learned.
    """
    learned = set(ontology.learned())
    if not any(name in learned for known in items.known for name, _ in known):
        raise TrainingError(
            f"none of the {len(items):,} items has a value to learn from: ingest items with "
            "properties"
        )
    return _Fitting(name, ontology, items, seed, progress).run()


_Shown: TypeAlias = tuple[Expert, Variant]
"""An expert, and what it sees of a variant."""

_Rows: TypeAlias = dict[tuple[Part, Form], Tensor]
"""Kernel rows of parts in all of their forms.

They are [N, M] in the form that is learned from; in others [U, M], of the U items that are asked.
"""


@dataclass
class _Labels:
    """A property's values of the N items, and how experts score them when they are left out.

    ``targets`` [N, V] are the values as shares, ``true`` [N, V] says which they are, ``present``
    which items have which part [N]. ``levels`` [N, L] are those of the categories, and ``said``
    [N, V] the values that they say. ``asked`` [A] are the items that are scored, in order, and
    ``scores`` [A, V] what each expert says. ``hidden`` are the scores of the items of each of the
    ``groups``, whose values are hidden.
    """

    property: str
    targets: Tensor
    true: BoolArray
    present: dict[Part, BoolArray]
    levels: dict[CategoryVariant, csr_matrix]
    said: dict[CategoryVariant, NDArray[np.float32]]
    groups: Sequence[HiddenGroup]
    asked: IntArray
    scores: dict[_Shown, NDArray[np.float16]] = field(default_factory=dict)
    hidden: list[dict[_Shown, NDArray[np.float16]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hidden = [{} for _ in self.groups]

    def stacked(
        self,
        scores: Mapping[_Shown, NDArray[np.float16]],
        variant: Variant,
        situation: Situation,
        places: IntArray,
    ) -> NDArray[np.float16]:
        """Return what the experts that answer say of the items at some places, [E, C, V].

        One that has learned nothing says how frequent the values are.
        """
        frequencies = self.true.mean(0).astype(np.float16)
        unlearned = np.broadcast_to(frequencies, (len(places), len(frequencies)))
        found = [scores.get(_key(expert, variant)) for expert in answering(situation)]
        return np.stack([unlearned if each is None else each[places] for each in found])


class _Fitting:
    """One fit: the kernels of the items, then property by property."""

    def __init__(
        self,
        name: str,
        ontology: Ontology,
        items: LabelledItems,
        seed: int,
        progress: ProgressCallback,
    ) -> None:
        self.name = name
        self.ontology = ontology
        self.properties = [each for each in ontology.learned() if ontology.values_of(each)]
        self.rng = np.random.default_rng(seed)
        items = items.with_every_part()
        if len(items) > MAX_ITEMS:
            items = items.select(self._rare_first(items, MAX_ITEMS))
        self.items = items
        self.words = CatalogueWords(ontology)
        self.progress = progress
        self.seed = seed
        self.is_exact = len(items) <= MAX_EXACT
        self.titles = {
            TitleVariant.WHOLE: list(items.titles),
            TitleVariant.BLIND: [self.words.blind(title) for title in items.titles],
            TitleVariant.DROPPED: [self._with_words_dropped(title) for title in items.titles],
        }
        self.descriptions = {
            TitleVariant.WHOLE: list(items.descriptions),
            TitleVariant.BLIND: [self.words.blind(text) for text in items.descriptions],
        }
        self.has_descriptions = any(items.descriptions)
        self.states = self._every_state()
        self.landmarks = items
        if not self.is_exact:
            self.landmarks = items.select(self._rare_first(items, CANDIDATES))
        self.kernels = self._fit_kernels()
        if not self.is_exact:
            chosen = choose_landmarks(self._alike(), LANDMARKS, self.rng)
            self.landmarks = self.landmarks.select(chosen)
            statements = StatementKernel(ontology, self.landmarks.known)
            self.kernels = Kernels(
                title=self.kernels.title.select(chosen),
                blind=self.kernels.blind.select(chosen),
                image=self.kernels.image.select(chosen),
                statements=statements,
                description=self.kernels.description.select(chosen),
                category=self._category_kernel(statements),
            )
        self.levels = self.kernels.category.one_hot(items.categories)
        self.experts = [expert for expert in EXPERTS if self._may_learn(expert)]
        self.known: dict[KnownVariant, Sequence[Sequence[PropertyValue]]] = {
            KnownVariant.ALL: items.known,
            KnownVariant.SOME: [self._some(known) for known in items.known],
        }
        self.shown = Shown(self.titles, self.known)
        self.one_hot = {
            variant: self.kernels.statements.one_hot(known) for variant, known in self.known.items()
        }
        self.labels = {property: self._labels(property) for property in self.properties}
        # The items that are shown in other forms than the one that is learned from.
        asked = [own.asked for own in self.labels.values()]
        self.asked = np.unique(np.concatenate(asked))
        self.content = self._content_rows()
        self.between = self._between_landmarks()
        self.learned: dict[tuple[Expert, str], LinearScores] = {}
        self.cells: dict[tuple[Situation, str], GatheredCells] = defaultdict(GatheredCells)
        self.hidden: dict[tuple[Situation, str], list[_HiddenCells]] = defaultdict(list)

    def _fit_kernels(self) -> Kernels:
        """Learn what the kernels take of all items, to compare with the landmarks."""
        landmarks = self.landmarks
        blind_landmarks = [self.words.blind(title) for title in landmarks.titles]
        statements = StatementKernel(self.ontology, landmarks.known)
        return Kernels(
            title=TitleKernel.fit(self.items.titles, landmarks.titles),
            blind=TitleKernel.fit(self.titles[TitleVariant.BLIND], blind_landmarks),
            image=ImageKernel.fit(self.items.images, landmarks.images, self.seed),
            statements=statements,
            description=TitleKernel.fit(self.items.descriptions, landmarks.descriptions),
            category=self._category_kernel(statements),
        )

    def _category_kernel(self, statements: StatementKernel) -> CategoryKernel:
        return CategoryKernel.fit(self.items.categories, self.landmarks.categories, statements)

    def _may_learn(self, expert: Expert) -> bool:
        """Return whether any item has the descriptions or categories that an expert reads."""
        if Part.DESCRIPTION in expert.parts and self.kernels.description.is_empty:
            return False
        return not (expert.reads_category and self.kernels.category.is_empty)

    def _alike(self) -> KernelRows:
        """Return how alike the candidates for landmarks are, by titles and images together."""
        titles = self.landmarks.titles
        blind = [self.words.blind(title) for title in titles]
        alike = self.kernels.title.rows(titles) + self.kernels.image.own_rows()
        alike += self.kernels.blind.rows(blind)
        return alike

    def run(self) -> FittedExperts:
        """Fit the experts of each property, then the stacker."""
        labels = self.labels
        of_content = sum(expert.reads_content_alone for expert in self.experts)
        steps = of_content + len(labels) + 1
        self.progress(0, steps)
        for done, _ in enumerate(self._fit_content(labels), 1):
            self.progress(done, steps)
        for done, property in enumerate(self.properties, of_content + 1):
            own = labels.pop(property)
            self._fit_by_cell(own)
            self._gather(own)
            self.progress(done, steps)
        self.content.clear()
        stacked = fit_stacker(self.cells, self.items.ids, self.ontology, self.seed)
        stacker = stacked.stacker
        open_values, held_out = self._fit_open_values(stacker, stacked.held_out)
        self.progress(steps, steps)
        ensemble = ExpertEnsemble(self.name, self.ontology, self.kernels, self.learned, stacker)
        ensemble.open_values = open_values
        return FittedExperts(ensemble, held_out, self.items, self.shown)

    def _rare_first(self, items: LabelledItems, count: int) -> IntArray:
        """Choose items at random, after one of each value, the rarest values first."""
        order = self.rng.permutation(len(items))
        by_value: dict[PropertyValue, int] = {}
        counts: dict[PropertyValue, int] = defaultdict(int)
        for place in order.tolist():
            for statement in items.known[place]:
                by_value.setdefault(statement, place)
                counts[statement] += 1
        first = (by_value[each] for each in sorted(counts, key=lambda each: (counts[each], each)))
        chosen = list(dict.fromkeys([*first, *order.tolist()]))[:count]
        return np.sort(np.array(chosen, np.int64))

    def _with_words_dropped(self, title: str | None) -> str | None:
        if not title:
            return None
        words = title.split()
        share = self.rng.uniform(*_DROPPED)
        kept = [word for word in words if self.rng.random() >= share]
        text = " ".join(kept)
        return text if WORD.search(text) else None

    def _some(self, known: tuple[PropertyValue, ...]) -> list[PropertyValue]:
        """Draw some of an item's statements, at least one."""
        if not known:
            return []
        order = self.rng.permutation(len(known))
        return [known[place] for place in order[: self.rng.integers(1, len(known) + 1)]]

    def _content_rows(self) -> _Rows:
        """Return the kernel rows of texts and images, in every variant."""
        rows: _Rows = {}
        for variant, every in self.titles.items():
            titles = every
            if variant is not TitleVariant.WHOLE:
                titles = [every[place] for place in self.asked.tolist()]
            rows[Part.TITLE, variant] = torch.from_numpy(self.kernels.title.rows(titles))
            if variant is not TitleVariant.BLIND:
                blind = [self.words.blind(title) for title in titles]
                rows[Part.BLIND_TITLE, variant] = torch.from_numpy(self.kernels.blind.rows(blind))
        image = self.kernels.image
        rows[Part.IMAGE, TitleVariant.WHOLE] = torch.from_numpy(
            image.own_rows() if self.is_exact else image.rows(self.items.images)
        )
        if not self.kernels.description.is_empty:
            blind = self.descriptions[TitleVariant.BLIND]
            for variant, texts in (
                (TitleVariant.WHOLE, self.items.descriptions),
                (TitleVariant.BLIND, [blind[place] for place in self.asked.tolist()]),
            ):
                own = torch.from_numpy(self.kernels.description.rows(texts))
                rows[Part.DESCRIPTION, variant] = own
        return rows

    def _between_landmarks(self) -> dict[Part, Tensor]:
        """Return the kernels [M, M] of the landmarks, if they are not the items themselves."""
        if self.is_exact:
            return {}
        titles = self.landmarks.titles
        blind = [self.words.blind(title) for title in titles]
        descriptions = self.landmarks.descriptions
        return {
            Part.DESCRIPTION: torch.from_numpy(self.kernels.description.rows(descriptions)),
            Part.TITLE: torch.from_numpy(self.kernels.title.rows(titles)),
            Part.BLIND_TITLE: torch.from_numpy(self.kernels.blind.rows(blind)),
            Part.IMAGE: torch.from_numpy(self.kernels.image.own_rows()),
        }

    def _fit_content(self, labels: dict[str, _Labels]) -> Iterator[Expert]:
        """Fit the experts that read texts and images alone: one system for all properties."""
        for expert in self.experts:
            if not expert.reads_content_alone:
                continue
            if not any(self._labelled(expert, own).any() for own in labels.values()):
                yield expert
                continue
            system = self._system(expert, self.content, self.between)
            for own in labels.values():
                self._fit_expert(expert, system, own, self.content)
            yield expert

    def _fit_by_cell(self, own: _Labels) -> None:
        """Fit the experts of a property that read other statements, or levels of the category."""
        rows = {**self.content, **self._rows_by_cell(own)}
        between = {**self.between, **self._between_by_cell(own.property)}
        for expert in self.experts:
            if expert is VALUE_IN_CATEGORY:
                for variant, said in own.said.items():
                    nothing = Variant(TitleVariant.NONE, KnownVariant.NONE, False)
                    seen = replace(nothing, category=variant)
                    own.scores[expert, seen] = said[own.asked].astype(np.float16)
            elif not expert.reads_content_alone and self._labelled(expert, own).any():
                self._fit_expert(expert, self._system(expert, rows, between), own, rows)

    def _rows_by_cell(self, own: _Labels) -> _Rows:
        """Return the kernel rows that differ from property to property."""
        statements = self.kernels.statements
        every = self.one_hot[KnownVariant.ALL]
        some = self.one_hot[KnownVariant.SOME][self.asked]
        rows: _Rows = {
            (Part.STATEMENTS, variant): torch.from_numpy(statements.rows(one_hot, own.property))
            for variant, one_hot in ((KnownVariant.ALL, every), (KnownVariant.SOME, some))
        }
        category = self.kernels.category
        if not category.is_empty:
            hidden = own.levels[CategoryVariant.HIDDEN]
            whole = own.levels[CategoryVariant.WHOLE][self.asked]
            for variant, levels in (
                (CategoryVariant.HIDDEN, hidden),
                (CategoryVariant.WHOLE, whole),
            ):
                compared = torch.from_numpy(category.rows(levels, own.property))
                rows[Part.CATEGORY, variant] = compared
        return rows

    def _between_by_cell(self, property: str) -> dict[Part, Tensor]:
        """Return the kernels [M, M] of the landmarks that differ from property to property."""
        if self.is_exact:
            return {}
        statements = self.kernels.statements
        one_hot = statements.one_hot(self.landmarks.known)
        between = {Part.STATEMENTS: torch.from_numpy(statements.rows(one_hot, property))}
        category = self.kernels.category
        if not category.is_empty:
            levels = category.one_hot(self.landmarks.categories)
            own = statements.values_of_landmarks(property)
            hidden = category.without_values(levels, property, own)
            between[Part.CATEGORY] = torch.from_numpy(category.rows(hidden, property))
        return between

    def _fit_expert(
        self,
        expert: Expert,
        system: ExactRidge | NystromRidge | DuplicateRidge,
        own: _Labels,
        rows: _Rows,
    ) -> None:
        """Fit an expert of a property, and score the labelled items as if left out."""
        labelled = self._labelled(expert, own)
        if not labelled.any():
            return
        asked = np.zeros(len(labelled), bool)
        asked[own.asked] = True
        fitted = system.fit(own.targets, labelled, asked)
        self.learned[expert, own.property] = LinearScores(
            fitted.coefficients.numpy(), fitted.mean.numpy()
        )
        for seen in self._seen(expert):
            kernel = self._kernel(expert, seen, rows, fitted.rows)
            shape = (len(own.asked), len(fitted.mean))
            left_out = np.broadcast_to(fitted.mean.numpy(), shape).astype(np.float16)
            left_out[np.searchsorted(own.asked, fitted.rows)] = fitted.left_out(kernel).numpy()
            own.scores[expert, seen] = left_out
            if hides_values(seen):
                self._score_hidden(own, fitted, (expert, seen), kernel)

    def _labelled(self, expert: Expert, own: _Labels) -> BoolArray:
        """Return which items [N] an expert learns a property from."""
        values = own.true.shape[1]
        if self.kernels.landmarks * values > MAX_COEFFICIENTS and expert not in FEW_EXPERTS:
            return np.zeros(len(own.true), bool)
        parts = [own.present[part] for part in expert.parts]
        return np.asarray(own.true.any(1) & np.logical_and.reduce(parts))

    def _score_hidden(self, own: _Labels, fitted: FittedRidge, shown: _Shown, rows: Tensor) -> None:
        """Score the items of each group of values as if nobody had these values.

        ``rows`` [N', M] are the kernel rows of the labelled items that are asked.
        """
        for group, scores in zip(own.groups, own.hidden, strict=True):
            places = np.flatnonzero(np.isin(fitted.rows, group.items))
            found = np.broadcast_to(fitted.mean.numpy(), (len(group.items), len(fitted.mean)))
            found = found.astype(np.float16)
            if len(places):
                coefficients = fitted.coefficients_without(places)
                of_items = rows[torch.from_numpy(places)] @ coefficients + fitted.mean
                found[np.isin(group.items, fitted.rows)] = of_items.numpy()
            scores[shown] = found

    def _labels(self, property: str) -> _Labels:
        targets, true = self._targets(property)
        has_title = np.array([bool(title) for title in self.items.titles])
        levels = {
            CategoryVariant.HIDDEN: self.kernels.category.without_values(
                self.levels, property, true
            ),
            CategoryVariant.WHOLE: self.levels,
        }
        present = {
            Part.TITLE: has_title,
            Part.BLIND_TITLE: has_title,
            Part.IMAGE: self.items.images.present,
            Part.STATEMENTS: self.kernels.statements.has_others(
                self.one_hot[KnownVariant.ALL], property
            ),
            Part.DESCRIPTION: np.array([bool(text) for text in self.items.descriptions]),
            Part.CATEGORY: levels[CategoryVariant.HIDDEN].getnnz(1) > 0,
        }
        groups = hidden_groups(true, self.rng)
        return _Labels(
            property,
            targets,
            true,
            present,
            levels,
            self._said(property, true),
            groups,
            self._asked(true, groups),
        )

    def _said(self, property: str, true: BoolArray) -> dict[CategoryVariant, NDArray[np.float32]]:
        """Return the values that categories say [N, V], all and without the items' own."""
        kernel = self.kernels.category
        if kernel.is_empty:
            return {}
        said = kernel.said(self.items.categories, property)
        others = np.where(true, 0, said)
        others /= np.maximum(others.sum(1, keepdims=True), np.finfo(np.float32).tiny)
        return {CategoryVariant.HIDDEN: others, CategoryVariant.WHOLE: said}

    def _asked(self, true: BoolArray, groups: Sequence[HiddenGroup]) -> IntArray:
        """Return the items that are scored as if left out, given which have which value [N, V]."""
        most = min(MAX_HELD_OUT, max(LEAST_ASKED, MAX_LEFT_OUT // true.shape[1]))
        labelled = np.flatnonzero(true.any(1))
        if len(labelled) > most:
            labelled = self.rng.permutation(labelled)[:most]
        return np.unique(np.concatenate([labelled, *(group.items for group in groups)]))

    def _targets(self, property: str) -> tuple[Tensor, BoolArray]:
        """Return the items' values as ones [N, V]; several share one."""
        spec = self.ontology[property]
        true = np.zeros((len(self.items), len(spec.values)), dtype=bool)
        for number, known in enumerate(self.items.known):
            for name, value in known:
                position = spec.position(value) if name == property else None
                if position is not None:
                    true[number, position] = True
        shares = true / np.maximum(true.sum(1, keepdims=True), 1)
        return torch.from_numpy(shares.astype(np.float32)), true

    def _system(
        self, expert: Expert, rows: _Rows, between: dict[Part, Tensor]
    ) -> ExactRidge | NystromRidge | DuplicateRidge:
        """Return the regression of an expert."""
        kernel = self._kernel(expert, LEARNED, rows, np.arange(len(self.items)))
        if not self.is_exact:
            return NystromRidge(kernel, _sum([between[part] for part in expert.parts]))
        if expert.parts == (Part.CATEGORY,):
            # Categories are few, and items of the same one are alike.
            _, group = np.unique(kernel.numpy(), axis=0, return_inverse=True)
            return DuplicateRidge(kernel, group)
        return ExactRidge(kernel)

    def _kernel(self, expert: Expert, seen: Variant, rows: _Rows, items: IntArray) -> Tensor:
        """Return the kernel rows [B, M] of an expert in a variant, of B ``items``.

        In other forms than the one that is learned from there are those that are asked alone.
        """
        places = np.searchsorted(self.asked, items)
        parts = []
        for part in expert.parts:
            form = seen.form(part)
            is_learned = form == LEARNED.form(part)
            parts.append(_at(rows[part, form], items if is_learned else places))
        return _sum(parts)

    def _seen(self, expert: Expert) -> list[Variant]:
        """Return what an expert sees of the variants that show all of its parts."""
        seen = {variant.seen_by(expert) for variant in VARIANTS}
        return sorted(each for each in seen if each.shows_all_of(expert))

    def _gather(self, own: _Labels) -> None:
        """Sort the property's labelled cells of all variants by their situations."""
        asked = np.zeros(len(self.items), bool)
        asked[own.asked] = True
        for variant in VARIANTS:
            chosen = asked & own.true.any(1) & self._is_whole(variant, own)
            if not chosen.any():
                continue
            for state, category in itertools.product(TitleState, CategoryState):
                situation = Situation(
                    state, variant.image, variant.shows_known, variant.shows_description, category
                )
                is_so = self._has_state(variant, own.property, state)
                is_so &= _has_category_state(variant, own, category)
                rows = np.flatnonzero(chosen & is_so)
                if len(rows) and answering(situation):
                    self._add_cells(own, variant, situation, self._sample(rows))
            if hides_values(variant):
                for number in range(len(own.groups)):
                    self._add_hidden(own, variant, number, chosen)

    def _every_state(self) -> dict[tuple[TitleVariant, TitleVariant], NDArray[np.int8]]:
        """Return what titles and descriptions tell of each property, by the forms of both."""
        states = {}
        none = [None] * len(self.items)
        for variant in VARIANTS:
            forms = variant.title, variant.description
            if forms in states or variant.title is TitleVariant.NONE:
                continue
            if variant.shows_description and not self.has_descriptions:
                continue
            descriptions = self.descriptions.get(variant.description, none)
            states[forms] = self._states_of(
                list(map(text_of, self.titles[variant.title], descriptions))
            )
        return states

    def _states_of(self, titles: Sequence[str | None]) -> NDArray[np.int8]:
        """Return what N titles tell of each of P properties, as numbers of states [N, P]."""
        numbers = {state: number for number, state in enumerate(TitleState)}
        states = np.empty((len(titles), len(self.properties)), np.int8)
        for row, title in enumerate(titles):
            states[row] = [numbers[each] for each in self.words.states(title, self.properties)]
        return states

    def _has_state(self, variant: Variant, property: str, state: TitleState) -> BoolArray:
        """Return which items' titles [N], as a variant shows them, tell this much of a property."""
        if variant.title is TitleVariant.NONE:
            return np.full(len(self.items), state is TitleState.ABSENT)
        column = self.properties.index(property)
        states = self.states[variant.title, variant.description][:, column]
        is_state: BoolArray = states == list(TitleState).index(state)
        return is_state

    def _is_whole(self, variant: Variant, own: _Labels) -> BoolArray:
        """Return which items [N] have the image and all else that a variant shows.

        One that lacks them is the same in another variant.
        """
        whole = np.ones(len(self.items), bool)
        if variant.image:
            whole &= own.present[Part.IMAGE]
        if variant.shows_known:
            one_hot = self.one_hot[variant.known]
            whole &= self.kernels.statements.has_others(one_hot, own.property)
        if variant.shows_description:
            whole &= own.present[Part.DESCRIPTION]
        if variant.category is CategoryVariant.HIDDEN:
            whole &= own.present[Part.CATEGORY]
        elif variant.category is CategoryVariant.WHOLE:
            # Where nothing is hidden, the whole category is the same.
            hidden = own.levels[CategoryVariant.HIDDEN]
            whole &= own.levels[CategoryVariant.WHOLE].getnnz(1) > hidden.getnnz(1)
        return whole

    def _add_cells(
        self, own: _Labels, variant: Variant, situation: Situation, rows: IntArray
    ) -> None:
        """Add the cells of the items at ``rows``, as the experts score them in a variant."""
        scores = own.stacked(own.scores, variant, situation, np.searchsorted(own.asked, rows))
        cells = self.cells[situation, own.property]
        true = own.true[rows]
        cells.examples.append(Examples.of(Shortlists.of(scores), true))
        cells.true.append(true)
        cells.item.append(rows)
        cells.variant.append(np.full(len(rows), VARIANTS.index(variant)))

    def _add_hidden(self, own: _Labels, variant: Variant, number: int, whole: BoolArray) -> None:
        """Add the cells of a group of hidden values, of items that a variant shows ``whole``."""
        group = own.groups[number]
        spec = self.ontology[own.property]
        hidden = {spec.values[position] for position in group.values}
        words = self.words.without(own.property, hidden)
        titles = [
            None if variant.title is TitleVariant.NONE else self.items.titles[item]
            for item in group.items.tolist()
        ]
        states = [words.states(title, [own.property])[0] for title in titles]
        for state in TitleState:
            situation = Situation(state, variant.image, variant.shows_known)
            chosen = np.array([each is state for each in states], bool) & whole[group.items]
            places = np.flatnonzero(chosen)
            if len(places) and answering(situation):
                self.hidden[situation, own.property].append(
                    _HiddenCells(
                        group,
                        own.stacked(own.hidden[number], variant, situation, places),
                        group.items[places],
                        [titles[place] for place in places.tolist()],
                    )
                )

    def _sample(self, rows: IntArray) -> IntArray:
        if len(rows) <= MAX_HELD_OUT:
            return rows
        return np.sort(self.rng.permutation(rows)[:MAX_HELD_OUT])

    def _fit_open_values(
        self, stacker: Stacker, held_out: dict[tuple[Situation, str], HeldOutCells]
    ) -> tuple[OpenValues, dict[tuple[Situation, str], HeldOutCells]]:
        """Fit what offers values that no item has; add the logit of these to the held-out cells."""
        examples: dict[str, OpenExamples] = defaultdict(OpenExamples)
        scored = {}
        for (situation, property), cells in sorted(held_out.items()):
            titles = [
                self.shown.title(item, VARIANTS[variant])
                for item, variant in zip(cells.item.tolist(), cells.variant.tolist(), strict=True)
            ]
            scored[situation, property] = ScoredTitles(
                cells.logits,
                situation.title,
                cells.item,
                titles,
                np.where(np.isin(cells.variant, SHORTENED), SHORTENED_WEIGHT, 1.0),
            )
            examples[property].visible.append(scored[situation, property])
        for (situation, property), hidden in sorted(self.hidden.items()):
            frequencies = value_frequencies(self.ontology[property])
            weights = stacker.weights(situation, property, frequencies)
            for own in hidden:
                logits = logits_without(own.scores, own.group.values, weights)
                cells_of_group = ScoredTitles(
                    logits, situation.title, own.items, own.titles, np.ones(len(own.items))
                )
                examples[property].hidden.append((own.group, cells_of_group))
        fitting = OpenFitting(self.ontology, self.items.titles, self.items.known, self.seed)
        fitted = fitting.fit(examples)
        with_unknown = {}
        for (situation, property), cells in held_out.items():
            opened = fitted.properties[property]
            evidence = fitting.evidence(property, opened.ranker, scored[situation, property])
            logits = add_unknown(opened.gate, cells.logits, situation.title, evidence)
            with_unknown[situation, property] = replace(cells, logits=logits)
        return fitted, with_unknown


@dataclass(frozen=True)
class _HiddenCells:
    """What E experts say of C items with a hidden value [E, C, V], and the titles shown."""

    group: HiddenGroup
    scores: NDArray[np.float16]
    items: IntArray
    titles: Sequence[str | None]


def _key(expert: Expert, variant: Variant) -> _Shown:
    """Return an expert with what it sees of a variant."""
    return expert, variant.seen_by(expert)


def _has_category_state(variant: Variant, own: _Labels, state: CategoryState) -> BoolArray:
    """Return which items' categories [N], as a variant shows them, tell this of a property."""
    if not variant.shows_category:
        return np.full(len(own.true), state is CategoryState.ABSENT)
    if state is CategoryState.ABSENT or variant.category not in own.said:
        return np.zeros(len(own.true), bool)
    says = np.asarray(own.said[variant.category].any(1))
    return says if state is CategoryState.SAYS else ~says


def _at(rows: Tensor, places: IntArray) -> Tensor:
    """Return the rows at some places, which are in order; copies nothing if these are all."""
    return rows if len(places) == len(rows) else rows[torch.from_numpy(places)]


def _sum(parts: Sequence[Tensor]) -> Tensor:
    if len(parts) == 1:
        return parts[0]
    total = parts[0] + parts[1]
    for part in parts[2:]:
        total += part
    return total
