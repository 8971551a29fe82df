"""Streams of record batches that are never held in memory as a whole: DuckDB sorts them on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, Self, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.failures import forget_frames, temporary_files_error
from kg.stores.tables import BATCH_ROWS, STATEMENT_SCHEMA, Row

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

BatchT = TypeVar("BatchT")
SORT_MEMORY_LIMIT = "256MB"
"""Beyond this DuckDB sorts on disk.

It takes more for what it does not count, such as the rows of the batches that go in and out: a
process that sorted 1 million rows of 120 bytes had 416 MB at its peak, and 508 MB for 3 million, of
which some 150 MB are the program itself.
"""
# Each thread takes a share of the memory.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": SORT_MEMORY_LIMIT,
    "threads": 2,
}


def sorted_batches(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, by: Sequence[str] = ("id",)
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of ``batches`` ordered by some columns, compared byte by byte."""
    first = next(batches, None)
    if first is None:
        return
    second = next(batches, None)
    if second is None:
        # A single batch is sorted without a database.
        yield first.take(pc.sort_indices(first, sort_keys=[(name, "ascending") for name in by]))
        return

    with sorting_errors(), temporary_database() as database:
        # DuckDB would read one stream of all batches from threads of its own, but many of our
        # sources are not thread-safe. So each batch is inserted by itself.
        for number, batch in enumerate(chain([first, second], batches)):
            database.register("new_rows", pa.table(batch))
            if number == 0:
                database.execute("CREATE TABLE rows AS FROM new_rows")
            else:
                database.execute("INSERT INTO rows FROM new_rows")
        # DuckDB compares texts by their bytes, as Arrow does above: all stores must agree on the
        # order.
        result = database.sql(f"SELECT * FROM rows ORDER BY {', '.join(by)}")
        for batch in result.to_arrow_reader(BATCH_ROWS):
            yield batch.cast(schema)


@contextmanager
def temporary_database() -> Iterator[DuckDBPyConnection]:
    """Open a database of temporary files, which lasts as long as the ``with`` block."""
    import duckdb

    with (
        tempfile.TemporaryDirectory(prefix="catalograph-") as folder,
        duckdb.connect(f"{folder}/rows.duckdb", config=_CONFIG) as database,
    ):
        yield database


@contextmanager
def sorting_errors() -> Iterator[None]:
    """Raise the errors of a database of temporary files as StoreUnavailableError."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise temporary_files_error(" ".join(str(error).split())) from None


def with_statements(
    items: Iterable[Row], statements: Iterator[pa.RecordBatch]
) -> Iterator[tuple[Row, list[Row]]]:
    """Yield each item with its statements; the items must be ordered by id.

    The statements may have any order: they are sorted by item, and then read beside the items.
    """
    batches = sorted_batches(statements, STATEMENT_SCHEMA, by=("item", "id"))
    rows = (row for batch in batches for row in batch.to_pylist())
    groups = groupby(rows, key=lambda row: row["item"])
    group = next(groups, None)
    for item in items:
        # No group is left behind: a store creates the item of every statement, so each group meets
        # the item that it waits for.
        item_statements: list[Row] = []
        if group is not None and group[0] == item["id"]:
            item_statements = list(group[1])
            group = next(groups, None)
        yield item, item_statements


def record_batches(
    rows: Iterable[Mapping[str, Any]], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Yield rows as record batches of a schema, with one batch in memory at a time."""
    batch: list[Mapping[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH_ROWS:
            yield pa.RecordBatch.from_pylist(batch, schema=schema)
            batch = []
    if batch:
        yield pa.RecordBatch.from_pylist(batch, schema=schema)


def on_one_thread(batches: Generator[BatchT, None, None]) -> Iterator[BatchT]:
    """Yield from a generator that always runs on one thread of its own.

    A caller may then read the stream from any thread, although what the generator holds, such as
    iterators of pyoxigraph, must only be used and released by the thread that created it.
    """
    with ThreadPoolExecutor(1) as worker:
        try:
            while (batch := worker.submit(_next, batches).result()) is not None:
                yield batch
        finally:
            worker.submit(batches.close).result()


def _next(batches: Generator[BatchT, None, None]) -> BatchT | None:
    try:
        return next(batches, None)
    except BaseException as error:
        # It goes to the caller's thread.
        forget_frames(error)
        raise


class Distinct:
    """A set of texts in a database on disk, which lasts as long as the ``with`` block."""

    def __enter__(self) -> Self:
        import duckdb

        self._folder = tempfile.TemporaryDirectory()
        with sorting_errors():
            self._database = duckdb.connect(f"{self._folder.name}/texts.duckdb", config=_CONFIG)
            self._database.execute("CREATE TABLE texts (text VARCHAR)")
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()
        self._folder.cleanup()

    def add(self, texts: pa.Array) -> None:
        """Add a column of texts."""
        with sorting_errors():
            self._database.register("new_rows", pa.table({"text": pc.unique(texts)}))
            self._database.execute("INSERT INTO texts FROM new_rows")

    def batches(self) -> Iterator[pa.Array]:
        """Yield the texts in order, each once."""
        with sorting_errors():
            result = self._database.sql("SELECT DISTINCT text FROM texts ORDER BY text")
            for batch in result.to_arrow_reader(BATCH_ROWS):
                yield batch["text"]
