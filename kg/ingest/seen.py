"""Rows that a source gave before, in 24 bytes each: a catalogue has millions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

Row = tuple[int, int]
"""(hash of a row's content, its line)"""
_TYPE = np.dtype([("id", np.int64), ("content", np.int64), ("line", np.int64)])


class SeenRows:
    """The content and the line of the first row of each id; ids are kept by their hashes."""

    def __init__(self) -> None:
        self._rows = np.zeros(0, _TYPE)

    def __len__(self) -> int:
        return len(self._rows)

    def before(self, ids: Iterable[str]) -> dict[str, Row]:
        """The rows of those ids that were seen."""
        names = list(dict.fromkeys(ids))
        hashes = np.array([hash(name) for name in names], np.int64)
        places = np.searchsorted(self._rows["id"], hashes)
        inside = np.flatnonzero(places < len(self._rows))
        found = inside[self._rows["id"][places[inside]] == hashes[inside]]
        return {
            names[at]: (int(self._rows["content"][places[at]]), int(self._rows["line"][places[at]]))
            for at in found
        }

    def add(self, rows: Mapping[str, Row]) -> None:
        """Remember rows whose ids were not seen."""
        fresh = np.array(
            [(hash(name), content, line) for name, (content, line) in rows.items()], _TYPE
        )
        fresh.sort(order="id")
        self._rows = np.insert(self._rows, np.searchsorted(self._rows["id"], fresh["id"]), fresh)
