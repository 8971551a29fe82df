"""The images of items whose rows may lie far apart in a source, kept on disk."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping

_MAX_PARAMETERS = 900


class ImageShelf:
    """Keeps the images of each item in a temporary database, so that memory stays flat."""

    def __init__(self) -> None:
        # An empty name is a database on disk that is deleted when it is closed.
        self._database = sqlite3.connect("")
        self._database.execute("CREATE TABLE images (id TEXT PRIMARY KEY, images TEXT)")

    def put(self, images: Mapping[str, list[str]]) -> None:
        """Keep the images of items that have some."""
        rows = [(id, json.dumps(each)) for id, each in images.items() if each]
        self._database.executemany("INSERT OR REPLACE INTO images VALUES (?, ?)", rows)

    def take(self, ids: Iterable[str]) -> dict[str, list[str]]:
        """Return the images of those items that were kept before."""
        found: dict[str, list[str]] = {}
        wanted = list(ids)
        for start in range(0, len(wanted), _MAX_PARAMETERS):
            part = wanted[start : start + _MAX_PARAMETERS]
            marks = ",".join("?" * len(part))
            query = f"SELECT id, images FROM images WHERE id IN ({marks})"
            for id, images in self._database.execute(query, part):
                found[id] = json.loads(images)
        return found
