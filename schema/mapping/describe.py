"""How a mapping reads the columns of a source: for each its role, its property and why."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from dataclasses import dataclass

from schema.mapping.evidence import Sample
from schema.mapping.languages import tagged_names
from schema.mapping.model import Mapping
from schema.mapping.names import matches, matching
from schema.mapping.resolve import resolve

LEFT_OUT = "left out"


@dataclass(frozen=True)
class ColumnReading:
    """How a column is read: ``role`` in words, the ``property`` that it becomes, and why.

    ``texts`` are the cells of the first ``count`` rows that have one.
    """

    column: str
    role: str
    property: str | None
    texts: tuple[str, ...]
    count: int
    why: str = ""

    # For mypy the plain name means the field `property` in this class.
    @builtins.property
    def filled(self) -> float:
        """The share of the first rows that have a text in the column."""
        return len(self.texts) / self.count if self.count else 0.0


def describe_columns(
    mapping: Mapping, sample: Sample, why: dict[str, str] | None = None
) -> list[ColumnReading]:
    """Return how a mapping reads each column of a source, in the order of the columns."""
    tagged = tagged_names(sample.columns, mapping.languages.columns)
    names = list(dict.fromkeys(tagged[c].name if c in tagged else c for c in sample.columns))
    roles = _roles(mapping, names)
    readings = []
    for column in dict.fromkeys(sample.columns):
        name = tagged[column].name if column in tagged else column
        role = roles.get(name, "property")
        settings = mapping.settings_of(name)
        is_property = role == "property"
        if column in tagged:
            role = f"{role} in {tagged[column].language}"
        texts = tuple(
            cell
            for position, other in enumerate(sample.columns)
            if other == column
            for row in sample.rows
            if position < len(row) and (cell := row[position]) and cell.strip()
        )
        readings.append(
            ColumnReading(
                column,
                role,
                (settings.property or name) if is_property else None,
                texts,
                len(sample.rows),
                (why or {}).get(column, "" if is_property else f"mapping {mapping.name}"),
            )
        )
    return readings


def _roles(mapping: Mapping, names: list[str]) -> dict[str, str]:
    """Return the roles of columns that are more than properties."""
    roles: dict[str, str] = {}

    def give(columns: Iterable[str], role: str) -> None:
        for column in columns:
            roles.setdefault(column, role)

    for packed in mapping.packed:
        give(matching(names, [packed.column]), "properties, packed")
    for pairs in mapping.pairs:
        if pairs.list is not None:
            within = [f"{pairs.list}.{member}" for member in (pairs.name, pairs.value)]
            give(matching(names, within), "properties, by their names")
            continue
        give(matching(names, [pairs.name]), "names a property")
        give(matching(names, [pairs.value]), "values of the named property")
        give(matching(names, [pairs.unit] if pairs.unit else []), "unit of the named property")
    if mapping.triples is not None:
        for key, words in (
            ("item", "id"),
            ("property", "names a property"),
            ("value", "value of the named property"),
            ("language", "language"),
            ("unit", "unit"),
        ):
            give(matching(names, vars(mapping.triples)[key]), words)
    variants = mapping.variants
    if variants is not None:
        give(matching(names, variants.group), "id of the product")
        give(matching(names, (variants.packed and [variants.packed]) or []), "variants, packed")
        for axis in variants.axes:
            give(matching(names, [axis.name]), "names what varies")
            give(matching(names, [axis.value]), "what varies")
        if variants.list:
            inside = [name for name in names if matches(name, f"{variants.list}.*")]
            give(inside, "of the variants")
    for name in names:
        unit_column = mapping.settings_of(name).unit_column
        if unit_column:
            give(matching(names, [unit_column.replace("{name}", name)]), f"unit of {name}")

    if mapping.triples is not None:
        # Roles then name properties, and no other columns.
        give(names, LEFT_OUT)
        return roles
    layout = resolve(mapping, [name for name in names if name not in roles], strict=False)
    for role in ("id", "title", "description", "category", "images"):
        give(vars(layout)[role], role)
    give([layout.parent] if layout.parent else [], "id of the parent")
    give([layout.language_column] if layout.language_column else [], "language of the row")
    properties = set(layout.properties)
    give((name for name in names if name not in properties), LEFT_OUT)
    return roles
