"""The experts of a model, and the stacker over them, as one scorer of cells.

An expert is a kernel ridge regression on a sum of kernels, for example those of title and image. It
answers for items that have all of its parts, and the stacker weighs those that do by what is known
of the item.

Shapes: N items, C cells, M landmarks, V values of a property, E experts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from encoders.products import stable_array_product
from experts.categories import CategoryKernel
from experts.image_kernel import DESCRIPTOR_SIZE, MAX_IMAGES, Descriptors, ImageKernel, describe
from experts.kernels import KernelRows, StatementKernel, TitleKernel
from experts.open_values import OpenValue, OpenValues
from experts.situations import (
    CatalogueWords,
    CategoryState,
    Situation,
    TitleState,
    others_of,
    text_of,
)
from experts.stacker import Shortlists, Weights, starting_weights, without_own
from fusion.inference.featurizer import ItemImage, ItemInput, LazyImage, PixelReader
from fusion.inference.scorer import CellQuery
from schema.arrays import FloatArray, IntArray
from schema.errors import ModelError, PropertyNotFoundError
from schema.frequencies import value_frequencies
from schema.modalities import NETWORK_MODALITIES, Modality
from schema.ontology import Ontology

ENCODED_TOGETHER = 512
"""Items whose kernel rows are computed at once."""
MAX_SCORES = 1 << 20
"""Scores of an expert that are computed at once: values times cells."""

_Key = TypeVar("_Key", bound=Hashable)


class Part(StrEnum):
    """What a kernel compares of two items."""

    TITLE = "title"
    BLIND_TITLE = "blind title"
    """The title without the words of any value. What it says beside them is drowned by them in
    whole titles, and is all that is there in a title that names no value."""
    IMAGE = "image"
    STATEMENTS = "known"
    DESCRIPTION = "description"
    CATEGORY = "category"
    """Its levels without those that say the landmarks' own values of the property."""
    CATEGORY_VALUE = "value in category"
    """Which values levels of the category say; nothing is learned."""


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

    @property
    def reads_category(self) -> bool:
        """Whether it reads the category, in whatever form."""
        return Part.CATEGORY in self.parts or Part.CATEGORY_VALUE in self.parts

    @property
    def reads_content_alone(self) -> bool:
        """Whether what it reads of an item is the same for all properties."""
        return not (self.reads_statements or self.reads_category)

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
        case Part.DESCRIPTION:
            return situation.description
        case Part.CATEGORY:
            return situation.category is not CategoryState.ABSENT
        case Part.CATEGORY_VALUE:
            return situation.category is CategoryState.SAYS


VALUE_IN_CATEGORY = Expert((Part.CATEGORY_VALUE,))

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
    Expert((Part.DESCRIPTION,)),
    Expert((Part.TITLE, Part.DESCRIPTION)),
    Expert((Part.DESCRIPTION, Part.STATEMENTS)),
    Expert((Part.TITLE, Part.DESCRIPTION, Part.STATEMENTS)),
    VALUE_IN_CATEGORY,
    Expert((Part.CATEGORY,)),
    Expert((Part.TITLE, Part.CATEGORY)),
    Expert((Part.IMAGE, Part.CATEGORY)),
    Expert((Part.TITLE, Part.DESCRIPTION, Part.CATEGORY)),
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
    description: TitleKernel
    category: CategoryKernel

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

    def knows(self, situation: Situation) -> bool:
        """Return whether it has learned a situation, or one that differs in the title alone."""
        return situation in self.shared or any(each in self.shared for each in situation.nearest)

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
class PartRows:
    """What kernels say of N items' titles or images; what several items share is compared once.

    ``rows`` [U + 1, M] are the kernel rows of the U that differ, and a row of zeros for items that
    lack the part. ``place`` [N] is the row of each item.
    """

    rows: KernelRows
    place: IntArray


@dataclass(frozen=True)
class EncodedItems:
    """Items with their kernel rows, by the parts that do not depend on the cell."""

    items: Sequence[ItemInput]
    rows: Mapping[Part, PartRows]


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
        self.joint: dict[str, Any] | None = None
        self._frequencies: dict[str, FloatArray] = {}
        self._category_states: dict[tuple[tuple[str, ...], str], CategoryState] = {}

    reads_pixels = True
    reads_regions = False

    @property
    def reads_details(self) -> bool:
        """Whether it reads descriptions or more than one image of an item."""
        return not self.kernels.description.is_empty or self.kernels.image.reads_several

    @property
    def modalities(self) -> frozenset[Modality]:
        """The modalities that it reads: no more than the items that it learned from have."""
        read = set(NETWORK_MODALITIES)
        if not self.kernels.description.is_empty:
            read.add(Modality.DESCRIPTION)
        if not self.kernels.category.is_empty:
            read.add(Modality.CATEGORY)
        return frozenset(read)

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
            if not learned:
                continue
            parameters = sum(each.coefficients.size + each.mean.size for each in learned)
            summaries.append(ExpertSummary(expert.name, len(learned), parameters))
        return summaries

    def situation(self, item: ItemInput, cell: CellQuery) -> str:
        """Name what is known of an item when a cell is scored."""
        return self.situation_of(item, cell).name

    def situation_of(self, item: ItemInput, cell: CellQuery) -> Situation:
        """Return what is known of an item when a cell is scored."""
        description = bool(item.description) and not self.kernels.description.is_empty
        text = text_of(item.title, item.description if description else None)
        (state,) = self.words.states(text, [cell.property])
        known = any(
            self.kernels.statements.knows(name, value)
            for name, value in others_of(cell.known, cell.property)
        )
        category = self._category_state(category_of(item, cell), cell.property)
        whole = Situation(state, item.image is not None, known, description, category)
        # What was never seen with all of this is judged by a part of it.
        for each in (whole, *whole.with_less):
            if self.stacker.knows(each):
                return each
        return whole

    def _category_state(self, path: tuple[str, ...], property: str) -> CategoryState:
        if self.kernels.category.is_empty:
            return CategoryState.ABSENT
        key = path, property
        if key not in self._category_states:
            self._category_states[key] = self.kernels.category.state(path, property)
        return self._category_states[key]

    @cached_property
    def _learned_properties(self) -> frozenset[str]:
        return frozenset(self.ontology.learned())

    def encode(self, items: Sequence[ItemInput]) -> list[EncodedItems]:
        """Compare texts and images with the landmarks, the expensive part."""
        starts = range(0, len(items), ENCODED_TOGETHER)
        return [self._encode(items[start : start + ENCODED_TOGETHER]) for start in starts]

    def _encode(self, items: Sequence[ItemInput]) -> EncodedItems:
        # Variants of an item without its title share its image, and the other way round.
        titles, title_place = _distinct([item.title or None for item in items])
        described, image_place = self._describe(items)
        # An image that turns out to be unreadable is a missing one.
        seen = [
            item.without(Modality.IMAGE) if is_missing and item.image is not None else item
            for item, is_missing in zip(items, (image_place < 0).tolist(), strict=True)
        ]
        blind = [self.words.blind(title) for title in titles]
        rows = {
            Part.TITLE: _part_rows(self.kernels.title.rows(titles), title_place),
            Part.BLIND_TITLE: _part_rows(self.kernels.blind.rows(blind), title_place),
            Part.IMAGE: _part_rows(self.kernels.image.rows(described), image_place),
        }
        if not self.kernels.description.is_empty:
            texts, place = _distinct([item.description or None for item in items])
            rows[Part.DESCRIPTION] = _part_rows(self.kernels.description.rows(texts), place)
        return EncodedItems(seen, rows)

    def _describe(self, items: Sequence[ItemInput]) -> tuple[Descriptors, IntArray]:
        """Describe the images that differ and can be read; return the place of each item's."""
        keys = [tuple(map(id, item.images[:MAX_IMAGES])) for item in items]
        holders = dict(zip(keys, items, strict=True))
        encoder = self.kernels.image.encoder
        read: dict[tuple[int, ...], list[NDArray[np.uint8]]] = {}
        larger: list[NDArray[np.uint8]] = []
        for key, item in holders.items():
            for image in item.images[:MAX_IMAGES]:
                pixels = self._pixels(image)
                if pixels is None:
                    continue
                read.setdefault(key, []).append(pixels)
                if encoder is not None:
                    own = self._pixels(image, encoder.image_size)
                    larger.append(pixels if own is None else own)
        places = {key: place for place, key in enumerate(read)}
        place = np.array([places.get(key, -1) for key in keys], np.int64)
        vectors = None if encoder is None else encoder.encode(larger)
        return describe(list(read.values()), vectors), place

    def _pixels(self, image: ItemImage, size: int = DESCRIPTOR_SIZE) -> NDArray[np.uint8] | None:
        if isinstance(image, np.ndarray):
            expected = (3, DESCRIPTOR_SIZE, DESCRIPTOR_SIZE)
            if image.shape != expected:
                raise ModelError(
                    f"pixels of shape {image.shape} do not fit the experts' {expected}: "
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
        groups: dict[tuple[int, str], list[int]] = defaultdict(list)
        for number, cell in enumerate(cells):
            groups[cell.item // ENCODED_TOGETHER, cell.property].append(number)
        scores: list[NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(cells)
        for (batch, property), numbers in groups.items():
            size = max(1, MAX_SCORES // len(self.ontology.values_of(property)))
            for start in range(0, len(numbers), size):
                together = numbers[start : start + size]
                logits = self._score(encoded[batch], [cells[each] for each in together], property)
                for number, row in zip(together, logits, strict=True):
                    scores[number] = row
        return scores

    def _score(
        self, encoded: EncodedItems, cells: Sequence[CellQuery], property: str
    ) -> NDArray[np.float32]:
        """Return logits [C, V + 1] of cells of one property; [C, V] if no others are offered."""
        frequencies = self.frequencies(property)
        by_situation: dict[Situation, list[int]] = defaultdict(list)
        for number, cell in enumerate(cells):
            item = encoded.items[cell.item % ENCODED_TOGETHER]
            by_situation[self.situation_of(item, cell)].append(number)
        opinions = self.opinions(encoded, cells, property)
        tells_unknown = self.open_values is not None and self.open_values.offers(property)
        logits = np.empty((len(cells), len(frequencies) + tells_unknown), np.float32)
        for situation, numbers in by_situation.items():
            experts = answering(situation)
            known = np.tile(np.log(frequencies), (len(numbers), 1))
            if experts:
                weights = self.stacker.weights(situation, property, frequencies)
                known = weights.logits(Shortlists.of(opinions.of(experts, numbers)))
            if self.open_values is None or not tells_unknown:
                logits[numbers] = known
            else:
                titles = [encoded.items[cells[n].item % ENCODED_TOGETHER].title for n in numbers]
                logits[numbers] = self.open_values.with_unknown(
                    property, known, situation.title, titles
                )
        return logits

    def unknown_values(self, item: ItemInput, property: str) -> Sequence[OpenValue]:
        """Return values of an item's property that the model does not know, the best first.

        Their probabilities are those that the value has if the model does not know it.
        """
        if self.open_values is None or not self.open_values.offers(property):
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
        return self.opinions(encoded, cells, property).of(experts, range(len(cells)))

    def opinions(
        self, encoded: EncodedItems, cells: Sequence[CellQuery], property: str
    ) -> Opinions:
        """Return what experts say of cells of one property."""
        return Opinions(self, encoded, cells, property)


class Opinions:
    """What experts say of C cells of one property.

    An expert's score is a sum over its parts. That of a title, an image or a set of statements is
    computed once, in however many cells it occurs.
    """

    def __init__(
        self,
        ensemble: ExpertEnsemble,
        encoded: EncodedItems,
        cells: Sequence[CellQuery],
        property: str,
    ) -> None:
        self._learned = {expert: ensemble.learned.get((expert, property)) for expert in EXPERTS}
        self._frequencies = ensemble.frequencies(property).astype(np.float32)
        item = np.array([cell.item % ENCODED_TOGETHER for cell in cells], np.int64)
        self._rows = {}
        for part, each in encoded.rows.items():
            # Of the encoded items only those that are asked for.
            used, place = np.unique(each.place[item], return_inverse=True)
            self._rows[part] = PartRows(each.rows[used], place)
        known, place = _distinct([others_of(cell.known, property) for cell in cells])
        statements = ensemble.kernels.statements
        rows = statements.rows(statements.features(known), property)
        self._rows[Part.STATEMENTS] = PartRows(rows, place)
        kernel = ensemble.kernels.category
        if not kernel.is_empty:
            items = encoded.items
            paths, place = _distinct(
                [category_of(items[cell.item % ENCODED_TOGETHER], cell) for cell in cells]
            )
            self._rows[Part.CATEGORY] = PartRows(
                kernel.rows(kernel.one_hot(paths), property), place
            )
            self._said = kernel.said(paths, property)
        self._scores: dict[tuple[Expert, Part], NDArray[np.float32]] = {}

    def of(self, experts: Iterable[Expert], cells: Sequence[int]) -> NDArray[np.float32]:
        """Return the scores [E, C, V] of some of the cells."""
        chosen = np.asarray(cells, np.int64)
        return np.stack([self.of_expert(expert, chosen) for expert in experts])

    def of_expert(self, expert: Expert, cells: IntArray) -> NDArray[np.float32]:
        """Return what one expert says of some of the cells, [C, V]."""
        if expert is VALUE_IN_CATEGORY:
            return self._said[self._rows[Part.CATEGORY].place[cells]]
        learned = self._learned[expert]
        if learned is None:
            # Nothing was there to learn from: it knows no more than how frequent values are.
            return np.broadcast_to(self._frequencies, (len(cells), len(self._frequencies)))
        total = np.broadcast_to(learned.mean, (len(cells), len(learned.mean)))
        for part in expert.parts:
            if (expert, part) not in self._scores:
                # Large numbers of both signs, which nearly cancel out.
                self._scores[expert, part] = stable_array_product(
                    self._rows[part].rows, learned.coefficients
                )
            total = total + self._scores[expert, part][self._rows[part].place[cells]]
        return total


def category_of(item: ItemInput, cell: CellQuery) -> tuple[str, ...]:
    """Return the levels of an item's category that may be used for a cell."""
    return item.category if cell.category is None else cell.category


def _distinct(keys: Sequence[_Key | None]) -> tuple[list[_Key], IntArray]:
    """Return the U keys that differ, and the place of each of N among them: -1 for None."""
    places: dict[_Key, int] = {}
    place = [-1 if key is None else places.setdefault(key, len(places)) for key in keys]
    return list(places), np.array(place, np.int64)


def _part_rows(rows: KernelRows, place: IntArray) -> PartRows:
    """Add a row of zeros to rows [U, M], at which those items are that have none."""
    return PartRows(np.pad(rows, ((0, 1), (0, 0))), place)
