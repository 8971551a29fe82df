"""What all threads of a searcher share: the vectors of an index's items, and the weights."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from serving.search import nearest
from serving.search.nearest import TAIL, Bank, Space
from serving.search.parts import Part, QueryVectors
from serving.search.ranking import FILE as WEIGHTS_FILE
from serving.search.ranking import Weights, read_weights
from serving.search.reading import IndexReader
from serving.search.vectors import PartState, VectorReader


@dataclass
class Shared:
    """What belongs to one state of an index.

    Attributes:
        spaces: the vectors of its items, by part
        weights: the weights of the ranking
        outdated: how many items have changed since the vectors of a part were made
    """

    spaces: dict[Part, Space]
    weights: Weights
    outdated: dict[Part, int]
    _signatures: Space | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def signatures(self, connection: sqlite3.Connection) -> Space:
        """Return the signatures of the items, which are read when they are first needed."""
        with self._lock:
            if self._signatures is None:
                self._signatures = read_signatures(connection)
            return self._signatures

    def own_vectors(self, number: int) -> QueryVectors:
        """Return the vectors of an item."""
        found = {part: space.own(number) for part, space in self.spaces.items()}
        return {part: vector for part, vector in found.items() if vector is not None}


def read_signatures(connection: sqlite3.Connection) -> Space:
    """Return the signatures of an index's items."""
    rows = list(connection.execute("SELECT number, signature FROM items ORDER BY number"))
    numbers = np.array([number for number, _ in rows], np.int64)
    joined = np.frombuffer(b"".join(signature for _, signature in rows), "<f2")
    return Space.of_items(numbers, joined.astype(np.float32).reshape(len(rows), -1))


@dataclass(frozen=True)
class _Key:
    """What tells a state from others."""

    index: tuple[str, str]
    parts: tuple[tuple[Part, PartState], ...]
    weights: tuple[int, int]


class SharedStates:
    """Gives readers what belongs to the state that they read; the last one is kept."""

    def __init__(self, folder: Path, weights: Weights | None, vectors: bool) -> None:
        self._folder = folder
        self._given_weights = weights
        self._reader = VectorReader(folder) if vectors else None
        self._lock = threading.Lock()
        self._key: _Key | None = None
        self._shared: Shared | None = None

    def of(self, reader: IndexReader) -> Shared:
        """Return what belongs to the state that a reader sees."""
        with self._lock:
            parts = {} if self._reader is None else self._reader.parts()
            key = _Key(reader.state, tuple(parts.items()), self._weights_stamp())
            if self._shared is None or key != self._key:
                self._shared = self._load(reader)
                self._key = key
            return self._shared

    def close(self) -> None:
        """Close the vectors."""
        with self._lock:
            if self._reader is not None:
                self._reader.close()

    def _load(self, reader: IndexReader) -> Shared:
        weights = self._given_weights or read_weights(self._folder)
        spaces: dict[Part, Space] = {}
        outdated: dict[Part, int] = {}
        if self._reader is not None:
            with self._reader.unchanging():
                # A part whose vectors were written since the key was made is loaded again.
                parts = self._reader.parts()
                items = _read_items(reader.connection) if parts else []
                for part, state in parts.items():
                    before = None if self._shared is None else self._shared.spaces.get(part)
                    loaded = load_part(
                        self._folder,
                        self._reader,
                        part,
                        state.space,
                        items,
                        None if before is None else before.bank,
                    )
                    spaces[part] = loaded.space
                    outdated[part] = loaded.outdated
        return Shared(spaces, weights, outdated)

    def _weights_stamp(self) -> tuple[int, int]:
        try:
            status = (self._folder / WEIGHTS_FILE).stat()
        except OSError:
            return 0, 0
        return status.st_mtime_ns, status.st_size


_Item = tuple[int, str, bytes]
"""An item's number, its id, and the hash of all that is indexed of it."""


def _read_items(connection: sqlite3.Connection) -> list[_Item]:
    return list(connection.execute("SELECT number, id, digest FROM items ORDER BY number"))


@dataclass(frozen=True)
class LoadedPart:
    """The vectors of a part, and how many items have none of what they are now."""

    space: Space
    outdated: int


def load_part(
    folder: Path,
    reader: VectorReader,
    part: Part,
    space: str,
    items: Sequence[_Item],
    before: Bank | None = None,
) -> LoadedPart:
    """Read the vectors of a part that items of an index have.

    What was read ``before`` is not read again.
    """
    members = reader.members(part)
    numbers: list[int] = []
    digests: list[bytes] = []
    outdated = 0
    for number, id, digest in items:
        member = members.get(id)
        outdated += member is None or member[1] != digest
        if member is not None and member[0] is not None:
            numbers.append(number)
            digests.append(member[0])
    bank = before if before is not None and before.space == space else None
    if bank is None:
        bank = nearest.load(folder, part, space)
    if bank is not None and len(bank.tail) <= TAIL * len(bank.base):
        missing = sorted({digest for digest in digests if digest not in bank.row_of})
        bank = bank.with_tail(reader.vectors(space, missing))
    else:
        bank = Bank.of(space, reader.all_vectors(space))
    rows = [bank.row_of.get(digest, -1) for digest in digests]
    row_array = np.array(rows, np.int64)
    there = row_array >= 0
    return LoadedPart(Space(bank, np.array(numbers, np.int64)[there], row_array[there]), outdated)
