"""Which empty cells of a table hold which values, found out by reading the table as an ingest does.

Texts that nobody writes are put into the empty cells of a batch, and the draft that an ingest would
make of it tells the item and the property of each.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Mapping as Mapping_
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, product

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kg.export.in_place.report import Filled, Kept
from kg.export.in_place.texts import CellText, cell_texts, decimal_mark
from kg.export.in_place.trials import Trials, Way, first_ways, is_stated, statements_by_cell
from kg.export.in_place.wanted import Cell, Wanted, WantedValues
from kg.ingest.assemble import Assembler, Origin
from kg.ingest.column_steps import numbered
from kg.ingest.columns import Rows, rows_of_batch
from kg.ingest.draft import Draft
from kg.ingest.rows import Batch
from kg.ingest.source_plan import TablePlan, column_names
from kg.ingest.values import values_of
from kg.ingest.values.text import clean
from schema.bracketed import list_in
from schema.mapping import (
    BRACKETS,
    ColumnSettings,
    Mapping,
    PackedColumn,
    PairColumns,
    Sample,
)
from schema.mapping.describe import describe_columns
from schema.mapping.languages import tagged_names
from schema.mapping.names import matching, normalized
from schema.terms import CATEGORY, CATEGORY_SEPARATOR, statement_id

NOWHERE = Origin("", "", "", "")
_PROBE = re.compile("\uf8ff([0-9]+):([0-9]+)\uf8ff")
_NAMED = ("values of the named property", "value of the named property")


@dataclass(frozen=True, slots=True)
class CellEdit:
    """A text for the cell of a row of the batch and a column; what a packed cell gets in addition
    is ``appended`` to what it says."""

    row: int
    column: int
    text: str
    appended: bool = False


@dataclass(frozen=True, slots=True)
class NewRow:
    """A row to add after one of the batch: its texts by column; all other cells are empty."""

    after: int
    texts: tuple[tuple[int, str], ...]


TableEdit = CellEdit | NewRow


@dataclass(frozen=True)
class FilledBatch:
    """A batch as it was read, and what changes in it.

    Attributes:
        batch: the batch
        statements: the ids of the statements of the batch as it is now, with a name: ``id``
        cells: the new texts of cells, by row of the batch and by column
        new_rows: the texts of rows to add by column, by the row after which they come
        filled: the items and properties that are filled, by the row that has them
        filled_anew: those of the rows to add, in the order of ``new_rows``
    """

    batch: Batch
    statements: pa.Table
    cells: dict[int, dict[int, str]] = field(default_factory=dict)
    new_rows: dict[int, list[dict[int, str]]] = field(default_factory=dict)
    filled: dict[int, dict[Cell, None]] = field(default_factory=dict)
    filled_anew: dict[int, list[Cell]] = field(default_factory=dict)


class TableFiller:
    """Fills the empty cells of one table.

    ``fault`` says why a cell of a batch cannot be written in the form of the file; None if it can.
    """

    def __init__(
        self,
        plan: TablePlan,
        wanted: WantedValues,
        filled: Filled,
        fault: Callable[[Batch, TableEdit], Kept | None] = lambda batch, edit: None,
    ) -> None:
        self.plan = plan
        self.mapping: Mapping = plan.mapping
        self._wanted = wanted
        self._filled = filled
        self._fault = fault
        self._names = column_names(plan.source)
        self._assembler = plan.assembler(NOWHERE)

    def filled_batches(self, batches: Callable[[], Iterator[Batch]]) -> Iterator[FilledBatch]:
        """Yield the batches of the source with the texts for their cells.

        ``batches`` reads the source from its start.
        """
        if self.mapping.may_repeat_ids:
            # What another row of an item says is not to be filled in here.
            self._mark_stated(batches())
        for batch in batches():
            yield self._fill(batch)

    def _rows(self, batch: Batch) -> Rows:
        return rows_of_batch(batch, self._names)

    def _mark_stated(self, batches: Iterator[Batch]) -> None:
        assembler = self.plan.assembler(NOWHERE)
        for batch in batches:
            statements = assembler.assemble_rows(self._rows(batch), batch).statements
            cells = statements_by_cell(statements)
            wanted = self._wanted.of_items({item for item, _, _ in cells})
            stated: list[Cell] = []
            for each in chain.from_iterable(wanted.values()):
                before = cells.get((each.item, each.property, each.language), set())
                if is_stated(each, before, self._filled):
                    stated.append((each.item, each.property))
            self._wanted.mark_stated(stated)

    def _fill(self, batch: Batch) -> FilledBatch:
        rows = self._rows(batch)
        lines = rows.lines
        known = self._assembler.beside()
        draft = self._assembler.maker.draft(rows)
        assembled = self._assembler.assemble_draft(draft, rows, lines, batch)
        rejected = {reject.line for reject in assembled.rejects}
        bad = {row for row, line in enumerate(batch.lines.tolist()) if line in rejected}
        items = {id for id in draft.ids if id is not None}
        wanted = self._wanted.of_items(items)
        unchanged = FilledBatch(batch, assembled.statements.select(["id"]))
        if not wanted:
            return unchanged
        has_categories = any(
            each.property == CATEGORY for each in chain.from_iterable(wanted.values())
        )
        search = _Search(
            self.mapping, self._names, batch, known, bad, rejected_of(wanted), has_categories
        )
        trials: Trials[TableEdit] = Trials(search.before, set(wanted), search.read, self._filled)
        for each in chain.from_iterable(wanted.values()):
            before = trials.cells.get((each.item, each.property, each.language), set())
            if not is_stated(each, before, self._filled):
                new = each.in_place_of(before)
                trials.add(new, self._closed(batch, search.ways(new)))
        result = trials.run()
        if not result.edits:
            return unchanged
        if self.mapping.may_repeat_ids:
            done = [
                (attempt.wanted.item, attempt.wanted.property)
                for attempt in trials.attempts
                if attempt.way is not None
            ]
            self._wanted.mark_stated(done)
        # An item's category is no statement.
        categories = pa.array(sorted(search.category_ids), pa.string())
        after = result.after(unchanged.statements)
        ids = after.filter(pc.invert(pc.is_in(after["id"], value_set=categories)))
        filled: dict[int, dict[Cell, None]] = {}
        filled_anew: dict[int, list[Cell]] = {}
        for each, way in result.made:
            for edit in way.edits:
                if isinstance(edit, NewRow):
                    filled_anew.setdefault(edit.after, []).append((each.item, each.property))
                else:
                    filled.setdefault(edit.row, {})[each.item, each.property] = None
        cells = search.cells_of(result.edits)
        return FilledBatch(batch, ids, cells, new_rows_of(result.edits), filled, filled_anew)

    def _closed(self, batch: Batch, ways: Iterable[Way[TableEdit]]) -> Iterator[Way[TableEdit]]:
        """Yield ways, those closed whose texts cannot be written in the form of the file."""
        for way in ways:
            faults = (self._fault(batch, edit) for edit in way.edits)
            fault = next((each for each in faults if each is not None), None)
            yield way if fault is None else Way(way.edits, way.places, way.values, way.count, fault)


def rejected_of(wanted: Mapping_[str, Sequence[Wanted]]) -> dict[str, frozenset[str]]:
    """Return the values that people rejected, by item."""
    return {
        item: frozenset(chain.from_iterable(each.rejected for each in found))
        for item, found in wanted.items()
    }


def new_rows_of(edits: Iterable[TableEdit]) -> dict[int, list[dict[int, str]]]:
    """Return the texts of new rows by column, by the row after which they come."""
    rows: dict[int, list[dict[int, str]]] = {}
    for edit in edits:
        if isinstance(edit, NewRow):
            rows.setdefault(edit.after, []).append(dict(edit.texts))
    return rows


class _Search:
    """Looks for the cells of a batch that may hold values of some items.

    Of the items the values are given that people rejected. Rows that are ``bad`` are left alone.
    With ``has_categories``, the items' categories are read like values of a property;
    ``category_ids`` are the ids that they have so.
    """

    def __init__(
        self,
        mapping: Mapping,
        names: Sequence[str] | None,
        batch: Batch,
        known: Assembler,
        bad: set[int],
        items: Mapping_[str, frozenset[str]],
        has_categories: bool = False,
    ) -> None:
        self._mapping = mapping
        self._has_categories = has_categories
        self.category_ids: set[str] = set()
        self._given_names = names
        self._batch = batch
        self._known = known
        self._bad = bad
        self._items = items
        self._is_nothing: dict[tuple[str, str], bool] = {}
        self._texts: list[list[str | None]] = [column.to_pylist() for column in batch.table.columns]
        self.names: list[str] = list(names or batch.table.column_names)
        self._forms: dict[tuple[int, str], _ColumnForm] = {}
        # Which knows what the batch itself shows of its columns.
        self._reader = known.beside()
        self.draft, self.before = self._look(batch, self._reader)
        self._rows_of_items: dict[str, list[int]] = {}
        for id, source in zip(self.draft.ids, self.draft.sources.tolist(), strict=True):
            is_read = source not in bad and source not in self.draft.bad
            if id is not None and id in items and is_read:
                self._rows_of_items.setdefault(id, []).append(source)

    def _look(self, batch: Batch, assembler: Assembler) -> tuple[Draft, pa.Table]:
        """Return the draft of a batch, and its statements."""
        rows = rows_of_batch(batch, self._given_names)
        draft = assembler.maker.draft(rows)
        statements = assembler.statements_of(draft)
        if self._has_categories:
            categories = self._categories_of(draft, assembler, statements.schema)
            statements = pa.concat_tables([statements, categories])
        return draft, statements

    def _categories_of(self, draft: Draft, assembler: Assembler, schema: pa.Schema) -> pa.Table:
        """Return the categories of a draft's items as statements."""
        rows = []
        for item, paths in assembler.categories_of(draft).items():
            for path in sorted(paths):
                id = statement_id(item, CATEGORY, path)
                self.category_ids.add(id)
                said = {"id": id, "item": item, "property": CATEGORY, "value": path}
                rows.append({**dict.fromkeys(schema.names), **said})
        return pa.Table.from_pylist(rows, schema=schema)

    def read(self, edits: Sequence[TableEdit]) -> pa.Table:
        """Return the statements of the batch with some edits."""
        table = self._edited(self.cells_of(edits))
        batch = _with_rows(Batch(table, self._batch.lines), new_rows_of(edits))
        return self._look(batch, self._known.beside())[1]

    def cells_of(self, edits: Iterable[TableEdit]) -> dict[int, dict[int, str]]:
        """Return the texts of edited cells, by row and by column."""
        cells: dict[int, dict[int, str]] = {}
        for edit in edits:
            if isinstance(edit, NewRow):
                continue
            row = cells.setdefault(edit.row, {})
            if edit.appended:
                text = row.get(edit.column, self._texts[edit.column][edit.row])
                row[edit.column] = self._packing(edit.column).appended(text, edit.text)
            else:
                row[edit.column] = edit.text
        return cells

    def _edited(self, cells: dict[int, dict[int, str]]) -> pa.Table:
        by_column: dict[int, dict[int, str]] = defaultdict(dict)
        for row, of_row in cells.items():
            for column, text in of_row.items():
                by_column[column][row] = text
        table = self._batch.table
        for column, changes in by_column.items():
            texts = list(self._texts[column])
            for row, text in changes.items():
                texts[row] = text
            name = table.column_names[column]
            table = table.set_column(column, name, pa.array(texts, pa.string()))
        return table

    # ---- where a value may go

    def ways(self, wanted: Wanted) -> list[Way[TableEdit]]:
        """Return how the values of a cell may be written, the best way first."""
        found = self._places.get((wanted.item, wanted.property, wanted.language), [])
        return first_ways(
            chain(
                self._ways_in_category(wanted),
                self._ways_in_columns(wanted, found),
                self._ways_in_slots(wanted),
                self._ways_in_packed_cells(wanted),
                self._ways_in_new_rows(wanted),
            )
        )

    @cached_property
    def _roles(self) -> list[str]:
        readings = describe_columns(self._mapping, Sample(tuple(self.names), ()))
        roles = {reading.column: reading.role for reading in readings}
        return [roles[name] for name in self.names]

    @cached_property
    def _plain_names(self) -> list[str]:
        """The names of the columns without their languages."""
        tagged = tagged_names(self.names, self._mapping.languages.columns)
        return [tagged[name].name if name in tagged else name for name in self.names]

    @cached_property
    def _naming_columns(self) -> dict[int, int]:
        """The columns whose cells name the property of those in another, by the latter."""
        naming: dict[int, int] = {}
        for _, columns in self._numbered:
            naming[columns[1]] = columns[0]
        triples = self._mapping.triples
        if triples is not None:
            names = matching(self.names, triples.property)
            values = matching(self.names, triples.value)
            if names and values:
                naming[self.names.index(values[0])] = self.names.index(names[0])
        return naming

    @cached_property
    def _places(self) -> dict[tuple[str, str, str | None], list[tuple[int, int]]]:
        """The empty cells that hold values, by item, property and language: row and column."""
        probed: dict[int, dict[int, str]] = {}
        of_items = self._rows_of_items if self._triple_columns is None else self._rows_of_triples
        rows = sorted({row for rows in of_items.values() for row in rows})
        for column, role in enumerate(self._roles):
            named_by = self._naming_columns.get(column) if role in _NAMED else None
            if role != "property" and not role.startswith("property in ") and named_by is None:
                continue
            for row in rows:
                name = self._plain_names[column]
                if named_by is not None:
                    name = (self._texts[named_by][row] or "").strip()
                if name and (
                    self._is_empty(row, column, name) or self._is_rejected(row, column, name)
                ):
                    probed.setdefault(row, {})[column] = f"\uf8ff{row}:{column}\uf8ff"
        places: dict[tuple[str, str, str | None], list[tuple[int, int]]] = {}
        probes = Batch(self._edited(probed), self._batch.lines)
        draft = self._known.beside().maker.draft(rows_of_batch(probes, self._given_names))
        if draft.ids != self.draft.ids:
            return {}
        for facts in draft.facts:
            property = clean(facts.property)
            if property is None or facts.is_category:
                continue
            for row, text in zip(facts.rows.tolist(), facts.texts.to_pylist(), strict=True):
                probe = _PROBE.fullmatch(text)
                item = draft.ids[row]
                if probe is not None and item is not None:
                    cell = item, property, facts.language
                    places.setdefault(cell, []).append((int(probe[1]), int(probe[2])))
        for cells in places.values():
            cells.sort()
        return places

    def _is_empty(self, row: int, column: int, name: str) -> bool:
        """Return whether a cell holds nothing, or a word for nothing."""
        text = self._texts[column][row]
        if text is None or not text.strip():
            return True
        known = self._is_nothing.get((name, text))
        if known is None:
            values, changes = values_of(text, self._reader.property_rules(name))
            known = not values and not (changes is not None and changes.spoilt)
            self._is_nothing[name, text] = known
        return known

    def _is_rejected(self, row: int, column: int, name: str) -> bool:
        """Return whether a cell holds a value that people rejected."""
        rejected = self._rejected_in_rows.get(row)
        return rejected is not None and not rejected.isdisjoint(self._values(row, column, name))

    @cached_property
    def _rejected_in_rows(self) -> dict[int, frozenset[str]]:
        of_items = self._rows_of_items if self._triple_columns is None else self._rows_of_triples
        return {
            row: self._items[item]
            for item, rows in of_items.items()
            if self._items[item]
            for row in rows
        }

    def _values(self, row: int, column: int, name: str) -> list[str]:
        text = self._texts[column][row] or ""
        values = values_of(text, self._reader.property_rules(name))[0]
        separator = self._form(column, name).separator
        if separator is None or column not in self._naming_columns:
            return list(values)
        # The rules are those of the property, and not of the pair of columns.
        return [part.strip() for value in values for part in value.split(separator)]

    def _ways_in_columns(
        self, wanted: Wanted, found: Sequence[tuple[int, int]]
    ) -> Iterator[Way[TableEdit]]:
        if not found:
            return
        by_column: dict[int, list[int]] = {}
        for row, column in found:
            by_column.setdefault(column, []).append(row)
        for column, rows in by_column.items():
            named_by = self._naming_columns.get(column)
            name = self._plain_names[column] if named_by is None else wanted.property
            beside: list[str] = []
            meant = wanted
            if wanted.rejected:
                # What the cell says otherwise stays in it; and nothing is filled in elsewhere.
                rows = [row for row in rows if self._is_rejected(row, column, name)]
                if not rows:
                    continue
                stated = self._values(rows[0], column, name)
                beside = [value for value in stated if value not in wanted.rejected]
                meant = replace(wanted, values=(*beside, *wanted.values))
            elif self._mapping.may_repeat_ids:
                # One row says what holds for all rows of the item.
                rows = rows[:1]
            elif len(rows) > 1:
                # They repeat each other, and have to go on doing so.
                rows = list(rows)
            for texts in self._texts_of(meant, column, name, rows[0]):
                if beside and texts.count < len(meant.values):
                    continue
                edits = [CellEdit(row, column, texts.text) for row in rows]
                unit_column = self._form(column, name).unit_column
                if texts.unit is not None and unit_column is not None:
                    edits += [CellEdit(row, unit_column, texts.unit) for row in rows]
                places = frozenset((edit.row, edit.column) for edit in edits)
                if texts.count < len(meant.values):
                    # Of a long table each further value has a row of its own.
                    for further in self._in_new_rows(replace(meant, values=meant.values[1:])):
                        yield Way(
                            (*edits, *further.edits),
                            places,
                            texts.values | further.values,
                            texts.count + further.count,
                        )
                yield Way(tuple(edits), places, texts.values, texts.count - len(beside))

    def _ways_in_category(self, wanted: Wanted) -> Iterator[Way[TableEdit]]:
        """Yield how an item's category may be written: into one column, or level by level."""
        if wanted.property != CATEGORY or not (self._has_categories and wanted.values):
            return
        columns = [at for at, role in enumerate(self._roles) if role == CATEGORY]
        rows = self._rows_of_items.get(wanted.item, [])
        rows = rows[:1] if self._mapping.may_repeat_ids else rows
        if not columns or not rows:
            return
        path = wanted.values[0]
        levels = path.split(CATEGORY_SEPARATOR)
        if len(columns) > 1 and not self._mapping.category_any:
            ways = [dict(zip(columns, levels, strict=False))] if len(levels) <= len(columns) else []
        else:
            ways = [
                {column: text} for column in columns for text in self._path_texts(column, levels)
            ]
        for texts in ways:
            places = frozenset((row, column) for row in rows for column in texts)
            if all(self._is_empty(row, column, self.names[column]) for row, column in places):
                edits = tuple(
                    CellEdit(row, column, text) for row in rows for column, text in texts.items()
                )
                yield Way(edits, places, frozenset((path,)), 1)

    def _path_texts(self, column: int, levels: Sequence[str]) -> list[str]:
        """Return how a path may be written in a column, as its other cells are at first."""
        sign = self._mapping.category_separator or CATEGORY_SEPARATOR.strip()
        texts = [text for text in self._texts[column] if text]
        spaced = f" {sign.strip()} "
        is_spaced = any(spaced in text for text in texts)
        joints = (
            [spaced, sign] if is_spaced or sign == CATEGORY_SEPARATOR.strip() else [sign, spaced]
        )
        return list(dict.fromkeys(joint.join(levels) for joint in joints))

    @cached_property
    def _numbered(self) -> list[tuple[PairColumns, list[int]]]:
        """The columns of names, values and perhaps units that belong together."""
        rows = rows_of_batch(self._batch, self._given_names)
        return [
            (pairs, [self.names.index(name) for name in columns if name])
            for pairs in self._mapping.pairs
            if pairs.list is None
            for columns in numbered(rows, pairs)
        ]

    def _form(self, column: int, name: str) -> _ColumnForm:
        """Return how the values of a column are written, whose property has a name."""
        key = column, name if column in self._naming_columns else ""
        if key not in self._forms:
            self._forms[key] = self._find_form(column, name)
        return self._forms[key]

    def _find_form(self, column: int, name: str) -> _ColumnForm:
        settings = self._mapping.settings_of(name)
        rules = self._known.maker.value_settings(settings)
        separator = rules.separator
        unit_column = None
        if settings.unit_column is not None:
            wanted = normalized(settings.unit_column.replace("{name}", name))
            found = (at for at, each in enumerate(self.names) if normalized(each) == wanted)
            unit_column = next(found, None)
        for pairs, columns in self._numbered:
            if columns[1] == column:
                separator = pairs.multi or separator
                unit_column = columns[2] if len(columns) > 2 else unit_column
        triples = self._mapping.triples
        if triples is not None and column in self._naming_columns:
            units = matching(self.names, triples.unit)
            unit_column = self.names.index(units[0]) if units else None
        filled = [text for text in self._texts[column] if text and text.strip()]
        spaced = bool(separator) and any(f"{separator} " in text for text in filled)
        is_list = settings.multi == BRACKETS
        example = next((text for text in filled if is_list and list_in(text) is not None), None)
        mark = decimal_mark(filled, settings, self._mapping)
        return _ColumnForm(settings, mark, separator, rules.quoted, spaced, example, unit_column)

    def _texts_of(self, wanted: Wanted, column: int, name: str, row: int) -> Iterator[_CellTexts]:
        """Yield how values may be written in a cell: all of them, or else the first."""
        form = self._form(column, name)
        unit = None if form.unit_column is None else self._texts[form.unit_column][row] or ""
        ways = [cell_texts(value, form.settings, form.mark, unit) for value in wanted.values]
        if form.list_example is not None:
            yield _bracketed(wanted, form.list_example)
        separator = form.separator
        if len(ways) > 1 and separator:
            firsts = [way[0] for way in ways if way]
            if not any(each.unit for each in firsts):
                joint = f"{separator} " if form.is_spaced else separator
                text = joint.join(_quoted(each.text, separator, form.quoted) for each in firsts)
                yield _CellTexts(text, frozenset(each.value for each in firsts), len(firsts))
        for way in ways[0]:
            text = _quoted(way.text, separator, form.quoted)
            yield _CellTexts(text, frozenset((way.value,)), 1, way.unit)

    def _ways_in_slots(self, wanted: Wanted) -> Iterator[Way[TableEdit]]:
        """Yield the free pairs of a column for a name and one for its value."""
        if wanted.language is not None or not self._mapping.pairs:
            return
        for _, columns in self._numbered:
            for row in self._rows_of_items.get(wanted.item, [])[:1]:
                if any((self._texts[each][row] or "").strip() for each in columns):
                    continue
                for texts in self._texts_of(wanted, columns[1], wanted.property, row):
                    edits = [
                        CellEdit(row, columns[0], wanted.property),
                        CellEdit(row, columns[1], texts.text),
                    ]
                    if texts.unit is not None:
                        edits.append(CellEdit(row, columns[2], texts.unit))
                    places = frozenset((row, each) for each in columns)
                    yield Way(tuple(edits), places, texts.values, texts.count)

    def _ways_in_packed_cells(self, wanted: Wanted) -> Iterator[Way[TableEdit]]:
        """Yield the cells that hold several properties, and may hold one more."""
        if wanted.language is not None:
            return
        rows = self._rows_of_items.get(wanted.item, [])
        for packed in self._mapping.packed:
            for name in matching(self.names, [packed.column]):
                column = self.names.index(name)
                # Where its other properties are.
                filled = [row for row in rows if (self._texts[column][row] or "").strip()]
                for row in (filled or rows)[:1]:
                    packing = self._packing(column)
                    for values in dict.fromkeys((wanted.values, wanted.values[:1])):
                        text = packing.pair(wanted.property, values)
                        if text is None:
                            continue
                        yield Way(
                            (CellEdit(row, column, text, appended=True),),
                            frozenset(),
                            frozenset(values),
                            len(values),
                        )

    def _ways_in_new_rows(self, wanted: Wanted) -> Iterator[Way[TableEdit]]:
        """Yield rows of a long table after those of its item: one for each value, or for one."""
        yield from self._in_new_rows(wanted)
        if len(wanted.values) > 1:
            yield from self._in_new_rows(replace(wanted, values=wanted.values[:1]))

    def _in_new_rows(self, wanted: Wanted) -> Iterator[Way[TableEdit]]:
        """Yield how all values may be written into new rows of a long table."""
        columns = self._triple_columns
        beside = self._rows_of_triples.get(wanted.item, [])
        if columns is None or wanted.language is not None or not beside:
            return
        form = self._form(columns.value, wanted.property)
        languages: list[str | None] = [None]
        if columns.language is not None:
            # That of a row in the leading language, which may have no name.
            texts = self._texts[columns.language]
            languages = list(dict.fromkeys([*(texts[row] for row in reversed(beside)), None]))
        units = [None] if columns.unit is None else ["", None]
        for language, unit in product(languages, units):
            ways = [cell_texts(each, form.settings, form.mark, unit) for each in wanted.values]
            if not all(ways):
                return
            firsts = [of_value[0] for of_value in ways]
            rows = [
                self._new_row(columns, beside[-1], wanted.property, each, language)
                for each in firsts
            ]
            yield Way(tuple(rows), frozenset(), frozenset(each.value for each in firsts), len(rows))

    def _new_row(
        self,
        columns: _TripleColumns,
        beside: int,
        property: str,
        text: CellText,
        language: str | None,
    ) -> NewRow:
        """Return a row of a long table after another one of its item."""
        cells = (
            (columns.item, self._texts[columns.item][beside]),
            (columns.property, self._names_of_properties.get(property, property)),
            (columns.value, text.text),
            (columns.unit, text.unit),
            (columns.language, language),
        )
        return NewRow(beside, tuple((at, cell) for at, cell in cells if at is not None and cell))

    @cached_property
    def _triple_columns(self) -> _TripleColumns | None:
        """The columns of a long table; None if it is none, or lacks one of those it needs."""
        triples = self._mapping.triples
        if triples is None:
            return None
        found = {
            key: next(iter(matching(self.names, patterns)), None)
            for key, patterns in vars(triples).items()
        }
        at = {key: self.names.index(name) for key, name in found.items() if name is not None}
        if not {"item", "property", "value"} <= at.keys():
            return None
        return _TripleColumns(
            at["item"], at["property"], at["value"], at.get("unit"), at.get("language")
        )

    @cached_property
    def _rows_of_triples(self) -> dict[str, list[int]]:
        """The rows of each item of a long table that are read."""
        columns = self._triple_columns
        found: dict[str, list[int]] = {}
        if columns is not None:
            bad = self._bad | set(self.draft.bad)
            ids = self._known.maker.ids_of(self.names[columns.item], self._texts[columns.item])
            for row, id in enumerate(ids):
                if id is not None and id in self._items and row not in bad:
                    found.setdefault(id, []).append(row)
        return found

    @cached_property
    def _names_of_properties(self) -> dict[str, str]:
        """How the rows of a long table write the names of properties."""
        columns = self._triple_columns
        if columns is None:
            return {}
        names: dict[str, str] = {}
        for text in self._texts[columns.property]:
            name = clean(text) if text else None
            if text and name:
                names.setdefault(name, text)
        return names

    def _packing(self, column: int) -> _Packing:
        packed = next(
            each
            for each in self._mapping.packed
            if self.names[column] in matching(self.names, [each.column])
        )
        example = next((text for text in self._texts[column] if text and text.strip()), "")
        return _Packing(packed, example)


def _with_rows(batch: Batch, new_rows: dict[int, list[dict[int, str]]]) -> Batch:
    """Return a batch with more rows, each of which has the line of the row before it."""
    if not new_rows:
        return batch
    counts = [1 + len(new_rows.get(row, ())) for row in range(len(batch.lines))]
    columns = []
    for at, column in enumerate(batch.table.columns):
        texts: list[str | None] = []
        for row, text in enumerate(column.to_pylist()):
            texts.append(text)
            texts += [each.get(at) for each in new_rows.get(row, ())]
        columns.append(pa.array(texts, pa.string()))
    table = pa.table(columns, names=batch.table.column_names)
    return Batch(table, np.repeat(batch.lines, counts))


@dataclass(frozen=True, slots=True)
class _TripleColumns:
    """The columns of a long table."""

    item: int
    property: int
    value: int
    unit: int | None
    language: int | None


@dataclass(frozen=True)
class _ColumnForm:
    """How the values of a column are written.

    Attributes:
        settings: what the mapping says of it
        mark: its decimal mark, "" if that is open
        separator, quoted: what stands between several values, and whether they may be quoted
        is_spaced: whether a blank follows the separator
        list_example: a cell with a list in brackets, if the column has such
        unit_column: the column with its units
    """

    settings: ColumnSettings
    mark: str
    separator: str | None
    quoted: bool
    is_spaced: bool
    list_example: str | None
    unit_column: int | None


@dataclass(frozen=True)
class _CellTexts:
    """A text for a cell, the values meant, how many of the wanted these are, and a unit."""

    text: str
    values: frozenset[str]
    count: int
    unit: str | None = None


@dataclass(frozen=True)
class _Packing:
    """How the properties of a packed column are written, going by an example of its cells."""

    packed: PackedColumn
    example: str

    def pair(self, property: str, values: Sequence[str]) -> str | None:
        """Return a property with its values; None if it cannot be written so."""
        packed = self.packed
        if packed.json:
            value: object = list(values) if len(values) > 1 else values[0]
            return json.dumps({property: value}, ensure_ascii=False)[1:-1]
        if len(values) > 1 and not packed.multi:
            return None
        text = f"{property}{self._spaced(packed.pair)}{(packed.multi or '').join(values)}"
        if self.example.lstrip().startswith('"'):
            doubled = text.replace('"', '""')
            return f'"{doubled}"'
        return text

    def appended(self, cell: str | None, pair: str) -> str:
        """Return what a cell says with one more property."""
        if self.packed.json:
            before = (cell or "").rstrip()
            if not before.endswith("}"):
                return f"{{{pair}}}" if not before else f"{before} {{{pair}}}"
            inner = before[:-1].rstrip()
            return f"{inner}{pair}}}" if inner.endswith("{") else f"{inner}, {pair}}}"
        if cell is None or not cell.strip():
            return pair
        if cell.rstrip().endswith(self.packed.item.rstrip() or self.packed.item):
            return f"{cell}{pair}"
        return f"{cell}{self._spaced(self.packed.item)}{pair}"

    def _spaced(self, sign: str) -> str:
        """Return a separator with the spaces that the example has around it."""
        found = re.search(rf"(?<=\S)[ \t]*{re.escape(sign)}[ \t]*(?=\S)", self.example)
        return found[0] if found else sign


def _bracketed(wanted: Wanted, example: str) -> _CellTexts:
    """Return values as a list in brackets, as another cell of the column has it."""
    values = list(wanted.values)
    text = repr(values) if "'" in example else json.dumps(values, ensure_ascii=False)
    return _CellTexts(text, frozenset(values), len(values))


def _quoted(text: str, separator: str | None, quoted: bool) -> str:
    """Return a value as a list of quoted values has it."""
    if not (quoted and separator and separator in text):
        return text
    doubled = text.replace('"', '""')
    return f'"{doubled}"'
