"""Rows of a source as sparse columns: for each column the rows that have a text, and the texts.

Tables and flattened records both become such columns. What a mapping says about a source, such as
its packed attributes or its name/value pairs, turns columns into other columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kg.ingest.rows import Batch
from schema.arrays import BoolArray, IntArray
from schema.rejects import MAX_REJECT_TEXT, RejectedRow

Content = Callable[[object], int]
"""Returns a hash of what a row says: of a tuple of cells, or of the text of a record."""


@dataclass(frozen=True)
class Column:
    """The texts [F] of a column and the rows [F] that they are in; a row may have several.

    ``language`` is the tag of texts in one language. ``derived`` columns are named by the data
    (attributes, triples), not by the source's header. ``lines`` [F] are the lines of the texts
    where these differ from the lines of their rows.
    """

    name: str
    rows: IntArray
    texts: pa.Array
    language: str | None = None
    derived: bool = False
    lines: IntArray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def first_texts(self, count: int) -> list[str | None]:
        """Return the first text of each of ``count`` rows, None where there is none."""
        texts: list[str | None] = [None] * count
        pairs = list(zip(self.rows.tolist(), self.texts.to_pylist(), strict=True))
        for row, text in reversed(pairs):
            texts[row] = text
        return texts

    def has_repeated_rows(self) -> bool:
        """Return whether some row has several texts."""
        if (np.diff(self.rows) > 0).all():
            return False
        return len(np.unique(self.rows)) < len(self)

    def spread(self, count: int) -> pa.Array:
        """Return the text of each of ``count`` rows, null where there is none; none has several."""
        if np.array_equal(self.rows, np.arange(count)):
            return self.texts
        places = np.full(count, -1, np.int64)
        places[self.rows] = np.arange(len(self))
        return self.texts.take(pa.array(places, mask=places < 0))

    def where(self, mask: BoolArray) -> Column:
        """Return the column with only those of its texts that a mask [F] keeps."""
        if mask.all():
            return self
        lines = None if self.lines is None else self.lines[mask]
        return replace(self, rows=self.rows[mask], texts=self.texts.filter(mask), lines=lines)

    def with_texts(self, texts: Sequence[str | None]) -> Column:
        """Return the column with other texts [F]; a None takes the text away."""
        column = replace(self, texts=pa.array(texts, pa.string()))
        return column.where(column.texts.is_valid().to_numpy(zero_copy_only=False))

    def moved(self, rows: IntArray) -> Column:
        """Return the column with the texts of each row in another: ``rows`` has the new one."""
        return replace(self, rows=rows[self.rows])


@dataclass
class Rows:
    """The rows of a batch: their lines [N], and their columns.

    ``contents`` [N] are hashes of what the rows say, by which repetitions are recognised.
    ``sources`` [N] are the rows of the batch that the rows were made from, of which there are
    ``source_count``: a product and its variants may stand in one row, and one item in many.
    ``ids`` and ``parents`` hold the ids of rows that were made with an id of their own and those of
    their parents; ``parent_rows`` the rows of parents whose id is not known yet. ``secondary`` rows
    only add statements to an item that has a row of its own; ``merged`` ones are parts of others.
    """

    lines: IntArray
    columns: list[Column]
    contents: list[int]
    describe: Callable[[int], str]
    sources: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    source_count: int = 0
    ids: dict[int, str] = field(default_factory=dict)
    parents: dict[int, str] = field(default_factory=dict)
    parent_rows: dict[int, int] = field(default_factory=dict)
    secondary: set[int] = field(default_factory=set)
    merged: set[int] = field(default_factory=set)
    bad: dict[int, str] = field(default_factory=dict)
    """Why rows of the batch have to be rejected."""
    left_out: Counter[str] = field(default_factory=Counter)
    """How many texts were left out on purpose, by the name of their column."""
    notes: Counter[str] = field(default_factory=Counter)
    """Remarks that follow the number of what they are about."""

    def __len__(self) -> int:
        return len(self.lines)

    def names(self) -> list[str]:
        """Return the names of the columns, each once."""
        return list(dict.fromkeys(column.name for column in self.columns))

    def named(self, name: str) -> list[Column]:
        """Return the columns of a name: one for each language."""
        return [column for column in self.columns if column.name == name]

    def texts(self, name: str) -> list[str | None]:
        """Return the first text of each row in the columns of a name."""
        texts: list[str | None] = [None] * len(self)
        for column in self.named(name):
            for row, text in enumerate(column.first_texts(len(self))):
                if texts[row] is None:
                    texts[row] = text
        return texts

    def text_column(self, name: str) -> pa.Array:
        """Return the first text of each row in the columns of a name, as a column."""
        named = self.named(name)
        if len(named) == 1 and not named[0].has_repeated_rows():
            return named[0].spread(len(self))
        return pa.array(self.texts(name), pa.string())

    def without(self, names: Iterable[str]) -> None:
        """Take columns away."""
        gone = set(names)
        self.columns = [column for column in self.columns if column.name not in gone]

    def add_rows(self, lines: Sequence[int], sources: Sequence[int]) -> int:
        """Add rows for items that stand in rows of other items; return the first one's number."""
        first = len(self)
        self.lines = np.append(self.lines, np.asarray(lines, np.int64))
        self.sources = np.append(self.sources, np.asarray(sources, np.int64))
        return first


class ColumnBuilder:
    """Collects texts by column, language and row."""

    def __init__(self, derived: bool = False) -> None:
        self._derived = derived
        self._cells: dict[tuple[str, str | None], tuple[list[int], list[str], list[int]]] = {}

    def add(
        self, name: str, row: int, text: str, language: str | None = None, line: int = 0
    ) -> None:
        """Add a text; its line is that of its row if it is 0."""
        rows, texts, lines = self._cells.setdefault((name, language), ([], [], []))
        rows.append(row)
        texts.append(text)
        lines.append(line)

    def columns(self) -> list[Column]:
        """Return the columns in the order in which they first occurred."""
        return [
            Column(
                name,
                np.array(rows, np.int64),
                pa.array(texts, pa.string()),
                language,
                self._derived,
                np.array(lines, np.int64) if any(lines) else None,
            )
            for (name, language), (rows, texts, lines) in self._cells.items()
        ]


def rows_of_batch(
    batch: Batch, names: Sequence[str] | None = None, content: Content = hash
) -> Rows:
    """Return a batch of a table as rows; ``names`` are its columns' names if they repeat.

    Columns of the same name become one, whose rows may have several texts. ``content`` is what
    rows are recognised by.
    """
    table = batch.table.combine_chunks()
    by_name: dict[str, list[pa.Array]] = {}
    for name, chunked in zip(names or table.column_names, table.columns, strict=True):
        by_name.setdefault(name, []).append(_one_array(chunked))
    columns = [_sparse(name, arrays) for name, arrays in by_name.items()]

    def describe(row: int) -> str:
        cells = (column[row].as_py() for column in table.columns)
        return " ".join(cell for cell in cells if cell)[:MAX_REJECT_TEXT]

    cells = zip(*(column.to_pylist() for column in table.columns), strict=True)
    count = table.num_rows
    return Rows(
        lines=batch.lines,
        columns=columns,
        # Its hash is enough to recognise a row, and millions of them fit into memory.
        contents=[content(row) for row in cells],
        describe=describe,
        sources=np.arange(count, dtype=np.int64),
        source_count=count,
    )


def reject(rows: Rows, file: str, source: int, line: int, reason: str) -> RejectedRow:
    """Return a row of the batch as a rejected one."""
    return RejectedRow(file, line, reason, rows.describe(source))


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array if array.type == pa.string() else array.cast(pa.string())


def _sparse(name: str, arrays: list[pa.Array]) -> Column:
    """Return the cells that are neither null nor empty."""
    if len(arrays) == 1:
        return _filled(name, arrays[0])
    parts = [_filled(name, array) for array in arrays]
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows, kind="stable")
    texts = pa.concat_arrays([part.texts for part in parts]).take(pa.array(order))
    return Column(name, rows[order], texts)


def _filled(name: str, array: pa.Array) -> Column:
    mask = pc.fill_null(pc.not_equal(pc.binary_length(array), 0), False)
    filled = mask.to_numpy(zero_copy_only=False)
    if filled.all():
        return Column(name, np.arange(len(array), dtype=np.int64), array)
    return Column(name, np.flatnonzero(filled), array.filter(mask))
