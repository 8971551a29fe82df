"""Streams of batches in order, without holding them: DuckDB sorts, on disk where they are many."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

BATCH_ROWS = 65_536
MEMORY = "1GB"


def sorted_batches(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of ``batches`` in their ``schema``, ordered by the bytes of their ``id``."""
    import duckdb

    with (
        tempfile.TemporaryDirectory() as folder,
        duckdb.connect(":memory:", config={"temp_directory": folder, "memory_limit": MEMORY}) as db,
    ):
        db.register("given", pa.RecordBatchReader.from_batches(schema, batches))
        for batch in db.execute("SELECT * FROM given ORDER BY id").to_arrow_reader(BATCH_ROWS):
            yield batch.cast(schema)


def record_batches(rows: Iterable[Mapping[str, Any] | None], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
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
