"""What experts learn from, and their items' cells scored as if they had not learned from them.

Shapes: N items, C cells, V values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from experts.image_kernel import Descriptors
from experts.pretrained import NO_ENCODERS, Encoders
from fusion.inference.featurizer import PropertyValue
from schema.arrays import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class CellDecision:
    """What people have decided about a cell.

    ``refused`` are values that it does not have. ``weight`` says how far reviewers agreed: the
    share of them that said so.
    """

    refused: tuple[str, ...] = ()
    weight: float = 1.0


@dataclass(frozen=True)
class LabelledItems:
    """The N items that experts learn from: all that is known of them.

    ``decisions`` are those about the cells of each item, by property. Without ``descriptions``,
    ``categories`` or ``decisions`` no item has any. ``encoders`` made vectors of the images, and
    are to compare the titles.
    """

    ids: Sequence[str]
    titles: Sequence[str | None]
    images: Descriptors
    known: Sequence[tuple[PropertyValue, ...]]
    descriptions: Sequence[str | None] = ()
    categories: Sequence[tuple[str, ...]] = ()
    decisions: Sequence[Mapping[str, CellDecision]] = ()
    encoders: Encoders = NO_ENCODERS

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, index: IntArray) -> LabelledItems:
        """Return those at ``index``."""
        places = index.tolist()
        return LabelledItems(
            [self.ids[place] for place in places],
            [self.titles[place] for place in places],
            self.images.select(index),
            [self.known[place] for place in places],
            [self.descriptions[place] for place in places] if self.descriptions else (),
            [self.categories[place] for place in places] if self.categories else (),
            [self.decisions[place] for place in places] if self.decisions else (),
            self.encoders,
        )

    def with_every_part(self) -> LabelledItems:
        """Return the same with a description and a category, missing or not, for every item."""
        return replace(
            self,
            descriptions=self.descriptions or [None] * len(self),
            categories=self.categories or [()] * len(self),
        )


@dataclass(frozen=True)
class HeldOutCells:
    """C cells of one property in one situation, scored as if their items had not been learned from.

    ``logits`` [C, V + 1] are those of a stacker that was fitted without the cells' own ``fold``
    [C]; the last one is that of a value that the model does not know. ``true`` [C, V] are the
    item's values, ``item`` [C] its number, and ``variant`` [C] says what is shown of it, by its
    place among all :func:`experts.variants.variants`. ``weight`` [C] is the share of reviewers that
    agreed with these values, None if nobody disagreed anywhere.
    """

    logits: NDArray[np.float32]
    true: BoolArray
    item: IntArray
    fold: IntArray
    variant: IntArray
    weight: FloatArray | None = None

    def select(self, mask: BoolArray) -> HeldOutCells:
        """Return the cells that ``mask`` [C] selects."""
        return HeldOutCells(
            self.logits[mask],
            self.true[mask],
            self.item[mask],
            self.fold[mask],
            self.variant[mask],
            None if self.weight is None else self.weight[mask],
        )
