"""Which cells are asked, and why the others are not.

A missing cell is asked if its property applies to the item's category and the model can answer it.
So is one that has a value, if the property may have several and the model tells the others.
Cells that are named one by one are asked wherever the model can answer them; the others of those
that are named are refused, each with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from kg.snapshot import GraphSnapshot
from schema.applicability import Applicability
from schema.errors import ItemNotFoundError, PropertyNotFoundError
from schema.ontology import Ontology
from schema.unasked import Unasked
from serving.cells import Cell


@dataclass(frozen=True, slots=True)
class Refusal:
    """Cells that were named and are not asked: all of an item or of a property, where one is None.

    ``item`` is an id.
    """

    item: str | None
    property: str | None
    reason: Unasked


@dataclass(frozen=True)
class CellPlan:
    """The ``cells`` to complete, and what is not asked.

    ``not_asked`` counts the missing cells of the items and properties in question that are not
    asked, by the reason; ``refused`` are those that were named. ``not_applying`` are the cells that
    are asked because they were named, although their property does not apply: they are not filled.
    """

    cells: list[Cell] = field(default_factory=list)
    not_asked: Counter[Unasked] = field(default_factory=Counter)
    refused: list[Refusal] = field(default_factory=list)
    not_applying: set[Cell] = field(default_factory=set)


class Asking:
    """What a home's ontology and a model's allow to be asked.

    Args:
        home: the home's ontology
        model: the model's, by the home's names; None for any model that knows all values
        removed: properties that a person has taken out of the home's ontology
        new_properties: whether properties that only the model has are asked where they apply by
            the model; not so if the home may have them under other names
        several: properties of which the model tells further values if some are known; they are
            asked if the home allows several
    """

    def __init__(
        self,
        home: Ontology,
        model: Ontology | None = None,
        removed: Collection[str] = (),
        *,
        new_properties: bool = True,
        several: Collection[str] = (),
    ) -> None:
        self.home = home
        self.model = model
        self.removed = frozenset(removed) - home.properties.keys()
        self.new_properties = new_properties
        self.several = frozenset(
            name for name in several if name in home.properties and home[name].cardinality == "many"
        )
        self.applicability = Applicability(home, model)
        known = model.properties if model is not None else {}
        self.properties = list(dict.fromkeys([*home.properties, *known]))
        """Those of the home and then those that only the model has."""

    def refusal(self, name: str) -> Unasked | None:
        """Return why no cell of a property can be asked; None if some can."""
        spec = self.home.properties.get(name)
        by_model = self.model.properties.get(name) if self.model is not None else None
        if spec is None and name in self.removed:
            return Unasked.REMOVED
        deciding = spec if spec is not None else by_model
        reason = deciding.not_completed if deciding is not None else None
        if reason is not None:
            return reason
        is_unknown = self.model is not None and (by_model is None or not by_model.values)
        return Unasked.UNKNOWN if is_unknown else None

    def checked(self, names: Iterable[str]) -> list[str]:
        """Return names of properties; raises PropertyNotFoundError if there is no such one."""
        listed = list(names)
        for name in listed:
            if name not in self.properties and name not in self.removed:
                raise PropertyNotFoundError(
                    f"no property {name!r} in this catalogue or its model: "
                    f"choose one of {', '.join(self.properties)}"
                )
        return listed


def plan_missing(
    snapshot: GraphSnapshot,
    asking: Asking,
    *,
    items: Iterable[str] | None = None,
    properties: Iterable[str] | None = None,
) -> CellPlan:
    """Plan the cells without a statement, all of them or those of some items and properties.

    If both are named, each of their cells is asked or refused, also where the property does not
    apply. Raises ItemNotFoundError or PropertyNotFoundError if a name is unknown.
    """
    names = None if properties is None else asking.checked(dict.fromkeys(properties))
    indexes: Sequence[int] = range(len(snapshot.items))
    if items is not None:
        indexes = indexes_of(snapshot, dict.fromkeys(items))
    if items is not None and names is not None:
        return _plan_pairs(snapshot, asking, indexes, names)
    plan = _plan_applying(snapshot, asking, indexes, names)
    if names is not None:
        plan.refused.extend(_unasked_properties(snapshot, asking, plan, names))
    elif items is not None:
        plan.refused.extend(_unasked_items(snapshot, asking, plan, indexes))
    return plan


def plan_named(
    snapshot: GraphSnapshot, asking: Asking, pairs: Iterable[tuple[str, str]]
) -> CellPlan:
    """Plan the cells that (item id, property) pairs name, whether they have a statement or not.

    Raises ItemNotFoundError or PropertyNotFoundError if a name is unknown.
    """
    pairs = list(dict.fromkeys(pairs))
    asking.checked(name for _, name in pairs)
    indexes = indexes_of(snapshot, (item for item, _ in pairs))
    plan = CellPlan()
    for index, (item, name) in zip(indexes, pairs, strict=True):
        _ask_or_refuse(plan, Cell(index, name), item, asking.refusal(name))
    _mark_not_applying(plan, snapshot, asking)
    return plan


def _plan_pairs(
    snapshot: GraphSnapshot, asking: Asking, indexes: Sequence[int], names: Sequence[str]
) -> CellPlan:
    plan = CellPlan()
    reasons = {name: asking.refusal(name) for name in names}
    for index in indexes:
        present = _present(snapshot, index) - asking.several
        for name, reason in reasons.items():
            if reason is None and name in present:
                reason = Unasked.HAS_VALUE
            _ask_or_refuse(plan, Cell(index, name), snapshot.items[index], reason)
    _mark_not_applying(plan, snapshot, asking)
    return plan


def _mark_not_applying(plan: CellPlan, snapshot: GraphSnapshot, asking: Asking) -> None:
    plan.not_applying.update(
        cell
        for cell in plan.cells
        if not asking.applicability.applies(cell.property, snapshot.categories[cell.item])
    )


def _ask_or_refuse(plan: CellPlan, cell: Cell, item: str, reason: Unasked | None) -> None:
    if reason is None:
        plan.cells.append(cell)
    else:
        plan.refused.append(Refusal(item, cell.property, reason))
        plan.not_asked[reason] += reason is not Unasked.HAS_VALUE


def _present(snapshot: GraphSnapshot, index: int) -> set[str]:
    return {name for name, _ in snapshot.statements_of(index)}


@dataclass(frozen=True)
class _CategoryPlan:
    """What is ``asked`` of a category's items, and why the other properties are not."""

    asked: list[str]
    unasked: dict[str, Unasked]
    counts: Counter[Unasked]


def _category_plan(
    asking: Asking, reasons: dict[str, Unasked | None], category: str | None
) -> _CategoryPlan:
    asked = []
    unasked = {}
    for name, reason in reasons.items():
        applies = asking.applicability.applies(name, category)
        if applies and reason is None:
            asked.append(name)
        elif applies or name in asking.home.properties:
            unasked[name] = reason if applies and reason is not None else Unasked.DOES_NOT_APPLY
    return _CategoryPlan(asked, unasked, Counter(unasked.values()))


def _plan_applying(
    snapshot: GraphSnapshot, asking: Asking, indexes: Sequence[int], names: Sequence[str] | None
) -> CellPlan:
    """Plan the missing cells whose property applies to the item's category."""
    # What statements are about without being in the ontology was taken out of it.
    removed = {each for each in snapshot.properties if each not in asking.home.properties}
    considered = [each for each in asking.properties if each not in removed | asking.removed]
    if names is not None:
        considered = [each for each in considered if each in set(names)]
    elif not asking.new_properties:
        considered = [each for each in considered if each in asking.home.properties]
    reasons = {name: asking.refusal(name) for name in considered}
    by_category: dict[str | None, _CategoryPlan] = {}
    plan = CellPlan()
    for index in indexes:
        category = snapshot.categories[index]
        if category not in by_category:
            by_category[category] = _category_plan(asking, reasons, category)
        of_category = by_category[category]
        present = _present(snapshot, index)
        plan.cells.extend(
            Cell(index, name)
            for name in of_category.asked
            if name not in present or name in asking.several
        )
        # Counted by category: a catalogue may have thousands of properties that do not apply.
        plan.not_asked.update(of_category.counts)
        for name in present & of_category.unasked.keys():
            plan.not_asked[of_category.unasked[name]] -= 1
    for reason in [each for each, count in plan.not_asked.items() if not count]:
        del plan.not_asked[reason]
    return plan


def _unasked_properties(
    snapshot: GraphSnapshot, asking: Asking, plan: CellPlan, names: Sequence[str]
) -> Iterable[Refusal]:
    """Yield the named properties of which no cell is asked."""
    asked = {cell.property for cell in plan.cells}
    for name in names:
        if name in asked:
            continue
        reason = asking.refusal(name)
        if reason is None:
            alone = _plan_applying(snapshot, asking, range(len(snapshot.items)), [name])
            some_lack_it = alone.not_asked[Unasked.DOES_NOT_APPLY] > 0
            is_foreign = name not in asking.home.properties
            lacks = some_lack_it or is_foreign
            reason = Unasked.DOES_NOT_APPLY if lacks else Unasked.HAS_VALUE
        yield Refusal(None, name, reason)


def _unasked_items(
    snapshot: GraphSnapshot, asking: Asking, plan: CellPlan, indexes: Sequence[int]
) -> Iterable[Refusal]:
    """Yield the named items of which no cell is asked, with the reason of most of their cells."""
    asked = {cell.item for cell in plan.cells}
    for index in indexes:
        if index not in asked:
            counts = _plan_applying(snapshot, asking, [index], None).not_asked
            most = counts.most_common(1)
            yield Refusal(snapshot.items[index], None, most[0][0] if most else Unasked.HAS_VALUE)


def indexes_of(snapshot: GraphSnapshot, ids: Iterable[str]) -> list[int]:
    """Return the indexes of items. Raises ItemNotFoundError if there is no such one."""
    index_of = {item: index for index, item in enumerate(snapshot.items)}
    indexes = []
    for item in ids:
        if item not in index_of:
            raise ItemNotFoundError(
                f"no item {item!r} among the catalogue's {len(index_of)}: "
                "use the ids of the source's id column"
            )
        indexes.append(index_of[item])
    return indexes
