"""The index as a SQLite database: its tables, and how it is opened.

items     what is shown of an item, its words by field, and which group it belongs to
found     the same words in FTS5, where queries look them up
words     how many items have a word, and how the catalogue uses it
spellings the words in FTS5 as trigrams, for queries that misspell them
uses      by word and group: how many items have it, and of how many it is a head
groups    the categories, and those that were learned for items without one
facts     the values of items by property, for filters and facets
known     what the index was made from
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from schema.errors import DataError, StoreDamagedError, StoreUnavailableError

FORMAT = 2
"""The number of this layout; an index of another one is built anew."""
FILE = "index.sqlite"
LOCK = "lock"
WAIT_SECONDS = 10.0
EDITION = "edition"
FIELDS = ("title", "category", "heads", "values", "codes", "description")
"""The columns of the full-text table."""
FIELD_WEIGHTS = (3.0, 4.0, 3.0, 1.0, 4.0, 1.0)
"""How much a match in each counts when candidates are found; the ranking has its own weights."""

_TABLES = """
CREATE TABLE items (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, shown TEXT NOT NULL,
    category_path TEXT NOT NULL, grp INTEGER NOT NULL, digest BLOB NOT NULL,
    text_digest BLOB NOT NULL, signature BLOB NOT NULL, wholes TEXT NOT NULL,
    title TEXT NOT NULL, category TEXT NOT NULL, heads TEXT NOT NULL, "values" TEXT NOT NULL,
    codes TEXT NOT NULL, description TEXT NOT NULL
);
CREATE INDEX items_by_category ON items (category_path);
CREATE VIRTUAL TABLE found USING fts5(
    title, category, heads, "values", codes, description,
    content='items', content_rowid='number', tokenize='ascii'
);
CREATE TABLE words (
    word TEXT PRIMARY KEY, texts INTEGER NOT NULL, "values" INTEGER NOT NULL,
    is_thing INTEGER NOT NULL DEFAULT 0, is_describing INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE VIRTUAL TABLE spellings USING fts5(word, tokenize='trigram', detail='none');
CREATE TABLE uses (
    word TEXT NOT NULL, grp INTEGER NOT NULL, items INTEGER NOT NULL, heads INTEGER NOT NULL,
    PRIMARY KEY (word, grp)
) WITHOUT ROWID;
CREATE TABLE groups (grp INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, items INTEGER NOT NULL);
CREATE TABLE properties (property INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE vocabulary (
    value INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE, folded TEXT NOT NULL
);
CREATE INDEX vocabulary_by_folded ON vocabulary (folded);
CREATE TABLE facts (
    property INTEGER NOT NULL, value INTEGER NOT NULL, item INTEGER NOT NULL,
    PRIMARY KEY (property, value, item)
) WITHOUT ROWID;
CREATE INDEX facts_by_item ON facts (item);
CREATE TABLE known (name TEXT PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID;
"""


def create(path: Path) -> sqlite3.Connection:
    """Make an empty index in a new file, which is not yet safe from a crash."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -200000")
    connection.executescript(_TABLES)
    weights = ", ".join(map(str, FIELD_WEIGHTS))
    connection.execute("INSERT INTO found (found, rank) VALUES ('rank', ?)", (f"bm25({weights})",))
    return connection


def connect(path: Path, *, write: bool = False) -> sqlite3.Connection:
    """Open an index.

    Raises DataError if there is none, and StoreDamagedError if it is no database. It may be used
    by several threads, one at a time.
    """
    if not path.is_file():
        raise DataError(f"there is no index at {path}: make one with `catalograph index`")
    try:
        connection = open_file(path, "rw" if write else "ro")
        connection.execute("PRAGMA cache_size = -65536")
        connection.execute("PRAGMA mmap_size = 1073741824")
        connection.execute("SELECT count(*) FROM known").fetchone()
    except sqlite3.Error as error:
        raise damaged(path, error) from error
    return connection


def open_file(path: Path, mode: str) -> sqlite3.Connection:
    """Open a database that exists, in the mode ``ro`` or ``rw``; raises sqlite3.Error."""
    if mode == "ro" and not os.access(path.parent, os.W_OK):
        # Where nothing can be written, SQLite opens only what it need not lock.
        mode = "ro&immutable=1"
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=WAIT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def damaged(path: Path, error: sqlite3.Error | None) -> StoreDamagedError | StoreUnavailableError:
    """Return the error of this module's kind for one of SQLite's."""
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return StoreUnavailableError(f"{path} is being written ({error}): try again")
    return StoreDamagedError(
        f"{path} cannot be read ({error}): make it anew with `catalograph index --anew`"
    )


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn errors of SQLite into errors of one line."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise damaged(path, error) from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write all or nothing of what the block does."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def write_known(connection: sqlite3.Connection, facts: Mapping[str, Any]) -> None:
    """Keep JSON values, or bytes as they are, by name."""
    connection.executemany(
        "INSERT OR REPLACE INTO known VALUES (?, ?)",
        [
            (name, content if isinstance(content, bytes) else json.dumps(content))
            for name, content in facts.items()
        ],
    )


def new_edition() -> dict[str, str]:
    """Return what tells an index from what it was before, to be kept with each change of it."""
    return {EDITION: secrets.token_hex(8)}


def read_known(connection: sqlite3.Connection, name: str, default: Any = None) -> Any:
    """Return what is kept under a name."""
    row = connection.execute("SELECT content FROM known WHERE name = ?", (name,)).fetchone()
    if row is None:
        return default
    return row[0] if isinstance(row[0], bytes) else json.loads(row[0])
