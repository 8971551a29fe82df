"""Open a Ladybug database, and turn its errors into Catalograph's."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from kg.stores.failures import store_error
from kg.stores.room import free_bytes

BUFFER_POOL_BYTES = 1 << 30
WRITER_POOL_BYTES = 1 << 28
"""Of a writer of a small graph, who applies and reads a few rows at a time."""
LOG_LIMIT_BYTES = 1 << 25
"""Size of the write-ahead log at which Ladybug writes its changes into the graph file.

Twice Ladybug's own: a checkpoint costs about as much as the 20,000 statements before it.
"""
LOG_SHARE = 16
"""On a nearly full disk, the log may take one part in so many of what is free."""
LARGEST_DATABASE = 1 << 43
"""Address space that Ladybug reserves by default."""
SMALLEST_DATABASE = 1 << 30
SMALLEST_READ = 1 << 34
"""Address space of a reader of a small graph: of Ladybug's own, a process has room for 15."""
POOL_IS_FULL = "buffer pool is full"
"""The phrase by which Ladybug reports that a query needs more memory than its buffer pool has."""
COMMITTED = "committed successfully"
"""The phrase with which Ladybug says that a query had its effect although something failed then."""

DAMAGE = (
    "not a valid Lbug database file",
    "Reading past the end of the file",
    "outside the database file",
    "Cannot read checkpoint",
    "Cannot recover",
    "Load table failed",
    "checkpoint recovery artifacts",
    "Checksum verification failed",
    "WAL replay",
    "Table Applied does not exist",
)
"""Phrases by which Ladybug reports a damaged file, when nobody else is writing it."""


def open_database(
    path: Path, *, read_only: bool, buffer_pool_bytes: int = BUFFER_POOL_BYTES
) -> Any:
    """Open the database in a file; opened for writing, it is made if there is none.

    Raises StoreDamagedError if it is damaged, StoreUnavailableError if the system refuses it.
    """
    import ladybug

    with _first_use(), ladybug_errors(path):
        return ladybug.Database(
            str(path),
            buffer_pool_size=buffer_pool_bytes,
            read_only=read_only,
            max_db_size=_address_space(path if read_only else None),
            checkpoint_threshold=min(LOG_LIMIT_BYTES, free_bytes(path.parent) // LOG_SHARE),
        )


_first_lock = threading.Lock()
_is_loaded = False


@contextmanager
def _first_use() -> Iterator[None]:
    """Keep other threads from Ladybug while the first one makes it load its library.

    It notes that it has tried to before it is done: a second thread would be told that there is no
    library.
    """
    global _is_loaded
    if _is_loaded:
        yield
        return
    with _first_lock:
        yield
        _is_loaded = True


def execute(connection: Any, text: str, params: dict[str, Any] | None = None) -> Any:
    """Run a query in a connection, and return its result.

    Of an Arrow table, Ladybug reads no row beyond a chunk that is empty, without a word. So each
    query with a table goes through here.
    """
    return connection.execute(
        text,
        {
            name: _without_empty_chunks(value) if isinstance(value, pa.Table) else value
            for name, value in (params or {}).items()
        },
    )


def _without_empty_chunks(table: pa.Table) -> pa.Table:
    chunks = (chunk for column in table.columns for chunk in column.chunks)
    if all(len(chunk) for chunk in chunks):
        return table
    return pa.Table.from_batches(
        [batch for batch in table.to_batches() if batch.num_rows], table.schema
    )


@contextmanager
def ladybug_errors(path: Path) -> Iterator[None]:
    """Raise Ladybug's errors in the block as StoreError about the graph at ``path``."""
    try:
        yield
    except (RuntimeError, MemoryError, ValueError, IndexError, OverflowError) as error:
        # All that pybind11 makes of C++'s exceptions. Text that is not UTF-8 is a ValueError.
        raise store_error(error, path, DAMAGE) from None


def _address_space(read: Path | None = None) -> int:
    """Return how much address space to reserve; a limit on it (``ulimit -v``) leaves less.

    A file that is only ``read`` does not grow, and a server reads it many times at once.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    size = LARGEST_DATABASE
    if read is not None and read.exists():
        size = min(size, max(SMALLEST_READ, 1 << (4 * read.stat().st_size).bit_length()))
    # A quarter of the limit: the buffer pool, the program and its libraries need some, too.
    while limit != resource.RLIM_INFINITY and size > max(limit // 4, SMALLEST_DATABASE):
        size //= 2
    return size
