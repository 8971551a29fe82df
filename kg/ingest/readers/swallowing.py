"""Whether a quoted cell of several lines has swallowed rows: an accident that is valid CSV.

A quote that is a sign, as in a title that begins with one, opens a cell that goes on up to the next
quote in any row. The lines in between read as rows themselves, which those of a description do not.
"""

from __future__ import annotations

from collections.abc import Sequence

from kg.ingest.readers.record_parser import without_return
from kg.ingest.readers.row_form import RowForm

_LINES_TO_BE_SURE = 20
"""Of a cell that is still open: if so many lines in it are rows, its quote was never closed."""


def is_surely_open(data: bytes, start: int, form: RowForm) -> bool:
    """Return whether an open quote is followed by so many rows that it was never closed.

    ``start`` is the position of its row.
    """
    further: list[bytes] = []
    end = data.find(b"\n", start) + 1
    while end and len(further) < _LINES_TO_BE_SURE:
        line_start = end
        end = data.find(b"\n", line_start) + 1
        further.append(data[line_start : end - 1])
    if not end:
        return False
    return sum(reads_as_row(line, form) for line in further) >= 0.9 * _LINES_TO_BE_SURE


def swallowed_rows(lines: Sequence[bytes], form: RowForm) -> int:
    """Return how many of the lines of a row are rows that it has swallowed."""
    further = [line for line in lines[1:] if line.strip()]
    rows = sum(reads_as_row(line, form) for line in further)
    if not rows:
        return 0
    # A quote that is but a sign stands in a line that is a whole row without it.
    is_row_itself = lines[0].count(form.delimiter) + 1 == form.width
    share = rows / len(further)
    is_accident = (is_row_itself and share >= 0.5) or (rows >= 3 and share >= 0.9)
    return rows if is_accident else 0


def reads_as_row(line: bytes, form: RowForm) -> bool:
    """Return whether a line, in which quotes are plain signs, could be a row of the file."""
    cells = without_return(line).split(form.delimiter)
    if len(cells) != form.width:
        return False
    known = [(kind, cell) for kind, cell in zip(form.kinds, cells, strict=False) if kind]
    if not known:
        # Prose may have a few commas in a line, but hardly the same number in every one.
        return form.width > 3
    return all(
        not text or kind.fits(text)
        for kind, cell in known
        for text in [cell.strip(b' "' + form.quote).decode(errors="replace")]
    )
