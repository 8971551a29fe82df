"""Tables of Arrow as rows of text or as records: what Parquet, Feather and Arrow files hold.

A column of a plain type becomes text as a whole. Where one has lists, maps or structs, the rows are
nested records.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kg.ingest.files import SourceFile
from kg.ingest.flatten import UNMAPPED, Flattener
from kg.ingest.readers.base import unique_column_names
from kg.ingest.records import HEAD_RECORDS, MAX_BATCH_CELLS
from kg.ingest.rows import Batch, Record
from kg.ingest.scalars import scalar_text
from schema.arrays import BoolArray
from schema.mapping import Head
from schema.rejects import RejectedRow

_PANDAS_INDEX = re.compile(r"__index_level_\d+__")
_NO_TEXT = re.compile("[\x00-\x08\x0e-\x1f]")


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are read: their positions, names and whether they are nested.

    ``remarks`` say which are left out, and why.
    """

    positions: tuple[int, ...]
    names: tuple[str, ...]
    nested: tuple[bool, ...]
    remarks: tuple[str, ...] = ()


def choose_columns(schema: pa.Schema, first: pa.Table | None) -> Columns:
    """Leave out the index that pandas writes, and columns of bytes that are no text.

    ``first`` has the first rows: bytes are text if they are there, because some writers do not say
    that their text is text.
    """
    unique = unique_column_names(schema.names)
    positions: list[int] = []
    remarks: list[str] = []
    for position, field in enumerate(schema):
        if _PANDAS_INDEX.fullmatch(field.name) and _is_integer(field.type):
            remarks.append(f"column {field.name} left out: it is the index of pandas")
        elif _is_binary(_value_type(field.type)) and not _is_text(first, position):
            remarks.append(f"column {field.name} left out: it has bytes that are no text")
        else:
            positions.append(position)
    return Columns(
        tuple(positions),
        tuple(unique[position] for position in positions),
        tuple(_is_nested(schema.field(position).type) for position in positions),
        tuple(remarks),
    )


def _is_text(table: pa.Table | None, position: int) -> bool:
    if table is None:
        return True
    values = [each for each in table.column(position).to_pylist() if each is not None]
    return all(isinstance(_decoded(bytes(value)), str) for value in values)


def _value_type(type: pa.DataType) -> pa.DataType:
    """Return the type of a column's values, which may be stored in some other way."""
    if isinstance(type, pa.BaseExtensionType):
        return _value_type(type.storage_type)
    if pa.types.is_dictionary(type) or pa.types.is_run_end_encoded(type):
        return _value_type(type.value_type)
    return type


def _is_integer(type: pa.DataType) -> bool:
    return bool(pa.types.is_integer(_value_type(type)))


def _is_binary(type: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_binary(type)
        or types.is_large_binary(type)
        or types.is_fixed_size_binary(type)
        or types.is_binary_view(type)
    )


def _is_nested(type: pa.DataType) -> bool:
    return bool(pa.types.is_nested(_value_type(type)))


def table_head(file: SourceFile, first: pa.Table, columns: Columns) -> Head:
    """Return the head of a file: the names of its columns, of nested records as in the first rows.

    ``first`` are its first rows.
    """
    names: tuple[str, ...] = ()
    if any(columns.nested):
        start = first.slice(0, HEAD_RECORDS).select(list(columns.positions))
        records = arrow_records([start], columns, file)
        good = [record for record in records if isinstance(record, Record)]
        names = tuple(Flattener(UNMAPPED).rows(good).names())
    return Head(
        file.name,
        (names or columns.names,),
        named=True,
        nested=any(columns.nested),
        remarks=columns.remarks,
    )


def arrow_batches(
    tables: Iterable[pa.Table], columns: Columns, file: SourceFile
) -> Iterator[Batch]:
    """Return tables with the columns of ``columns``, none of them nested, as batches of text.

    The line of a row is its number, counted from 1. Rows with text that is not UTF-8 are rejected.
    """
    first_line = 1
    for table in tables:
        rows = max(1, MAX_BATCH_CELLS // max(1, len(columns.names)))
        for start in range(0, table.num_rows, rows):
            part = table.slice(start, rows)
            yield _text_batch(part, columns, first_line, file)
            first_line += part.num_rows


def arrow_records(
    tables: Iterable[pa.Table], columns: Columns, file: SourceFile
) -> Iterator[Record | RejectedRow]:
    """Return the rows of tables as nested records, numbered from 1."""
    first_line = 1
    for table in tables:
        invalid = _invalid_rows(table)
        values = [_python_values(column) for column in table.filter(pa.array(~invalid)).columns]
        rows = iter(zip(*values, strict=True)) if values else iter(())
        for row in range(table.num_rows):
            line = first_line + row
            if invalid[row]:
                yield RejectedRow(file.location, line, "not valid UTF-8")
            else:
                yield Record(line, dict(zip(columns.names, next(rows), strict=True)))
        first_line += table.num_rows


def _text_batch(table: pa.Table, columns: Columns, first_line: int, file: SourceFile) -> Batch:
    lines = np.arange(first_line, first_line + table.num_rows, dtype=np.int64)
    invalid = _invalid_rows(table)
    kept = table.filter(pa.array(~invalid)) if invalid.any() else table
    texts = [text_column(column) for column in kept.columns]
    rejects = [
        RejectedRow(file.location, line, "not valid UTF-8") for line in lines[invalid].tolist()
    ]
    return Batch(pa.table(texts, names=list(columns.names)), lines[~invalid], rejects)


def _invalid_rows(table: pa.Table) -> BoolArray:
    """Return which rows hold text that is not UTF-8, which the writers of Parquet do not check."""
    invalid = np.zeros(table.num_rows, bool)
    for column in table.columns:
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            # The error names one row at most, and all of them are needed.
            for row, cell in enumerate(column):
                try:
                    cell.as_py()
                except UnicodeDecodeError:
                    invalid[row] = True
        if _is_binary(_value_type(column.type)):
            for row, value in enumerate(column.to_pylist()):
                try:
                    bytes(value or b"").decode()
                except UnicodeDecodeError:
                    invalid[row] = True
    return invalid


def _python_values(column: pa.ChunkedArray) -> list[Any]:
    column = _exact(column)
    values = column.to_pylist(maps_as_pydicts="lossy")
    return [_python_value(value, column.type) for value in values]


def _python_value(value: Any, type: pa.DataType) -> Any:
    """Return a value of a type as the nested value of a record."""
    type = _value_type(type)
    if isinstance(value, dict):
        is_struct = pa.types.is_struct(type)
        return {
            str(name): _python_value(each, type.field(name).type if is_struct else _inner(type))
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [_python_value(each, _inner(type)) for each in value]
    if isinstance(value, float) and pa.types.is_floating(type):
        return _shortest(value, type)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, bytes):
        return _decoded(value)
    return scalar_text(value)


def _decoded(value: bytes) -> str | bytes:
    """Return bytes as the text that they hold; as they are if that is none, to be left out."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value
    return value if _NO_TEXT.search(text) else text


def _inner(type: pa.DataType) -> pa.DataType:
    """Return the type of the values in maps and lists."""
    if pa.types.is_map(type):
        return type.item_type
    # The values of a union are of any of its types.
    is_unknown = pa.types.is_union(type) or pa.types.is_null(type)
    return pa.null() if is_unknown else type.value_type


def _shortest(value: float, type: pa.DataType) -> float:
    """Return the number with the fewest digits that is the same in so few bits: 0.1."""
    if pa.types.is_float64(type):
        return value
    kind = np.float16 if pa.types.is_float16(type) else np.float32
    return float(str(kind(value)))


def text_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of a plain type as text: as a person would write its values."""
    column = _exact(column)
    type = column.type
    types = pa.types
    if types.is_floating(type):
        return _float_texts(column)
    if types.is_boolean(type) or types.is_integer(type) or types.is_decimal(type):
        return _cast(column)
    if types.is_null(type):
        return pa.chunked_array([pa.nulls(len(column), pa.string())])
    if _is_binary(type) or types.is_string(type) or types.is_large_string(type):
        return _cast(column)
    if types.is_string_view(type) or types.is_date32(type):
        return _cast(column)
    return _texts(scalar_text(value) for value in column.to_pylist())


def _texts(texts: Iterable[str | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(list(texts), pa.string())])


def _cast(column: pa.ChunkedArray) -> pa.ChunkedArray:
    texts = pc.cast(column, pa.string())
    # Empty text is no value.
    return pc.if_else(pc.equal(texts, ""), None, texts) if len(texts) else texts


def _float_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return numbers as text: whole ones without ".0", and 0.1 as that in 32 bits, too."""
    if pa.types.is_float64(column.type):
        return _texts(map(scalar_text, column.to_pylist()))
    return _texts(
        None if number is None else scalar_text(_shortest(number, column.type))
        for number in column.to_pylist()
    )


def _exact(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as its plain values, without a dictionary, an extension or nanoseconds."""
    type = column.type
    if isinstance(type, pa.BaseExtensionType):
        chunks = [chunk.storage for chunk in column.chunks]
        return _exact(pa.chunked_array(chunks, type.storage_type))
    if pa.types.is_dictionary(type):
        return _exact(column.cast(type.value_type))
    if pa.types.is_run_end_encoded(type):
        return _exact(pc.run_end_decode(column))
    if pa.types.is_timestamp(type):
        return _timestamps(column)
    if pa.types.is_duration(type) and type.unit == "ns":
        return column.cast(pa.duration("us"), safe=False)
    if pa.types.is_time64(type) and type.unit == "ns":
        return column.cast(pa.time64("us"), safe=False)
    return column


def _timestamps(column: pa.ChunkedArray) -> pa.ChunkedArray:
    type = column.type
    if type.unit == "ns":
        type = pa.timestamp("us", type.tz)
        column = column.cast(type, safe=False)
    try:
        column.slice(0, 1).to_pylist()
    except Exception:
        # A time zone that this system does not know: the same time in UTC.
        return column.cast(pa.timestamp(type.unit, "UTC"))
    return column
