"""A hash of a graph's whole content, which is the same in any store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA

BLOCK_ROWS = 65_536
"""Rows that are hashed together: stores yield batches of any size."""
EMPTY_IS_NOTHING = ("source", "batch", "model", "reviewer", "time")
"""Columns in which a store may keep an empty text as none at all."""


def graph_hash(items: Iterable[pa.RecordBatch], statements: Iterable[pa.RecordBatch]) -> str:
    """Return a sha256 of all columns of items and of statements, both ordered by id."""
    digest = hashlib.sha256()
    for batches, schema in ((items, ITEM_SCHEMA), (statements, STATEMENT_SCHEMA)):
        for block in _blocks(batches, schema):
            digest.update(block.num_rows.to_bytes(8, "little"))
            for name in schema.names:
                for part in _canonical(block[name].combine_chunks(), name):
                    digest.update(part)
        # Between the two, so that nothing can count as the other.
        digest.update((0).to_bytes(8, "little"))
    return digest.hexdigest()


def _blocks(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows in blocks of BLOCK_ROWS; only the last one is smaller."""
    waiting = schema.empty_table()
    for batch in batches:
        waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch]).cast(schema)])
        while waiting.num_rows >= BLOCK_ROWS:
            yield waiting.slice(0, BLOCK_ROWS)
            waiting = waiting.slice(BLOCK_ROWS)
    if waiting.num_rows:
        yield waiting


def _canonical(column: Any, name: str) -> Iterator[bytes]:
    """Yield the bytes of a column, which depend on its values alone."""
    if pa.types.is_list(column.type):
        # No images may be null in one store and an empty list in another.
        yield _numbers(pc.fill_null(pc.list_value_length(column), 0))
        yield from _canonical(column.flatten(), name)
        return
    if name not in EMPTY_IS_NOTHING:
        yield np.packbits(column.is_valid().to_numpy(zero_copy_only=False)).tobytes()
    if pa.types.is_string(column.type):
        whole = pc.fill_null(column, "")
        yield _numbers(pc.binary_length(whole))
        yield _text(whole)
    elif pa.types.is_floating(column.type):
        # Adding zero makes one zero of the two that there are.
        yield (_array(pc.fill_null(column, 0.0)) + 0.0).tobytes()
    else:
        yield _numbers(pc.fill_null(column, 0))


def _numbers(column: Any) -> bytes:
    return _array(column).astype("<i8").tobytes()


def _array(column: Any) -> Any:
    return column.to_numpy(zero_copy_only=False)


def _text(column: Any) -> bytes:
    """Return the texts of a column without nulls, one after the other, in UTF-8."""
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int32, len(column) + 1, column.offset * 4)
    if data is None:
        return b""
    view: bytes = data.slice(int(ends[0]), int(ends[-1] - ends[0])).to_pybytes()
    return view
