"""Vectors of items: made where they are missing, and kept by what they were made from.

A vector is stored under the hash of what the encoder read, so that a killed run goes on where it
was, and an item that has not changed in that is not encoded again. Which item has which vector is
written when all of them are there: until then, a search has those from before.

vectors   the vectors, by the space that they lie in and the hash of what they were made from; an
          empty one if that has none, as where there is no image
members   by part and item: the hash of its vector, if it has one, and of what the item was then
parts     the space of each part, and a number that changes with every change of its members
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kg.stores.lock import StoreLock
from schema.errors import StoreError
from schema.progress import ProgressCallback, no_progress
from serving.search.database import damaged, open_file, sqlite_errors, transaction
from serving.search.parts import Part, Vector

if TYPE_CHECKING:
    from encoders.pretrained_text import TextEncoder
    from serving.search.documents import SearchedItem

FILE = "vectors.sqlite"
LOCK = "vectors.lock"
ENCODED_AT_ONCE = 256
"""Items whose vectors are stored together: a killed run loses no more."""
_TABLES = """
CREATE TABLE IF NOT EXISTS vectors (
    space TEXT NOT NULL, digest BLOB NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (space, digest)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS members (
    part TEXT NOT NULL, item TEXT NOT NULL, digest BLOB, known BLOB NOT NULL,
    PRIMARY KEY (part, item)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts (
    part TEXT PRIMARY KEY, space TEXT NOT NULL, edition INTEGER NOT NULL
) WITHOUT ROWID;
"""


class VectorSource(Protocol):
    """Items as an encoder reads them.

    Attributes:
        parts: the vectors that it makes
        space: a name that changes whenever the same input may get another vector
    """

    @property
    def parts(self) -> tuple[Part, ...]: ...

    @property
    def space(self) -> str: ...

    def digests(self) -> Iterator[bytes | None]:
        """Yield for each item a hash of what is read of it; None if there is nothing to read."""
        ...

    def encode(self, places: Sequence[int]) -> Mapping[Part, Sequence[Vector | None]]:
        """Return the vectors of the items at these places; None for what they lack."""
        ...


class TextSource:
    """The texts of items, read by a text encoder."""

    parts = (Part.TEXT,)

    def __init__(self, encoder: TextEncoder, items: Sequence[SearchedItem]) -> None:
        self.space = encoder.space
        self._encoder = encoder
        self._items = items

    def digests(self) -> Iterator[bytes | None]:
        """Yield the hash of each item's text."""
        return (item.text_digest for item in self._items)

    def encode(self, places: Sequence[int]) -> Mapping[Part, Sequence[Vector | None]]:
        """Return the vectors of the texts."""
        vectors = self._encoder.encode([self._items[place].text for place in places])
        return {Part.TEXT: list(vectors)}


@dataclass(frozen=True)
class Encoded:
    """How many inputs were encoded, and how many items have a vector now, by part."""

    encoded: int
    items: Mapping[Part, int]


@contextmanager
def vector_file(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open the vectors of a folder's index, which are created if need be."""
    path = folder / FILE
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=10)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(_TABLES)
    except sqlite3.DatabaseError as error:
        raise damaged(path, error) from error
    with closing(connection), sqlite_errors(path):
        yield connection


@contextmanager
def _encoding(folder: Path) -> Iterator[None]:
    """Keep other processes from encoding the same."""
    try:
        lock = StoreLock(folder / LOCK)
    except StoreError as error:
        raise StoreError(f"vectors are being made by another call of `index` ({error})") from None
    try:
        yield
    finally:
        lock.release()


def encode_missing(
    folder: Path,
    source: VectorSource,
    items: Sequence[SearchedItem],
    progress: ProgressCallback = no_progress,
    *,
    only_some: bool = False,
) -> Encoded:
    """Encode what has no vector yet of ``items``, in the order in which the source has them.

    They are all items that there are, unless they are ``only_some``. Raises StoreError if another
    process is encoding.
    """
    with _encoding(folder), vector_file(folder) as connection:
        spaces = {part: f"{source.space}/{part}" for part in source.parts}
        digests = list(source.digests())
        place_of = {digest: place for place, digest in enumerate(digests) if digest is not None}
        known = {part: _known(connection, space) for part, space in spaces.items()}
        missing = [
            digest for digest in place_of if not all(digest in each for each in known.values())
        ]
        for start in range(0, len(missing), ENCODED_AT_ONCE):
            at_once = missing[start : start + ENCODED_AT_ONCE]
            vectors = source.encode([place_of[digest] for digest in at_once])
            rows = []
            for part, found in vectors.items():
                for digest, vector in zip(at_once, found, strict=True):
                    content = b"" if vector is None else vector.astype("<f4").tobytes()
                    rows.append((spaces[part], digest, content))
                    known[part][digest] = bool(content)
            with transaction(connection):
                connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
            progress(start + len(at_once), len(missing))
        with transaction(connection):
            for part, space in spaces.items():
                members = [
                    (part, item.id, digest if digest and known[part][digest] else None, item.digest)
                    for item, digest in zip(items, digests, strict=True)
                ]
                _write_members(connection, part, space, members, set(place_of), only_some)
    counts = {
        part: sum(bool(digest) and own[digest] for digest in digests if digest is not None)
        for part, own in known.items()
    }
    return Encoded(len(missing), counts)


def _known(connection: sqlite3.Connection, space: str) -> dict[bytes, bool]:
    """Return the hashes of a space, and whether there is a vector of each."""
    rows = connection.execute(
        "SELECT digest, length(vector) > 0 FROM vectors WHERE space = ?", (space,)
    )
    return {digest: bool(there) for digest, there in rows}


_Member = tuple[Part, str, bytes | None, bytes]


def _write_members(
    connection: sqlite3.Connection,
    part: Part,
    space: str,
    members: Sequence[_Member],
    read: Set[bytes],
    only_some: bool,
) -> None:
    """Write which items have which vectors of a part; forget those of what was not ``read``."""
    before = connection.execute(
        "SELECT space, edition FROM parts WHERE part = ?", (part,)
    ).fetchone()
    old = {
        item: (digest, known)
        for item, digest, known in connection.execute(
            "SELECT item, digest, known FROM members WHERE part = ?", (part,)
        )
    }
    if only_some and before is not None and before[0] != space:
        # Of the others there would be vectors of another space.
        return
    changed = [each for each in members if old.get(each[1]) != each[2:]]
    gone = [] if only_some else sorted(old.keys() - {item for _, item, _, _ in members})
    if before is not None and before[0] == space and not changed and not gone:
        return
    connection.executemany("INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?)", changed)
    connection.executemany(
        "DELETE FROM members WHERE part = ? AND item = ?", [(part, item) for item in gone]
    )
    edition = 1 if before is None else before[1] + 1
    connection.execute("INSERT OR REPLACE INTO parts VALUES (?, ?, ?)", (part, space, edition))
    if only_some:
        return
    kept = connection.execute("SELECT digest FROM vectors WHERE space = ?", (space,))
    connection.executemany(
        "DELETE FROM vectors WHERE space = ? AND digest = ?",
        [(space, digest) for (digest,) in kept.fetchall() if digest not in read],
    )
    # Of earlier encoders, and of the versions that named spaces otherwise.
    connection.execute(
        "DELETE FROM vectors WHERE space NOT IN (SELECT space FROM parts) AND (space LIKE ? OR "
        "instr(space, '/') = 0)",
        (f"%/{part}",),
    )


def forget_parts(folder: Path, parts: Iterable[Part]) -> None:
    """Remove the vectors of some parts."""
    if not (folder / FILE).is_file():
        return
    with _encoding(folder), vector_file(folder) as connection, transaction(connection):
        for part in parts:
            connection.execute("DELETE FROM vectors WHERE space LIKE ?", (f"%/{part}",))
            connection.execute("DELETE FROM members WHERE part = ?", (part,))
            connection.execute("DELETE FROM parts WHERE part = ?", (part,))


@dataclass(frozen=True)
class PartState:
    """The space of a part's vectors, and the number of their state."""

    space: str
    edition: int


class VectorReader:
    """Reads the vectors of a folder's index, as they are now; there may be none."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._connection: sqlite3.Connection | None = None

    def parts(self) -> dict[Part, PartState]:
        """Return which parts there are."""
        connection = self._open()
        if connection is None:
            return {}
        rows = connection.execute("SELECT part, space, edition FROM parts ORDER BY part")
        names = {part.value: part for part in Part}
        return {
            names[part]: PartState(space, edition) for part, space, edition in rows if part in names
        }

    def members(self, part: Part) -> dict[str, tuple[bytes | None, bytes]]:
        """Return the hash of each item's vector, and of what the item was when it was made."""
        rows = self._rows("SELECT item, digest, known FROM members WHERE part = ?", part)
        return {item: (digest, known) for item, digest, known in rows}

    def all_vectors(self, space: str) -> dict[bytes, bytes]:
        """Return all vectors of a space by the hash of what they were made from."""
        sql = "SELECT digest, vector FROM vectors WHERE space = ? AND length(vector) > 0"
        return dict(self._rows(sql, space))

    def vectors(self, space: str, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return those of these vectors that there are."""
        found: dict[bytes, bytes] = {}
        for start in range(0, len(digests), 500):
            part = digests[start : start + 500]
            marks = ", ".join("?" * len(part))
            found.update(
                self._rows(
                    "SELECT digest, vector FROM vectors WHERE space = ? AND length(vector) > 0 "
                    f"AND digest IN ({marks})",
                    space,
                    *part,
                )
            )
        return found

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def unchanging(self) -> Iterator[None]:
        """Read the same state in all calls within the block."""
        connection = self._open()
        if connection is None:
            yield
            return
        with sqlite_errors(self._path):
            connection.execute("BEGIN")
            try:
                yield
            finally:
                connection.execute("ROLLBACK")

    def _rows(self, sql: str, *parameters: str | bytes) -> Iterable[tuple[Any, ...]]:
        connection = self._open()
        return () if connection is None else connection.execute(sql, parameters)

    def _open(self) -> sqlite3.Connection | None:
        if self._connection is None and self._path.is_file():
            with sqlite_errors(self._path):
                connection = open_file(self._path, "ro")
                tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
            if not {"parts", "members", "vectors"} <= tables:
                # Of an earlier version, or not complete yet.
                connection.close()
                return None
            self._connection = connection
        return self._connection


def digest_of_parts(*parts: bytes) -> bytes:
    """Return a hash of several byte strings, each with its length."""
    digest = sha256()
    for each in parts:
        digest.update(len(each).to_bytes(8, "little"))
        digest.update(each)
    return digest.digest()[:16]
