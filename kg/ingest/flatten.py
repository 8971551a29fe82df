"""Flatten records (JSON, XML) into rows of text, so that no value is ever a piece of JSON.

A member of an object within an object gets a dotted name. A few shapes that catalogues use for one
value become one text: a number with its unit, a text with its language, a name with its value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

import numpy as np

from kg.ingest.columns import Column, ColumnBuilder, Content, Rows
from kg.ingest.rows import BadRowError, Record
from kg.ingest.scalars import scalar_text
from schema.mapping import Mapping, PairColumns
from schema.mapping.attributes import is_property_word, pair_members
from schema.mapping.languages import is_language, language_tag
from schema.mapping.lexicon import UNIT_COLUMNS
from schema.mapping.names import matches, normalized
from schema.mapping.unit_codes import is_bare_number, unit_text, with_unit
from schema.rejects import MAX_REJECT_TEXT

UNMAPPED = Mapping("sample", id=())
"""A mapping that says nothing, for records whose mapping is not known yet."""

MAX_DEPTH = 50
"""How deep objects may lie within one another."""
MAX_PAIR_MEMBERS = 8
"""Members of an object that may still be one name and one value."""

_TEXT_NAMES = ("value", "@value", "#text", "text", "amount", "data")
# Where a text holds: a channel of the PIM, which says nothing of the product.
_SCOPE_NAMES = ("scope", "channel")
_TAG_NAMES = ("language_tag", "@language", "@lang", "lang", "language", "locale")
_UNIT_NAMES = (
    "unit",
    "@unit",
    "unitCode",
    "unit_code",
    "unitText",
    "@unitCode",
    "@uom",
    "uom",
    "currency",
    "@currency",
    "measurementUnitCode",
    "@measurementUnitCode",
)
_PAIR_EXTRAS = frozenset(
    {"id", "code", "position", "sort", "order", "slug", "visible", "label", "type"}
)


class Flattener:
    """Flattens the records of one batch by a mapping."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self._cells = ColumnBuilder()
        self._pairs = ColumnBuilder(derived=True)
        self._lists = {normalized(pairs.list): pairs for pairs in mapping.pairs if pairs.list}
        self._ignored: dict[str, bool] = {}
        self._roles = _role_names(mapping)
        self.left_out: Counter[str] = Counter()
        variants = mapping.variants
        self._variants = normalized(variants.list) if variants and variants.list else None
        self._axes = {
            normalized(axis.name.rpartition(".")[0]) for axis in (variants.axes if variants else ())
        }
        self._variant_records: list[tuple[int, dict[str, Any]]] = []
        self._row = 0

    def rows(self, records: Sequence[Record], content: Content = hash) -> Rows:
        """Return the records as rows, and the variants in a record's list as rows after them.

        ``content`` is what rows are recognised by.
        """
        bad: dict[int, str] = {}
        for row, record in enumerate(records):
            try:
                self._add_record(row, record.value)
            except BadRowError as error:
                bad[row] = str(error)
        lines = [record.line for record in records]
        sources = list(range(len(records)))
        parent_rows = {}
        for row, members in self._variant_records:
            variant = len(lines)
            lines.append(records[row].line)
            sources.append(row)
            parent_rows[variant] = row
            own = {
                key: value
                for key, value in members.items()
                if not self._is_ignored(f"{self._variants}.{key}")
            }
            try:
                self._add_record(variant, own)
            except BadRowError as error:
                bad[row] = str(error)

        def describe(row: int) -> str:
            return " ".join(_scalars(records[row].value))[:MAX_REJECT_TEXT]

        return Rows(
            lines=np.array(lines, np.int64),
            columns=[*self._cells.columns(), *self._pairs.columns()],
            contents=[content(repr(record.value)) for record in records],
            describe=describe,
            sources=np.array(sources, np.int64),
            source_count=len(records),
            bad=bad,
            left_out=self.left_out,
            parent_rows=parent_rows,
        )

    def columns_of_cells(self, cells: Iterable[tuple[int, str, Any]]) -> list[Column]:
        """Return what JSON values in the cells of a column hold: (row, column, value)."""
        for row, column, value in cells:
            self._row = row
            if isinstance(value, dict):
                for key, member in value.items():
                    self._add_values(key.removeprefix("@"), member, None, None, 0)
            else:
                self._add(column, value, None, 0)
        return [*self._cells.columns(), *self._pairs.columns()]

    def _add_record(self, row: int, members: dict[str, Any]) -> None:
        self._row = row
        self._add_members("", members, None, 0)

    def _add_members(
        self, prefix: str, members: dict[str, Any], language: str | None, depth: int
    ) -> None:
        for key, value in members.items():
            plain = key.removeprefix("@")
            # An attribute beside an element of its name is another thing.
            name = key if plain != key and plain in members else plain
            self._add(prefix + name, value, language, depth)

    def _add(self, name: str, value: Any, language: str | None, depth: int) -> None:
        """Add whatever a member holds under a name."""
        if value is None or value == "":
            return
        if depth > MAX_DEPTH:
            raise BadRowError(f"nested too deep: objects may lie {MAX_DEPTH} levels deep")
        if self._is_ignored(name):
            self.left_out[name] += sum(1 for _ in _scalars(value))
        elif isinstance(value, dict):
            self._add_object(name, value, language, depth)
        elif isinstance(value, list | tuple):
            for element in value:
                self._add_element(name, element, language, depth)
        else:
            text = scalar_text(value)
            if text is None:
                self.left_out[name] += 1
            elif text:
                self._cells.add(name, self._row, text, language)

    def _add_element(self, name: str, element: Any, language: str | None, depth: int) -> None:
        """Add an element of a list: a variant, a pair of name and value, or anything else."""
        if isinstance(element, dict):
            if self._variants is not None and normalized(name) == self._variants:
                self._variant_records.append((self._row, element))
                return
            pairs = self._lists.get(normalized(name))
            if pairs is None and normalized(name) not in self._axes:
                pairs = _pair_names(name, element)
            if pairs is not None and self._add_pair(name, element, pairs, language, depth):
                return
        self._add(name, element, language, depth + 1)

    def _add_object(
        self, name: str, members: dict[str, Any], language: str | None, depth: int
    ) -> None:
        """Add an object: a text with its language, a number with its unit, or its members."""
        if self._variants is not None and normalized(name) == self._variants:
            # XML has no list of one.
            self._variant_records.append((self._row, members))
            return
        pairs = self._lists.get(normalized(name))
        is_axis = normalized(name) in self._axes
        if pairs is None and not is_axis and is_property_word(name.rpartition(".")[2]):
            # The one attribute of a product in XML.
            pairs = _pair_names(name, members)
        if pairs is not None and self._add_pair(name, members, pairs, language, depth):
            return
        if len(members) == 1 and next(iter(members)).startswith("$"):
            # MongoDB's types: {"$oid": "65a1"}, {"$numberDecimal": "9.90"}.
            self._add(name, next(iter(members.values())), language, depth + 1)
            return
        rest = {key: value for key, value in members.items() if value is not None}
        if len(rest) > 1 and _is_by_language(rest):
            for code, each in rest.items():
                self._add(name, each, language_tag(code), depth + 1)
            return
        if "data" in rest:
            for key in _SCOPE_NAMES:
                rest.pop(key, None)
        languages = self._mapping.languages
        tag = _first(rest, (*languages.tags, *_TAG_NAMES))
        text = _first(rest, (*languages.values, *_TEXT_NAMES))
        if tag is not None and text is not None and _is_tag(rest[tag]):
            if not _has_scalar(rest[text]):
                # A language without a text says nothing.
                self.left_out[f"{name}.{tag.removeprefix('@')}"] += 1
            self._add(name, rest.pop(text), language_tag(rest.pop(tag)), depth + 1)
            self._add_members(f"{name}.", rest, language, depth + 1)
            return
        unit = _first(rest, _UNIT_NAMES)
        if text is not None and unit is not None and _is_quantity(rest[text], rest[unit]):
            self._add(name, _quantity(rest.pop(text), rest.pop(unit)), language, depth + 1)
            self._add_members(f"{name}.", rest, language, depth + 1)
            return
        if text is not None and (len(rest) == 1 or text == "#text"):
            self._add(name, rest.pop(text), language, depth + 1)
        self._add_members(f"{name}.", rest, language, depth + 1)

    def _add_pair(
        self,
        name: str,
        members: dict[str, Any],
        pairs: PairColumns,
        language: str | None,
        depth: int,
    ) -> bool:
        """Add a property that the data name themselves; return False if there is no name."""
        rest = _opened(members, (pairs.name, pairs.value, pairs.unit or ""))
        name_key = _member(rest, pairs.name)
        value_key = _member(rest, pairs.value)
        if name_key is None or value_key is None:
            return False
        property_name = _plain_text(rest[name_key])
        if not property_name:
            return False
        del rest[name_key]
        value = rest.pop(value_key)
        unit_key = _member(rest, pairs.unit) if pairs.unit else None
        unit = _plain_text(rest.pop(unit_key)) if unit_key is not None else None
        if not _has_scalar(value):
            # Nor does a property without a value, or its unit.
            self.left_out[property_name] += 2 if unit else 1
        elif self._is_ignored(f"{name}.{property_name}"):
            self.left_out[f"{name}.{property_name}"] += sum(1 for _ in _scalars(value))
        else:
            self._add_values(property_name, value, unit, language, depth + 1)
        self._add_members(f"{name}.", rest, language, depth + 1)
        return True

    def _add_values(
        self, property_name: str, value: Any, unit: str | None, language: str | None, depth: int
    ) -> None:
        values = value if isinstance(value, list | tuple) else [value]
        for each in values:
            if isinstance(each, dict | list | tuple):
                self._add_nested_value(property_name, each, language, depth)
                continue
            text = scalar_text(each)
            if text:
                quantity = _quantity(each, unit) if unit else text
                self._pairs.add(property_name, self._row, quantity, language)
                if unit and quantity == text:
                    # The text is no number, or has its unit already.
                    self.left_out[f"{property_name}.unit"] += 1
            elif each is not None and each != "":
                self.left_out[property_name] += 1

    def _add_nested_value(
        self, property_name: str, value: Any, language: str | None, depth: int
    ) -> None:
        # What is within is flattened as anywhere, but belongs to the properties named by the data.
        cells = self._cells
        self._cells = self._pairs
        try:
            self._add(property_name, value, language, depth)
        finally:
            self._cells = cells

    def _leads_to_role(self, name: str) -> bool:
        return any(role == name or role.startswith(f"{name}.") for role in self._roles)

    def _is_ignored(self, name: str) -> bool:
        if name not in self._ignored:
            is_ignored = any(matches(name, each) for each in self._mapping.ignore)
            self._ignored[name] = is_ignored and not self._leads_to_role(normalized(name))
        return self._ignored[name]


def _role_names(mapping: Mapping) -> set[str]:
    """Return the normalized names that have a role, which a pattern to ignore does not change."""
    names = {*mapping.id, *mapping.title, *mapping.description, *mapping.category}
    names |= {*mapping.images, *mapping.language_column}
    names |= {pairs.list for pairs in mapping.pairs if pairs.list}
    variants = mapping.variants
    if variants is not None:
        names |= {*variants.parent, *variants.id, *(axis.name for axis in variants.axes)}
        names |= {variants.list} if variants.list else set()
    return {normalized(name) for name in names}


def _scalars(value: Any) -> Iterable[str]:
    """Yield the texts of all scalars within a value."""
    if isinstance(value, dict):
        for member in value.values():
            yield from _scalars(member)
    elif isinstance(value, list | tuple):
        for element in value:
            yield from _scalars(element)
    elif value is not None and value != "":
        yield scalar_text(value) or ""


def _has_scalar(value: Any) -> bool:
    return next(iter(_scalars(value)), None) is not None


def _first(members: dict[str, Any], names: Iterable[str]) -> str | None:
    return next((name for name in names if name in members), None)


def _member(members: dict[str, Any], name: str) -> str | None:
    """Return the key of a member, however it is spelled."""
    if name in members:
        return name
    wanted = normalized(name)
    return next((key for key in members if normalized(key.removeprefix("@")) == wanted), None)


def _opened(members: dict[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """Return members with those of the objects within that paths like "Feature.Name" lead into."""
    rest = dict(members)
    wanted = [normalized(path) for path in paths if "." in path or "/" in path]
    closed = list(rest) if wanted else []
    while closed:
        key = closed.pop()
        name = key.removeprefix("@")
        inner = rest[key]
        leads = any(path.startswith(f"{normalized(name)}.") for path in wanted)
        if leads and isinstance(inner, dict):
            opened = {f"{name}.{each.removeprefix('@')}": value for each, value in inner.items()}
            del rest[key]
            rest |= opened
            closed += opened
    return rest


def _plain_text(value: Any) -> str | None:
    """Return the text of a scalar, of a list of one, or of an object that is only a text."""
    if isinstance(value, list | tuple) and value:
        value = value[0]
    if isinstance(value, dict):
        text = _first(value, _TEXT_NAMES)
        value = value[text] if text is not None else None
    if value is None or isinstance(value, dict | list | tuple):
        return None
    return scalar_text(value)


def _pair_names(name: str, element: dict[str, Any]) -> PairColumns | None:
    """Return the members that name a property and hold its value, if an element has them and
    little else; ``name`` is that of the element."""
    members = tuple(element)
    pair = _known_pair(name, members)
    if pair is None or not isinstance(element[pair.name], str):
        return None
    return pair


@lru_cache(maxsize=1 << 12)
def _known_pair(name: str, members: tuple[str, ...]) -> PairColumns | None:
    """Return the members that make a pair: elements of one kind nearly all have the same."""
    if len(members) > MAX_PAIR_MEMBERS:
        return None
    pair = pair_members(members)
    if pair is None and "#text" in members and is_property_word(name.rpartition(".")[2]):
        # <param name="Colour">red</param>
        pair = pair_members([*(each for each in members if each != "#text"), "value"])
        pair = (pair[0], "#text") if pair is not None and pair[1] == "value" else None
    if pair is None:
        return None
    units = {normalized(each.removeprefix("@")) for each in (*_UNIT_NAMES, *UNIT_COLUMNS)}
    tags = {normalized(each.removeprefix("@")) for each in _TAG_NAMES}
    keys = {key: normalized(key.removeprefix("@")) for key in members}
    unit = next((key for key in members if keys[key] in units and key not in pair), None)
    rest = {keys[key] for key in members if key not in (*pair, unit)}
    if rest - units - tags - _PAIR_EXTRAS:
        return None
    return PairColumns(*pair, unit)


def _is_by_language(members: dict[str, Any]) -> bool:
    """Return whether an object holds a text in several languages: {"en": "Cup", "de": "Tasse"}."""
    return all(map(is_language, members)) and all(
        isinstance(value, str) for value in members.values()
    )


def _is_tag(value: Any) -> bool:
    return isinstance(value, str) and is_language(value)


def _is_quantity(value: Any, unit: Any) -> bool:
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    is_number = is_number or (isinstance(value, str) and is_bare_number(value))
    return is_number and isinstance(unit, str) and scalar_text(value) is not None and bool(unit)


def _quantity(value: Any, unit: str) -> str:
    """Return a number with its unit; a text that is no bare number as it is."""
    text = scalar_text(value) or ""
    if isinstance(value, str | bool):
        return with_unit(text, unit)
    # However a number is written: 1e+16.
    return f"{text} {unit_text(unit)}".rstrip()
