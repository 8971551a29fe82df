"""Find train/test leakage: what makes held-out statements easier to predict than they should be.

Three kinds are found: near-duplicate items in different splits, properties that determine others,
and values that are repeated under another property.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kg.quality.image_fingerprints import ImageFingerprints, near_duplicate_images
from kg.snapshot import GraphSnapshot
from schema.arrays import BoolArray, IntArray
from schema.wording import plain_words

MAX_LISTED_PAIRS = 20

MIN_DETERMINED_SHARE = 0.98
"""A property is determined by another if at least this share of its values can be predicted."""

MIN_SUPPORT = 20
"""Number of items that must have both properties, to rule out a coincidence."""

MIN_REPEATED_SHARE = 0.01


@dataclass(frozen=True)
class CrossSplitDuplicates:
    """Items of a held-out split that nearly equal an item of the train split.

    ``by`` says in what, "title" or "image"; ``part`` is the held-out split, and ``share`` the share
    of its items; ``pairs`` are some of the pairs (held-out item, train item).
    """

    by: str
    part: str
    items: int
    share: float
    pairs: list[tuple[str, str]]


@dataclass(frozen=True)
class PropertyDependency:
    """A ``property`` whose value can be inferred from property ``by`` on a ``share`` of items."""

    property: str
    by: str
    share: float
    items: int


@dataclass(frozen=True)
class LeakReport:
    """The leakage of a split.

    ``determined`` are properties whose value follows from that of another property; ``repeated``
    are pairs of properties under which items have the same value twice.
    """

    twins: list[CrossSplitDuplicates]
    determined: list[PropertyDependency]
    repeated: list[PropertyDependency]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return asdict(self)


def find_leaks(
    snapshot: GraphSnapshot,
    splits: Mapping[str, str],
    fingerprints: ImageFingerprints | None = None,
) -> LeakReport:
    """Look for leakage in a split of the items; with ``fingerprints``, in their images as well."""
    train = np.array([splits.get(item) == "train" for item in snapshot.items])
    twins = []
    for split in ("validation", "test"):
        held_out = np.array([splits.get(item) == split for item in snapshot.items])
        for by, pairs in train_twins(snapshot, train, held_out, fingerprints).items():
            item_pairs = [
                (snapshot.items[number], snapshot.items[train_number])
                for number, train_number in sorted(pairs.items())
            ]
            share = round(len(pairs) / max(1, int(held_out.sum())), 4)
            twins.append(
                CrossSplitDuplicates(by, split, len(pairs), share, item_pairs[:MAX_LISTED_PAIRS])
            )
    return LeakReport(twins, determined_properties(snapshot), repeated_values(snapshot))


def train_twins(
    snapshot: GraphSnapshot,
    train: BoolArray,
    held_out: BoolArray,
    fingerprints: ImageFingerprints | None = None,
) -> dict[str, dict[int, int]]:
    """Return the ``held_out`` [I] items that nearly equal a ``train`` [I] item, by what they do.

    Under "title" and, with ``fingerprints`` of the I images, "image", each one's index is mapped to
    that of the train item.
    """
    twins = {"title": same_titles(snapshot.titles, train, held_out)}
    if fingerprints is not None:
        twins["image"] = near_duplicate_images(fingerprints, train, held_out)
    return twins


def same_titles(
    titles: Sequence[str | None], train: BoolArray, held_out: BoolArray
) -> dict[int, int]:
    """Return the ``held_out`` [I] items whose title has the words of a ``train`` [I] item's.

    Maps each one's index to the first such train item's. The order of the words does not matter.
    """
    words = [title_words(title) for title in titles]
    train_item: dict[frozenset[str], int] = {}
    for number in np.flatnonzero(train).tolist():
        if words[number]:
            train_item.setdefault(words[number], number)
    return {
        number: train_item[words[number]]
        for number in np.flatnonzero(held_out).tolist()
        if words[number] in train_item
    }


def title_words(title: str | None) -> frozenset[str]:
    """Return the words that titles are compared by; none if there is no title."""
    return frozenset(plain_words(title or ""))


def determined_properties(snapshot: GraphSnapshot) -> list[PropertyDependency]:
    """Return the properties whose value follows from that of another property.

    The value is predicted as the most frequent one among the other items with the same value of the
    other property. That must be right for 98% of at least 20 items, and always predicting the
    property's most frequent value must not be.
    """
    first_values = _first_values(snapshot)
    property_count = first_values.shape[1]
    dependencies = []
    for by in range(property_count):
        for determined in range(property_count):
            has_both = (first_values[:, by] >= 0) & (first_values[:, determined] >= 0)
            support = int(has_both.sum())
            if determined == by or support < MIN_SUPPORT:
                continue
            values = first_values[has_both, determined]
            share = explained_share(first_values[has_both, by], values)
            most_frequent_share = np.unique(values, return_counts=True)[1].max() / support
            if share >= MIN_DETERMINED_SHARE > most_frequent_share:
                dependency = PropertyDependency(
                    snapshot.properties[determined],
                    snapshot.properties[by],
                    round(share, 4),
                    support,
                )
                dependencies.append(dependency)
    return sorted(dependencies, key=lambda each: (-each.share, each.property, each.by))


def explained_share(by: IntArray, values: IntArray) -> float:
    """Return the share of N items whose value [N] can be predicted from ``by`` [N].

    The prediction is the most frequent value among the *other* items with the same ``by``; a value
    that is seen once explains nothing.
    """
    value_count = int(values.max()) + 1
    pairs, counts = np.unique(by * value_count + values, return_counts=True)
    group = pairs // value_count
    # The most frequent value of each group comes first.
    order = np.lexsort((-counts, group))
    is_first = np.diff(group[order], prepend=-1) != 0
    most_frequent = counts[order[is_first]]
    return int(most_frequent[most_frequent > 1].sum()) / len(by)


def _first_values(snapshot: GraphSnapshot) -> IntArray:
    """Return each item's first value of each property [I, P], -1 if it has none."""
    first = np.full((len(snapshot.items), len(snapshot.properties)), -1, dtype=np.int64)
    # Of several assignments to the same cell the last one stays, so the order is reversed.
    triples = snapshot.triples[::-1]
    first[triples[:, 0], triples[:, 1]] = triples[:, 2]
    return first


def repeated_values(snapshot: GraphSnapshot) -> list[PropertyDependency]:
    """Return the pairs of properties under which items have the same value.

    If a model is to predict one of them, the other reveals the answer.
    """
    triples = snapshot.triples
    value_count = max(1, len(snapshot.values))
    property_count = max(1, len(snapshot.properties))

    # Statements of an item with the same value are next to each other in this order.
    item_and_value = triples[:, 0] * value_count + triples[:, 2]
    order = np.argsort(item_and_value, kind="stable")
    same_as_next = np.flatnonzero(np.diff(item_and_value[order]) == 0)
    first_property = triples[order[same_as_next], 1].tolist()
    second_property = triples[order[same_as_next + 1], 1].tolist()
    counts = Counter(zip(first_property, second_property, strict=True))

    item_and_property = np.unique(triples[:, 0] * property_count + triples[:, 1])
    items = np.bincount(item_and_property % property_count)
    dependencies = []
    for (first, second), count in counts.items():
        share = count / min(items[first], items[second])
        if share >= MIN_REPEATED_SHARE:
            dependency = PropertyDependency(
                snapshot.properties[second],
                snapshot.properties[first],
                round(float(share), 4),
                count,
            )
            dependencies.append(dependency)
    return sorted(dependencies, key=lambda each: (-each.share, each.property))
