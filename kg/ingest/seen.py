"""The rows of a source that were read so far, in 24 bytes each: a catalogue has millions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

_ROW_TYPE = np.dtype([("id", np.int64), ("content", np.int64), ("line", np.int64)])


class SeenRow(NamedTuple):
    """The hash of a row's content, and its line."""

    content: int
    line: int


class SeenRows:
    """The first row of each id. Ids are kept as hashes, in a sorted array."""

    def __init__(self) -> None:
        self._rows = np.zeros(0, _ROW_TYPE)

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, ids: Iterable[str]) -> dict[str, SeenRow]:
        """Return the rows of those ids that were seen before."""
        names = list(dict.fromkeys(ids))
        # Python salts the hashes of texts differently in each process, so nobody can prepare a
        # source whose ids collide. These hashes are never stored.
        hashes = np.array([hash(name) for name in names], np.int64)
        positions = np.searchsorted(self._rows["id"], hashes)
        in_range = np.flatnonzero(positions < len(self._rows))
        matches = in_range[self._rows["id"][positions[in_range]] == hashes[in_range]]
        rows = {}
        for match in matches:
            row = self._rows[positions[match]]
            rows[names[match]] = SeenRow(int(row["content"]), int(row["line"]))
        return rows

    def add(self, rows: Mapping[str, SeenRow]) -> None:
        """Add rows whose ids were not seen before."""
        new = np.empty(len(rows), _ROW_TYPE)
        new["id"] = [hash(name) for name in rows]
        new["content"] = [row.content for row in rows.values()]
        new["line"] = [row.line for row in rows.values()]
        new.sort(order="id")
        self._rows = np.insert(self._rows, np.searchsorted(self._rows["id"], new["id"]), new)
