"""The columns of the tables of a Ladybug graph, of which some are only added after the rows.

Most rows of an ingest are alike in most columns: their source, run, time and rank are the same, and
they have no model, reviewer or language. To load a relationship takes time and memory for each of
its columns, at both ends. ``ALTER TABLE ADD`` with a default fills a column of all rows that are
there in a twentieth of that time. So such columns are left out of the tables of a new graph until
its rows are loaded: that takes half of the time, and a third of the memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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


@dataclass
class LeftOutColumns:
    """The columns that a table does not have yet, each with what all its rows would have there."""

    label: str
    names: list[str] = field(default_factory=list)
    _contents: dict[str, str | None] = field(default_factory=dict)

    @classmethod
    def of_new_table(cls, label: str) -> LeftOutColumns:
        """Return those of a table that was created with the columns that are kept."""
        return cls(label, [name for name in COLUMNS[label] if name not in KEPT[label]])

    def add_for(self, rows: pa.Table) -> Iterator[str]:
        """Yield the statements that have to be run before some rows can be loaded.

        The columns that they add are those in which these rows differ from each other, or from the
        rows before.
        """
        for name in list(self.names) if rows.num_rows else ():
            is_alike, content = _content(rows[name])
            if is_alike and content == self._contents.setdefault(name, content):
                continue
            yield self._add(name)

    def add_all(self) -> Iterator[str]:
        """Yield the statements that add what is left out."""
        for name in list(self.names):
            yield self._add(name)

    def _add(self, name: str) -> str:
        self.names.remove(name)
        return add_column(self.label, name, self._contents.pop(name, None))


def _content(column: pa.ChunkedArray) -> tuple[bool, str | None]:
    """Return whether all values of a column are none or the same plain text, and which."""
    if column.null_count == len(column):
        return True, None
    first = column[0].as_py()
    if column.null_count or not isinstance(first, str) or not _PLAIN.fullmatch(first):
        return False, None
    return bool(pc.all(pc.equal(column, first)).as_py()), first
