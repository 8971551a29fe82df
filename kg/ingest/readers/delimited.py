"""CSV, TSV and other delimited text.

DuckDB parses it. A file for which DuckDB's account does not add up is parsed line by line.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator

from kg.ingest.files import SourceFile
from kg.ingest.readers.base import Reader
from kg.ingest.readers.delimited_duckdb import read_scanned, scan_file
from kg.ingest.readers.delimited_lines import Dialect, read_lines
from kg.ingest.rows import Batch, batches_of_rows
from schema.errors import DataError
from schema.mapping import Head, Mapping

_HEAD_ROWS = 50
_HEAD_BYTES = 1 << 20


class DelimitedReader(Reader):
    """Reads comma-, semicolon-, pipe- and tab-separated text in UTF-8."""

    suffixes = (".csv", ".tsv", ".tab", ".txt")
    ambiguous_suffixes = (".txt",)

    def head(self, file: SourceFile, mapping: Mapping | None = None) -> Head:
        """Read the first rows and detect the delimiter."""
        path = file.location
        data = file.start(_HEAD_BYTES)
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise DataError(f"{path} is UTF-16: convert it first (`iconv -f UTF-16 -t UTF-8`)")
        if b"\r" in data and b"\n" not in data:
            raise DataError(
                f"{path} ends its lines with a carriage return alone: "
                "convert it first (`tr '\\r' '\\n'`)"
            )

        # Invalid text is rejected row by row later, and the last character may be cut in two.
        text = data.decode("utf-8", errors="replace").removeprefix("\ufeff")
        lines = [line + "\n" for line in text.split("\n")]
        lines = list(itertools.dropwhile(lambda line: not line.strip(), lines))
        if not lines:
            raise DataError(f"{path} is empty: a table has a header and one row per item")

        delimiter = _detect_delimiter(lines[0]) if file.suffix == ".csv" else "\t"
        try:
            rows = list(itertools.islice(csv.reader(lines, delimiter=delimiter), _HEAD_ROWS))
        except csv.Error as error:
            raise DataError(
                f"{path} is not a table ({error}): "
                f"a cell may have at most {csv.field_size_limit()} characters"
            ) from None
        return Head(file.name, tuple(tuple(row) for row in rows if row), delimiter=delimiter)

    def batches(
        self, file: SourceFile, head: Head, mapping: Mapping, batch_rows: int
    ) -> Iterator[Batch]:
        """Read the rows; the first batch may hold all rejected rows of the file."""
        columns = self.columns(head, mapping)
        if not columns:
            raise DataError(
                f"mapping {mapping.name!r} has header = false and no columns: name them there"
            )
        delimiter = mapping.delimiter or head.delimiter
        dialect = Dialect(columns, delimiter, mapping.quote, mapping.header)
        for batch in read_delimited(file, dialect, batch_rows):
            batch.restore_formulas()
            yield batch


def _detect_delimiter(line: str) -> str:
    """Return the most frequent delimiter of a line; in case of a tie, the comma."""
    return max(",;\t|", key=lambda mark: (line.count(mark), mark == ","))


def read_delimited(file: SourceFile, dialect: Dialect, batch_rows: int) -> Iterator[Batch]:
    """Read a delimited file in batches, with the line of each row and the rejected rows."""
    # In a table of one column an empty cell and a blank line look the same to DuckDB.
    scan = None
    if len(dialect.columns) > 1 and not file.is_packed() and not file.spooled:
        scan = scan_file(file.path, dialect)
    if scan is None:
        yield from batches_of_rows(read_lines(file, dialect), dialect.columns, batch_rows)
    else:
        yield from read_scanned(file.path, dialect, scan, batch_rows)


READER = DelimitedReader()
