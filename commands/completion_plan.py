"""Which cells ``complete`` asks: those of properties, and the categories of items."""

from __future__ import annotations

from collections.abc import Sequence

from commands.base import Context
from commands.completion_request import CompletionRequest
from experts.classification import Classifier
from kg.snapshot import GraphSnapshot
from schema.errors import UsageError
from schema.terms import CATEGORY
from serving.asking import Asking, CellPlan, plan_missing, plan_named
from serving.asking_categories import with_missing_categories, with_named_categories


def plan_cells(
    context: Context,
    request: CompletionRequest,
    named: Sequence[tuple[str, str]] | None,
    snapshot: GraphSnapshot,
    asking: Asking,
    classifier: Classifier | None,
) -> CellPlan:
    """Return which cells are asked: those of properties, and the categories of items.

    Raises UsageError if categories are named that the model cannot tell.
    """
    is_property = CATEGORY in asking.properties
    is_named = not is_property and (
        CATEGORY in request.properties or any(name == CATEGORY for _, name in named or ())
    )
    if is_named and classifier is None:
        raise UsageError(
            f"the model has no classifier for --property {CATEGORY}: `catalograph finetune "
            "classify` adds one where items have categories"
        )
    if named is not None:
        pairs = named if is_property else [each for each in named if each[1] != CATEGORY]
        plan = plan_named(snapshot, asking, pairs)
        if not is_named:
            return plan
        return with_named_categories(
            plan, snapshot, [item for item, name in named if name == CATEGORY]
        )
    items = request.items or None
    names = [each for each in request.properties if is_property or each != CATEGORY]
    plan = CellPlan()
    if names or not request.properties:
        plan = plan_missing(snapshot, asking, items=items, properties=names or None)
    if is_property or (request.properties and not is_named):
        return plan
    if classifier is not None:
        return with_missing_categories(plan, snapshot, items=items, are_named=is_named)
    missing = sum(not category for category in snapshot.categories)
    if missing and missing < len(snapshot.items):
        context.note(
            f"{missing:,} items have no category, and the model has no classifier to tell it: "
            "`catalograph finetune classify` adds one"
        )
    return plan
