"""Score the items that experts have learned from as if they had not, from what a folder keeps.

A regression knows the labels of its own items, so that it would find whatever they say plausible.
Without an item, its score follows in closed form from the residual r of its label y and its *gap*,
one minus its leverage (:mod:`experts.ridge`): it is y - r / gap. A folder keeps the gaps, a number
for each item, property and expert. Where the items are their own landmarks, the residuals are the
coefficients times the ridge; otherwise they are those of the scores.

Copies of an item, which show the same image, or have the same title where not both have images,
would go on saying what it says. Those with the same value are left out with it: their scores are
Y - S^-1 R, where S are the gaps that they share. Beyond ``MAX_EXACT`` items there is no such
matrix, and an item is left out alone.

All of this holds for an item as it was when the experts learned from it, with whatever parts of it.

Shapes: N items, M landmarks, V values, E experts, C cells, P pairs of copies.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from experts.ensemble import (
    ENCODED_TOGETHER,
    EXPERTS,
    EncodedItems,
    Expert,
    ExpertEnsemble,
    Opinions,
    Part,
)
from experts.kernels import Arrays, text_array, texts_of_array
from experts.labelled_items import LabelledItems
from experts.ridge import RIDGE, FittedRidge
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.arrays import IntArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

MAX_COPIES = 24
"""An image or a title that more items share is a placeholder, or says little."""
_DIGEST_BYTES = 8


class Knowledge(Enum):
    """What experts know of an item's cell."""

    NOTHING = "nothing"
    """They have not learned from the item."""
    LEARNED = "learned"
    """They have, and it is as it was."""
    CHANGED = "changed"
    """They have, and it has another text, category or other statement since."""


@dataclass
class LearnedItems:
    """The N items that experts have learned from, and what leaving one of them out takes.

    Attributes:
        ids: their ids
        digests: of each item's texts and category [N, 8]
        known: their statements, one-hot [N, C], by the classes of the kernel of statements
        pairs: the numbers of copies of each other [P, 2]
        is_exact: whether the items are the landmarks
        gaps: by expert and property [N]; NaN for items that it has not learned the property from
        shared: the gaps that copies share [P]; only if the items are the landmarks
    """

    ids: Sequence[str]
    digests: NDArray[np.uint8]
    known: csr_matrix
    pairs: IntArray
    is_exact: bool
    gaps: dict[tuple[Expert, str], NDArray[np.float32]] = field(default_factory=dict)
    shared: dict[tuple[Expert, str], NDArray[np.float32]] = field(default_factory=dict)

    @classmethod
    def of(cls, items: LabelledItems, known: csr_matrix, *, is_exact: bool) -> LearnedItems:
        """Begin with N items that experts are to learn from, and their one-hot statements."""
        digests = [
            _digest(title, description, category)
            for title, description, category in zip(
                items.titles, items.descriptions, items.categories, strict=True
            )
        ]
        pairs = _copies(items) if is_exact else np.zeros((0, 2), np.int64)
        return cls(
            items.ids,
            np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 8),
            known,
            pairs,
            is_exact,
        )

    def add(self, expert: Expert, property: str, fitted: FittedRidge) -> None:
        """Keep what leaving an item out takes of a fitted regression."""
        gaps = np.full(len(self.ids), np.nan, np.float32)
        gaps[fitted.labelled] = fitted.gaps.numpy()
        self.gaps[expert, property] = gaps
        shared = fitted.shared_gaps(self.pairs) if len(self.pairs) else None
        if shared is not None:
            self.shared[expert, property] = shared.numpy()

    @cached_property
    def place(self) -> Mapping[str, int]:
        """The number of each item, by its id."""
        return {id: number for number, id in enumerate(self.ids)}

    @cached_property
    def groups(self) -> Mapping[int, Sequence[int]]:
        """The copies of each item that has some, by their numbers."""
        found: dict[int, list[int]] = defaultdict(list)
        for one, other in self.pairs.tolist():
            found[one].append(other)
            found[other].append(one)
        return found

    @cached_property
    def number_of_pair(self) -> Mapping[tuple[int, int], int]:
        """The number of each pair of copies, whichever comes first."""
        numbers: dict[tuple[int, int], int] = {}
        for number, (one, other) in enumerate(self.pairs.tolist()):
            numbers[one, other] = number
            numbers[other, one] = number
        return numbers

    def arrays(self, properties: Sequence[str]) -> Arrays:
        """Return what :meth:`from_arrays` makes it from again; properties are numbered."""
        numbers = {name: number for number, name in enumerate(properties)}
        arrays: Arrays = {
            "ids": text_array(self.ids),
            "digests": self.digests,
            "known.indices": self.known.indices.astype(np.int32),
            "known.indptr": self.known.indptr.astype(np.int64),
            "pairs": self.pairs.astype(np.int32),
            "exact": np.array([self.is_exact]),
        }
        for name, every in (("gaps", self.gaps), ("shared", self.shared)):
            for (expert, property), own in every.items():
                arrays[f"{name}.{expert.name}.{numbers[property]}"] = own
        return arrays

    @classmethod
    def from_arrays(
        cls, ensemble: ExpertEnsemble, arrays: Mapping[str, NDArray[np.generic]]
    ) -> LearnedItems:
        """Make it from what :meth:`arrays` returned; raises ValueError or KeyError."""
        from scipy.sparse import csr_matrix

        ids = texts_of_array(arrays["ids"])
        indices, indptr = arrays["known.indices"], arrays["known.indptr"]
        ones = np.ones(len(indices), np.float32)
        columns = ensemble.kernels.statements.classes
        known = csr_matrix((ones, indices, indptr), shape=(len(ids), columns))
        known.check_format(full_check=True)
        pairs = arrays["pairs"].astype(np.int64)
        digests = arrays["digests"].astype(np.uint8)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or digests.shape != (len(ids), _DIGEST_BYTES):
            raise ValueError(f"{len(ids)} items have pairs of the shape {pairs.shape}")
        if len(pairs) and (pairs.min() < 0 or pairs.max() >= len(ids)):
            raise ValueError("copies are none of the items")
        is_exact = bool(arrays["exact"][0])
        if is_exact and len(ids) != ensemble.kernels.landmarks:
            raise ValueError(f"{len(ids)} items are not the {ensemble.kernels.landmarks} landmarks")
        found = cls(ids, digests, known, pairs, is_exact)
        properties = enumerate(ensemble.ontology.learned())
        for expert, (number, property) in itertools.product(EXPERTS, list(properties)):
            for name, every, size in (
                ("gaps", found.gaps, len(ids)),
                ("shared", found.shared, len(pairs)),
            ):
                key = f"{name}.{expert.name}.{number}"
                if key in arrays:
                    own = arrays[key].astype(np.float32)
                    if own.shape != (size,):
                        raise ValueError(f"{key} has the shape {own.shape}")
                    every[expert, property] = own
        return found


class LeftOutEnsemble(ExpertEnsemble):
    """Experts that score the items that they have learned from as if they had not.

    Items are told by their ids. Ask :meth:`knowledge` whether one is as it was, and take the
    category of a cell from :meth:`category_for`.
    """

    def __init__(self, ensemble: ExpertEnsemble, items: LearnedItems) -> None:
        super().__init__(
            ensemble.name,
            ensemble.ontology,
            ensemble.kernels,
            ensemble.learned,
            ensemble.stacker,
            ensemble.calibration,
            ensemble.read_pixels,
        )
        self.open_values = ensemble.open_values
        self.path = ensemble.path
        self.about = ensemble.about
        self.items = items
        self._last: tuple[ItemInput | None, IntArray] = None, np.zeros(0, np.int64)

    def knowledge(self, item: ItemInput, property: str) -> Knowledge:
        """Return what the experts know of a cell of an item as it is now."""
        place = self.items.place.get(item.id)
        if place is None:
            return Knowledge.NOTHING
        digest = np.frombuffer(_digest(item.title, item.description, item.category), np.uint8)
        if not np.array_equal(digest, self.items.digests[place]):
            return Knowledge.CHANGED
        # All cells of an item are asked one after the other.
        if self._last[0] is not item:
            self._last = item, self.kernels.statements.one_hot([item.known]).indices
        own = self.kernels.statements.classes_of(property)
        learned, now = (
            columns[(columns < own.start) | (columns >= own.stop)]
            for columns in (self._columns_of(place), self._last[1])
        )
        return Knowledge.LEARNED if np.array_equal(learned, now) else Knowledge.CHANGED

    def category_for(self, item: ItemInput, property: str) -> tuple[str, ...]:
        """Return the levels of a category without those that say the item's own values.

        The experts have learned from the others alone. The values are those that they learned, or
        those that the item has if they have not learned from it.
        """
        spec = self.ontology[property]
        place = self.items.place.get(item.id)
        own = set()
        if place is not None:
            own = set(self._values_of(place, property).tolist())
        if not own:
            own = {spec.position(value) for name, value in item.known if name == property}
        return tuple(
            level
            for level in item.category
            if (position := spec.position(level)) is None or position not in own
        )

    def opinions(
        self, encoded: EncodedItems, cells: Sequence[CellQuery], property: str
    ) -> Opinions:
        """Return what experts say of cells of one property, each without its item."""
        return _LeftOutOpinions(self, encoded, cells, property)

    def _columns_of(self, place: int) -> IntArray:
        known = self.items.known
        columns: IntArray = known.indices[known.indptr[place] : known.indptr[place + 1]]
        return columns

    def _values_of(self, place: int, property: str) -> IntArray:
        """Return the positions of the values that the experts learned of an item."""
        columns = self._columns_of(place)
        own = self.kernels.statements.classes_of(property)
        return np.asarray(columns[(columns >= own.start) & (columns < own.stop)] - own.start)

    def targets(self, places: Sequence[int], property: str) -> NDArray[np.float32]:
        """Return the labels [C, V] of some of the items, as the experts learned them."""
        targets = np.zeros((len(places), len(self.ontology.values_of(property))), np.float32)
        for row, place in enumerate(places):
            values = self._values_of(place, property)
            targets[row, values] = 1 / max(len(values), 1)
        return targets

    def residuals_without(
        self, expert: Expert, property: str, place: int, own: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the residuals [V] of an item when it is left out, with its copies.

        ``own`` are those of the item as it was learned from. Where the items are no landmarks, its
        copies stay.
        """
        items = self.items
        gaps = items.gaps[expert, property]
        shared = items.shared.get((expert, property))
        copies = items.groups.get(place, ()) if shared is not None else ()
        if not copies or shared is None:
            return own / gaps[place]
        values = self._values_of(place, property)
        alike = (each for each in copies if np.array_equal(self._values_of(each, property), values))
        group = [place, *(each for each in alike if not np.isnan(gaps[each]))]
        system = np.diag(gaps[group]).astype(np.float64)
        for (row, one), (column, other) in itertools.combinations(enumerate(group), 2):
            # Groups are whole: any two of their items are a pair.
            system[row, column] = system[column, row] = shared[items.number_of_pair[one, other]]
        if not np.isfinite(system).all():
            # One of them has many values, and is not among those that can be left out.
            return own / gaps[place]
        residuals = RIDGE * self.learned[expert, property].coefficients[group]
        return np.asarray(np.linalg.solve(system, residuals.astype(np.float64))[0], np.float32)


class _LeftOutOpinions(Opinions):
    """What experts say of C cells of one property, each without its item."""

    def __init__(
        self,
        ensemble: LeftOutEnsemble,
        encoded: EncodedItems,
        cells: Sequence[CellQuery],
        property: str,
    ) -> None:
        super().__init__(ensemble, encoded, cells, property)
        self._ensemble = ensemble
        self._property = property
        ids = [encoded.items[cell.item % ENCODED_TOGETHER].id for cell in cells]
        place = ensemble.items.place
        self._place = np.array([place.get(id, -1) for id in ids], np.int64)

    def of_expert(self, expert: Expert, cells: IntArray) -> NDArray[np.float32]:
        """Return what one expert says of some of the cells, [C, V]."""
        scores = super().of_expert(expert, cells)
        ensemble = self._ensemble
        gaps = ensemble.items.gaps.get((expert, self._property))
        places = self._place[cells]
        if gaps is None:
            return scores
        rows = np.flatnonzero((places >= 0) & ~np.isnan(gaps[places]))
        if not len(rows):
            return scores
        chosen = places[rows]
        targets = ensemble.targets(chosen.tolist(), self._property)
        if ensemble.items.is_exact and expert.parts != (Part.CATEGORY,):
            # What the ridge leaves of them, without the rounding of all other coefficients.
            coefficients = ensemble.learned[expert, self._property].coefficients
            residuals = RIDGE * coefficients[chosen]
        else:
            residuals = targets - scores[rows]
        scores = scores.copy()
        for row, place, target, own in zip(
            rows.tolist(), chosen.tolist(), targets, residuals, strict=True
        ):
            without = ensemble.residuals_without(expert, self._property, place, own)
            scores[row] = target - without
        return scores


def _digest(title: str | None, description: str | None, category: Sequence[str]) -> bytes:
    text = json.dumps([title or "", description or "", list(category)])
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()


def _copies(items: LabelledItems) -> IntArray:
    """Return the pairs of items [P, 2] that show the same, or have one title and no two images."""
    present = items.images.present
    groups: dict[tuple[str, bytes], list[int]] = defaultdict(list)
    for number, title in enumerate(items.titles):
        if present[number]:
            image = hashlib.blake2b(
                items.images.small_of(number).tobytes(), digest_size=16
            ).digest()
            groups["image", image].append(number)
        if title:
            groups["title", title.casefold().encode()].append(number)
    root = list(range(len(items)))

    def find(number: int) -> int:
        while root[number] != number:
            root[number] = root[root[number]]
            number = root[number]
        return number

    for (kind, _), group in groups.items():
        if not 1 < len(group) <= MAX_COPIES:
            continue
        joined = group
        if kind == "title":
            # Two images of one title are two products, as far as anyone can tell.
            without = [each for each in group if not present[each]]
            joined = [*without, *[each for each in group if present[each]][:1]] if without else []
        for one, other in itertools.pairwise(joined):
            root[find(one)] = find(other)
    whole: dict[int, list[int]] = defaultdict(list)
    for number in range(len(items)):
        whole[find(number)].append(number)
    pairs = [
        pair
        for group in whole.values()
        if len(group) <= MAX_COPIES
        for pair in itertools.combinations(group, 2)
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)
