"""Turn batches of text rows into the tables of items and statements that a store takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kg.ingest.images import SourceImages
from kg.ingest.normalize import (
    LIST_SEPARATOR,
    clean,
    clean_column,
    split_column,
    splitter,
    unpack_pairs,
)
from kg.ingest.rows import Batch, SkippedLine
from kg.ingest.seen import SeenRow, SeenRows
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
    cells that had been defused for spreadsheets, ``skipped`` are lines that are no rows.
    """

    items: pa.Table
    statements: pa.Table
    rows_read: int
    rows_stored: int
    rejects: list[RejectedRow]
    restored: int = 0
    skipped: list[SkippedLine] = field(default_factory=list)


@dataclass(frozen=True)
class _PackedPairs:
    """The clean (property, value) pairs of each row's packed cell.

    ``reasons`` says why a row must be rejected.
    """

    pairs: list[list[tuple[str, str]]]
    reasons: dict[int, str]


class Assembler:
    """Assembles the batches of one source; it remembers the ids that it has seen."""

    def __init__(self, mapping: Mapping, images: SourceImages, origin: Origin) -> None:
        self.mapping = mapping
        self.images = images
        self.origin = origin
        self._seen = SeenRows()
        self._split_cell = splitter(mapping.multi, mapping.missing)

    def assemble(self, batch: Batch) -> AssembledBatch:
        """Return the items and statements of a batch, and its rejected rows.

        Rejected are the rows that the reader rejected, rows without an id, and rows whose id has
        already appeared with other content. An exact repetition of an earlier row counts as stored.
        """
        # For each batch, because JSONL and RDF may have new columns in any batch.
        layout = self.mapping.resolve(batch.table.column_names)
        table = batch.table.combine_chunks()
        ids = clean_column(table[layout.id]).to_pylist()
        packed = self._unpack_column(table, self.mapping.packed)
        is_new, rejects = self._check_rows(table, batch.lines, ids, packed.reasons)

        new_rows = np.flatnonzero(is_new)
        new_table = table.take(pa.array(new_rows))
        new_ids = [ids[row] for row in new_rows]
        pairs = [packed.pairs[row] for row in new_rows] if packed.pairs else []
        return AssembledBatch(
            items=self._items(new_table, layout, new_ids),
            statements=self._statements(new_table, layout, new_ids, batch.lines[new_rows], pairs),
            rows_read=batch.rows_read,
            rows_stored=table.num_rows - len(rejects),
            rejects=[*batch.rejects, *rejects],
            restored=batch.restored,
            skipped=batch.skipped,
        )

    def _unpack_column(self, table: pa.Table, packed: PackedColumn | None) -> _PackedPairs:
        unpacked = _PackedPairs([], {})
        if packed is None:
            return unpacked
        for row, cell in enumerate(table[packed.column].to_pylist()):
            raw_pairs = []
            try:
                raw_pairs = unpack_pairs(cell, packed.pair, packed.item) if cell else []
            except ValueError as error:
                unpacked.reasons[row] = str(error)
            pairs: dict[tuple[str, str], None] = {}  # an ordered set
            for raw_name, text in raw_pairs:
                name = clean(raw_name)
                if name:
                    pairs.update(((name, value), None) for value in self._split_cell(text))
            unpacked.pairs.append(list(pairs))
        return unpacked

    def _check_rows(
        self,
        table: pa.Table,
        lines: IntArray,
        ids: Sequence[str | None],
        reasons: dict[int, str],
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
            reason = reasons.get(row)
            if item is None:
                reason = "empty id"
            elif reason is None:
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

    def _statements(
        self,
        table: pa.Table,
        layout: Layout,
        ids: list[str],
        lines: IntArray,
        pairs: list[list[tuple[str, str]]],
    ) -> pa.Table:
        """Return the statements in the property columns [N] and in the packed column's pairs."""
        row_parts: list[IntArray] = []
        properties: list[str] = []
        values: list[str] = []
        for column in layout.properties:
            cells = split_column(table[column], self._split_cell)
            name = clean(column)
            if name and len(cells.rows):
                row_parts.append(cells.rows)
                properties += [name] * len(cells.rows)
                values += cells.values.to_pylist()
        for row, row_pairs in enumerate(pairs):
            row_parts.append(np.full(len(row_pairs), row, np.int64))
            properties += [name for name, _ in row_pairs]
            values += [value for _, value in row_pairs]

        rows = np.concatenate(row_parts) if row_parts else np.zeros(0, np.int64)
        items = [ids[row] for row in rows.tolist()]
        item_column = pa.array(items, pa.string())
        property_column = pa.array(properties, pa.string())
        value_column = pa.array(values, pa.string())
        columns = {
            "id": statement_ids(item_column, property_column, value_column),
            "item": item_column,
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
        for column in STATEMENT_SCHEMA:
            columns.setdefault(column.name, pa.nulls(count, column.type))
        return pa.table({name: columns[name] for name in STATEMENT_SCHEMA.names})

    def _items(self, table: pa.Table, layout: Layout, ids: list[str]) -> pa.Table:
        nulls = pa.nulls(len(ids), pa.string())
        title = clean_column(table[layout.title], self.mapping.missing) if layout.title else nulls
        category = self._categories(table, layout) if layout.category else nulls
        image_cells = table[layout.image].to_pylist() if layout.image else [None] * len(ids)
        images = []
        for item, cell in zip(ids, image_cells, strict=True):
            if cell:
                paths = self.images.find_named(self._split_cell(cell))
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
        missing = self.mapping.missing
        if len(layout.category) > 1:
            levels = [clean_column(table[column], missing) for column in layout.category]
            joined = pc.binary_join_element_wise(*levels, CATEGORY_SEPARATOR, null_handling="skip")
            return pc.if_else(pc.equal(joined, ""), None, joined)

        separator = self.mapping.category_separator
        split_levels = splitter(separator, missing)

        def category_paths(text: str) -> list[str]:
            """Return the one path of a cell with levels, or a category without any."""
            levels = split_levels(text)
            if separator or LIST_SEPARATOR in text:
                return [CATEGORY_SEPARATOR.join(levels)]
            return levels

        cells = split_column(table[layout.category[0]], category_paths)
        categories: list[str | None] = [None] * table.num_rows
        for row, path in zip(cells.rows.tolist(), cells.values.to_pylist(), strict=True):
            categories[row] = path or None
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
