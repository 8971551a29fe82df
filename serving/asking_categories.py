"""Which items are asked for their category."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from kg.snapshot import GraphSnapshot
from schema.terms import CATEGORY
from schema.unasked import Unasked
from serving.asking import CellPlan, Refusal, indexes_of
from serving.cells import Cell


def with_missing_categories(
    plan: CellPlan,
    snapshot: GraphSnapshot,
    *,
    items: Iterable[str] | None = None,
    are_named: bool = False,
) -> CellPlan:
    """Return a plan that also asks for the category of items that have none.

    ``items`` (ids) restrict them. If these and the category ``are_named`` both, the others of them
    are refused. Raises ItemNotFoundError if an item is unknown.
    """
    indexes: Sequence[int] = range(len(snapshot.items))
    if items is not None:
        indexes = indexes_of(snapshot, dict.fromkeys(items))
    missing = [index for index in indexes if not snapshot.categories[index]]
    refused = list(plan.refused)
    if items is not None and are_named:
        missing_ones = set(missing)
        refused += [
            Refusal(snapshot.items[index], CATEGORY, Unasked.HAS_VALUE)
            for index in indexes
            if index not in missing_ones
        ]
    return _with_cells(plan, snapshot, missing, refused)


def with_named_categories(
    plan: CellPlan, snapshot: GraphSnapshot, items: Iterable[str]
) -> CellPlan:
    """Return a plan that also asks for the category of named items, whether they have one or not.

    Raises ItemNotFoundError if an item is unknown.
    """
    indexes = indexes_of(snapshot, dict.fromkeys(items))
    return _with_cells(plan, snapshot, indexes, list(plan.refused))


def _with_cells(
    plan: CellPlan, snapshot: GraphSnapshot, indexes: Sequence[int], refused: list[Refusal]
) -> CellPlan:
    """Return a plan with the categories of some items before their other cells, item by item."""
    order = {index: place for place, index in enumerate(indexes)}
    for cell in plan.cells:
        order.setdefault(cell.item, len(order))
    # Of all items the cells are in the order of these, by which a run that is cut off goes on.
    if len(indexes) == len(set(indexes)) and list(indexes) == sorted(indexes):
        order = {index: index for index in order}
    cells = [*(Cell(index, CATEGORY) for index in indexes), *plan.cells]
    cells.sort(key=lambda cell: order[cell.item])
    asked = {snapshot.items[index] for index in indexes}
    left = [each for each in refused if each.property is not None or each.item not in asked]
    return replace(plan, cells=cells, refused=left)
