"""Helpers to write a source and read it back."""

from typing import Any

from kg.ingest.rows import Record
from kg.ingest.source import open_source
from schema.errors import DataError
from schema.mapping import Mapping

PLAIN = Mapping("plain", id=("id",))


def write(folder, data, name="a.csv"):
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return folder / name


def read_source(path, mapping=PLAIN, batch_rows=1000):
    """Return all rows of a source as (line, cells...), and its rejects as (line, reason)."""
    return rows_and_rejects(open_source(path).batches(mapping, batch_rows))


def rows_and_rejects(batches):
    """Return the rows of batches as (line, cells...), and their rejects as (line, reason)."""
    rows: list[Any] = []
    rejects: list[tuple[int, str]] = []
    for batch in batches:
        columns = (column.to_pylist() for column in batch.table.columns)
        rows += zip(batch.lines.tolist(), *columns, strict=True)
        rejects += [(reject.line, reject.reason) for reject in batch.rejects]
    return rows, rejects


def values_of(records):
    """Return the values of the records among what a reader yields."""
    return [each.value for each in records if isinstance(each, Record)]


def rows_before_damage(batches):
    """Return how many rows are read before the file cannot be read any more, and the error."""
    count = 0
    try:
        for batch in batches:
            count += batch.rows_read
    except DataError as error:
        return count, str(error)
    raise AssertionError("nothing was wrong")
