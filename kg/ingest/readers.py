"""Sources of a catalogue: CSV, TSV, JSONL, Parquet and RDF files, or a folder that holds one beside its images."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kg.ingest.delimited import Dialect, read_delimited
from kg.ingest.normalize import LIST_SEPARATOR
from kg.ingest.rows import Batch, Record, Reject, batches_of
from schema.errors import DataError, SourceNotFoundError
from schema.mapping import Head, Mapping

RDF = "rdf"
FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".txt": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".ttl": RDF,
    ".nt": RDF,
    ".nq": RDF,
    ".trig": RDF,
    ".jsonld": RDF,
}
_XML = (".rdf", ".owl", ".xml")
_PREFERRED = ("items", "styles", "products", "catalog", "catalogue", "train")
_HEAD_ROWS = 50
_HEAD_BYTES = 1 << 20


@dataclass(frozen=True)
class Source:
    """A table to read: its file, its format, its head, and the folder that its image names are relative to."""

    path: Path
    format: str
    head: Head
    folder: Path


def open_source(path: Path | str) -> Source:
    """Look at a file's head, or find the table of a folder."""
    given = Path(path)
    table = _table_of(given) if given.is_dir() else given
    if not table.is_file():
        raise SourceNotFoundError(f"no file or folder {given}: check the path")
    kind = FORMATS.get(table.suffix.lower())
    if table.suffix.lower() in _XML:
        raise DataError(
            f"{table} is RDF/XML or other XML, whose entities are not to be trusted: convert it to Turtle or N-Triples"
        )
    if kind is None:
        raise DataError(
            f"{table} has suffix {table.suffix!r}: a source is one of {', '.join(FORMATS)}, or a folder that holds one"
        )
    try:
        head = _heads[kind](table)
    except OSError as error:
        raise SourceNotFoundError(
            f"{table} cannot be read ({error.strerror}): check its permissions"
        ) from None
    return Source(table.absolute(), kind, head, table.absolute().parent)


def read(source: Source, mapping: Mapping, batch_rows: int = 50_000) -> Iterator[Batch]:
    """The source's rows in batches of text columns, with the line of each and the rows that were rejected."""
    if source.format in ("csv", "tsv"):
        names = unique_names(source.head.rows[0]) if mapping.header else mapping.columns
        if not names:
            raise DataError(
                f"mapping {mapping.name!r} has header = false and no columns: name them there"
            )
        delimiter = mapping.delimiter or source.head.delimiter
        yield from read_delimited(
            source.path, Dialect(tuple(names), delimiter, mapping.quote, mapping.header), batch_rows
        )
    elif source.format == "jsonl":
        yield from _read_jsonl(source, batch_rows)
    else:
        yield from _read_parquet(source, batch_rows)


def columns_of(source: Source, mapping: Mapping) -> tuple[str, ...]:
    """The names of the source's columns."""
    if not source.head.named and not mapping.header:
        return mapping.columns
    return unique_names(source.head.rows[0])


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Column names, each clean and different: an empty one is called by its place, a repeated one gets a number."""
    taken: dict[str, int] = {}
    unique = []
    for place, raw in enumerate(names, 1):
        name = raw.strip().strip("\ufeff") or f"column_{place}"
        taken[name] = taken.get(name, 0) + 1
        unique.append(name if taken[name] == 1 else f"{name}_{taken[name]}")
    return tuple(unique)


def _table_of(folder: Path) -> Path:
    """The table of a folder: the only one, or the one with a usual name."""
    tables = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in FORMATS and path.is_file() and path.suffix.lower() != ".txt"
    )
    usual = [path for name in _PREFERRED for path in tables if path.stem.lower() == name]
    if len(tables) == 1 or usual:
        return (usual or tables)[0]
    if not tables:
        raise SourceNotFoundError(
            f"no table in folder {folder}: it needs a file of {', '.join(FORMATS)}"
        )
    names = ", ".join(path.name for path in tables[:6])
    raise DataError(f"folder {folder} holds {len(tables)} tables ({names}): name the file")


def _head_delimited(path: Path) -> Head:
    with path.open("rb") as stream:
        data = stream.read(_HEAD_BYTES)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{path} is UTF-16: convert it first (`iconv -f UTF-16 -t UTF-8`)")
    if b"\r" in data and b"\n" not in data:
        raise DataError(
            f"{path} ends its lines with a carriage return alone: convert it first (`tr '\\r' '\\n'`)"
        )
    lines = [
        line + "\n"
        for line in data.decode("utf-8", errors="replace").removeprefix("\ufeff").split("\n")
    ]
    lines = list(itertools.dropwhile(lambda line: not line.strip(), lines))
    if not lines:
        raise DataError(f"{path} is empty: a table has a header and a row an item")
    tabs = path.suffix.lower() != ".csv"
    delimiter = "\t" if tabs else max(",;\t|", key=lambda mark: (lines[0].count(mark), mark == ","))
    try:
        rows = list(itertools.islice(csv.reader(lines, delimiter=delimiter), _HEAD_ROWS))
    except csv.Error as error:
        raise DataError(
            f"{path} is no table ({error}): a cell may have {csv.field_size_limit()} characters"
        ) from None
    return Head(path.name, tuple(tuple(row) for row in rows if row), delimiter=delimiter)


def _head_jsonl(path: Path) -> Head:
    names: dict[str, None] = {}
    with path.open("rb") as stream:
        for raw in itertools.islice(stream, _HEAD_ROWS):
            cells = _json_cells(raw)
            names.update(dict.fromkeys(cells if isinstance(cells, dict) else ()))
    if not names:
        raise DataError(
            f"{path} has no JSON object in its first {_HEAD_ROWS} lines: JSONL is one object a line"
        )
    return Head(path.name, (tuple(names),), named=True)


def _head_parquet(path: Path) -> Head:
    import pyarrow.parquet as pq

    try:
        return Head(path.name, (tuple(pq.read_schema(path).names),), named=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"{path} is not a readable Parquet file ({str(error).splitlines()[0]}): write it again"
        ) from None


def _head_rdf(path: Path) -> Head:
    """It has no columns: what it has shows once it is loaded."""
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty: there is nothing to load")
    return Head(path.name, ((),), named=True)


_heads = {
    "csv": _head_delimited,
    "tsv": _head_delimited,
    "jsonl": _head_jsonl,
    "parquet": _head_parquet,
    RDF: _head_rdf,
}


def _read_jsonl(source: Source, batch_rows: int) -> Iterator[Batch]:
    file = str(source.path)
    with source.path.open("rb") as stream:
        numbered = enumerate(stream, 1)
        while chunk := list(itertools.islice(numbered, batch_rows)):
            parsed = [(line, _json_cells(raw), raw) for line, raw in chunk if raw.strip()]
            names = dict.fromkeys(source.head.rows[0])
            for _, cells, _ in parsed:
                if isinstance(cells, dict):
                    names.update(dict.fromkeys(cells))
            yield from batches_of(
                _records(parsed, tuple(names)), tuple(names), file, batch_rows + 1
            )


def _records(
    parsed: list[tuple[int, dict[str, str | None] | str, bytes]], names: tuple[str, ...]
) -> Iterator[Record]:
    for line, cells, raw in parsed:
        row = [cells.get(name) for name in names] if isinstance(cells, dict) else cells
        yield line, row, raw[:200].decode(errors="replace").rstrip()


def _json_cells(raw: bytes) -> dict[str, str | None] | str:
    """A line's members as text, nested ones by dotted names; or why the line is bad."""
    try:
        found = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return "not valid UTF-8"
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    if not isinstance(found, dict):
        return "not a JSON object"
    cells: dict[str, str | None] = {}
    try:
        _flatten(found, "", cells)
        "".join(f"{name}{text or ''}" for name, text in cells.items()).encode()
    except UnicodeEncodeError:
        return "a lone surrogate: not text that UTF-8 can hold"
    except RecursionError:
        return "nested too deep"
    return cells


def _flatten(found: dict[str, Any], prefix: str, cells: dict[str, str | None]) -> None:
    for name, value in found.items():
        if isinstance(value, dict):
            _flatten(value, f"{prefix}{name}.", cells)
        else:
            cells[prefix + name] = _cell(value)


def _cell(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, list):
        return LIST_SEPARATOR.join(text for text in map(_cell, value) if text is not None) or None
    if isinstance(value, float):
        return (
            None
            if value != value
            else str(int(value))
            if value.is_integer() and abs(value) < 1e15
            else repr(value)
        )
    return json.dumps(value, ensure_ascii=False)


def _read_parquet(source: Source, batch_rows: int) -> Iterator[Batch]:
    import pyarrow.parquet as pq

    row = 1
    with pq.ParquetFile(source.path) as file:
        for record in file.iter_batches(batch_rows):
            table = pa.Table.from_batches([record])
            lines = np.arange(row, row + table.num_rows, dtype=np.int64)
            row += table.num_rows
            bad = _invalid_rows(table)
            if bad.any():
                rejects = [
                    Reject(str(source.path), int(line), "not valid UTF-8") for line in lines[bad]
                ]
                yield Batch(_as_text(table.filter(pa.array(~bad))), lines[~bad], rejects)
            else:
                yield Batch(_as_text(table), lines)


def _invalid_rows(table: pa.Table) -> Any:
    """Which rows hold text that is not UTF-8: Parquet does not check what it was given."""
    bad = np.zeros(table.num_rows, bool)
    for column in table.columns:
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            cells = (
                column.cast(pa.binary())
                if pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
                else column
            )
            for place, cell in enumerate(
                cells.to_pylist() if pa.types.is_binary(cells.type) else [None] * len(cells)
            ):
                bad[place] |= cell is not None and cell.decode(errors="replace").encode() != cell
    return bad


def _as_text(table: pa.Table) -> pa.Table:
    """Every column as text: lists joined, structs by dotted names."""
    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    return pa.table(
        {
            name: _text(column)
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
    )


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return pa.chunked_array(
            [pa.array([_cell(value) for value in column.to_pylist()], pa.string())]
        )
    if pa.types.is_floating(column.type):
        return pa.chunked_array(
            [pa.array([_cell(value) for value in column.to_pylist()], pa.string())]
        )
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return pc.cast(column, pa.string())
