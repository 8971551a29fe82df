"""Ladybug's results in the types of the store's tables."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_ID_BYTES = 16
_HEX_PAIRS = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), np.uint16)


def with_plain_types(table: pa.Table) -> pa.Table:
    """Return a table of Ladybug's with its UUIDs as texts, and with lists that are sound."""
    for place, field in enumerate(table.schema):
        if isinstance(field.type, pa.UuidType):
            chunks = [hexadecimal(chunk) for chunk in table.column(place).chunks]
            table = table.set_column(place, field.name, pa.chunked_array(chunks, pa.string()))
    return _with_empty_lists(table)


def plain_row(row: list[Any]) -> list[Any]:
    """Return the values of a row with UUIDs as texts."""
    return [value.hex if isinstance(value, UUID) else value for value in row]


def hexadecimal(ids: pa.Array) -> pa.Array:
    """Return UUIDs [N] as texts of 32 hexadecimal digits."""
    start = ids.offset * _ID_BYTES
    data = ids.buffers()[1]
    count = len(ids) * _ID_BYTES
    digits = _HEX_PAIRS[np.frombuffer(data, np.uint8, count, start) if count else []]
    offsets = np.arange(0, 2 * count + 1, 2 * _ID_BYTES, dtype=np.int32)
    texts = pa.Array.from_buffers(
        pa.string(), len(ids), [None, pa.py_buffer(offsets), pa.py_buffer(digits)]
    )
    return pc.if_else(pc.is_valid(ids.storage), texts, None) if ids.null_count else texts


def _with_empty_lists(table: pa.Table) -> pa.Table:
    """Return a table of Ladybug's whose lists are sound even if all of them are empty.

    It never writes the first offset of texts that are none, so that the list column of a graph
    without images has whatever was in memory there. Nobody reads that but Arrow's validation.
    """
    for place, field in enumerate(table.schema):
        column = table.column(place)
        if not pa.types.is_list(field.type) or any(len(chunk.values) for chunk in column.chunks):
            continue
        # Not pa.array, which loads pandas at its first call: a third of the time of `show`.
        offsets = pa.Array.from_buffers(
            pa.int32(), len(column) + 1, [None, pa.py_buffer(bytes(4 * (len(column) + 1)))]
        )
        missing = pc.is_null(column).combine_chunks()
        empty = pa.nulls(0, field.type.value_type)
        lists = pa.ListArray.from_arrays(offsets, empty, type=field.type, mask=missing)
        table = table.set_column(place, field, lists)
    return table
