"""The rows of a source that were read so far, in 20 bytes each: a catalogue has millions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from schema.arrays import BoolArray, IntArray

_PARTITION_BITS = 8
"""Ids are divided by the first bits of their hashes, so that adding some copies little."""
_RECENT_ROWS = 1 << 16
"""Rows that are gathered before they are divided: to add some to a partition takes 30 µs."""


class SeenRow(NamedTuple):
    """The hash of a row's content, and its line."""

    content: int
    line: int


class _Run(NamedTuple):
    """Rows in the order of their ids' hashes: the hashes, the contents and the lines [N] each."""

    ids: NDArray[np.int64]
    contents: NDArray[Any]
    lines: NDArray[Any]

    def of(self, places: IntArray) -> _Run:
        """Return some of the rows, whose places are in order."""
        return _Run(self.ids[places], self.contents[places], self.lines[places])

    def with_rows(self, more: _Run) -> _Run:
        """Return the rows with further ones."""
        positions = np.searchsorted(self.ids, more.ids)
        return _Run(
            np.insert(self.ids, positions, more.ids),
            np.insert(self.contents, positions, more.contents),
            np.insert(self.lines, positions, more.lines),
        )


@dataclass(frozen=True)
class FoundRows:
    """Which ids [N] were seen before, and the contents and lines [N] of their rows, 0 if not."""

    found: BoolArray
    contents: IntArray
    lines: IntArray


class SeenRows:
    """The first row of each id. Ids are kept as hashes.

    ``content_type`` and ``line_type`` are the types in which contents and lines fit.
    """

    def __init__(
        self, content_type: DTypeLike = np.int64, line_type: DTypeLike = np.uint32
    ) -> None:
        self._empty = _Run(np.zeros(0, np.int64), np.zeros(0, content_type), np.zeros(0, line_type))
        self._recent = self._empty
        self._partitions = [self._empty] * (1 << _PARTITION_BITS)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def find(self, ids: Iterable[str]) -> dict[str, SeenRow]:
        """Return the rows of those ids that were seen before."""
        names = list(dict.fromkeys(ids))
        seen = self.find_hashes(hashes_of(names))
        return {
            names[place]: SeenRow(int(seen.contents[place]), int(seen.lines[place]))
            for place in np.flatnonzero(seen.found).tolist()
        }

    def find_hashes(self, hashes: IntArray) -> FoundRows:
        """Return which ids with these hashes [N] were seen before, and their rows."""
        count = len(hashes)
        rows = FoundRows(
            np.zeros(count, bool), np.zeros(count, np.int64), np.zeros(count, np.int64)
        )
        _look_up(self._recent, hashes, np.arange(count), rows)
        if len(self._recent.ids) < self._count:
            for number, places in _by_partition(hashes):
                _look_up(self._partitions[number], hashes[places], places, rows)
        return rows

    def add(self, rows: Mapping[str, SeenRow]) -> None:
        """Add rows whose ids were not seen before."""
        contents = np.array([row.content for row in rows.values()], np.int64)
        lines = np.array([row.line for row in rows.values()], np.int64)
        self.add_hashes(hashes_of(list(rows)), contents, lines)

    def add_hashes(self, hashes: IntArray, contents: IntArray, lines: IntArray) -> None:
        """Add rows [N] whose ids were not seen before, by the hashes of these."""
        self._count += len(hashes)
        new = _Run(hashes, contents, lines).of(np.argsort(hashes, kind="stable"))
        self._recent = self._recent.with_rows(new)
        if len(self._recent.ids) < _RECENT_ROWS:
            return
        for number, places in _by_partition(self._recent.ids):
            partition = self._partitions[number]
            self._partitions[number] = partition.with_rows(self._recent.of(places))
        self._recent = self._empty


def hashes_of(names: Sequence[str]) -> IntArray:
    """Return the hashes of ids [N]."""
    # Python salts the hashes of texts differently in each process, so nobody can prepare a source
    # whose ids collide. These hashes are never stored.
    return np.fromiter(map(hash, names), np.int64, len(names))


def _look_up(run: _Run, hashes: IntArray, places: IntArray, rows: FoundRows) -> None:
    """Note the rows of those ids that a run has; ``places`` [N] are where ``rows`` has these."""
    if not len(run.ids):
        return
    # A hash above all others has no position; it differs from the last.
    positions = np.minimum(np.searchsorted(run.ids, hashes), len(run.ids) - 1)
    found = run.ids[positions] == hashes
    rows.found[places[found]] = True
    rows.contents[places[found]] = run.contents[positions[found]]
    rows.lines[places[found]] = run.lines[positions[found]]


def _by_partition(hashes: NDArray[np.int64]) -> Iterator[tuple[int, IntArray]]:
    """Yield the number of each partition that there are hashes [N] for, and their places."""
    if not len(hashes):
        return
    numbers = hashes.view(np.uint64) >> np.uint64(64 - _PARTITION_BITS)
    order = np.argsort(numbers, kind="stable")
    present, starts = np.unique(numbers[order], return_index=True)
    yield from zip(present.tolist(), np.split(order, starts[1:]), strict=True)
