"""Check an item against the ontology.

The checks are: values that do not parse or are in a foreign unit, too many values, values that are
not in the vocabulary, and properties that do not apply to the item's category. ``schema/shapes.py``
expresses the same checks as SHACL shapes, but for the vocabulary.
"""

from __future__ import annotations

import builtins
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from schema.currencies import parse_price
from schema.literals import UNPARSED
from schema.ontology import Ontology, PropertySpec
from schema.quantities import Context, parse_quantity
from schema.terms import Item

MAX_LISTED_VALUES = 4


class Severity(StrEnum):
    """How serious a finding is, in SHACL's terms; the most serious comes first."""

    VIOLATION = "violation"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with an item; ``check`` names the rule that found it."""

    item: str | None
    property: str | None
    value: str | None
    severity: Severity
    check: str
    message: str

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as plain data."""
        return asdict(self)

    # For mypy the plain name means the field `property` in this class.
    @builtins.property
    def key(self) -> tuple[str | None, str | None, str | None, str]:
        """The key that two findings about the same problem share."""
        # Shapes do not tell a foreign unit from what is no quantity at all.
        check = "datatype" if self.check == "unit" else self.check
        return self.item, self.property, self.value, check


def check_item(
    ontology: Ontology,
    item: Item,
    facts: Sequence[tuple[str, str]],
    unshown: Collection[tuple[str, str]] = (),
) -> Iterator[Finding]:
    """Yield the findings about one item and its trusted (property, value) pairs.

    The pairs that are ``unshown``, because another source counts, are none too many.
    """
    if not (item.title or "").strip():
        yield Finding(item.id, None, None, Severity.WARNING, "title", "the item has no title")
    if not item.category:
        yield Finding(item.id, None, None, Severity.INFO, "category", "the item has no category")

    values_of: dict[str, list[str]] = {}
    for name, value in facts:
        values_of.setdefault(name, []).append(value)
    for name, values in values_of.items():
        spec = ontology.properties.get(name)
        if spec is None:
            message = f"the ontology has no property {name!r}"
            yield Finding(item.id, name, None, Severity.VIOLATION, "unknown", message)
        else:
            shown = [value for value in values if (name, value) not in unshown]
            yield from _check_count(spec, item, shown)
            yield from _check_values(spec, item, values)
            yield from _check_category(ontology, spec, item)


def _check_count(spec: PropertySpec, item: Item, values: Sequence[str]) -> Iterator[Finding]:
    if spec.cardinality == "one" and len(values) > 1:
        listed = ", ".join(map(repr, values[:MAX_LISTED_VALUES]))
        if len(values) > MAX_LISTED_VALUES:
            listed += ", …"
        message = f"{len(values)} values, but the ontology allows one: {listed}"
        yield Finding(item.id, spec.name, None, Severity.VIOLATION, "cardinality", message)


def _check_values(spec: PropertySpec, item: Item, values: Sequence[str]) -> Iterator[Finding]:
    if spec.values and spec.datatype in ("string", "boolean"):
        for value in values:
            if spec.position(value) is None:
                message = f"{value!r} is none of the {len(spec.values):,} values of the ontology"
                yield Finding(item.id, spec.name, value, Severity.WARNING, "vocabulary", message)
    if spec.datatype in UNPARSED:
        return

    kind = f"{spec.datatype} in {spec.unit}" if spec.unit else spec.datatype
    article = "an" if kind.startswith("i") else "a"
    for value in values:
        if spec.parse(value) is None:
            foreign = foreign_unit(spec, value)
            message = f"{value!r} is not {article} {kind}"
            if foreign is not None:
                message += f", but in {foreign}"
            check = "datatype" if foreign is None else "unit"
            yield Finding(item.id, spec.name, value, Severity.VIOLATION, check, message)


def foreign_unit(spec: PropertySpec, value: str) -> str | None:
    """Return the unit or currency of a value that cannot be read in that of its property."""
    if spec.unit is None:
        return None
    text = value.strip()
    if spec.datatype == "quantity":
        quantity = parse_quantity(text, Context(decimal_mark=spec.decimal_mark))
        return quantity.unit.symbol if quantity is not None else None
    if spec.datatype in ("integer", "decimal"):
        price = parse_price(text, spec.decimal_mark)
        return price.currency if price is not None and price.currency != spec.unit else None
    return None


def _check_category(ontology: Ontology, spec: PropertySpec, item: Item) -> Iterator[Finding]:
    # A property below the threshold in every category is merely rare, and cannot be out of place.
    applies_somewhere = any(share >= ontology.threshold for share in spec.applies_to.values())
    if (
        item.category is None
        or not applies_somewhere
        or ontology.may_have(spec.name, item.category)
    ):
        return
    share = ontology.stated_share(spec.name, item.category)
    message = (
        f"on {share:.1%} of the items in {item.category!r}, "
        f"below the ontology's threshold of {ontology.threshold:.0%}"
    )
    yield Finding(item.id, spec.name, item.category, Severity.WARNING, "applies", message)
