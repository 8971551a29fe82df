"""The experts of a model, and the stacker over them, as one scorer of cells.

An expert is a kernel ridge regression on a sum of kernels, for example those of title and image. It
answers for items that have all of its parts, and the stacker weighs those that do by what is known
of the item.

Shapes: N items, C cells, M landmarks, V values of a property, E experts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.kernels import (
    DESCRIPTOR_SIZE,
    Descriptors,
    ImageKernel,
    KernelRows,
    StatementKernel,
    TitleKernel,
    describe,
)
from experts.open_values import OpenValue, OpenValues
from experts.situations import CatalogueWords, Situation, TitleState, others_of
from experts.stacker import Shortlists, Weights, starting_weights, without_own
from fusion.inference.featurizer import ItemInput, LazyImage, PixelReader
from fusion.inference.scorer import CellQuery
from schema.arrays import FloatArray
from schema.errors import ModelError, PropertyNotFoundError
from schema.frequencies import value_frequencies
from schema.modalities import NETWORK_MODALITIES, Modality
from schema.ontology import Ontology

ENCODED_TOGETHER = 512
"""Items whose kernel rows are computed at once."""


class Part(StrEnum):
    """What a kernel compares of two items."""

    TITLE = "title"
    BLIND_TITLE = "blind title"
    """The title without the words of any value. What it says beside them is drowned by them in
    whole titles, and is all that is there in a title that names no value."""
    IMAGE = "image"
    STATEMENTS = "known"


@dataclass(frozen=True)
class Expert:
    """A kernel ridge regression on the sum of the kernels of its parts."""

    parts: tuple[Part, ...]

    @property
    def name(self) -> str:
        """A name such as ``title+image``."""
        return "+".join(self.parts)

    @property
    def reads_title(self) -> bool:
        """Whether it reads the title, in whatever form."""
        return Part.TITLE in self.parts or Part.BLIND_TITLE in self.parts

    @property
    def reads_statements(self) -> bool:
        """Whether it reads the known statements."""
        return Part.STATEMENTS in self.parts

    def answers(self, situation: Situation) -> bool:
        """Return whether all of its parts are there."""
        return all(_is_there(part, situation) for part in self.parts)


def _is_there(part: Part, situation: Situation) -> bool:
    match part:
        case Part.TITLE | Part.BLIND_TITLE:
            return situation.title is not TitleState.ABSENT
        case Part.IMAGE:
            return situation.image
        case Part.STATEMENTS:
            return situation.known


EXPERTS = (
    Expert((Part.TITLE,)),
    Expert((Part.BLIND_TITLE,)),
    Expert((Part.IMAGE,)),
    Expert((Part.STATEMENTS,)),
    Expert((Part.TITLE, Part.IMAGE)),
    Expert((Part.BLIND_TITLE, Part.IMAGE)),
    Expert((Part.TITLE, Part.STATEMENTS)),
    Expert((Part.BLIND_TITLE, Part.STATEMENTS)),
    Expert((Part.IMAGE, Part.STATEMENTS)),
    Expert((Part.TITLE, Part.IMAGE, Part.STATEMENTS)),
    Expert((Part.BLIND_TITLE, Part.IMAGE, Part.STATEMENTS)),
)


def answering(situation: Situation) -> list[Expert]:
    """Return the experts that answer in a situation, in their order."""
    return [expert for expert in EXPERTS if expert.answers(situation)]


@dataclass(frozen=True)
class Kernels:
    """The kernels of a model, which share their landmarks."""

    title: TitleKernel
    blind: TitleKernel
    image: ImageKernel
    statements: StatementKernel

    @property
    def landmarks(self) -> int:
        """How many items the kernels compare others with."""
        return self.statements.landmarks


@dataclass(frozen=True)
class LinearScores:
    """What an expert has learned of a property: ``coefficients`` [M, V] and ``mean`` [V]."""

    coefficients: NDArray[np.float32]
    mean: NDArray[np.float32]


@dataclass(frozen=True)
class ExpertSummary:
    """An expert's name, of how many properties it has learned, and by how many numbers."""

    name: str
    properties: int
    parameters: int


@dataclass
class Stacker:
    """The weights by situation and property.

    ``shared`` are those of the properties together, by situation.
    """

    own: dict[tuple[Situation, str], Weights]
    shared: dict[Situation, FloatArray]

    def weights(self, situation: Situation, property: str, frequencies: FloatArray) -> Weights:
        """Return those of a property in a situation, or of the nearest one that was learned."""
        for each in (situation, *situation.nearest):
            found = self.own.get((each, property))
            if found is not None:
                return found
        for each in (situation, *situation.nearest):
            if each in self.shared:
                return without_own(self.shared[each], frequencies)
        return without_own(starting_weights(2 * len(answering(situation))), frequencies)


@dataclass(frozen=True)
class EncodedItems:
    """Kernel rows [N, M] of items, by the parts that do not depend on the cell."""

    items: Sequence[ItemInput]
    rows: Mapping[Part, KernelRows]


class ExpertEnsemble:
    """Scores cells by experts and their stacker; deterministic.

    Args:
        name: the model name that predictions carry
        ontology: the properties and values that it knows
        kernels: what compares items with the landmarks
        learned: what each expert knows of each property
        stacker: how their scores are joined
        calibration: the content of ``calibration.json``, or None
        read_pixels: reads images that are given as paths
    """

    def __init__(
        self,
        name: str,
        ontology: Ontology,
        kernels: Kernels,
        learned: Mapping[tuple[Expert, str], LinearScores],
        stacker: Stacker,
        calibration: dict[str, Any] | None = None,
        read_pixels: PixelReader | None = None,
    ) -> None:
        self.name = name
        self.ontology = ontology
        self.kernels = kernels
        self.learned = learned
        self.stacker = stacker
        self.calibration = calibration
        self.open_values: OpenValues | None = None
        self.read_pixels = read_pixels
        self.path = Path(name)
        self.about: dict[str, Any] = {}
        self._frequencies: dict[str, FloatArray] = {}

    modalities = NETWORK_MODALITIES
    reads_pixels = True
    reads_regions = False
    reads_details = False
    completes = True

    @cached_property
    def words(self) -> CatalogueWords:
        """The words by which titles tell of properties."""
        return CatalogueWords(self.ontology)

    def frequencies(self, property: str) -> FloatArray:
        """Return the shares [V] of a property's values, with add-one smoothing."""
        if property not in self._frequencies:
            self._frequencies[property] = value_frequencies(self.ontology[property])
        return self._frequencies[property]

    def summaries(self) -> list[ExpertSummary]:
        """Return what each expert has learned."""
        summaries = []
        for expert in EXPERTS:
            learned = [each for (own, _), each in self.learned.items() if own == expert]
            parameters = sum(each.coefficients.size + each.mean.size for each in learned)
            summaries.append(ExpertSummary(expert.name, len(learned), parameters))
        return summaries

    def situation(self, item: ItemInput, cell: CellQuery) -> str:
        """Name what is known of an item when a cell is scored."""
        return self._situation(item, cell).name

    def _situation(self, item: ItemInput, cell: CellQuery) -> Situation:
        (state,) = self.words.states(item.title, [cell.property])
        known = any(
            name in self._learned_properties and self.ontology.position(name, value) is not None
            for name, value in others_of(cell.known, cell.property)
        )
        return Situation(state, item.image is not None, known)

    @cached_property
    def _learned_properties(self) -> frozenset[str]:
        return frozenset(self.ontology.learned())

    def encode(self, items: Sequence[ItemInput]) -> list[EncodedItems]:
        """Compare titles and images with the landmarks, the expensive part."""
        starts = range(0, len(items), ENCODED_TOGETHER)
        return [self._encode(items[start : start + ENCODED_TOGETHER]) for start in starts]

    def _encode(self, items: Sequence[ItemInput]) -> EncodedItems:
        titles = [item.title for item in items]
        descriptors = self._describe(items)
        # An image that turns out to be unreadable is a missing one.
        seen = [
            item if present or item.image is None else item.without(Modality.IMAGE)
            for item, present in zip(items, descriptors.present.tolist(), strict=True)
        ]
        rows = {
            Part.TITLE: self.kernels.title.rows(titles),
            Part.BLIND_TITLE: self.kernels.blind.rows([self.words.blind(each) for each in titles]),
            Part.IMAGE: self.kernels.image.rows(descriptors),
        }
        return EncodedItems(seen, rows)

    def _describe(self, items: Sequence[ItemInput]) -> Descriptors:
        # Variants of an item without its title share its image.
        described: dict[int, int] = {}
        images: list[NDArray[np.uint8] | None] = []
        place = []
        for item in items:
            key = id(item.image)
            if key not in described:
                described[key] = len(images)
                images.append(self._pixels(item))
            place.append(described[key])
        return describe(images).select(np.array(place, np.int64))

    def _pixels(self, item: ItemInput) -> NDArray[np.uint8] | None:
        image = item.image
        size = DESCRIPTOR_SIZE
        if image is None:
            return None
        if isinstance(image, np.ndarray):
            if image.shape != (3, size, size):
                raise ModelError(
                    f"pixels of shape {image.shape} do not fit the experts' (3, {size}, {size}): "
                    "resize the image first"
                )
            return image
        if isinstance(image, LazyImage):
            return image.pixels(size)
        if isinstance(image, str | Path):
            if self.read_pixels is None:
                raise ModelError(
                    f"no reader for the image {image}: give pixels, or load the scorer with "
                    "read_pixels"
                )
            return self.read_pixels(Path(image), size)
        # Regions of a detector: the experts read pixels alone.
        return None

    def score(
        self, encoded: list[EncodedItems], cells: Sequence[CellQuery]
    ) -> list[NDArray[np.float32]]:
        """Return the logits of each cell over ``ontology.values_of(property)``, and one more.

        The last one is that of a value that the model does not know. Their exponentials are
        probabilities. Raises PropertyNotFoundError on a property that the
        model does not know.
        """
        for cell in cells:
            if cell.property not in self._learned_properties:
                available = ", ".join(list(self.ontology.learned())[:12])
                raise PropertyNotFoundError(
                    f"the model does not know property {cell.property!r}: it has {available}"
                )
        groups: dict[tuple[int, str, Situation], list[int]] = defaultdict(list)
        for number, cell in enumerate(cells):
            batch, place = divmod(cell.item, ENCODED_TOGETHER)
            situation = self._situation(encoded[batch].items[place], cell)
            groups[batch, cell.property, situation].append(number)
        scores: list[NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(cells)
        for (batch, property, situation), numbers in groups.items():
            part = [cells[number] for number in numbers]
            logits = self._score(encoded[batch], part, property, situation)
            for number, row in zip(numbers, logits, strict=True):
                scores[number] = row
        return scores

    def _score(
        self,
        encoded: EncodedItems,
        cells: Sequence[CellQuery],
        property: str,
        situation: Situation,
    ) -> NDArray[np.float32]:
        """Return logits [C, V + 1] of cells of one property that are in the same situation."""
        logits = self._score_known(encoded, cells, property, situation)
        if self.open_values is None or property not in self.open_values.properties:
            return logits
        titles = [encoded.items[cell.item % ENCODED_TOGETHER].title for cell in cells]
        evidence = [self.open_values.ranked(property, title).evidence for title in titles]
        return self.open_values.with_unknown(property, logits, situation.title, np.array(evidence))

    def _score_known(
        self,
        encoded: EncodedItems,
        cells: Sequence[CellQuery],
        property: str,
        situation: Situation,
    ) -> NDArray[np.float32]:
        """Return logits [C, V] of the values that the model knows."""
        frequencies = self.frequencies(property)
        experts = answering(situation)
        if not experts:
            return np.log(np.broadcast_to(frequencies, (len(cells), len(frequencies)))).astype(
                np.float32
            )
        scores = self.expert_scores(encoded, cells, property, experts)
        weights = self.stacker.weights(situation, property, frequencies)
        return weights.logits(Shortlists.of(scores))

    def unknown_values(self, item: ItemInput, property: str) -> Sequence[OpenValue]:
        """Return values of an item's property that the model does not know, the best first.

        Their probabilities are those that the value has if the model does not know it.
        """
        if self.open_values is None or property not in self.open_values.properties:
            return ()
        return self.open_values.candidates(property, item.title)

    def expert_scores(
        self,
        encoded: EncodedItems,
        cells: Sequence[CellQuery],
        property: str,
        experts: Iterable[Expert],
    ) -> NDArray[np.float32]:
        """Return what each of the experts says of each value, [E, C, V]."""
        places = np.array([cell.item % ENCODED_TOGETHER for cell in cells], np.int64)
        # Cells of an item share its title and its image.
        items, cell_item = np.unique(places, return_inverse=True)
        statements = self.kernels.statements
        known = statements.one_hot([cell.known for cell in cells])
        known_rows: KernelRows | None = None
        scores = []
        for expert in experts:
            learned = self.learned.get((expert, property))
            if learned is None:
                # Nothing was there to learn from: it knows no more than how frequent values are.
                frequencies = self.frequencies(property).astype(np.float32)
                scores.append(np.broadcast_to(frequencies, (len(cells), len(frequencies))))
                continue
            total = np.broadcast_to(learned.mean, (len(cells), len(learned.mean)))
            content = [part for part in expert.parts if part is not Part.STATEMENTS]
            if content:
                rows = sum(encoded.rows[part][items] for part in content)
                total = total + (rows @ learned.coefficients)[cell_item]
            if expert.reads_statements:
                if known_rows is None:
                    known_rows = statements.rows(known, property)
                total = total + known_rows @ learned.coefficients
            scores.append(total)
        return np.stack(scores).astype(np.float32)
