"""Findings that take no model: by the ontology, by spellings, and where sources differ."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from kg.snapshot import GraphSnapshot
from kg.source_conflicts import Conflict, Standing, stating_sides
from schema.near_duplicates import near_duplicates
from schema.ontology import Ontology
from schema.terms import Item
from schema.validation import check_item
from serving.audit.findings import Finding, Kind, Proposed

_KINDS = {
    "vocabulary": Kind.VOCABULARY,
    "datatype": Kind.UNREADABLE,
    "unit": Kind.UNREADABLE,
    "applies": Kind.APPLIES,
}


def rule_findings(
    snapshot: GraphSnapshot,
    ontology: Ontology,
    indexes: Sequence[int],
    is_asked: Callable[[str], bool],
) -> Iterator[Finding]:
    """Yield the statements of items that the ontology speaks against, of some properties.

    ``catalograph validate`` checks the same; here they stand beside what the models find.
    """
    for index in indexes:
        id = snapshot.items[index]
        statements = snapshot.statements_of(index)
        item = Item(id, title=snapshot.titles[index], category=snapshot.categories[index])
        known = [(name, value) for name, value in statements if name in ontology.properties]
        for found in check_item(ontology, item, known):
            kind = _KINDS.get(found.check)
            if kind is None or found.property is None or not is_asked(found.property):
                continue
            values = [found.value]
            if kind is Kind.APPLIES:
                values = [value for name, value in statements if name == found.property]
            for value in values:
                evidence = [{"rule": found.check, "message": found.message}]
                yield Finding(id, found.property, value, None, (), kind, None, evidence)


def spelling_findings(
    snapshot: GraphSnapshot,
    ontology: Ontology,
    indexes: Sequence[int],
    is_asked: Callable[[str], bool],
) -> Iterator[Finding]:
    """Yield values that are probably others, spelled differently.

    The gain is the share by which items with the usual spelling outnumber those with the other.
    """
    offers = {
        (each.property, each.other.value): each
        for each in near_duplicates(ontology)
        if is_asked(each.property)
    }
    if not offers:
        return
    for index in indexes:
        for statement in snapshot.statements_of(index):
            offer = offers.get(statement)
            if offer is not None:
                usual = offer.value.items / (offer.value.items + offer.other.items)
                yield Finding(
                    snapshot.items[index],
                    *statement,
                    1 - usual,
                    (Proposed(offer.value.value, usual),),
                    Kind.SPELLING,
                    2 * usual - 1,
                    [{"reason": offer.reason, "items": offer.value.items}],
                )


def conflict_findings(
    conflicts: Iterable[Conflict], asked: Collection[str], is_asked: Callable[[str], bool]
) -> Iterator[Finding]:
    """Yield values of some items that others contradict: sources, or a reviewer.

    Nothing tells which of them is right. Those that a reviewer accepted are proposed first, then
    those that most sources state.
    """
    for conflict in conflicts:
        if conflict.item not in asked or not is_asked(conflict.property):
            continue
        told = {row["value"]: [side for side, _ in stating_sides(row)] for row in conflict.losing}
        told = {
            value: found
            for value, found in told.items()
            if any(side.standing is not Standing.INHERITED for side in found)
        }
        if not told:
            continue
        losing = sorted(
            told,
            key=lambda value: (
                min(side.standing for side in told[value]),
                -len(told[value]),
                value,
            ),
        )
        for row in conflict.shown:
            told[row["value"]] = [side for side, _ in stating_sides(row)]
        yield Finding(
            conflict.item,
            conflict.property,
            str(conflict.shown[0]["value"]),
            None,
            tuple(Proposed(value, None) for value in losing),
            Kind.CONFLICT,
            None,
            [
                {"value": value, "stated_by": sorted({str(side) for side in found})}
                for value, found in told.items()
            ],
        )
