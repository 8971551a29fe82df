"""Small CSV files that a person writes: splits, cells, true values."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from schema.settings import shown

MAX_LINE = 1 << 20
"""Characters of a line. A longer one is no line of such a file, and may not even have an end."""


def csv_rows(
    path: Path, columns: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a CSV file: the number of the line, and the cells of these columns.

    A cell that a row lacks is empty, and so are those of ``optional`` columns that the file lacks.
    Raises OSError if the file cannot be opened, and ValueError if
    it is not CSV in UTF-8 or lacks one of the columns; the message continues a sentence that begins
    with the file's name.
    """
    # Spreadsheet programs start a CSV file in UTF-8 with a byte-order mark.
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(limited_lines(file))
        try:
            found = list(rows.fieldnames or ())
            if not set(columns) <= set(found):
                names = ", ".join(shown(name)[1:-1] for name in found[:12]) or "none"
                raise ValueError(f"has the columns {names}: it needs {','.join(columns)}")
            for row in rows:
                cells = (*columns, *optional)
                yield rows.line_num, {name: row.get(name) or "" for name in cells}
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(
                f"is not a CSV file in UTF-8 ({error}): save it in that format"
            ) from None


def limited_lines(file: TextIO) -> Iterator[str]:
    """Yield the lines of a file; raises ValueError if one has more than ``MAX_LINE`` characters."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise ValueError(f"has more than {MAX_LINE:,} characters in line {number:,}: break it")
        yield line
