"""Groups of items that belong together: of one value, one product, one title or one image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from kg.quality.image_fingerprints import ImageFingerprints, near_duplicate_groups
from kg.quality.leaks import title_words
from kg.snapshot import GraphSnapshot
from schema.arrays import IntArray
from schema.errors import PropertyNotFoundError

NAMED = 12
"""Properties that an error names."""


@dataclass(frozen=True)
class Links:
    """What connects items: ``item`` [L] has the ``key`` [L], and items of one key belong together.

    Items are indices into those of a snapshot; keys mean nothing by themselves.
    """

    item: IntArray
    key: IntArray

    @property
    def items(self) -> int:
        """The number of items that share a key with another one."""
        _, key, counts = np.unique(self.key, return_inverse=True, return_counts=True)
        return len(np.unique(self.item[counts[key] > 1]))


@dataclass(frozen=True)
class ItemGroup:
    """Items that belong together, and the text by which their group is known."""

    name: str
    items: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.items)


def links_of_values(snapshot: GraphSnapshot, property: str) -> Links:
    """Link the items that share a value of a property; raises PropertyNotFoundError."""
    if property not in snapshot.properties:
        names = ", ".join(snapshot.properties[:NAMED]) or "none"
        raise PropertyNotFoundError(
            f"no item has a value of the property {property!r}: choose one of {names}"
        )
    triples = snapshot.triples
    rows = triples[triples[:, 1] == snapshot.properties.index(property)]
    return Links(np.asarray(rows[:, 0]), np.asarray(rows[:, 2]))


def links_of_pairs(snapshot: GraphSnapshot, pairs: Sequence[tuple[str, str]]) -> Links:
    """Link the items of each pair; pairs with an item that the snapshot lacks link nothing."""
    number = {item: number for number, item in enumerate(snapshot.items)}
    linked = [
        (number[left], number[right]) for left, right in pairs if left in number and right in number
    ]
    items = np.array(linked, np.int64).reshape(-1, 2)
    return Links(items.ravel(), np.repeat(np.arange(len(items)), 2))


def links_of_titles(snapshot: GraphSnapshot) -> Links:
    """Link the items whose titles have the same words."""
    keys: dict[frozenset[str], int] = {}
    rows = [
        (number, keys.setdefault(words, len(keys)))
        for number, words in enumerate(map(title_words, snapshot.titles))
        if words
    ]
    items = np.array(rows, np.int64).reshape(-1, 2)
    return Links(items[:, 0], items[:, 1])


def links_of_images(fingerprints: ImageFingerprints) -> Links:
    """Link the items whose images are nearly the same."""
    group = near_duplicate_groups(fingerprints)
    items = np.flatnonzero(group >= 0)
    return Links(items, group[items])


def item_groups(
    snapshot: GraphSnapshot, links: Iterable[Links], property: str | None = None
) -> list[ItemGroup]:
    """Return all items in groups, in the order of their first items.

    What is linked by a chain of ``links`` is one group. It is named by the first in the alphabet of
    its values of ``property``, or else by its first item, shorter ids before longer ones: an item
    that comes later, with a higher number or with a value that is known, changes no name.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(snapshot.items)
    nodes = count
    rows = []
    columns = []
    for each in links:
        rows.append(each.item)
        columns.append(each.key + nodes)
        nodes += int(each.key.max(initial=-1)) + 1
    row = np.concatenate([np.zeros(0, np.int64), *rows])
    column = np.concatenate([np.zeros(0, np.int64), *columns])
    edges = coo_array((np.ones(len(row), bool), (row, column)), shape=(nodes, nodes))
    _, component = connected_components(edges, directed=False)
    members: dict[int, list[int]] = {}
    for number, group in enumerate(component[:count].tolist()):
        members.setdefault(group, []).append(number)
    values = _first_values(snapshot, property)
    groups = []
    for numbers in members.values():
        items = [snapshot.items[number] for number in numbers]
        named = min((values[number] for number in numbers if number in values), default=None)
        if named is None:
            named = min(items, key=lambda item: (len(item), item))
        groups.append(ItemGroup(named, tuple(items)))
    return groups


def _first_values(snapshot: GraphSnapshot, property: str | None) -> dict[int, str]:
    """Return the first in the alphabet of each item's values of a property; without one, none."""
    if property is None:
        return {}
    links = links_of_values(snapshot, property)
    first: dict[int, str] = {}
    for item, value in zip(links.item.tolist(), links.key.tolist(), strict=True):
        text = snapshot.values[value]
        first[item] = min(first.get(item, text), text)
    return first
