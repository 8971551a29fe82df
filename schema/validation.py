"""Check an item against the ontology.

The checks are: values that do not parse, too many values, and properties that do not apply to the
item's category. ``schema/shapes.py`` expresses the same checks as SHACL shapes.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from schema.literals import NOT_LEARNED
from schema.ontology import Ontology, PropertySpec
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
        return self.item, self.property, self.value, self.check


def check_item(
    ontology: Ontology, item: Item, facts: Sequence[tuple[str, str]]
) -> Iterator[Finding]:
    """Yield the findings about one item and its trusted (property, value) pairs."""
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
            yield from _check_values(spec, item, values)
            yield from _check_category(ontology, spec, item)


def _check_values(spec: PropertySpec, item: Item, values: Sequence[str]) -> Iterator[Finding]:
    if spec.cardinality == "one" and len(values) > 1:
        listed = ", ".join(map(repr, values[:MAX_LISTED_VALUES]))
        if len(values) > MAX_LISTED_VALUES:
            listed += ", …"
        message = f"{len(values)} values, but the ontology allows one: {listed}"
        yield Finding(item.id, spec.name, None, Severity.VIOLATION, "cardinality", message)
    if spec.datatype in ("string", *NOT_LEARNED):
        return

    kind = f"{spec.datatype} in {spec.unit}" if spec.unit else spec.datatype
    article = "an" if kind.startswith("i") else "a"
    for value in values:
        if spec.parse(value) is None:
            message = f"{value!r} is not {article} {kind}"
            yield Finding(item.id, spec.name, value, Severity.VIOLATION, "datatype", message)


def _check_category(ontology: Ontology, spec: PropertySpec, item: Item) -> Iterator[Finding]:
    # A property below the threshold in every category is merely rare, and cannot be out of place.
    applies_somewhere = any(share >= ontology.threshold for share in spec.applies_to.values())
    if item.category is None or not applies_somewhere or ontology.applies(spec.name, item.category):
        return
    share = ontology.share(spec.name, item.category)
    message = (
        f"on {share:.1%} of the items in {item.category!r}, "
        f"below the ontology's threshold of {ontology.threshold:.0%}"
    )
    yield Finding(item.id, spec.name, item.category, Severity.WARNING, "applies", message)
