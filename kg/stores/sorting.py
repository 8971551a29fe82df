"""Streams of batches in order, without holding them: DuckDB sorts, on disk where they are many."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, groupby
from typing import Any, Self, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.merge import Row
from kg.stores.tables import STATEMENT_SCHEMA

T = TypeVar("T")
BATCH_ROWS = 65_536
MEMORY = "1GB"


def sorted_batches(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, by: Sequence[str] = ("id",)
) -> Iterator[pa.RecordBatch]:
    """The rows of ``batches`` in their ``schema``, ordered by the bytes of the columns ``by``."""
    import duckdb

    first = next(batches, None)
    second = None if first is None else next(batches, None)
    if first is None or second is None:
        # What fits into one batch needs no database.
        yield from (
            []
            if first is None
            else [
                first.take(pc.sort_indices(first, sort_keys=[(name, "ascending") for name in by]))
            ]
        )
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        duckdb.connect(f"{folder}/rows.duckdb", config={"memory_limit": MEMORY}) as db,
    ):
        # Batch by batch, and not as one stream: DuckDB would read that from threads of its own, which not every source bears.
        for number, batch in enumerate(chain([first, second], batches)):
            db.register("given", pa.table(batch))
            db.execute(
                "CREATE TABLE rows AS FROM given" if number == 0 else "INSERT INTO rows FROM given"
            )
        for batch in db.sql(f"SELECT * FROM rows ORDER BY {', '.join(by)}").to_arrow_reader(
            BATCH_ROWS
        ):
            yield batch.cast(schema)


def with_statements(
    items: Iterable[Row], statements: Iterator[pa.RecordBatch]
) -> Iterator[tuple[Row, list[Row]]]:
    """Each of ``items``, ordered by id, with its ``statements``: once these are sorted by their items both run side by side."""
    ordered = sorted_batches(statements, STATEMENT_SCHEMA, by=("item", "id"))
    groups = groupby(
        (row for batch in ordered for row in batch.to_pylist()), key=lambda row: row["item"]
    )
    waiting = next(groups, None)
    for item in items:
        rows: list[Row] = []
        if waiting is not None and waiting[0] == item["id"]:
            rows = list(waiting[1])
            waiting = next(groups, None)
        yield item, rows


def record_batches(
    rows: Iterable[Mapping[str, Any] | None], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Rows as batches of a schema, as many in memory as make one; None is passed over."""
    part: list[Mapping[str, Any]] = []
    for row in rows:
        if row is not None:
            part.append(row)
        if len(part) == BATCH_ROWS:
            yield pa.RecordBatch.from_pylist(part, schema=schema)
            part = []
    if part:
        yield pa.RecordBatch.from_pylist(part, schema=schema)


def on_one_thread(batches: Generator[T, None, None]) -> Iterator[T]:
    """The same batches, each made on one thread of its own, whichever asks: for sources that bear no other."""
    with ThreadPoolExecutor(1) as worker:
        try:
            while (batch := worker.submit(_next, batches).result()) is not None:
                yield batch
        finally:
            worker.submit(batches.close).result()


def _next(batches: Generator[T, None, None]) -> T | None:
    try:
        return next(batches, None)
    except BaseException as error:
        # The error goes to the thread that asked: what its frames hold stays here.
        raised: BaseException | None = error
        while raised is not None:
            traceback.clear_frames(raised.__traceback__)
            raised = raised.__context__
        raise


class Distinct:
    """Texts, each once however often it was added; in a database on disk while the ``with`` lasts."""

    def __enter__(self) -> Self:
        import duckdb

        self._folder = tempfile.TemporaryDirectory()
        self._db = duckdb.connect(
            f"{self._folder.name}/texts.duckdb", config={"memory_limit": MEMORY}
        )
        self._db.execute("CREATE TABLE texts (text VARCHAR)")
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()
        self._folder.cleanup()

    def add(self, texts: pa.Array) -> None:
        """Add a column."""
        self._db.register("given", pa.table({"text": pc.unique(texts)}))
        self._db.execute("INSERT INTO texts FROM given")

    def batches(self) -> Iterator[pa.Array]:
        """What was added, in order."""
        for batch in self._db.sql("SELECT DISTINCT text FROM texts ORDER BY text").to_arrow_reader(
            BATCH_ROWS
        ):
            yield batch["text"]
