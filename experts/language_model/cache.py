"""Answers of language models, kept by what the model was sent: nobody pays for them twice."""

from __future__ import annotations

import json
import sqlite3
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from experts.language_model.answers import RawAnswer
from schema.documents import parse_json_object
from schema.errors import CatalographWarning, StoreUnavailableError

CACHE_FILE = "language_model.sqlite"
BUSY_SECONDS = 30.0
_TABLE = "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)"
_AT_ONCE = 500
_DAMAGED = ("SQLITE_NOTADB", "SQLITE_CORRUPT")


class AnswerCache:
    """Answers by the digest of what was sent (:meth:`experts.language_model.prompt.Entry.key`).

    Several processes may have it open. It is used by one thread. What it holds is checked like any
    other answer when it is used, and a damaged file is made anew.

    Raises StoreUnavailableError if the file can be neither opened nor made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._database = self._open()
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorname", "") not in _DAMAGED:
                raise StoreUnavailableError(
                    f"the cache of a language model's answers, {path}, cannot be opened ({error}): "
                    "make room for it, or allow writing there"
                ) from None
            path.unlink()
            self._warn(error)
            self._database = self._open()

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=BUSY_SECONDS)
        with database:
            database.execute(_TABLE)
        return database

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._database.close()

    def get(self, keys: Sequence[str]) -> dict[str, RawAnswer]:
        """Return the answers that are there, by key."""
        found: dict[str, RawAnswer] = {}
        try:
            for start in range(0, len(keys), _AT_ONCE):
                part = keys[start : start + _AT_ONCE]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, answer FROM answers WHERE key IN ({marks})"
                for key, answer in self._database.execute(query, part):
                    found[key] = parse_json_object(answer)
        except (sqlite3.DatabaseError, ValueError, TypeError, AttributeError) as error:
            # Pages of a file may be damaged that opened well. It costs no more than asking again.
            self._warn(error)
        return found

    def put(self, answers: Mapping[str, RawAnswer]) -> None:
        """Keep answers, by key; a warning says if that is not possible."""
        rows = [
            (key, json.dumps(dict(answer), ensure_ascii=False)) for key, answer in answers.items()
        ]
        try:
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", rows)
        except sqlite3.DatabaseError as error:
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        warnings.warn(
            f"the cache of a language model's answers, {self.path}, is damaged or full ({error}): "
            "what it lacks is asked again; remove it if this repeats",
            CatalographWarning,
            stacklevel=3,
        )
