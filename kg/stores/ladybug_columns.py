"""The columns of the tables of a Ladybug graph, of which some are only added after the rows.

Most rows of an ingest are alike in most columns: their source, run, time and rank are the same, and
they have no model, reviewer or language. To load a relationship takes time and memory for each of
its columns, at both ends. ``ALTER TABLE ADD`` with a default fills a column of all rows that are
there in a twentieth of that time. So such columns are left out of the tables of a new graph until
its rows are loaded: that takes half of the time, and a third of the memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

ITEM = "Item"
HAS = "HAS"
COLUMNS = {
    ITEM: {
        "id": "STRING PRIMARY KEY",
        "title": "STRING",
        "category": "STRING",
        "image": "STRING",
        "images": "STRING[]",
        "description": "STRING",
        "source": "STRING",
        "batch": "STRING",
        "row": "INT64",
        "evidence": "STRING",
        "time": "STRING",
        "references": "STRING",
    },
    HAS: {
        "id": "STRING",
        "property": "STRING",
        "rank": "STRING",
        "source": "STRING",
        "batch": "STRING",
        "row": "INT64",
        "model": "STRING",
        "confidence": "DOUBLE",
        "evidence": "STRING",
        "reviewer": "STRING",
        "time": "STRING",
        "language": "STRING",
        "references": "STRING",
    },
}
"""The type of each column of the two tables."""
KEPT = {ITEM: ("id", "title", "images", "row"), HAS: ("id", "property", "row")}
"""The columns that are never left out."""
_TABLES = {
    ITEM: "NODE TABLE IF NOT EXISTS Item(",
    HAS: "REL TABLE IF NOT EXISTS HAS(FROM Item TO Value, ",
}
# Whatever else a text has, its column is not left out, so that nothing has to be escaped.
_PLAIN = re.compile(r"[^'\\\x00-\x1f\x7f]*")


def create_table(label: str, names: tuple[str, ...]) -> str:
    """Return the statement that creates a table with some of its columns."""
    columns = ", ".join(f"{name} {COLUMNS[label][name]}" for name in names)
    return f"CREATE {_TABLES[label]}{columns})"


def add_column(label: str, name: str, default: str | None = None) -> str:
    """Return the statement that adds a column, and fills it with a plain text or nothing."""
    text = f"ALTER TABLE {label} ADD IF NOT EXISTS {name} {COLUMNS[label][name]}"
    return text if default is None else f"{text} DEFAULT '{default}'"


@dataclass(frozen=True)
class CompactRows:
    """Rows of a table, with a column of texts in which all are alike kept as one of them.

    Most columns are such ones, so that this takes a third of the memory.

    Attributes:
        schema: the columns of the table
        num_rows: the number of the rows
        columns: those in which the rows differ, by name
        alike: the text that all rows have, or None, by the names of the other columns
    """

    schema: pa.Schema
    num_rows: int
    columns: Mapping[str, pa.ChunkedArray]
    alike: Mapping[str, str | None]

    @classmethod
    def of(cls, table: pa.Table) -> CompactRows:
        """Return the rows of a table."""
        columns = {}
        alike = {}
        for name in table.column_names:
            column = table[name]
            is_alike, text = _content(column)
            if is_alike:
                alike[name] = text
            else:
                columns[name] = column
        return cls(table.schema, table.num_rows, columns, alike)

    @property
    def nbytes(self) -> int:
        """The size of the columns in which the rows differ, in bytes."""
        return sum(column.nbytes for column in self.columns.values())

    def table(self, names: Sequence[str]) -> pa.Table:
        """Return some columns as a table."""
        return pa.table([self.column(name) for name in names], names)

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column."""
        if name in self.columns:
            return self.columns[name]
        text = pa.scalar(self.alike[name], self.schema.field(name).type)
        return pa.chunked_array([pa.repeat(text, self.num_rows)])


def _content(column: pa.ChunkedArray) -> tuple[bool, str | None]:
    """Return whether all values of a column are none or the same text, and which."""
    if column.null_count == len(column):
        return True, None
    if column.null_count or not pa.types.is_string(column.type):
        return False, None
    first = column[0].as_py()
    return bool(pc.all(pc.equal(column, first)).as_py()), first


@dataclass
class LeftOutColumns:
    """The columns that a table does not have yet, each with what all its rows would have there."""

    label: str
    names: list[str] = field(default_factory=list)
    _texts: dict[str, str | None] = field(default_factory=dict)

    @classmethod
    def of_new_table(cls, label: str) -> LeftOutColumns:
        """Return those of a table that was created with the columns that are kept."""
        return cls(label, [name for name in COLUMNS[label] if name not in KEPT[label]])

    def add_for(self, parts: Sequence[CompactRows]) -> Iterator[str]:
        """Yield the statements that have to be run before some rows can be loaded.

        The columns that they add are those in which these rows differ from each other, or from the
        rows before.
        """
        for name in list(self.names):
            if not all(self._may_leave_out(name, part) for part in parts if part.num_rows):
                yield self._add(name)

    def add_all(self) -> Iterator[str]:
        """Yield the statements that add what is left out."""
        for name in list(self.names):
            yield self._add(name)

    def _may_leave_out(self, name: str, rows: CompactRows) -> bool:
        if name not in rows.alike:
            return False
        text = rows.alike[name]
        if text is not None and not _PLAIN.fullmatch(text):
            return False
        return self._texts.setdefault(name, text) == text

    def _add(self, name: str) -> str:
        self.names.remove(name)
        return add_column(self.label, name, self._texts.pop(name, None))
