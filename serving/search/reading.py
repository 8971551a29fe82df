"""Reading an index while it may change: connections that are lent to one thread at a time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from schema.errors import DataError, StoreError
from serving.search import database
from serving.search.database import EDITION, read_known, sqlite_errors
from serving.search.features import WordFeatures
from serving.search.index import newest_index

MOST_READERS = 4
"""Connections that are open at a time; further threads wait."""
_ATTEMPTS = 5


class IndexReader:
    """A connection to an index, and what was read of the state that it is in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = database.connect(path)
        self.edition = ""
        self.words: WordFeatures
        self.properties: list[str]

    @property
    def state(self) -> tuple[str, str]:
        """What tells the state that it reads from all others."""
        return self.path.name, self.edition

    def begin(self) -> None:
        """Read one state of the index until :meth:`end`, whatever others write."""
        self.connection.execute("BEGIN")
        edition = str(read_known(self.connection, EDITION, ""))
        if edition == self.edition and edition:
            return
        self.edition = edition
        self.words = WordFeatures(self.connection)
        self.properties = [
            name for (name,) in self.connection.execute("SELECT name FROM properties")
        ]

    def end(self) -> None:
        """Let go of the state."""
        self.connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


class ReaderPool:
    """Readers of the newest index in a folder, for several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(MOST_READERS)
        self._idle: list[IndexReader] = []

    @contextmanager
    def reading(self) -> Iterator[IndexReader]:
        """Lend a reader that sees one state; raises DataError if there is no index."""
        with self._slots:
            reader = self._begun()
            try:
                with sqlite_errors(reader.path):
                    yield reader
            finally:
                self._give_back(reader)

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for reader in idle:
            reader.close()

    def _begun(self) -> IndexReader:
        for attempt in range(_ATTEMPTS):
            path = newest_index(self._folder)
            if path is None:
                break
            try:
                reader = self._take(path)
            except (DataError, StoreError):
                # It may have been replaced by a newer one since we looked.
                if attempt + 1 == _ATTEMPTS or path.is_file():
                    raise
                continue
            try:
                with sqlite_errors(path):
                    reader.begin()
            except BaseException:
                reader.close()
                raise
            return reader
        raise DataError(f"there is no index in {self._folder}: make one with `catalograph index`")

    def _take(self, path: Path) -> IndexReader:
        with self._lock:
            idle, self._idle = self._idle, []
            usable = [reader for reader in idle if reader.path == path]
            outdated = [reader for reader in idle if reader.path != path]
            taken = usable.pop() if usable else None
            self._idle = usable
        for reader in outdated:
            reader.close()
        return IndexReader(path) if taken is None else taken

    def _give_back(self, reader: IndexReader) -> None:
        try:
            reader.end()
        except sqlite3.Error:
            with suppress(sqlite3.Error):
                reader.close()
            return
        with self._lock:
            self._idle.append(reader)
