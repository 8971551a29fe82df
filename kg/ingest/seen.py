"""The rows of a source that were read so far, in 20 bytes each: a catalogue has millions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

_PARTITION_BITS = 8
"""Ids are divided by the first bits of their hashes, so that adding some copies little."""


class SeenRow(NamedTuple):
    """The hash of a row's content, and its line."""

    content: int
    line: int


class _Partition(NamedTuple):
    """Rows in the order of their ids' hashes: the hashes, the contents and the lines [N] each."""

    ids: NDArray[np.int64]
    contents: NDArray[Any]
    lines: NDArray[Any]


class SeenRows:
    """The first row of each id. Ids are kept as hashes.

    ``content_type`` and ``line_type`` are the types in which contents and lines fit.
    """

    def __init__(
        self, content_type: DTypeLike = np.int64, line_type: DTypeLike = np.uint32
    ) -> None:
        empty = _Partition(np.zeros(0, np.int64), np.zeros(0, content_type), np.zeros(0, line_type))
        self._partitions = [empty] * (1 << _PARTITION_BITS)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def find(self, ids: Iterable[str]) -> dict[str, SeenRow]:
        """Return the rows of those ids that were seen before."""
        names = list(dict.fromkeys(ids))
        hashes = _hashes(names)
        rows = {}
        for number, places in _by_partition(hashes):
            partition = self._partitions[number]
            if not len(partition.ids):
                continue
            positions = np.searchsorted(partition.ids, hashes[places])
            # A hash above all others has no position; it differs from the last.
            positions = np.minimum(positions, len(partition.ids) - 1)
            found = partition.ids[positions] == hashes[places]
            for place, position in zip(places[found], positions[found], strict=True):
                row = SeenRow(int(partition.contents[position]), int(partition.lines[position]))
                rows[names[place]] = row
        return rows

    def add(self, rows: Mapping[str, SeenRow]) -> None:
        """Add rows whose ids were not seen before."""
        hashes = _hashes(list(rows))
        contents = np.array([row.content for row in rows.values()], np.int64)
        lines = np.array([row.line for row in rows.values()], np.int64)
        for number, places in _by_partition(hashes):
            places = places[np.argsort(hashes[places], kind="stable")]
            before = self._partitions[number]
            positions = np.searchsorted(before.ids, hashes[places])
            self._partitions[number] = _Partition(
                np.insert(before.ids, positions, hashes[places]),
                np.insert(before.contents, positions, contents[places]),
                np.insert(before.lines, positions, lines[places]),
            )
        self._count += len(rows)


def _hashes(names: list[str]) -> NDArray[np.int64]:
    # Python salts the hashes of texts differently in each process, so nobody can prepare a source
    # whose ids collide. These hashes are never stored.
    return np.array([hash(name) for name in names], np.int64)


def _by_partition(hashes: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield the number of each partition that there are hashes [N] for, and their places."""
    if not len(hashes):
        return
    numbers = hashes.view(np.uint64) >> np.uint64(64 - _PARTITION_BITS)
    order = np.argsort(numbers, kind="stable")
    present, starts = np.unique(numbers[order], return_index=True)
    yield from zip(present.tolist(), np.split(order, starts[1:]), strict=True)
