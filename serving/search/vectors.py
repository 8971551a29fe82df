"""Vectors of items: kept by what was encoded, and searched for the nearest.

A vector is stored under the hash of the text that it was made from, so that a killed run goes on
where it was, and an item whose text has not changed is not encoded again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encoders.pretrained_folder import Vectors
from encoders.pretrained_text import TextEncoder
from schema.arrays import BoolArray, IntArray
from schema.progress import ProgressCallback, no_progress
from serving.search.database import damaged, sqlite_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = "vectors.sqlite"
ENCODED_AT_ONCE = 256
"""Texts whose vectors are stored together: a killed run loses no more."""
_TABLES = """
CREATE TABLE IF NOT EXISTS vectors (
    space TEXT NOT NULL, digest BLOB NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (space, digest)
) WITHOUT ROWID
"""


@contextmanager
def vector_file(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open the vectors of a folder's index, which are created if need be."""
    path = folder / FILE
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=10)
        connection.execute(_TABLES)
    except sqlite3.DatabaseError as error:
        raise damaged(path, error) from error
    with closing(connection), sqlite_errors(path):
        yield connection


def encode_missing(
    folder: Path,
    encoder: TextEncoder,
    texts: Iterable[tuple[bytes, str]],
    progress: ProgressCallback = no_progress,
) -> int:
    """Encode the texts, given with their digests, that have no vector; return how many."""
    with vector_file(folder) as connection:
        known = {
            digest
            for (digest,) in connection.execute(
                "SELECT digest FROM vectors WHERE space = ?", (encoder.space,)
            )
        }
        wanted = dict(texts)
        missing = [digest for digest in wanted if digest not in known]
        for start in range(0, len(missing), ENCODED_AT_ONCE):
            part = missing[start : start + ENCODED_AT_ONCE]
            vectors = encoder.encode([wanted[digest] for digest in part])
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)",
                [
                    (encoder.space, digest, vector.astype("<f4").tobytes())
                    for digest, vector in zip(part, vectors, strict=True)
                ],
            )
            connection.execute("COMMIT")
            progress(start + len(part), len(missing))
        gone = [(encoder.space, digest) for digest in known if digest not in wanted]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("DELETE FROM vectors WHERE space = ? AND digest = ?", gone)
        connection.execute("DELETE FROM vectors WHERE space <> ?", (encoder.space,))
        connection.execute("COMMIT")
    return len(missing)


class NearestItems:
    """The vectors [N, D] of items with their numbers [N], which are sorted."""

    def __init__(self, numbers: IntArray, vectors: Vectors) -> None:
        self.numbers = numbers
        self.vectors = vectors

    def cosines(self, vector: Vectors, numbers: Sequence[int]) -> Vectors:
        """Return the cosines [M] of items with a vector [D]; 0 for those without one."""
        wanted = np.asarray(numbers, np.int64)
        found = np.zeros(len(wanted), np.float32)
        if not len(self.numbers):
            return found
        places = np.minimum(np.searchsorted(self.numbers, wanted), len(self.numbers) - 1)
        known = self.numbers[places] == wanted
        found[known] = self.vectors[places[known]] @ vector
        return found

    def nearest(self, vector: Vectors, count: int, allowed: BoolArray | None = None) -> IntArray:
        """Return the numbers of the items nearest to a vector [D], the nearest first.

        ``allowed`` says by number which items may be returned.
        """
        if not len(self.numbers):
            return np.zeros(0, np.int64)
        cosines = self.vectors @ vector
        if allowed is not None:
            cosines = np.where(allowed[self.numbers], cosines, -np.inf)
        count = min(count, len(cosines))
        best = np.argpartition(-cosines, count - 1)[:count]
        best = best[np.argsort(-cosines[best], kind="stable")]
        return self.numbers[best[np.isfinite(cosines[best])]]


def read_vectors(folder: Path, connection: sqlite3.Connection, space: str) -> NearestItems:
    """Return the vectors of an index's items in a space; items without one are left out."""
    if not (folder / FILE).is_file():
        return NearestItems(np.zeros(0, np.int64), np.zeros((0, 1), np.float32))
    with vector_file(folder) as stored:
        by_digest: dict[bytes, bytes] = dict(
            stored.execute("SELECT digest, vector FROM vectors WHERE space = ?", (space,))
        )
    rows = [
        (number, by_digest[digest])
        for number, digest in connection.execute(
            "SELECT number, text_digest FROM items ORDER BY number"
        )
        if digest in by_digest
    ]
    return _stacked(rows, "<f4")


def read_signatures(connection: sqlite3.Connection) -> NearestItems:
    """Return the signatures of an index's items."""
    rows = list(connection.execute("SELECT number, signature FROM items ORDER BY number"))
    return _stacked(rows, "<f2")


def _stacked(rows: Sequence[tuple[int, bytes]], dtype: str) -> NearestItems:
    numbers = np.array([number for number, _ in rows], np.int64)
    joined = b"".join(vector for _, vector in rows)
    vectors = np.frombuffer(joined, dtype).astype(np.float32).reshape(len(rows), -1)
    return NearestItems(numbers, vectors)
