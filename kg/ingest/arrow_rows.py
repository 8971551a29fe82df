"""Tables of Arrow as rows of text: what Parquet, Feather and Arrow files hold.

A column of a plain type becomes text as a whole. One with lists, maps or structs is nested, so its
values become cells like those of a JSON record.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kg.ingest.files import SourceFile
from kg.ingest.readers.base import unique_column_names
from kg.ingest.records import MAX_BATCH_CELLS, Record, TextCells, record_cells
from kg.ingest.rows import BadRowError, Batch
from kg.ingest.scalars import scalar_text
from kg.ingest.values.text import LIST_SEPARATOR
from schema.arrays import BoolArray
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
    try:
        texts = [bytes(value).decode() for value in values]
    except UnicodeDecodeError:
        return False
    return not any(map(_NO_TEXT.search, texts))


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


def head_names(first: pa.Table, columns: Columns) -> tuple[str, ...]:
    """Return the names of the columns of text that the first rows have."""
    if not any(columns.nested):
        return columns.names
    names: dict[str, None] = {}
    valid = first.filter(pa.array(~_invalid_rows(first)))
    values = {
        name: _python_values(column) if is_nested else None
        for name, is_nested, column in zip(
            columns.names, columns.nested, valid.columns, strict=True
        )
    }
    for name, nested in values.items():
        if nested is None:
            names[name] = None
            continue
        for cells in _nested_cells({name: nested}, valid.num_rows):
            names.update(dict.fromkeys(() if isinstance(cells, BadRowError) else cells))
    return tuple(names)


def arrow_batches(
    tables: Iterable[pa.Table], columns: Columns, names: Sequence[str], file: SourceFile
) -> Iterator[Batch]:
    """Return tables with the columns of ``columns`` as batches of text.

    They have the columns ``names``, and those that are only in their own nested values. The line of
    a row is its number, counted from 1. Rows with text that is not UTF-8 are rejected.
    """
    first_line = 1
    for table in tables:
        rows = max(1, MAX_BATCH_CELLS // max(1, len(columns.names)))
        for start in range(0, table.num_rows, rows):
            part = table.slice(start, rows)
            batch = _text_batch(part, columns, first_line, file)
            for name in names:
                if name not in batch.table.column_names:
                    nulls = pa.nulls(batch.table.num_rows, pa.string())
                    batch.table = batch.table.append_column(name, nulls)
            yield batch
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
    reasons = dict.fromkeys(np.flatnonzero(invalid).tolist(), "not valid UTF-8")
    nested: dict[str, list[Any]] = {}
    plain: dict[str, pa.ChunkedArray] = {}
    kept = table.filter(pa.array(~invalid)) if reasons else table
    for name, is_nested, column in zip(columns.names, columns.nested, kept.columns, strict=True):
        if is_nested:
            nested[name] = _python_values(column)
        else:
            plain[name] = text_column(column)
    good = np.flatnonzero(~invalid)
    cells = _nested_cells(nested, len(good))
    too_deep = [row for row, each in enumerate(cells) if isinstance(each, BadRowError)]
    for row in too_deep:
        reasons[int(good[row])] = str(cells[row])
    texts = _with_nested(columns, plain, cells)
    if too_deep:
        keep = np.ones(len(good), bool)
        keep[too_deep] = False
        texts = texts.filter(pa.array(keep))
        good = good[keep]
    rejects = [
        RejectedRow(file.location, int(lines[row]), reason)
        for row, reason in sorted(reasons.items())
    ]
    return Batch(texts, lines[good], rejects)


def _nested_cells(columns: dict[str, list[Any]], row_count: int) -> list[TextCells | BadRowError]:
    """Return the cells of the nested columns, or what is wrong with them, for each row."""
    cells: list[TextCells | BadRowError] = []
    if not columns:
        return cells
    for row in range(row_count):
        try:
            cells.append(record_cells({name: values[row] for name, values in columns.items()}))
        except BadRowError as error:
            cells.append(error)
    return cells


def _with_nested(
    columns: Columns, plain: dict[str, pa.ChunkedArray], cells: Sequence[TextCells | BadRowError]
) -> pa.Table:
    """Return the columns of a batch, those that come from a nested column in its place."""
    by_origin: dict[str, dict[str, None]] = {name: {} for name in columns.names}
    origins = {name for name in columns.names if name not in plain}
    for row in cells:
        if isinstance(row, BadRowError):
            continue
        for name in row:
            # The longest name that it starts with: "a.b" may be a column beside "a".
            parts = name.split(".")
            for length in range(len(parts), 0, -1):
                origin = ".".join(parts[:length])
                if origin in origins:
                    by_origin[origin][name] = None
                    break
    arrays: dict[str, Any] = {}
    for origin in columns.names:
        if origin in plain:
            _add_column(arrays, origin, plain[origin])
            continue
        for name in by_origin[origin]:
            texts = [None if isinstance(row, BadRowError) else row.get(name) for row in cells]
            _add_column(arrays, name, pa.array(texts, pa.string()))
    return pa.table(arrays)


def _add_column(arrays: dict[str, Any], name: str, column: Any) -> None:
    """Add a column; two of one name are joined: ``a.b``, and ``b`` in a struct ``a``."""
    if name in arrays:
        pairs = zip(arrays[name].to_pylist(), column.to_pylist(), strict=True)
        texts = [LIST_SEPARATOR.join(text for text in pair if text) or None for pair in pairs]
        column = pa.array(texts, pa.string())
    arrays[name] = column


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
    return [_python_value(value) for value in _exact(column).to_pylist(maps_as_pydicts="lossy")]


def _python_value(value: Any) -> Any:
    """Return a value as the nested value of a record."""
    if isinstance(value, dict):
        return {str(name): _python_value(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_python_value(each) for each in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, bytes):
        return None
    return scalar_text(value)


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
    # The shortest text that is the same number in so many bits.
    numbers = column.to_numpy()
    valid = column.is_valid().to_numpy()
    return _texts(
        scalar_text(float(str(number))) if is_valid else None
        for number, is_valid in zip(numbers, valid, strict=True)
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
