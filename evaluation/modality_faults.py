"""K3M's protocol: items that have lost titles or images, or have those of other items.

It is applied to the items of a test alone, never in training, and the same items are changed for
every model. Those of a lower ratio are among those of a higher one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from fusion.inference.featurizer import ItemInput
from kg.sampling.keyed_random import KeyedRandom
from schema.arrays import IntArray
from schema.modalities import Modality

RATIOS = (0.0, 0.2, 0.5, 0.8, 1.0)


class ModalityFault(StrEnum):
    """What happens to a share of the items, by K3M's names of these shares."""

    TMR = "TMR"
    IMR = "IMR"
    MMR = "MMR"
    TNR = "TNR"
    INR = "INR"
    TINR = "TINR"
    MNR = "MNR"

    @property
    def meaning(self) -> str:
        """Say what happens."""
        return _MEANINGS[self]

    @property
    def is_noise(self) -> bool:
        """Whether content is another item's, rather than missing."""
        return self in (ModalityFault.TNR, ModalityFault.INR, ModalityFault.TINR, ModalityFault.MNR)


_MEANINGS = {
    ModalityFault.TMR: "title missing",
    ModalityFault.IMR: "image missing",
    ModalityFault.MMR: "title, image or both missing, a third each",
    ModalityFault.TNR: "title of another item",
    ModalityFault.INR: "image of another item",
    ModalityFault.TINR: "title and image of other items",
    ModalityFault.MNR: "title, image or both of other items, a third each",
}

_TITLE = frozenset({Modality.TITLE})
_IMAGE = frozenset({Modality.IMAGE})
_BOTH = _TITLE | _IMAGE
_MODALITIES: dict[ModalityFault, tuple[frozenset[Modality], ...]] = {
    ModalityFault.TMR: (_TITLE,),
    ModalityFault.IMR: (_IMAGE,),
    ModalityFault.MMR: (_TITLE, _IMAGE, _BOTH),
    ModalityFault.TNR: (_TITLE,),
    ModalityFault.INR: (_IMAGE,),
    ModalityFault.TINR: (_BOTH,),
    ModalityFault.MNR: (_TITLE, _IMAGE, _BOTH),
}
"""What changes; of several, the items take turns."""


@dataclass(frozen=True)
class FaultyItems:
    """N items, some of them changed; ``titles`` and ``images`` count those that were.

    An item that has no title or image, or for which no other item has another one, keeps what it
    has, and does not count.
    """

    items: list[ItemInput]
    titles: int
    images: int


def with_faults(
    items: Sequence[ItemInput], fault: ModalityFault, ratio: float, seed: int = 0
) -> FaultyItems:
    """Return items of which the share ``ratio`` has a fault."""
    random = KeyedRandom(seed)
    number = np.arange(len(items))
    # Missing and noisy modalities draw the same items, so that both can be compared.
    order = np.argsort(random.uniform("faulty items", number), kind="stable")
    faulty = order[: round(ratio * len(items))]
    changes = _MODALITIES[fault]
    titles = _Donors(random, "title", [item.title or None for item in items])
    images = _Donors(random, "image", [item.image for item in items])
    result = list(items)
    changed_titles = 0
    changed_images = 0
    for place, index in enumerate(faulty.tolist()):
        modalities = changes[place % len(changes)]
        item = result[index]
        if Modality.TITLE in modalities and item.title:
            donor = titles.other(index) if fault.is_noise else None
            if donor is not None or not fault.is_noise:
                item = replace(item, title=None if donor is None else items[donor].title)
                changed_titles += 1
        if Modality.IMAGE in modalities and item.image is not None:
            donor = images.other(index) if fault.is_noise else None
            if donor is not None or not fault.is_noise:
                image = None if donor is None else items[donor].image
                item = replace(item, image=image, more_images=())
                changed_images += 1
        result[index] = item
    return FaultyItems(result, changed_titles, changed_images)


class _Donors:
    """Finds for each item another one that has something else."""

    def __init__(self, random: KeyedRandom, name: str, contents: Sequence[object]) -> None:
        self._random = random
        self._name = name
        self._contents = contents
        self._having: IntArray = np.array(
            [index for index, content in enumerate(contents) if content is not None], dtype=np.int64
        )

    def other(self, index: int) -> int | None:
        """Return an item whose content differs from that of item ``index``; None if none has."""
        draws = self._random.integers(len(self._having), self._name, index, np.arange(16))
        found = (self._having[draws] if len(self._having) else self._having).tolist()
        return next(
            (each for each in found if each != index and self._differs(each, index)),
            None,
        )

    def _differs(self, one: int, other: int) -> bool:
        # Pixels are compared by identity: an array is neither equal nor unequal to another one.
        first, second = self._contents[one], self._contents[other]
        return first is not second and not (isinstance(first, str) and first == second)
