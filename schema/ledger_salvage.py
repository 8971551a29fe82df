"""Rescue the whole rows of a damaged ledger into another one."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from schema.ledger import TABLES, Ledger
from schema.ledger_checksums import CHECKSUM, row_checksum
from schema.ledger_verification import HEADER, is_header_whole, readable_text

ROWS_AT_ONCE = 5000

Row = dict[str, Any]


@dataclass
class LedgerSalvage:
    """How many rows of each table were rescued, and what was lost, one line each."""

    rescued: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)


def salvage_ledger(path: Path, target: Ledger) -> LedgerSalvage:
    """Copy the whole rows of the ledger in a file into an empty one; the file is only read.

    Rows are whole if they have their checksums, or if the ledger is of an earlier version that had
    none.
    """
    report = LedgerSalvage()
    with tempfile.TemporaryDirectory(prefix="catalograph-") as folder:
        # A copy, with what a killed writer left beside it: SQLite may have to roll that back.
        for part in path.parent.glob(f"{path.name}*"):
            shutil.copyfile(part, Path(folder) / part.name)
        copy = Path(folder) / path.name
        _mend_header(copy)
        source = sqlite3.connect(copy)
        source.row_factory = sqlite3.Row
        source.text_factory = readable_text
        try:
            for table in TABLES:
                _salvage_table(source, table, target, report)
        finally:
            source.close()
    return report


def _mend_header(path: Path) -> None:
    """Write what Catalograph's ledgers have in their headers, if another byte is there."""
    if is_header_whole(path):
        return
    with path.open("r+b") as file:
        for place, content in HEADER.items():
            file.seek(place)
            file.write(content)
        size = path.stat().st_size
        for place, content in (
            (18, b"\x01\x01"),
            (92, b"\x00\x00\x00\x00"),  # so that SQLite takes the size of the file
        ):
            file.seek(place)
            file.write(content)
        file.seek(16)
        if size % 4096 == 0:
            file.write((4096).to_bytes(2, "big"))


def _salvage_table(
    source: sqlite3.Connection, table: sa.Table, target: Ledger, report: LedgerSalvage
) -> None:
    found = _TableRows(source, table)
    rescued = 0
    damaged = 0
    waiting: list[Row] = []
    for row in found:
        whole = _as_inserted(table, row)
        if whole is None:
            damaged += 1
            continue
        rescued += 1
        waiting.append(whole)
        if len(waiting) == ROWS_AT_ONCE:
            target.restore(table, waiting)
            waiting = []
    target.restore(table, waiting)
    report.rescued[table.name] = rescued
    expected = found.expected()
    missing = damaged if expected is None else max(expected - rescued, 0)
    if missing:
        report.lost.append(f"{missing:,} rows of table {table.name} of the ledger are damaged")
    elif found.failure:
        report.lost.append(
            f"table {table.name} of the ledger cannot be read as a whole ({found.failure}): an "
            "unknown number of rows"
        )


class _TableRows:
    """The rows of a table that can be read, from its beginning and from its end."""

    def __init__(self, source: sqlite3.Connection, table: sa.Table) -> None:
        self._source = source
        self._name = table.name
        self.failure = ""

    def __iter__(self) -> Iterator[Row]:
        last = None
        try:
            for row in self._rows("ASC"):
                last = row.pop("_place")
                yield row
            return
        except (sqlite3.Error, OverflowError) as error:
            self.failure = str(error)
        try:
            for row in self._rows("DESC"):
                place = row.pop("_place")
                if last is not None and place <= last:
                    return
                yield row
        except (sqlite3.Error, OverflowError):
            return

    def _rows(self, order: str) -> Iterator[Row]:
        text = f'SELECT rowid AS _place, * FROM "{self._name}" ORDER BY rowid {order}'
        for row in self._source.execute(text):
            yield dict(row)

    def expected(self) -> int | None:
        """Return how many rows the table had, if the ledger says so."""
        try:
            rows = self._source.execute(
                "SELECT rows FROM table_checksums WHERE name = ?", (self._name,)
            ).fetchall()
        except sqlite3.Error:
            return None
        return int(rows[0]["rows"]) if rows and isinstance(rows[0]["rows"], int) else None


def _as_inserted(table: sa.Table, row: Row) -> Row | None:
    """Return a row in the form in which it is inserted, or None if it is damaged."""
    names = [column.name for column in table.columns]
    has_checksum = CHECKSUM in row
    if any(name not in row for name in names if name != CHECKSUM):
        return None
    if has_checksum and row[CHECKSUM] != row_checksum(table, row):
        return None
    whole: Row = {}
    try:
        for column in table.columns:
            if column.name == CHECKSUM:
                continue
            value = row[column.name]
            is_json = isinstance(column.type, sa.JSON) and value is not None
            whole[column.name] = json.loads(value) if is_json else value
        json.dumps(whole, ensure_ascii=False).encode()
    except (ValueError, TypeError):
        return None
    return whole
