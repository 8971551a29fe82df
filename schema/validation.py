"""What the ontology says against of an item: values that do not parse, too many of them, properties where they do not belong."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from schema.literals import parse_literal
from schema.ontology import Ontology, PropertySpec
from schema.terms import Item


class Severity(StrEnum):
    """How grave a finding is, in SHACL's words."""

    VIOLATION = "violation"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about an item that should not be as it is; ``check`` names the rule."""

    item: str | None
    property: str | None
    value: str | None
    severity: Severity
    check: str
    message: str

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @builtins.property
    def key(self) -> tuple[str | None, str | None, str | None, str]:
        """What two findings share that say the same."""
        return self.item, self.property, self.value, self.check


def check_item(
    ontology: Ontology, item: Item, facts: Sequence[tuple[str, str]]
) -> Iterator[Finding]:
    """The findings about one item and its trusted (property, value) pairs."""
    if not (item.title or "").strip():
        yield Finding(item.id, None, None, Severity.WARNING, "title", "the item has no title")
    if not item.category:
        yield Finding(item.id, None, None, Severity.INFO, "category", "the item has no category")
    held: dict[str, list[str]] = {}
    for name, value in facts:
        held.setdefault(name, []).append(value)
    for name, values in held.items():
        spec = ontology.properties.get(name)
        if spec is None:
            yield Finding(
                item.id,
                name,
                None,
                Severity.VIOLATION,
                "unknown",
                f"the ontology has no property {name!r}",
            )
            continue
        yield from _values(spec, item, values)
        yield from _place(ontology, spec, item)


def _values(spec: PropertySpec, item: Item, values: Sequence[str]) -> Iterator[Finding]:
    if spec.cardinality == "one" and len(values) > 1:
        listed = ", ".join(map(repr, values[:4])) + (", …" if len(values) > 4 else "")
        message = f"{len(values)} values where the ontology says one: {listed}"
        yield Finding(item.id, spec.name, None, Severity.VIOLATION, "cardinality", message)
    if spec.datatype == "string":
        return
    kind = f"quantity in {spec.unit}" if spec.unit else spec.datatype
    for value in values:
        if parse_literal(value, spec.datatype, spec.unit) is None:
            yield Finding(
                item.id, spec.name, value, Severity.VIOLATION, "datatype", f"{value!r} is no {kind}"
            )


def _place(ontology: Ontology, spec: PropertySpec, item: Item) -> Iterator[Finding]:
    """A property that applies somewhere, and not here; one that is rare everywhere is in no wrong place."""
    if (
        item.category is None
        or not any(share >= ontology.threshold for share in spec.applies_to.values())
        or ontology.applies(spec.name, item.category)
    ):
        return
    share = ontology.share(spec.name, item.category)
    message = f"on {share:.1%} of the items in {item.category!r}, below the ontology's threshold of {ontology.threshold:.0%}"
    yield Finding(item.id, spec.name, item.category, Severity.WARNING, "applies", message)
