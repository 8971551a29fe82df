"""Workbooks as rows of cells, read by another process: see ``kg.ingest.sheet_child``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from kg.ingest.files import SourceFile
from schema.errors import DataError

MAX_MEMORY_BYTES = 3 << 30
"""What the process that reads a workbook may take."""
MAX_SECONDS = 300
"""How long it may compute."""
MAX_TEXT_BYTES = 8 << 30
"""The most text that may come of a workbook."""
_STANDARD_INPUT = "/proc/self/fd/0"
_READ_BYTES = 1 << 20
_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = "import sys; sys.path[:0] = {paths!r}; from kg.ingest.sheet_child import main; main()"
_TRANSPORTED = ("LD_LIBRARY_PATH", "TZ")


@dataclass(frozen=True)
class SheetRow:
    """A row that is not empty: its number, counted from 1, and its cells from column A on.

    A cell is a text, a number, or None.
    """

    number: int
    cells: list[str | int | float | None]


@dataclass(frozen=True)
class Sheet:
    """A sheet of a workbook.

    Attributes:
        name, number: its name, and its place among the sheets, counted from 1
        is_visible: whether it is shown
        start: where its rows are in the text of the workbook
        merged: the cells that are merged, as (row, column) of the first and the last, from 0
        errors: how many of its cells hold an error such as #N/A, as far as the format tells
        filled: the number of cells that are not empty, by column from 0
        damaged: the number of those with more digits than spreadsheets keep, by column
        examples: one of these by column
    """

    name: str
    number: int
    is_visible: bool
    start: int
    merged: tuple[tuple[tuple[int, int], tuple[int, int]], ...] = ()
    errors: int = 0
    filled: dict[int, int] = field(default_factory=dict)
    damaged: dict[int, int] = field(default_factory=dict)
    examples: dict[int, str] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """The number of columns up to the last that is not empty."""
        return max(self.filled, default=-1) + 1


class Workbook:
    """The text of a workbook in a temporary file, which lives as long as this object."""

    def __init__(self, file: SourceFile) -> None:
        self._location = file.location
        self._text = tempfile.TemporaryFile()  # noqa: SIM115
        weakref.finalize(self, self._text.close)
        with file.on_disk() as path:
            self._convert(path)
        self.sheets = self._find_sheets()

    def rows(self, sheet: Sheet) -> Iterator[SheetRow]:
        """Yield the rows of a sheet that are not empty."""
        position = sheet.start
        while True:
            self._text.seek(position)
            # Several lines at once, because another sheet may be read in between.
            lines = self._text.readlines(_READ_BYTES)
            for line in lines:
                if not line.startswith(b"["):
                    return
                number, cells = json.loads(line)
                yield SheetRow(number, cells)
            if not lines:
                return
            position += sum(map(len, lines))

    def _convert(self, path: Path) -> None:
        paths = [str(_ROOT), *(entry for entry in sys.path if Path(entry).is_absolute())]
        # What another process has open is out of reach for one that is confined.
        name = _STANDARD_INPUT if Path(_STANDARD_INPUT).exists() else str(path.absolute())
        arguments = [name, str(MAX_MEMORY_BYTES), str(MAX_SECONDS)]
        program = _PROGRAM.format(paths=paths)
        with (
            path.open("rb") as stream,
            subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", "-c", program, *arguments],
                stdin=stream,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # The environment may hold passwords.
                env={name: os.environ[name] for name in _TRANSPORTED if name in os.environ},
                start_new_session=True,
            ) as process,
        ):
            timer = threading.Timer(MAX_SECONDS, process.kill)
            timer.start()
            try:
                self._copy(process)
                code = process.wait()
            finally:
                timer.cancel()
                process.kill()
        if code != 0:
            raise self._too_large()

    def _copy(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        size = 0
        while chunk := process.stdout.read(_READ_BYTES):
            size += len(chunk)
            if size > MAX_TEXT_BYTES:
                raise self._too_large()
            self._text.write(chunk)

    def _too_large(self) -> DataError:
        return DataError(
            f"{self._location} needs more than {MAX_MEMORY_BYTES >> 30} GB of memory or "
            f"{MAX_SECONDS} seconds to be read, as a workbook is read whole: save its sheet as CSV"
        )

    def _find_sheets(self) -> tuple[Sheet, ...]:
        """Return the sheets in the text; raises DataError if it says that reading failed."""
        sheets = []
        described: dict[str, Any] = {}
        start = 0
        self._text.seek(0)
        position = 0
        for line in self._text:
            position += len(line)
            if line.startswith(b"["):
                continue
            fields = json.loads(line)
            if "failed" in fields:
                raise self._failure(fields["failed"])
            if "sheet" in fields:
                described = fields
                start = position
                continue
            sheets.append(
                Sheet(
                    described["sheet"],
                    described["number"],
                    described["visible"],
                    start,
                    tuple((tuple(first), tuple(last)) for first, last in described["merged"]),
                    described["errors"],
                    dict(fields["filled"]),
                    dict(fields["damaged"]),
                    dict(fields["examples"]),
                )
            )
        return tuple(sheets)

    def _failure(self, reason: str) -> DataError:
        if reason == "password":
            return DataError(
                f"{self._location} is protected by a password: save it without one, or as CSV"
            )
        if reason == "memory":
            return self._too_large()
        return DataError(
            f"{self._location} is not a readable workbook ({reason}): save it again as .xlsx, or "
            "as CSV"
        )


def open_workbook(file: SourceFile) -> Workbook:
    """Return a file's workbook; the last ones are kept, as long as their files are the same."""
    status = file.path.stat()
    return _open_workbook(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _open_workbook(file: SourceFile, modified: int, size: int) -> Workbook:
    return Workbook(file)


def header_names(sheet: Sheet, line: int, cells: Sequence[str]) -> Sequence[str]:
    """Return the names in the cells of a header; one over several columns is that of each."""
    names = list(cells)
    for (top, left), (_, right) in sheet.merged:
        if top == line - 1 and left < len(names):
            for column in range(left, min(right, len(names) - 1) + 1):
                names[column] = names[column] or names[left]
    return names
