"""What a mapping says of columns: steps that turn the columns of rows into other columns.

Texts are told apart by the language in their column's name, units join their numbers, and
name/value pairs, packed cells and long triples become columns of the properties that they name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kg.ingest.columns import Column, ColumnBuilder, Rows
from kg.ingest.flatten import Flattener
from kg.ingest.packed import MAY_SEPARATE, OTHER_FILE, split_images, unpack, unpack_json
from kg.ingest.unit_cells import CellSigns, join_units
from kg.ingest.values import (
    CleanIds,
    ColumnCleaners,
    ColumnEvidence,
    ColumnRules,
    Role,
    ValueSettings,
    rules_of,
    stands_for_no_id,
)
from kg.ingest.values.missing import word_key
from kg.ingest.values.plain import plain_texts
from kg.ingest.values.text import LIST_SEPARATOR, clean, split_quoted
from schema.arrays import BoolArray
from schema.bracketed import list_in
from schema.mapping import (
    BRACKETS,
    ColumnSettings,
    Mapping,
    PackedColumn,
    PairColumns,
    TripleColumns,
    absent_column,
)
from schema.mapping.languages import language_tag, tagged_names
from schema.mapping.names import is_pattern, matches, matching, normalized, number_in


class ColumnSteps:
    """Applies what one mapping says of columns.

    ``strict`` means that the source has all columns that the mapping names; records may lack them.
    """

    def __init__(self, mapping: Mapping, cleaners: ColumnCleaners, strict: bool) -> None:
        self.mapping = mapping
        self._cleaners = cleaners
        self._strict = strict
        self._settings: dict[str, ColumnSettings] = {}
        self._image_rules: dict[str, ColumnRules] = {}

    def apply(self, rows: Rows) -> None:
        """Carry out all steps."""
        self._open_lists(rows)
        self._tag_by_name(rows)
        self._join_units(rows)
        self._add_pairs(rows)
        self._unpack(rows)
        if self.mapping.triples is not None:
            self._pivot(rows, self.mapping.triples)

    def _open_lists(self, rows: Rows) -> None:
        """Take the brackets and quotes off lists as JSON and Python write them."""
        rows.columns = [
            column.with_texts([_without_brackets(text) for text in column.texts.to_pylist()])
            if self.settings_of(column.name).multi == BRACKETS
            else column
            for column in rows.columns
        ]

    def _tag_by_name(self, rows: Rows) -> None:
        """Tell apart columns whose names or settings say their language."""
        mapping = self.mapping
        tagged = tagged_names(rows.names(), mapping.languages.columns)
        columns = []
        for column in rows.columns:
            language = self.settings_of(column.name).language
            name = tagged.get(column.name)
            if name is not None:
                column = replace(column, name=name.name, language=name.language)
            elif language is not None:
                column = replace(column, language=language_tag(language))
            if column.language is not None:
                column = replace(column, language=self.tag(column.language))
            columns.append(column)
        rows.columns = columns

    def tag(self, code: str) -> str | None:
        """Return the language that a code of the source stands for, None for the leading one."""
        codes = self.mapping.languages.codes
        return language_tag(codes.get(code, codes.get(code.lower(), code))) or None

    def _join_units(self, rows: Rows) -> None:
        """Join the numbers of a column with the units in the column beside it."""
        names = {normalized(name): name for name in reversed(rows.names())}
        consumed = set()
        for name in rows.names():
            pattern = self.settings_of(name).unit_column
            if pattern is None:
                continue
            unit = pattern.replace("{name}", name)
            unit_name = names.get(normalized(unit))
            if unit_name is None and self._strict and self._needs_unit_column(name):
                raise absent_column(self.mapping, unit, list(names.values()))
            if unit_name is None or unit_name == name:
                continue
            consumed.add(unit_name)
            units = _texts_by_row(rows.named(unit_name))
            values = rows.named(name)
            rows.columns = [
                self._with_units(rows, column, units) if column.name == name else column
                for column in rows.columns
            ]
            filled = {row for column in values for row in column.rows.tolist()}
            if alone := sum(row not in filled for row in units):
                rows.notes[f"units in {unit_name!r} have no number beside them"] += alone
        # A unit without a number says nothing.
        rows.without(consumed)

    def _needs_unit_column(self, name: str) -> bool:
        """Return whether a mapping says of this very column which other one has its units."""
        return any(
            settings.unit_column is not None and not is_pattern(each) and matches(name, each)
            for each, settings in self.mapping.settings
        )

    def _with_units(self, rows: Rows, column: Column, units: dict[int, list[str]]) -> Column:
        """Return a column with the units of its rows: one for all texts of a row, or one each."""
        counts = Counter(column.rows.tolist())
        places: Counter[int] = Counter()
        texts = []
        for row, text in zip(column.rows.tolist(), column.texts.to_pylist(), strict=True):
            of_row = units.get(row, [])
            place = places[row]
            places[row] += 1
            if len(of_row) == counts[row] > 1:
                of_row = [of_row[place]]
            unit = LIST_SEPARATOR.join(of_row)
            texts.append(self._with_unit(rows, column.name, text, unit) if unit else text)
        return column.with_texts(texts)

    def _with_unit(self, rows: Rows, name: str, text: str, unit: str) -> str:
        """Return the text of a column with its unit, and note a unit that does not fit."""
        joined = join_units(text, unit, self.signs_of(name))
        if joined.fault is not None:
            rows.notes[f"cells of {name!r} {joined.fault.value}"] += 1
        return joined.text

    def signs_of(self, name: str) -> CellSigns:
        """Return what separates the values in the cells of a column, and which are none."""
        settings = self.value_settings(self.settings_of(name))
        missing = frozenset(map(word_key, settings.missing))
        return CellSigns(settings.separator, settings.quoted, missing)

    def _add_pairs(self, rows: Rows) -> None:
        """Turn columns of names and columns of values into columns by those names."""
        for pairs in self.mapping.pairs:
            if pairs.list is None:
                self._add_numbered(rows, pairs)

    def _add_numbered(self, rows: Rows, pairs: PairColumns) -> None:
        found = numbered(rows, pairs)
        builder = ColumnBuilder(derived=True)
        for name_column, value_column, unit_column in found:
            names = rows.texts(name_column)
            units = rows.texts(unit_column) if unit_column else [None] * len(rows)
            filled: set[int] = set()
            for column in rows.named(value_column):
                filled.update(column.rows.tolist())
                for row, text in zip(column.rows.tolist(), column.texts.to_pylist(), strict=True):
                    values = [text]
                    name = value_column
                    if given := (names[row] or "").strip():
                        name = given
                        values = split_values(text, pairs.multi, pairs.quoted)
                    # A value without a name keeps that of its column.
                    unit = units[row]
                    for value in values:
                        joined = self._with_unit(rows, name, value, unit) if unit else value
                        builder.add(name, row, joined)
            alone = sum(
                bool(name and name.strip()) and row not in filled for row, name in enumerate(names)
            )
            if alone:
                rows.notes[f"names in {name_column!r} have no value beside them"] += alone
        rows.without(name for columns in found for name in columns if name)
        rows.columns += builder.columns()

    def _unpack(self, rows: Rows) -> None:
        """Turn packed cells into columns by the names in them."""
        for packed in self.mapping.packed:
            names = matching(rows.names(), [packed.column])
            if packed.column in rows.names():
                names = [packed.column]
            if not names and self._strict and not is_pattern(packed.column):
                self.column(rows, (packed.column,))
            for name in names:
                self._unpack_column(rows, name, packed)

    def column(self, rows: Rows, names: tuple[str, ...]) -> str:
        """Return the first column of these names; raises MappingError if there is none."""
        columns = rows.names()
        found = [name for name in names if name in columns] or matching(columns, names)
        if not found:
            raise absent_column(self.mapping, names[0], columns)
        return found[0]

    def _unpack_column(self, rows: Rows, name: str, packed: PackedColumn) -> None:
        builder = ColumnBuilder(derived=True)
        cells = []
        for column in rows.named(name):
            for row, text in zip(column.rows.tolist(), column.texts.to_pylist(), strict=True):
                try:
                    if packed.json:
                        cells.append((row, name, unpack_json(text)))
                        continue
                    pairs = unpack(text, packed.pair, packed.item, packed.parts, packed.position)
                except ValueError as error:
                    if packed.json:
                        # A text beside JSON is a value like any other.
                        builder.add(name, row, text)
                    else:
                        rows.bad.setdefault(int(rows.sources[row]), str(error))
                    continue
                for property_name, value in pairs:
                    for each in split_values(value, packed.multi, quoted=False):
                        builder.add(property_name, row, each)
        rows.without([name])
        rows.columns += builder.columns()
        if cells:
            flattener = Flattener(self.mapping)
            derived = flattener.columns_of_cells(cells)
            rows.columns += [replace(column, derived=True) for column in derived]
            rows.left_out += flattener.left_out

    def _pivot(self, rows: Rows, triples: TripleColumns) -> None:
        """Turn rows of item, property and value into one row for each item."""
        columns = {
            key: self.column(rows, names)
            if key in ("item", "property", "value")
            else next(iter(matching(rows.names(), names)), None)
            for key, names in vars(triples).items()
        }
        texts = {key: rows.texts(name) if name else None for key, name in columns.items()}
        texts["item"] = self.ids(rows, self.column(rows, triples.item))

        items: dict[str, int] = {}
        first_rows: list[int] = []
        builder = ColumnBuilder()
        required = [texts[key] or [None] * len(rows) for key in ("item", "property", "value")]
        for row, (item, name, value) in enumerate(zip(*required, strict=True)):
            if item is None:
                rows.bad.setdefault(row, "empty id")
            if item is None or row in rows.bad:
                continue
            if name is None or not clean(name):
                rows.bad[row] = "empty property"
                continue
            if item not in items:
                items[item] = len(items)
                first_rows.append(row)
            if value is None:
                continue
            unit = texts["unit"][row] if texts["unit"] else None
            language = texts["language"][row] if texts["language"] else None
            tag = self.tag(language) if language else None
            text = self._with_unit(rows, name, value, unit) if unit else value
            builder.add(name, items[item], text, tag, int(rows.lines[row]))
        used = {name for name in columns.values() if name}
        for column in rows.columns:
            if column.name not in used:
                rows.left_out[column.name] += len(column)
        rows.lines = rows.lines[first_rows]
        rows.sources = np.array(first_rows, np.int64)
        rows.columns = builder.columns()
        rows.ids = dict(enumerate(items))

    def ids(self, rows: Rows, name: str) -> list[str | None]:
        """Return the clean ids of the rows in a column.

        Rows with one that is spoilt are bad, and so are rows with several: any choice is a guess.
        """
        for row, texts in _several(rows.named(name)):
            several = ", ".join(repr(text[:40]) for text in texts[:3])
            rows.bad.setdefault(int(rows.sources[row]), f"several ids in {name!r}: {several}")
        found = self.clean_ids(name, rows.text_column(name))
        for row, fault in found.faults.items():
            rows.bad.setdefault(int(rows.sources[row]), fault)
        return found.ids

    def clean_ids(self, name: str, texts: pa.Array | Sequence[str | None]) -> CleanIds:
        """Return the clean ids of texts [N] that a column, or the data, call by a name."""
        return self._cleaners.clean_ids(name, pa.array(texts, pa.string()))

    def references(self, rows: Rows, name: str) -> list[str | None]:
        """Return the clean ids of other items in a column; those that are spoilt are left out."""
        settings = self.value_settings(self.settings_of(name))
        texts = rows.text_column(name)
        found = self._cleaners.clean_ids(name, texts, settings)
        for row in found.faults:
            rows.left_out[name] += 1
            found.ids[row] = None
        ids = [None if stands_for_no_id(id, settings) else id for id in found.ids]
        if words := sum(id != old for id, old in zip(ids, found.ids, strict=True)):
            rows.notes[f"cells of {name!r} are a word for nothing, and name no product"] += words
        return ids

    def are_images(self, name: str, texts: pa.Array) -> BoolArray:
        """Return which cells [N] of a column surely hold one clean address or path of an image."""
        separator = self.settings_of(name).multi or self.mapping.multi
        mask = plain_texts(texts, self._rules_of_images(name).plain)
        separated = pc.match_substring_regex(texts, MAY_SEPARATE)
        if separator:
            separated = pc.or_(separated, pc.match_substring(texts, separator))
        other = pc.match_substring_regex(texts, f"(?i){OTHER_FILE}")
        return mask & ~pc.or_(separated, other).to_numpy(zero_copy_only=False)

    def images(self, name: str, text: str) -> list[str]:
        """Return the clean addresses and paths of the images in a cell of a column."""
        settings = self.settings_of(name)
        if settings.multi == "":
            parts = text.split(LIST_SEPARATOR)
        else:
            parts = split_images(text, settings.multi or self.mapping.multi)
        return [
            value
            for part in parts
            for value in self._cleaners.values_of_cell(name, part, self._rules_of_images(name))
        ]

    def _rules_of_images(self, name: str) -> ColumnRules:
        if name not in self._image_rules:
            cleaning = replace(self.value_settings(self.settings_of(name)), separator=None)
            self._image_rules[name] = rules_of("image", Role.PROPERTY, ColumnEvidence(), cleaning)
        return self._image_rules[name]

    def without_words_for_nothing(self, column: Column) -> Column:
        """Return a column without the texts that certainly are words for nothing; count these."""
        settings = self.value_settings(self.settings_of(column.name))
        texts = column.texts.to_pylist()
        return column.where(self._cleaners.are_values(column.name, texts, settings))

    def settings_of(self, name: str) -> ColumnSettings:
        """Return what the mapping says about a column."""
        if name not in self._settings:
            self._settings[name] = self.mapping.settings_of(name)
        return self._settings[name]

    def value_settings(self, settings: ColumnSettings) -> ValueSettings:
        """Return how the values of a column are cleaned by the mapping and the column's settings.

        A column's words for nothing hold beside those of the mapping; an empty list of them means
        that the column has no such word at all. With an empty separator its cells are never split.
        """
        missing = self.mapping.missing
        if settings.missing is not None:
            missing = missing | settings.missing if settings.missing else frozenset()
        return ValueSettings(
            separator=self.mapping.multi if settings.multi is None else settings.multi or None,
            quoted=settings.quoted is True,
            missing=missing,
            usual_missing=settings.missing is None or bool(settings.missing),
            html=settings.html,
            identifier=True if settings.datatype == "identifier" else None,
        )

    def values(self, rows: Rows, name: str) -> list[str | None]:
        """Return the first value of each row in a column, clean and without words for nothing."""
        settings = replace(self.value_settings(self.settings_of(name)), separator=None)
        texts = rows.text_column(name)
        values: list[str | None] = self._cleaners.clean(
            name, Role.TEXT, texts, settings
        ).to_pylist()
        return values


def _texts_by_row(columns: Iterable[Column]) -> dict[int, list[str]]:
    """Return all texts of each row that has some."""
    texts: dict[int, list[str]] = {}
    for column in columns:
        for row, text in zip(column.rows.tolist(), column.texts.to_pylist(), strict=True):
            if text.strip():
                texts.setdefault(row, []).append(text)
    return texts


def _several(columns: Sequence[Column]) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that have several different texts in some columns, and these."""
    if len(columns) == 1 and len(np.unique(columns[0].rows)) == len(columns[0]):
        return
    by_row: dict[int, dict[str, None]] = {}
    for column in columns:
        for row, text in zip(column.rows.tolist(), column.texts.to_pylist(), strict=True):
            if text.strip():
                by_row.setdefault(row, {})[text.strip()] = None
    yield from ((row, list(texts)) for row, texts in by_row.items() if len(texts) > 1)


def numbered(rows: Rows, pairs: PairColumns) -> list[tuple[str, str, str | None]]:
    """Return the columns of names, values and units that belong together by their numbers."""
    names = rows.names()
    values = {number_in(name, pairs.value): name for name in matching(names, [pairs.value])}
    units: dict[int | None, str] = {}
    if pairs.unit:
        units = {number_in(name, pairs.unit): name for name in matching(names, [pairs.unit])}
    found = []
    for name in matching(names, [pairs.name]):
        number = number_in(name, pairs.name)
        if number in values and values[number] != name:
            found.append((name, values[number], units.get(number)))
    return found


def split_values(text: str, separator: str | None, quoted: bool) -> list[str]:
    if not separator or separator not in text:
        return [text]
    values = split_quoted(text, separator) if quoted else text.split(separator)
    return [value for value in values if value.strip()]


def _without_brackets(text: str) -> str | None:
    """Return the values of a list in brackets as one text; any other text as it is."""
    values = list_in(text)
    return text if values is None else LIST_SEPARATOR.join(values) or None
