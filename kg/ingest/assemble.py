"""Turn batches of text rows into the tables of items and statements that a store takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from kg.ingest.images import SourceImages
from kg.ingest.rows import Batch, SkippedLine
from kg.ingest.seen import SeenRow, SeenRows
from kg.ingest.values import (
    ColumnCleaners,
    ColumnCounts,
    ColumnEvidence,
    ColumnRules,
    Role,
    SplitCells,
    ValueSettings,
    counts_rows,
    id_fault,
    rules_of,
    values_of,
)
from kg.ingest.values.text import clean, unpack_pairs
from kg.stores.tables import STATEMENT_SCHEMA, statement_ids
from schema.arrays import BoolArray, IntArray
from schema.mapping import Layout, Mapping, PackedColumn
from schema.rejects import MAX_REJECT_TEXT, RejectedRow
from schema.terms import CATEGORY_SEPARATOR, Rank


@dataclass(frozen=True)
class Origin:
    """The provenance of a source's statements: its file, its name, the run and the run's time."""

    file: str
    source: str
    run: str
    time: str


@dataclass
class AssembledBatch:
    """A batch as tables for the store, with the numbers of its rows read and stored.

    Every row that was read is either stored or among the rejects. ``restored`` is the number of
    cells that had been defused for spreadsheets, ``skipped`` are lines that are no rows, and
    ``cleaned`` counts by column what cleaning did.
    """

    items: pa.Table
    statements: pa.Table
    rows_read: int
    rows_stored: int
    rejects: list[RejectedRow]
    restored: int = 0
    skipped: list[SkippedLine] = field(default_factory=list)
    cleaned: dict[str, ColumnCounts] = field(default_factory=dict)


@dataclass(frozen=True)
class _PackedPairs:
    """The pairs in the packed cells, by property: their rows, and their texts not yet cleaned.

    ``reasons`` says why a row must be rejected.
    """

    rows: dict[str, list[int]]
    texts: dict[str, list[str]]
    reasons: dict[int, str]


class Assembler:
    """Assembles the batches of one source; it remembers the ids that it has seen."""

    def __init__(self, mapping: Mapping, images: SourceImages, origin: Origin) -> None:
        self.mapping = mapping
        self.images = images
        self.origin = origin
        self._seen = SeenRows()
        self._cleaners = ColumnCleaners(self._value_settings)
        self._row_numbers: frozenset[str] | None = None
        self._image_rules = rules_of(
            "image",
            Role.PROPERTY,
            ColumnEvidence(),
            self._value_settings("image", Role.PROPERTY),
        )

    def assemble(self, batch: Batch) -> AssembledBatch:
        """Return the items and statements of a batch, and its rejected rows.

        Rejected are the rows that the reader rejected, rows without an id, and rows whose id has
        already appeared with other content. An exact repetition of an earlier row counts as stored.
        """
        # For each batch, because JSONL and RDF may have new columns in any batch.
        layout = self.mapping.resolve(batch.table.column_names)
        table = batch.table.combine_chunks()
        id_rules = self._cleaners.rules(layout.id, Role.ID, table[layout.id])
        ids = self._cleaners.clean(layout.id, Role.ID, table[layout.id]).to_pylist()
        packed = self._unpack_column(table, self.mapping.packed)
        is_new, rejects = self._check_rows(table, batch.lines, ids, packed.reasons, id_rules)

        new_rows = np.flatnonzero(is_new)
        new_table = table.take(pa.array(new_rows))
        new_ids = [ids[row] for row in new_rows]
        items = self._items(new_table, layout, new_ids)
        cells = [*self._column_cells(new_table, layout), *self._packed_cells(packed, is_new)]
        return AssembledBatch(
            items=items,
            statements=self._statements(items, cells, batch.lines[new_rows]),
            rows_read=batch.rows_read,
            rows_stored=table.num_rows - len(rejects),
            rejects=[*batch.rejects, *rejects],
            restored=batch.restored,
            skipped=batch.skipped,
            cleaned=self._cleaners.taken_counts(),
        )

    def _value_settings(self, column: str, role: Role) -> ValueSettings:
        """Return what the mapping says about the values of a column."""
        mapping = self.mapping
        separator = mapping.category_separator if role is Role.PATH else mapping.multi
        return ValueSettings(separator=separator, missing=mapping.missing)

    def _unpack_column(self, table: pa.Table, packed: PackedColumn | None) -> _PackedPairs:
        unpacked = _PackedPairs({}, {}, {})
        if packed is None:
            return unpacked
        for row, cell in enumerate(table[packed.column].to_pylist()):
            raw_pairs = []
            try:
                raw_pairs = unpack_pairs(cell, packed.pair, packed.item) if cell else []
            except ValueError as error:
                unpacked.reasons[row] = str(error)
            for raw_name, text in raw_pairs:
                name = clean(raw_name)
                if name:
                    unpacked.rows.setdefault(name, []).append(row)
                    unpacked.texts.setdefault(name, []).append(text)
        return unpacked

    def _check_rows(
        self,
        table: pa.Table,
        lines: IntArray,
        ids: Sequence[str | None],
        reasons: dict[int, str],
        id_rules: ColumnRules,
    ) -> tuple[BoolArray, list[RejectedRow]]:
        """Return which rows [N] bring a new item, and the rows to reject.

        A row that repeats an earlier one is neither: it is stored already.
        """
        is_new = np.zeros(table.num_rows, bool)
        rejects = []
        first_rows = self._seen.find(item for item in ids if item is not None)
        seen_before = set(first_rows)
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        for row, (item, cells, line) in enumerate(zip(ids, rows, lines.tolist(), strict=True)):
            reason = id_fault(item, id_rules) or reasons.get(row)
            if item is not None and reason is None:
                # Its hash is enough to recognise a row, and millions of them fit into memory.
                content = hash(cells)
                first = first_rows.setdefault(item, SeenRow(content, line))
                # If the id was seen before, in this batch or an earlier one, the line is another.
                is_new[row] = first.line == line
                if first.content != content:
                    reason = f"id {item!r} already appeared in line {first.line} with other content"
            if reason is not None:
                text = " ".join(cell for cell in cells if cell)[:MAX_REJECT_TEXT]
                rejects.append(RejectedRow(self.origin.file, line, reason, text))
        self._seen.add({item: row for item, row in first_rows.items() if item not in seen_before})
        return is_new, rejects

    def _column_cells(self, table: pa.Table, layout: Layout) -> Iterator[tuple[str, SplitCells]]:
        """Yield the name and the values of each property column of N new rows."""
        titles = table[layout.title] if layout.title else None
        # A first batch may have no rows but rejected ones.
        if self._row_numbers is None and table.num_rows:
            self._row_numbers = frozenset(
                name for name in layout.properties if counts_rows(name, table[name])
            )
        for column in layout.properties:
            if self._row_numbers and column in self._row_numbers:
                self._cleaners.left_out(column, ColumnCounts(row_numbers=table.num_rows))
                continue
            cells = self._cleaners.split(column, Role.PROPERTY, table[column], titles)
            name = clean(column)
            if name and len(cells.rows):
                yield name, cells

    def _packed_cells(
        self, packed: _PackedPairs, is_new: BoolArray
    ) -> Iterator[tuple[str, SplitCells]]:
        """Yield the name and the values of each property in the packed cells of the new rows."""
        new_row = np.cumsum(is_new) - 1
        for name, rows in packed.rows.items():
            row = np.array(rows, np.int64)
            kept = np.flatnonzero(is_new[row])
            texts = pa.array(packed.texts[name], pa.string()).take(pa.array(kept))
            cells = self._cleaners.split(name, Role.PROPERTY, texts)
            yield name, SplitCells(new_row[row[kept]][cells.rows], cells.values)

    def _statements(
        self, items: pa.Table, cells: list[tuple[str, SplitCells]], lines: IntArray
    ) -> pa.Table:
        """Return the statements in the cells of N items, whose rows are in ``lines`` [N]."""
        row_parts = [each.rows for _, each in cells]
        rows = np.concatenate(row_parts) if row_parts else np.zeros(0, np.int64)
        ids = items["id"].to_pylist()
        owners = [ids[row] for row in rows.tolist()]
        properties = [name for name, each in cells for _ in range(len(each.rows))]
        values = [value for _, each in cells for value in each.values.to_pylist()]
        owner_column = pa.array(owners, pa.string())
        property_column = pa.array(properties, pa.string())
        value_column = pa.array(values, pa.string())
        columns = {
            "id": statement_ids(owner_column, property_column, value_column),
            "item": owner_column,
            "property": property_column,
            "value": value_column,
            "row": pa.array(lines[rows], pa.int64()),
        }
        return _without_duplicates(self._with_provenance(columns, len(rows)))

    def _with_provenance(self, columns: dict[str, pa.Array], count: int) -> pa.Table:
        """Add the columns that are the same for all statements of a source."""
        constants = {
            "rank": Rank.ASSERTED.value,
            "source": self.origin.source,
            "batch": self.origin.run,
            "time": self.origin.time,
        }
        for name, text in constants.items():
            columns[name] = pa.repeat(pa.scalar(text, pa.string()), count)
        for each in STATEMENT_SCHEMA:
            columns.setdefault(each.name, pa.nulls(count, each.type))
        return pa.table({name: columns[name] for name in STATEMENT_SCHEMA.names})

    def _items(self, table: pa.Table, layout: Layout, ids: list[str]) -> pa.Table:
        title = pa.nulls(len(ids), pa.string())
        if layout.title:
            title = self._cleaners.clean(layout.title, Role.TEXT, table[layout.title])
        category = (
            self._categories(table, layout) if layout.category else pa.nulls(len(ids), pa.string())
        )
        image_cells = table[layout.image].to_pylist() if layout.image else [None] * len(ids)
        images = []
        for item, cell in zip(ids, image_cells, strict=True):
            if cell:
                paths = self.images.find_named(values_of(cell, self._image_rules)[0])
            else:
                paths = self.images.find_by_id(item)
            images.append(paths or None)
        return pa.table(
            {
                "id": pa.array(ids, pa.string()),
                "title": title,
                "category": category,
                "images": pa.array(images, pa.list_(pa.string())),
            }
        )

    def _categories(self, table: pa.Table, layout: Layout) -> pa.Array:
        """Return the category paths: several columns joined, or the levels within one column."""
        if len(layout.category) > 1:
            levels = [
                self._cleaners.clean(column, Role.TEXT, table[column]) for column in layout.category
            ]
            paths = zip(*(level.to_pylist() for level in levels), strict=True)
            # Arrow's join drops the rows whose levels are all null.
            joined = [CATEGORY_SEPARATOR.join(filter(None, path)) or None for path in paths]
            return pa.array(joined, pa.string())

        (column,) = layout.category
        cells = self._cleaners.split(column, Role.PATH, table[column])
        categories: list[str | None] = [None] * table.num_rows
        for row, level in zip(cells.rows.tolist(), cells.values.to_pylist(), strict=True):
            path = categories[row]
            categories[row] = level if path is None else path + CATEGORY_SEPARATOR + level
        return pa.array(categories, pa.string())


def _without_duplicates(statements: pa.Table) -> pa.Table:
    """Keep the first of equal statements: a column and a packed cell may make the same one."""
    ids = statements["id"].to_pylist()
    if len(set(ids)) == len(ids):
        return statements
    first_rows: dict[str, int] = {}
    for row, id in enumerate(ids):
        first_rows.setdefault(id, row)
    return statements.take(pa.array(list(first_rows.values())))
