"""What lets a model see through a split: near-duplicate items across it, statements that say the same, properties that determine others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kg.snapshot import GraphSnapshot
from schema.wording import plain_words

SIDE = 8
HASHED_SIZE = 72
NEAR = 3
NEAR_COLOUR = 0.1
DETAIL = 16
BANDS = 4
DETERMINED = 0.98
LEAST_SUPPORT = 20


@dataclass(frozen=True)
class Twins:
    """Items of a held-out part that look like one of the train part, by ``by``: their number, and some pairs (held out, train)."""

    by: str
    part: str
    items: int
    share: float
    pairs: list[tuple[str, str]]


@dataclass(frozen=True)
class Determined:
    """A ``property`` that follows from another one, ``by``: the share of items where it is the value most seen with that of the other."""

    property: str
    by: str
    share: float
    items: int


@dataclass(frozen=True)
class Leaks:
    """What was found; ``repeated`` are pairs of properties under which items say the same value, with the share of items that do."""

    twins: list[Twins]
    determined: list[Determined]
    repeated: list[Determined]

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def find_leaks(
    snapshot: GraphSnapshot, parts: Mapping[str, str], looks: Looks | None = None
) -> Leaks:
    """Look through a split; ``looks`` are the images' by :func:`looks_of`."""
    train = np.array([parts.get(item) == "train" for item in snapshot.items])
    twins = []
    for part in ("validation", "test"):
        mine = np.array([parts.get(item) == part for item in snapshot.items])
        found = {"title": same_titles(snapshot.titles, train, mine)}
        if looks is not None:
            found["image"] = near_duplicate_images(looks, train, mine)
        for by, pairs in found.items():
            named = [
                (snapshot.items[one], snapshot.items[other]) for one, other in sorted(pairs.items())
            ]
            twins.append(
                Twins(
                    by, part, len(named), round(len(named) / max(1, int(mine.sum())), 4), named[:20]
                )
            )
    return Leaks(twins, determined_properties(snapshot), repeated_values(snapshot))


def same_titles(
    titles: Sequence[str | None], train: NDArray[np.bool_], mine: NDArray[np.bool_]
) -> dict[int, int]:
    """Items of ``mine`` [I] whose title has the words of a ``train`` [I] item's, in any order: their numbers to that item's."""
    seen: dict[frozenset[str], int] = {}
    for number in np.flatnonzero(train).tolist():
        words = frozenset(plain_words(titles[number] or ""))
        if words:
            seen.setdefault(words, number)
    return {
        number: seen[words]
        for number in np.flatnonzero(mine).tolist()
        if (words := frozenset(plain_words(titles[number] or ""))) and words in seen
    }


@dataclass(frozen=True)
class Looks:
    """I images: ``hashes`` [I], 0 where there is none, and ``colours`` [I, 3, 16, 16] uint8."""

    hashes: NDArray[np.uint64]
    colours: NDArray[np.uint8]


def looks_of(
    paths: Sequence[str | None],
    read: Callable[[str], NDArray[np.uint8] | None],
    progress: Callable[[int, int], None] | None = None,
) -> Looks:
    """dHash of images [I] that ``read`` gives as pixels [3, S, S], and their colours.

    The hash has 64 bits, whether each cell of an 8 x 9 grid is brighter than the one before; on a plain ground many look alike by it alone.
    """
    hashes = np.zeros(len(paths), dtype=np.uint64)
    colours = np.zeros((len(paths), 3, DETAIL, DETAIL), dtype=np.uint8)
    for number, path in enumerate(paths):
        image = None if path is None else read(path)
        if image is not None:
            grid = _cells(image.mean(0)[None], SIDE, SIDE + 1)[0]
            hashes[number] = np.packbits((np.diff(grid, axis=1) > 0).reshape(-1)).view(">u8")[0]
            colours[number] = _cells(image, DETAIL, DETAIL).astype(np.uint8)
        if progress is not None:
            progress(number + 1, len(paths))
    return Looks(hashes, colours)


def _cells(image: NDArray[Any], rows: int, columns: int) -> NDArray[np.float64]:
    """Means [C, rows, columns] of an image's [C, H, W] cells."""
    high, wide = (
        np.linspace(0, side, count + 1).astype(int)[:-1]
        for side, count in zip(image.shape[1:], (rows, columns), strict=True)
    )
    sums = np.add.reduceat(np.add.reduceat(image.astype(np.float64), high, axis=1), wide, axis=2)
    sizes = np.diff([*high, image.shape[1]])[:, None] * np.diff([*wide, image.shape[2]])[None, :]
    return np.asarray(sums / sizes)


def near_duplicate_images(
    looks: Looks, train: NDArray[np.bool_], mine: NDArray[np.bool_]
) -> dict[int, int]:
    """Items of ``mine`` [I] whose image is nearly a ``train`` [I] item's: their numbers to that item's.

    Their hashes differ in 3 bits at most, and their colours by a tenth at most of what the image's own differ from its ground.
    """
    hashes = looks.hashes
    known = np.flatnonzero(train & (hashes != 0))
    asked = np.flatnonzero(mine & (hashes != 0))
    found: dict[int, int] = {}
    width = 64 // BANDS
    for band in range(BANDS):
        # Of four bands, one at least is the same where three bits differ.
        cut = (hashes >> np.uint64(band * width)) & np.uint64((1 << width) - 1)
        order = known[np.argsort(cut[known], kind="stable")]
        low, high = (np.searchsorted(cut[order], cut[asked], side) for side in ("left", "right"))
        for number, first, last in zip(asked.tolist(), low.tolist(), high.tolist(), strict=True):
            if number in found:
                continue
            others = order[first:last]
            others = others[np.bitwise_count(hashes[others] ^ hashes[number]) <= NEAR]
            own = looks.colours[number].astype(np.int16)
            apart = np.abs(looks.colours[others] - own).mean((1, 2, 3))
            contrast = np.abs(own - np.median(own, axis=(1, 2), keepdims=True)).mean()
            if len(others) and apart.min() <= NEAR_COLOUR * contrast:
                found[number] = int(others[apart.argmin()])
    return found


def determined_properties(snapshot: GraphSnapshot) -> list[Determined]:
    """Properties that follow from another: known of at least 20 items, told right in 98 of 100 by the other value's other items."""
    first = _first_values(snapshot)
    found = []
    for by in range(first.shape[1]):
        for name in range(first.shape[1]):
            both = (first[:, by] >= 0) & (first[:, name] >= 0)
            if name == by or both.sum() < LEAST_SUPPORT:
                continue
            share = told_by(first[both, by], first[both, name])
            most_frequent = np.unique(first[both, name], return_counts=True)[1].max() / both.sum()
            if share >= DETERMINED > most_frequent:
                found.append(
                    Determined(
                        snapshot.properties[name],
                        snapshot.properties[by],
                        round(share, 4),
                        int(both.sum()),
                    )
                )
    return sorted(found, key=lambda each: (-each.share, each.property, each.by))


def told_by(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """The share of N items whose ``other`` value [N] is the most frequent one among the other items of the same ``one`` value [N]."""
    width = int(other.max()) + 1
    pairs, counts = np.unique(one * width + other, return_counts=True)
    owner = pairs // width
    order = np.lexsort((-counts, owner))
    # The largest of each group; where it is a single item, that item had no other to be told by.
    leads = order[np.flatnonzero(np.diff(owner[order], prepend=-1))]
    return int(counts[leads][counts[leads] > 1].sum()) / len(one)


def _first_values(snapshot: GraphSnapshot) -> NDArray[np.int64]:
    """Each item's first value of each property [I, P], -1 where it has none."""
    first = np.full((len(snapshot.items), len(snapshot.properties)), -1, dtype=np.int64)
    triples = snapshot.triples[::-1]
    first[triples[:, 0], triples[:, 1]] = triples[:, 2]
    return first


def repeated_values(snapshot: GraphSnapshot) -> list[Determined]:
    """Pairs of properties under which an item says the same value: what one hides, the other tells."""
    triples = snapshot.triples
    width = max(1, len(snapshot.values))
    key = triples[:, 0] * width + triples[:, 2]
    order = np.argsort(key, kind="stable")
    same = np.flatnonzero(np.diff(key[order]) == 0)
    counts: dict[tuple[int, int], int] = {}
    for at in same.tolist():
        pair = int(triples[order[at], 1]), int(triples[order[at + 1], 1])
        counts[pair] = counts.get(pair, 0) + 1
    items = np.bincount(
        np.unique(triples[:, 0] * max(1, len(snapshot.properties)) + triples[:, 1])
        % max(1, len(snapshot.properties))
    )
    found = []
    for (one, other), count in counts.items():
        share = count / min(items[one], items[other])
        if share >= 0.01:
            found.append(
                Determined(
                    snapshot.properties[other],
                    snapshot.properties[one],
                    round(float(share), 4),
                    count,
                )
            )
    return sorted(found, key=lambda each: (-each.share, each.property))
