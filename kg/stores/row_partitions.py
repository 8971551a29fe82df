"""Whole rows divided by their ids, on disk, so that one partition at a time fits into memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from kg.stores.failures import temporary_files
from kg.stores.fingerprints import Records, places_by_partition

ORIGIN = pa.field("origin", pa.string())
"""The column that says where a row comes from."""


class RowPartitions:
    """Tables of one schema, divided by the key of their rows, in the order in which they came.

    Use it in a ``with`` statement. Every row also gets the name of its origin.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema.append(ORIGIN)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="catalograph-"))
            self._folder = Path(folder)
            self._writers: dict[int, Any] = {}
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, table: pa.Table, records: Records, origin: str) -> None:
        """Add the rows of a table [N], with their records [N]."""
        whole = table.append_column(ORIGIN, pa.repeat(origin, table.num_rows)).cast(self._schema)
        with temporary_files():
            for number, places in enumerate(places_by_partition(records)):
                if len(places):
                    self._writer(number).write_table(whole.take(pa.array(places)))

    def parts(self) -> Iterator[pa.Table]:
        """Yield the rows of each partition; those with the same id are in the same one."""
        for number, writer in sorted(self._writers.items()):
            with temporary_files():
                writer.close()
            with pa.memory_map(str(self._path(number))) as file:
                yield pa.ipc.open_stream(file).read_all()
        self._writers = {}

    def _writer(self, number: int) -> Any:
        if number not in self._writers:
            file = self._stack.enter_context(pa.OSFile(str(self._path(number)), "wb"))
            self._writers[number] = pa.ipc.new_stream(file, self._schema)
        return self._writers[number]

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.arrow"
