"""What was said of items whose rows may lie far apart in a source, kept on disk."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_MAX_PARAMETERS = 900


@dataclass
class ShelvedItem:
    """What was said of an item.

    Attributes:
        line: the first line that says something of it
        texts: the leading text of each field
        languages: the languages of these, where they have a tag
        images: all its images
    """

    line: int
    texts: dict[str, str] = field(default_factory=dict)
    languages: dict[str, str | None] = field(default_factory=dict)
    images: list[str] = field(default_factory=list)


class ItemShelf:
    """Keeps the fields of each item in a temporary database, so that memory stays flat."""

    def __init__(self) -> None:
        # An empty name is a database on disk that is deleted when it is closed.
        self._database = sqlite3.connect("")
        self._database.execute("CREATE TABLE items (id TEXT PRIMARY KEY, fields TEXT)")

    def put(self, items: Mapping[str, ShelvedItem]) -> None:
        """Keep what was said of items."""
        rows = [(id, json.dumps(vars(item))) for id, item in items.items()]
        self._database.executemany("INSERT OR REPLACE INTO items VALUES (?, ?)", rows)

    def take(self, ids: Iterable[str]) -> dict[str, ShelvedItem]:
        """Return what was kept of those items before."""
        found: dict[str, ShelvedItem] = {}
        wanted = list(ids)
        for start in range(0, len(wanted), _MAX_PARAMETERS):
            part = wanted[start : start + _MAX_PARAMETERS]
            marks = ",".join("?" * len(part))
            query = f"SELECT id, fields FROM items WHERE id IN ({marks})"
            for id, fields in self._database.execute(query, part):
                found[id] = ShelvedItem(**json.loads(fields))
        return found
