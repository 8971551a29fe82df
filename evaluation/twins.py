"""Twins: held-out items of which the train split has one that is nearly the same.

What a model gets right about a twin may be remembered, not understood: figures are given with and
without them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kg.home import Home
from kg.quality.image_fingerprints import ImageFingerprints, read_fingerprints
from kg.quality.leaks import train_twins
from kg.snapshot import GraphSnapshot
from schema.arrays import BoolArray
from schema.errors import DataError
from schema.progress import ProgressCallback, no_progress


@dataclass(frozen=True)
class Twins:
    """Which of I items have a twin in the train split.

    Attributes:
        items: the ids of all I items
        title: those whose title has the words of a train item's title
        image: those whose image is nearly that of a train item; None if images were not compared
    """

    items: tuple[str, ...]
    title: frozenset[str]
    image: frozenset[str] | None

    @property
    def either(self) -> frozenset[str]:
        """The items with a twin by title or by image."""
        return self.title | (self.image or frozenset())

    def without(self, items: Sequence[str]) -> BoolArray:
        """Return which of N items, given by their ids, have no twin of either kind [N]."""
        twins = self.either
        return np.array([item not in twins for item in items], dtype=bool)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts and shares as plain data."""
        kinds = {"title": self.title, "image": self.image, "either": self.either}
        return {
            "items": len(self.items),
            **{
                name: None if found is None else {"items": len(found), "share": self._share(found)}
                for name, found in kinds.items()
            },
        }

    def line(self) -> str:
        """Return the summary in one line."""
        if self.image is None:
            by_image = "images were not compared"
        else:
            by_image = (
                f"{self._share(self.image):.1%} nearly its image, "
                f"{self._share(self.either):.1%} either"
            )
        return (
            f"twins: of {len(self.items):,} items {self._share(self.title):.1%} have the title of "
            f"a train item, {by_image}"
        )

    def _share(self, found: Collection[str]) -> float:
        return round(len(found) / max(1, len(self.items)), 4)


def find_twins(
    snapshot: GraphSnapshot,
    items: Collection[str],
    train: Collection[str],
    fingerprints: ImageFingerprints | None = None,
) -> Twins:
    """Find the twins of ``items`` among the ``train`` items, both given by their ids.

    With ``fingerprints`` of the snapshot's images these are compared, too. Raises DataError if an
    item is in the train split itself, or if the snapshot lacks one.
    """
    places = {item: place for place, item in enumerate(snapshot.items)}
    wanted = tuple(dict.fromkeys(items))
    learned = frozenset(train)
    for item in wanted:
        if item not in places:
            raise DataError(f"no item {item!r} in the catalogue: choose items that it has")
        if item in learned:
            raise DataError(
                f"{item!r} is in the train split itself: look for the twins of held-out items"
            )
    is_wanted = np.zeros(len(snapshot.items), bool)
    is_wanted[[places[item] for item in wanted]] = True
    is_train = np.array([item in learned for item in snapshot.items], dtype=bool)
    found = {
        kind: frozenset(snapshot.items[place] for place in pairs)
        for kind, pairs in train_twins(snapshot, is_train, is_wanted, fingerprints).items()
    }
    return Twins(wanted, found["title"], found.get("image"))


def read_twins(
    home: Home,
    items: Collection[str],
    train: Collection[str],
    *,
    images: bool = True,
    progress: ProgressCallback = no_progress,
) -> Twins:
    """Find the twins of a home's items, as :func:`find_twins` does.

    With ``images`` those of all these items are read, which takes most of the time.
    """
    snapshot = home.snapshot()
    fingerprints = None
    if images:
        compared = {*items, *train}
        paths = [
            image if item in compared else None
            for item, image in zip(snapshot.items, snapshot.images, strict=True)
        ]
        fingerprints = read_fingerprints(paths, home.image_files(), progress)
    return find_twins(snapshot, items, train, fingerprints)
