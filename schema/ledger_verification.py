"""Verify a ledger: SQLite's own checks, the file's header, columns, and every row's checksum."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from schema.ledger import (
    GO_ON,
    HEAD_REVISION,
    SERVER_GO_ON,
    TABLES,
    Ledger,
    table_checksums,
)
from schema.ledger_checksums import check_rows, stored_columns

FIRST_REVISION = "0001"
"""The revision without checksums."""
EARLIER_REVISIONS = ("0002", "0003")
"""Revisions with other tables than those that are checked."""
MAX_EXAMPLES = 5
MAX_LINES = 5
"""Lines of SQLite's own check that are reported."""
LOCK_TIMEOUT = 30.0
"""Seconds to wait for a writer."""
PASSING = (
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "SQLITE_CANTOPEN",
    "SQLITE_NOMEM",
    "SQLITE_PERM",
    "SQLITE_READONLY",
    "SQLITE_FULL",
    "SQLITE_AUTH",
)
"""Errors of SQLite that say nothing about the file."""

# What the header of a file has that Catalograph writes, by place: all that would not show in any
# row, but change how the file is written from then on.
HEADER = {
    0: b"SQLite format 3\x00",
    20: b"\x00\x40\x20\x20",
    44: (4).to_bytes(4, "big"),
    48: bytes(8),
    56: (1).to_bytes(4, "big"),
    60: bytes(32),
}
JOURNAL_MODES = (b"\x01\x01", b"\x02\x02")
"""Bytes 18 and 19: a rollback journal, or a write-ahead log, which somebody else may have set."""


def verify_ledger(path: Path) -> list[str]:
    """Return the problems of a ledger in an SQLite file, one line each; nothing is written.

    A ledger of an earlier version, without checksums, gets SQLite's own checks only.
    """
    try:
        if not _is_header_whole_at_rest(path):
            return [f"{path} is damaged (its header was altered): {GO_ON}"]
        # "mode=rw": SQLite may have to roll back what a killed writer left, but creates no file.
        engine = sa.create_engine(
            "sqlite://", creator=lambda: _connect(path), poolclass=sa.NullPool
        )
        with engine.connect() as connection:
            # One transaction, so that no writer comes between a table and its sum.
            connection.exec_driver_sql("BEGIN")
            problems = list(_own_checks(connection, path))
            return problems or list(_check_tables(connection, path))
    except OSError as error:
        return [f"{path} cannot be read ({error.strerror}): {GO_ON}"]
    except (sa.exc.SQLAlchemyError, sqlite3.Error, ValueError) as error:
        cause = error.orig if isinstance(error, sa.exc.StatementError) else error
        reason = str(cause or error).splitlines()[0]
        if isinstance(cause, sqlite3.Error) and cause.sqlite_errorname in PASSING:
            return [f"{path} cannot be read now ({reason}): try again"]
        return [f"{path} is damaged ({reason}): {GO_ON}"]


def verify_ledger_server(ledger: Ledger) -> list[str]:
    """Return the problems of a ledger on a server, one line each: tables, columns, checksums."""
    try:
        with ledger.reading() as connection:
            return list(_check_tables(connection, ledger.url, SERVER_GO_ON))
    except sa.exc.SQLAlchemyError as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        return [f"the ledger {ledger.url} cannot be read ({reason}): {SERVER_GO_ON}"]


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=LOCK_TIMEOUT,
        # The driver then leaves transactions to us.
        isolation_level=None,
    )
    connection.execute("PRAGMA cell_size_check = ON")
    # Text that is no UTF-8 is damage to report, and no reason to stop.
    connection.text_factory = readable_text
    return connection


def _is_header_whole_at_rest(path: Path) -> bool:
    """Return whether the header is whole; a writer, who changes header and size, is waited for."""
    if is_header_whole(path):
        return True
    if path.with_name(f"{path.name}-journal").exists():
        # A first look waits for the writer. If it was killed, SQLite rolls back what it left.
        with closing(_connect(path)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return is_header_whole(path)


def readable_text(data: bytes) -> str:
    """Return a text that may be damaged; bytes that are no UTF-8 become lone surrogates."""
    return data.decode(errors="surrogateescape")


def is_header_whole(path: Path) -> bool:
    """Return whether a file has the header of a ledger that Catalograph wrote."""
    with path.open("rb") as file:
        header = file.read(100)
    is_whole = len(header) == 100
    for place, content in HEADER.items():
        is_whole = is_whole and header[place : place + len(content)] == content
    size = path.stat().st_size
    page_size = int.from_bytes(header[16:18], "big")
    page_size = 65536 if page_size == 1 else page_size
    is_whole = is_whole and header[18:20] in JOURNAL_MODES and header[24:28] == header[92:96]
    pages = int.from_bytes(header[28:32], "big")
    # A write-ahead log may hold pages that are not in the file yet.
    return is_whole and (header[18] == 2 or pages * page_size == size)


def _own_checks(connection: Connection, path: Path) -> Iterator[str]:
    """Yield what SQLite finds itself."""
    for pragma in ("integrity_check", "foreign_key_check"):
        rows = connection.exec_driver_sql(f"PRAGMA {pragma}").all()
        lines = [" ".join(str(cell) for cell in row) for row in rows]
        for line in [line for line in lines if line != "ok"][:MAX_LINES]:
            yield f"{path} is damaged ({' '.join(line.split())}): {GO_ON}"


def _check_tables(connection: Connection, path: Path | str, go_on: str = GO_ON) -> Iterator[str]:
    revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    inspector = sa.inspect(connection)
    if revision == FIRST_REVISION and not inspector.has_table(table_checksums.name):
        return
    if revision in EARLIER_REVISIONS and "replaces" not in _columns(inspector, "proposals"):
        # Whoever opens the ledger next brings it up to date, and keeps what is damaged damaged.
        return
    if revision != HEAD_REVISION:
        yield f"{path} is damaged (it has schema version {revision!r}): {go_on}"
        return
    for table in (*TABLES, table_checksums):
        if connection.dialect.name != "sqlite":
            # A server has names of its own for the types, and sees to the rest itself.
            is_same = _columns(inspector, table.name) == set(table.columns.keys())
        else:
            is_same = _shape(inspector, table.name) == _expected_shape(connection, table)
        if not is_same:
            yield f"{path} is damaged (table {table.name} has other columns or indexes): {go_on}"
            return
    known = {
        name: (rows, total)
        for name, rows, total in connection.execute(
            sa.select(table_checksums.c.name, table_checksums.c.rows, table_checksums.c.sum)
        )
    }
    unknown = known.keys() - {table.name for table in TABLES}
    if unknown:
        yield f"{path} is damaged (no table {', '.join(sorted(unknown))}): {go_on}"
    for table in TABLES:
        found = connection.execute(
            sa.select(*stored_columns(table, connection.dialect.name))
        ).mappings()
        rows = (dict(row) for row in found)
        damaged = []
        for problem, row in check_rows(table, rows, known.get(table.name)):
            if row is None:
                yield f"{path}: table {table.name} {problem}: {go_on}"
            else:
                damaged.append([row[key.name] for key in table.primary_key.columns])
        if damaged:
            first = "; ".join(", ".join(map(_readable, key)) for key in damaged[:MAX_EXAMPLES])
            yield (
                f"{path}: {len(damaged):,} rows of table {table.name} are damaged ({first}): "
                f"{go_on}"
            )


def _columns(inspector: sa.Inspector, name: str) -> set[str]:
    has_table = inspector.has_table(name)
    return {column["name"] for column in inspector.get_columns(name)} if has_table else set()


def _readable(value: Any) -> str:
    text = str(value).encode(errors="replace").decode(errors="replace")
    return " ".join(text.split())[:80]


def _shape(inspector: sa.Inspector, name: str) -> Any:
    """Return what is known about a table: columns with their types, keys, indexes."""
    columns = [
        (column["name"], str(column["type"]), column["nullable"])
        for column in inspector.get_columns(name)
    ]
    indexes = {
        (str(index["name"]), tuple(index["column_names"])) for index in inspector.get_indexes(name)
    }
    keys = inspector.get_pk_constraint(name)["constrained_columns"]
    return columns, indexes, keys


def _expected_shape(connection: Connection, table: sa.Table) -> Any:
    columns = [
        (column.name, column.type.compile(connection.dialect), column.nullable)
        for column in table.columns
    ]
    indexes = {
        (str(index.name), tuple(column.name for column in index.columns)) for index in table.indexes
    }
    return columns, indexes, [column.name for column in table.primary_key.columns]
