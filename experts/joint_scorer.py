"""Experts and further sources of scores, such as a network, as one scorer of cells.

Where no source joins (see :mod:`experts.second_stage`), the experts speak alone, and the sources
are not asked.

Shapes: C cells, V values of a property, S sources.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from experts import ensemble
from experts.ensemble import ENCODED_TOGETHER, ExpertEnsemble
from experts.fitting import FittedExperts
from experts.labelled_items import HeldOutCells
from experts.open_values import OpenValue
from experts.second_stage import Key, SecondStage, SourcedCells
from experts.situations import CategoryState, Situation, text_of
from experts.variants import variants
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery, CellScorer, EncodedItems
from schema.arrays import FloatArray, IntArray
from schema.modalities import NETWORK_MODALITIES, Modality
from schema.ontology import Ontology
from schema.progress import ProgressCallback, no_progress

_ITEMS_AT_ONCE = 16
"""Items that sources score together, each of them in up to eight forms."""


class ScoreSource(Protocol):
    """A source of scores beside the experts."""

    @property
    def name(self) -> str:
        """Its name in the second stage."""

    def encode(self, items: Sequence[ItemInput]) -> Any:
        """Encode titles and images, the expensive part."""

    def scores(
        self, encoded: Any, cells: Sequence[CellQuery]
    ) -> Sequence[NDArray[np.float32] | None]:
        """Return the probabilities [V] of a property's values for each cell.

        The values are those of the experts' ontology. None if the source has no answer.
        """


@dataclass(frozen=True)
class _Alignment:
    """Where a network has the values of the experts [V]; -1 where it does not know one.

    ``unknown`` [V] is what such values share, by their frequency.
    """

    place: IntArray
    unknown: FloatArray

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities [V] of the experts' values, by the network's logits."""
        known = self.place >= 0
        own = softmax(logits.astype(np.float64)[self.place[known]])
        every = self.unknown.copy()
        every[known] = own * (1 - every.sum())
        return every.astype(np.float32)


class NetworkSource:
    """A network as a source of scores.

    It has learned from the train split alone, so that the experts know more values than it does:
    each of these has as much probability as it is frequent.
    """

    name = "network"

    def __init__(self, network: CellScorer, experts: ExpertEnsemble) -> None:
        self.network = network
        self._alignments = {name: self._align(name, experts) for name in experts.ontology.learned()}

    def _align(self, property: str, experts: ExpertEnsemble) -> _Alignment | None:
        known = self.network.ontology
        if property not in known.properties or not known.values_of(property):
            return None
        places = [known.position(property, each) for each in experts.ontology.values_of(property)]
        place = np.array([-1 if each is None else each for each in places], np.int64)
        if not (place >= 0).any():
            return None
        return _Alignment(place, np.where(place < 0, experts.frequencies(property), 0.0))

    def encode(self, items: Sequence[ItemInput]) -> EncodedItems:
        """Read and fuse titles and images."""
        return self.network.encode(items)

    def scores(
        self, encoded: EncodedItems, cells: Sequence[CellQuery]
    ) -> list[NDArray[np.float32] | None]:
        """Return the probabilities [V] of each cell; None for a property that it does not know."""
        answered = [
            (number, alignment)
            for number, cell in enumerate(cells)
            if (alignment := self._alignments.get(cell.property)) is not None
        ]
        logits = self.network.score(encoded, [cells[number] for number, _ in answered])
        scores: list[NDArray[np.float32] | None] = [None] * len(cells)
        for (number, alignment), row in zip(answered, logits, strict=True):
            scores[number] = alignment.probabilities(row)
        return scores


@dataclass(frozen=True)
class _Asked:
    """Items that a source has encoded, by their number among all."""

    encoded: Any
    place: Mapping[int, int]


@dataclass(frozen=True)
class JointlyEncoded:
    """Items as the experts have encoded them, and those that each source may be asked about."""

    experts: list[ensemble.EncodedItems]
    asked: Sequence[_Asked]

    def item(self, number: int) -> ItemInput:
        """Return an item; an image that cannot be read is missing."""
        batch, place = divmod(number, ENCODED_TOGETHER)
        return self.experts[batch].items[place]


class JointScorer:
    """Scores cells by experts and by the sources that a second stage joins to them.

    Args:
        experts: the experts, whose ontology and name it has
        stage: which sources join where, and with which weights
        sources: the sources, in the order of the stage
        calibration: that of the joined scores, or None
    """

    reads_pixels = True
    reads_regions = False
    completes = True

    def __init__(
        self,
        experts: ExpertEnsemble,
        stage: SecondStage,
        sources: Sequence[ScoreSource],
        calibration: dict[str, Any] | None = None,
    ) -> None:
        self.experts = experts
        self.stage = stage
        self.sources = sources
        self.calibration = calibration

    @property
    def name(self) -> str:
        """The model name that predictions carry."""
        return self.experts.name

    @property
    def ontology(self) -> Ontology:
        """The properties and values that it knows."""
        return self.experts.ontology

    @property
    def path(self) -> Path:
        """The model folder."""
        return self.experts.path

    @property
    def about(self) -> dict[str, Any]:
        """The content of ``config.json``."""
        return self.experts.about

    @property
    def modalities(self) -> frozenset[Modality]:
        """The modalities that the experts or the sources read."""
        return self.experts.modalities | NETWORK_MODALITIES

    @property
    def reads_details(self) -> bool:
        """Whether the experts read descriptions."""
        return self.experts.reads_details

    def situation(self, item: ItemInput, cell: CellQuery) -> str:
        """Name what is known of an item when a cell is scored."""
        return self.experts.situation(item, cell)

    def encode(self, items: Sequence[ItemInput]) -> JointlyEncoded:
        """Encode titles and images: for the experts, and for the sources that may be asked."""
        encoded = JointlyEncoded(self.experts.encode(items), [])
        asked: list[list[int]] = [[] for _ in self.sources]
        for number in range(len(items)):
            for source in self._may_join(encoded.item(number)):
                asked[source].append(number)
        found = [
            _Asked(
                source.encode([encoded.item(number) for number in numbers]),
                {number: place for place, number in enumerate(numbers)},
            )
            for source, numbers in zip(self.sources, asked, strict=True)
        ]
        return JointlyEncoded(encoded.experts, found)

    def _may_join(self, item: ItemInput) -> set[int]:
        """Return the numbers of the sources that join for some property of an item."""
        kernels = self.experts.kernels
        has_description = bool(item.description) and not kernels.description.is_empty
        has_category = bool(item.category) and not kernels.category.is_empty
        text = text_of(item.title, item.description if has_description else None)
        states = self.experts.words.states(text, list(self.ontology.learned()))
        sources: set[int] = set()
        for state in set(states):
            # The most that may be there: what a cell is judged by may be less.
            whole = Situation(
                state,
                item.image is not None,
                known=False,
                description=has_description,
                category=CategoryState.SAYS if has_category else CategoryState.ABSENT,
            )
            for situation in (whole, *whole.with_less):
                sources.update(self.stage.joining(situation))
        return sources

    def score(
        self, encoded: JointlyEncoded, cells: Sequence[CellQuery]
    ) -> list[NDArray[np.float32]]:
        """Return the logits of each cell over ``ontology.values_of(property)``.

        Raises PropertyNotFoundError on a property that the model does not know.
        """
        logits = self.experts.score(encoded.experts, cells)
        groups: dict[Key, list[int]] = defaultdict(list)
        for number, cell in enumerate(cells):
            situation = self.experts.situation_of(encoded.item(cell.item), cell)
            if self.stage.joining(situation):
                groups[situation, cell.property].append(number)
        joined = sorted(number for numbers in groups.values() for number in numbers)
        said = [dict[int, NDArray[np.float32]]() for _ in self.sources]
        for source, asked, answers in zip(self.sources, encoded.asked, said, strict=True):
            numbers = [number for number in joined if cells[number].item in asked.place]
            queries = [
                CellQuery(
                    asked.place[cells[number].item], cells[number].property, cells[number].known
                )
                for number in numbers
            ]
            found = source.scores(asked.encoded, queries) if queries else []
            for number, answer in zip(numbers, found, strict=True):
                if answer is not None:
                    answers[number] = answer
        for (situation, property), numbers in groups.items():
            values = len(self.ontology.values_of(property))
            missing = np.full(values, np.nan, np.float32)
            probabilities = [
                np.stack([answers.get(number, missing) for number in numbers]) for answers in said
            ]
            own = np.stack([logits[number] for number in numbers])
            rows = self.stage.join(situation, property, own, np.stack(probabilities))
            for number, row in zip(numbers, rows, strict=True):
                logits[number] = row
        return logits

    def unknown_values(self, item: ItemInput, property: str) -> Sequence[OpenValue]:
        """Return values of an item's property that the experts do not know, the best first."""
        return self.experts.unknown_values(item, property)

    def proving_scores(
        self, encoded: JointlyEncoded, cells: Sequence[CellQuery]
    ) -> list[NDArray[np.float32]]:
        """Return the logits by which precision is proven: those of the experts alone."""
        return self.experts.score(encoded.experts, cells)


def held_out_of(fitted: FittedExperts, ids: frozenset[str]) -> dict[Key, HeldOutCells]:
    """Return the left-out cells of the items with these ids alone."""
    among = np.array([id in ids for id in fitted.items.ids], bool)
    found = {key: cells.select(among[cells.item]) for key, cells in fitted.held_out.items()}
    return {key: cells for key, cells in found.items() if len(cells.item)}


def score_by_sources(
    fitted: FittedExperts,
    held_out: Mapping[Key, HeldOutCells],
    sources: Sequence[ScoreSource],
    items: Mapping[str, ItemInput],
    progress: ProgressCallback = no_progress,
) -> dict[Key, SourcedCells]:
    """Let sources score cells that the experts have left out, in the forms that these saw.

    ``items`` are those of the cells, by id, with their images; the sources must not have learned
    from them. ``progress`` counts them.
    """
    every_variant = list(variants())
    found = {
        key: np.full((len(sources), *cells.logits.shape), np.nan, np.float32)
        for key, cells in held_out.items()
    }
    values = {key: len(fitted.ensemble.ontology.values_of(key[1])) for key in held_out}
    rows: dict[int, list[tuple[Key, int]]] = defaultdict(list)
    for key, cells in held_out.items():
        for row, item in enumerate(cells.item.tolist()):
            rows[item].append((key, row))
    numbers = sorted(rows)
    for start in range(0, len(numbers), _ITEMS_AT_ONCE):
        part = numbers[start : start + _ITEMS_AT_ONCE]
        inputs: dict[tuple[int, str | None, bool], int] = {}
        queries: list[CellQuery] = []
        places: list[tuple[Key, int]] = []
        for number in part:
            for key, row in rows[number]:
                variant = every_variant[held_out[key].variant[row]]
                title = fitted.shown.title(number, variant)
                place = inputs.setdefault((number, title, variant.image), len(inputs))
                known = fitted.shown.statements(number, variant, key[1])
                queries.append(CellQuery(place, key[1], known))
                places.append((key, row))
        seen = [
            ItemInput(id, title, items[id].image if image else None)
            for number, title, image in inputs
            for id in [fitted.items.ids[number]]
        ]
        for place, source in enumerate(sources):
            answers = source.scores(source.encode(seen), queries)
            for (key, row), answer in zip(places, answers, strict=True):
                if answer is not None:
                    found[key][place, row, : len(answer)] = answer
        progress(min(start + len(part), len(numbers)), len(numbers))
    return {
        key: SourcedCells(
            logits=cells.logits,
            probabilities=found[key][:, :, : values[key]],
            true=cells.true,
            item=cells.item,
            fold=cells.fold,
        )
        for key, cells in held_out.items()
    }
