"""What mappings say of how properties are read, beside what their values show.

A mapping gives a column's datatype, unit and locale. This is kept by mapping, property and column,
because a later source may lack the column, and because a mapping that was edited says something
else of it. Where two mappings contradict each other, neither holds: numbers and dates that they
read in different ways are not read until a person decides in the ontology.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from schema.currencies import find_currency
from schema.documents import parse_toml
from schema.errors import DataError
from schema.literals import DATATYPES, NOTHING_GIVEN, UNPARSED, Given
from schema.locales import find_locale
from schema.mapping import Mapping
from schema.mapping.unit_codes import unit_text
from schema.numbers import UNCLEAR
from schema.settings import shown
from schema.units import find_unit

GO_ON = (
    "restore it from a copy, or remove it and load the sources again whose mappings say how "
    "columns are read"
)
"""How to go on when the file of a home is damaged: the end of such messages."""
FIELDS = ("datatype", "unit", "decimal_mark", "date_order")
_UNDECIDED = {"decimal_mark": UNCLEAR, "date_order": ""}
"""What holds of a field that mappings contradict each other about; of others the values decide."""
_CONSEQUENCES = {
    "datatype": "its values decide",
    "unit": "its values decide which is shown, and are converted",
    "decimal_mark": "numbers such as 1,250 are not read",
    "date_order": "dates such as 03/04/2024 are not read",
}


def given_by(mapping: Mapping, column: str) -> Given:
    """Return what a mapping says of how the values of a column are read."""
    settings = mapping.settings_of(column)
    locale = settings.locale or mapping.locale
    style = find_locale(locale) if locale else None
    unit = _known_unit(settings.unit)
    datatype = settings.datatype
    if datatype is None or unit is None:
        pass
    elif datatype in (*UNPARSED, "boolean", "date"):
        unit = None
    elif find_unit(unit) is not None:
        # Its bare numbers are stored with the unit, so that they are no mere numbers.
        datatype = "quantity"
    elif datatype == "quantity":
        datatype = "decimal"
    return Given(
        datatype,
        unit,
        style.decimal_mark if style else None,
        style.date_order if style else None,
    )


def _known_unit(text: str | None) -> str | None:
    """Return the symbol of a unit or the code of a currency; None if it is neither."""
    if not text:
        return None
    symbol = unit_text(text)
    unit = find_unit(symbol)
    return unit.symbol if unit is not None else find_currency(symbol)


@dataclass(frozen=True, slots=True)
class Statement:
    """That a mapping gives a field of a property a value, by a column."""

    mapping: str
    column: str
    value: str


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two different things that mappings say of one field of a property."""

    property: str
    field: str
    one: Statement
    other: Statement

    def line(self) -> str:
        """Return what a person should know, and how to decide."""
        said = " and ".join(
            f"{shown(each.value)} by mapping {shown(each.mapping)} (column {shown(each.column)})"
            for each in (self.one, self.other)
        )
        return (
            f"its {self.field} is {said}: {_CONSEQUENCES[self.field]} until you set {self.field} "
            "in ontology.toml"
        )


class DeclaredReadings:
    """What mappings say of properties, as it was when sources were last loaded by them."""

    def __init__(self, entries: dict[str, dict[str, dict[str, Given]]] | None = None) -> None:
        self._entries = entries or {}
        """By mapping, property and column."""
        self.has_changed = False
        """Whether anything was put since this was last set to False."""

    def renew(self, mapping: Mapping) -> list[str]:
        """Let a mapping say again what it says of the columns that it was used for.

        Return a line for each thing that it says of some properties and did not say before.
        """
        changed: dict[str, dict[str, None]] = {}
        before = self._entries.pop(mapping.name, {})
        self.has_changed = self.has_changed or bool(before)
        for property, columns in before.items():
            for column, given in columns.items():
                name = mapping.settings_of(column).property or column
                # Of a column that is renamed nothing is known until it is seen under its new name.
                now = given_by(mapping, column) if name == property else NOTHING_GIVEN
                self._put(mapping.name, property, column, now)
                if now != given and now != NOTHING_GIVEN:
                    change = f"now says {_words(now)}, and no longer {_words(given)}"
                    changed.setdefault(change, {})[property] = None
        return [
            f"mapping {mapping.name} {change}, of {_listed(list(properties))}"
            for change, properties in changed.items()
        ]

    def add(self, mapping: Mapping, property: str, column: str) -> None:
        """Note what a mapping says of a column that became a property."""
        known = self._entries.get(mapping.name, {}).get(property, {})
        if column not in known:
            # What is known of a column was renewed when its source was begun.
            self._put(mapping.name, property, column, given_by(mapping, column))

    def _put(self, mapping: str, property: str, column: str, given: Given) -> None:
        if given != NOTHING_GIVEN:
            self.has_changed = True
            self._entries.setdefault(mapping, {}).setdefault(property, {})[column] = given

    def given(self) -> dict[str, Given]:
        """Return what is given of each property; what is contradicted has a remark."""
        found: dict[str, Given] = {}
        for property, said in self._statements().items():
            fields: dict[str, Any] = {}
            for field, statements in said.items():
                values = {statement.value for statement in statements}
                fields[field] = values.pop() if len(values) == 1 else _UNDECIDED.get(field)
            found[property] = Given(**fields)
        for each in self.contradictions():
            given = found[each.property]
            found[each.property] = replace(
                given, remarks=(*given.remarks, (each.field, each.line()))
            )
        return found

    def contradictions(self) -> list[Contradiction]:
        """Return where mappings, or columns of one, contradict each other."""
        found = []
        for property, said in self._statements().items():
            for field, statements in said.items():
                one = statements[0]
                other = next((each for each in statements if each.value != one.value), None)
                if other is not None:
                    found.append(Contradiction(property, field, one, other))
        return found

    def _statements(self) -> dict[str, dict[str, list[Statement]]]:
        """Return what is said, by property and field, in an order that is always the same."""
        found: dict[str, dict[str, list[Statement]]] = {}
        for property, mapping, column, given in sorted(self._rows(), key=lambda row: row[:3]):
            for field in FIELDS:
                value = _field(given, field)
                if value is not None:
                    statements = found.setdefault(property, {}).setdefault(field, [])
                    statements.append(Statement(mapping, column, value))
        return found

    def _rows(self) -> Iterator[tuple[str, str, str, Given]]:
        for mapping, properties in self._entries.items():
            for property, columns in properties.items():
                for column, given in columns.items():
                    yield property, mapping, column, given

    def digest(self) -> str:
        """Return a hash of the content, "" if there is none."""
        return hashlib.sha256(self.to_toml().encode()).hexdigest() if self._entries else ""

    def to_toml(self) -> str:
        """Return the content as TOML."""
        import tomli_w

        document: dict[str, Any] = {}
        for property, mapping, column, given in sorted(self._rows(), key=lambda row: row[:3]):
            said = {name: value for name in FIELDS if (value := _field(given, name)) is not None}
            columns = document.setdefault(mapping, {}).setdefault(property, {})
            columns[column] = said
        return tomli_w.dumps({"version": 1, "mapping": document})

    @classmethod
    def from_toml(cls, text: str, name: str) -> DeclaredReadings:
        """Read what ``to_toml`` wrote; ``name`` is what the error message calls it."""
        try:
            document = parse_toml(text)
            return cls(
                {
                    mapping: {
                        property: {column: _given(said) for column, said in columns.items()}
                        for property, columns in properties.items()
                    }
                    for mapping, properties in document.get("mapping", {}).items()
                }
            )
        except (AttributeError, TypeError, ValueError) as error:
            raise DataError(f"{name} cannot be read ({error}): {GO_ON}") from None

    @classmethod
    def load(cls, path: Path) -> DeclaredReadings:
        """Read a file; nothing is said if there is none. Raises DataError if it cannot be read."""
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return cls()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read ({error}): {GO_ON}") from None
        return cls.from_toml(text, str(path))


_CHOICES = {
    "datatype": DATATYPES,
    "decimal_mark": (".", ","),
    "date_order": ("dmy", "mdy"),
}


def _given(said: dict[str, Any]) -> Given:
    """Return what one column of a mapping says; raises ValueError if it cannot say that."""
    for field, value in said.items():
        choices = _CHOICES.get(field)
        if field not in FIELDS or not isinstance(value, str):
            raise ValueError(f"{shown(field)} = {shown(value)} is unknown")
        if choices is not None and value not in choices:
            raise ValueError(f"{field} = {shown(value)} is none of {', '.join(choices)}")
    return Given(**said)


def _field(given: Given, field: str) -> str | None:
    match field:
        case "datatype":
            return given.datatype
        case "unit":
            return given.unit
        case "decimal_mark":
            return given.decimal_mark
        case _:
            return given.date_order


_MAX_LISTED = 8


def _listed(names: list[str]) -> str:
    more = len(names) - _MAX_LISTED
    return ", ".join(names[:_MAX_LISTED]) + (f" and {more:,} more" if more > 0 else "")


def _words(given: Given) -> str:
    said = ((name, _field(given, name)) for name in FIELDS)
    return ", ".join(f"{name} {shown(value)}" for name, value in said if value is not None)
