"""Where values are missing: the cells of a catalogue by category and property."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from schema.arrays import BoolArray, IntArray
from schema.ontology import Ontology
from schema.ontology_counts import CatalogueCounts, count_catalogue
from schema.terms import CATEGORY_SEPARATOR

if TYPE_CHECKING:
    from kg.stores.protocol import GraphStore

MAX_CATEGORIES = 80
"""Rows of a heat map: more do not fit on a page that people read."""
MAX_PROPERTIES = 60
"""Columns of a heat map."""


@dataclass(frozen=True)
class MissingValues:
    """How many items of each category [C] lack each property [P].

    ``categories`` are in the order of a tree, parents before their children; ``items`` [C] counts
    their items, those of subcategories included. ``missing`` [C, P] counts the items without a
    trusted value, and ``applies`` [C, P] says whether the ontology expects one.
    ``other_categories`` and ``other_properties`` are the numbers of those that were left out, and
    ``without_category`` that of items that have no category and so are in no row.
    """

    categories: tuple[str, ...]
    items: IntArray
    properties: tuple[str, ...]
    missing: IntArray
    applies: BoolArray
    other_categories: int = 0
    other_properties: int = 0
    without_category: int = 0

    def share(self) -> float:
        """Return the share of the expected values that are missing; 0 if none are expected.

        Only categories without a subcategory among these count, so that no item counts twice.
        """
        is_leaf = np.ones(len(self.categories), bool)
        for row, (category, following) in enumerate(pairwise(self.categories)):
            is_leaf[row] = not following.startswith(category + CATEGORY_SEPARATOR)
        expected = self.applies[is_leaf]
        cells = (expected * self.items[is_leaf, None]).sum()
        return float((self.missing[is_leaf] * expected).sum() / cells) if cells else 0.0


def read_missing_values(
    store: GraphStore,
    ontology: Ontology,
    max_categories: int = MAX_CATEGORIES,
    max_properties: int = MAX_PROPERTIES,
) -> MissingValues:
    """Read a store once; keep the largest categories and the properties that apply to most items.

    A property that applies nowhere has no column.
    """
    item_rows = (batch.select(["id", "category"]) for batch in store.items())
    columns = ["item", "property", "value", "rank"]
    counts = count_catalogue(item_rows, (batch.select(columns) for batch in store.scan()))
    categories = _largest(counts.categories, max_categories)
    items = np.array([counts.categories[category] for category in categories], np.int64)
    names = list(ontology.properties)
    applies = np.array(
        [[ontology.applies(name, category) for name in names] for category in categories], bool
    ).reshape(len(categories), len(names))

    expected = applies.T.astype(np.int64) @ items
    # Stable, so that equal ones stay in alphabetical order.
    order = np.argsort(-expected, kind="stable")[: np.count_nonzero(expected)]
    kept = order[:max_properties]
    properties = tuple(names[place] for place in kept)
    return MissingValues(
        categories,
        items,
        properties,
        _missing(counts, categories, properties),
        applies[:, kept],
        other_categories=len(counts.categories) - len(categories),
        other_properties=len(order) - len(kept),
        without_category=counts.items
        - sum(count for path, count in counts.categories.items() if len(_levels(path)) == 1),
    )


def _largest(categories: Mapping[str, int], limit: int) -> tuple[str, ...]:
    """Return the categories with most items, in the order of a tree.

    A parent has at least as many items as its children, and comes first among equals, so it is
    never left out before them.
    """
    ranked = sorted(categories, key=lambda path: (-categories[path], len(_levels(path)), path))
    return tuple(sorted(ranked[:limit], key=_levels))


def _levels(category: str) -> list[str]:
    return category.split(CATEGORY_SEPARATOR)


def _missing(
    counts: CatalogueCounts, categories: tuple[str, ...], properties: tuple[str, ...]
) -> IntArray:
    missing = np.zeros((len(categories), len(properties)), np.int64)
    for column, name in enumerate(properties):
        holders = counts.holders_by_category.get(name, {})
        for row, category in enumerate(categories):
            missing[row, column] = counts.categories[category] - holders.get(category, 0)
    return missing
