"""The program of a process that reads a workbook, with limits on its memory and time.

:mod:`kg.ingest.workbook` starts it. A workbook comes from anybody, and the library that reads it
holds a whole sheet in memory, with all cells between the first and the last: two cells at opposite
ends of a sheet take 400 GB, and end the process. So that process is another one.

It writes lines of JSON to stdout: for each sheet an object that describes it, a line
``[number, [cells]]`` for each row that is not empty, and an object with counts of its columns. The
texts in it are those of the cells; numbers are numbers. No macro is run and no formula computed:
what a formula gave when the workbook was saved is its value.
"""

from __future__ import annotations

import codecs
import json
import re
import resource
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from pyexpat import ParserCreate
from typing import Any

from kg.ingest.scalars import scalar_text
from kg.stores import sandbox

MAX_DIGITS = 15
"""The digits of a number that spreadsheets keep; those after them are lost."""
_SCIENTIFIC = re.compile(r"\s*\d[.,]\d+E\+\d+\s*")
_MAX_MERGED = 100_000
_PADDED = re.compile(r"0{2,}")
_LETTERS = re.compile(r"([A-Z]{1,3})(\d{1,7})")
_CELL = re.compile(rb"<c\s[^>]*?\bt=\"e\"")
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")

Place = tuple[int, int]
"""The row and column of a cell, counted from 0."""


@dataclass
class _Counts:
    """What is in each column of a sheet: cells, and numbers with more digits than are kept."""

    filled: dict[int, int] = field(default_factory=dict)
    damaged: dict[int, int] = field(default_factory=dict)
    examples: dict[int, str] = field(default_factory=dict)

    def add(self, column: int, cell: Any) -> None:
        """Count a cell that is not empty."""
        self.filled[column] = self.filled.get(column, 0) + 1
        is_number = isinstance(cell, int | float) and not isinstance(cell, bool)
        is_damaged = (is_number and abs(cell) >= 10**MAX_DIGITS) or (
            isinstance(cell, str) and cell[:1].isdigit() and _SCIENTIFIC.fullmatch(cell)
        )
        if is_damaged:
            self.damaged[column] = self.damaged.get(column, 0) + 1
            self.examples.setdefault(column, str(cell))


def main() -> None:
    """Read the workbook whose path, memory in bytes and seconds are the arguments."""
    path = Path(sys.argv[1])
    memory = int(sys.argv[2])
    seconds = int(sys.argv[3])
    try:
        _confine(path, memory, seconds)
        _write_workbook(path)
    except MemoryError:
        _say({"failed": "memory"})
    except (KeyboardInterrupt, SystemExit, BrokenPipeError):
        raise
    except BaseException as error:  # also what becomes of a panic of Rust, which is no Exception
        _say({"failed": " ".join(str(error).split())[:200] or type(error).__name__})


def _confine(path: Path, memory: int, seconds: int) -> None:
    """Take from this process what reading a workbook does not need."""
    # Before other files are out of reach: the library, and the encoding of names in archives.
    import python_calamine

    del python_calamine
    codecs.lookup("cp437")
    status = sandbox.open_status()
    sandbox.limit_files()
    _ = sandbox.refuse_calls() or sandbox.leave_network()
    sandbox.read_nothing_but([path])
    sandbox.limit_memory(status, memory)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))


def _write_workbook(path: Path) -> None:
    from python_calamine import CalamineWorkbook, PasswordError, SheetTypeEnum, SheetVisibleEnum

    with path.open("rb") as stream:
        if stream.read(4) == b"\xd0\xcf\x11\xe0" and _ENCRYPTED in stream.read(1 << 26):
            _say({"failed": "password"})
            return
        stream.seek(0)
        padding = _Padding(path)
        try:
            workbook = CalamineWorkbook.from_filelike(stream)
        except PasswordError:
            _say({"failed": "password"})
            return
        for number, metadata in enumerate(workbook.sheets_metadata, 1):
            if metadata.typ is not SheetTypeEnum.WorkSheet:
                continue
            sheet = workbook.get_sheet_by_name(metadata.name)
            merged = sheet.merged_cell_ranges or []
            _say(
                {
                    "sheet": metadata.name,
                    "number": number,
                    "visible": metadata.visible is SheetVisibleEnum.Visible,
                    "merged": merged[:_MAX_MERGED],
                    "errors": padding.errors(metadata.name),
                }
            )
            _write_rows(sheet, merged, padding.widths(metadata.name))
            del sheet


def _write_rows(sheet: Any, merged: list[tuple[Place, Place]], widths: dict[Place, int]) -> None:
    counts = _Counts()
    fills = _Fills(merged)
    # The empty rows before the first cell are among them, and the empty columns are not.
    first = sheet.start[1] if sheet.start else 0
    for row, cells in enumerate(sheet.iter_rows()):
        texts: list[Any] = [None] * first
        texts += [
            _cell(cell, widths.get((row, column))) for column, cell in enumerate(cells, first)
        ]
        fills.fill(row, texts)
        while texts and texts[-1] is None:
            texts.pop()
        if not texts:
            continue
        for column, text in enumerate(texts):
            if text is not None:
                counts.add(column, text)
        sys.stdout.write(json.dumps([row + 1, texts], ensure_ascii=False) + "\n")
    _say(
        {
            "filled": sorted(counts.filled.items()),
            "damaged": sorted(counts.damaged.items()),
            "examples": sorted(counts.examples.items()),
        }
    )


def _cell(cell: Any, width: int | None) -> Any:
    """Return a cell as a text or a number; None if it is empty."""
    if cell == "" or cell is None:
        return None
    if isinstance(cell, bool) or not isinstance(cell, int | float | str):
        return scalar_text(cell)
    if width is not None and not isinstance(cell, str) and cell == int(cell) and cell >= 0:
        return f"{int(cell):0{width}}"
    return cell


class _Fills:
    """Fills cells that are merged with the one above: a person sees its value beside each row."""

    def __init__(self, merged: list[tuple[Place, Place]]) -> None:
        self._starts: dict[int, list[tuple[int, int]]] = {}
        for (top, left), (bottom, _) in merged[:_MAX_MERGED]:
            if bottom > top:
                self._starts.setdefault(top, []).append((left, bottom))
        self._open: dict[int, tuple[int, Any]] = {}

    def fill(self, row: int, cells: list[Any]) -> None:
        """Fill the cells of a row, which come in their order."""
        for column, (bottom, value) in list(self._open.items()):
            if row > bottom:
                del self._open[column]
            elif column < len(cells) and cells[column] is None:
                cells[column] = value
        for column, bottom in self._starts.get(row, ()):
            if column < len(cells):
                self._open[column] = (bottom, cells[column])


class _Padding:
    """What the library does not tell of an .xlsx: numbers shown with leading zeros, and errors.

    A number format like 00000 is what keeps the zeros of an id.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts: dict[str, str] = {}
        self._styles: dict[str, int] = {}
        with suppress(Exception), zipfile.ZipFile(path) as archive:
            self._parts = sheet_parts(archive)
            self._styles = padded_styles(archive)

    def errors(self, sheet: str) -> int:
        """Return how many cells of a sheet hold an error such as #N/A."""
        count = 0
        end = b""
        with suppress(Exception):
            for chunk in self._chunks(sheet):
                count += len(_CELL.findall(end + chunk))
                end = chunk[chunk.rfind(b"<") :]
        return count

    def widths(self, sheet: str) -> dict[Place, int]:
        """Return the number of digits with which each number of a sheet is shown that has some."""
        found: dict[Place, int] = {}
        if not self._styles:
            return found

        def start(name: str, attributes: dict[str, str]) -> None:
            width = self._styles.get(attributes.get("s", ""))
            if name.rpartition(":")[2] != "c" or width is None:
                return
            place = _LETTERS.fullmatch(attributes.get("r", ""))
            if place is not None and attributes.get("t", "n") == "n":
                found[int(place[2]) - 1, column_number(place[1])] = width

        parser = ParserCreate()
        parser.StartElementHandler = start
        parser.EntityDeclHandler = _refuse_entity
        with suppress(Exception):
            for chunk in self._chunks(sheet):
                parser.Parse(chunk, False)
        return found

    def _chunks(self, sheet: str) -> Iterator[bytes]:
        if sheet not in self._parts:
            return
        with zipfile.ZipFile(self._path) as archive, archive.open(self._parts[sheet]) as stream:
            while chunk := stream.read(1 << 18):
                yield chunk


def _refuse_entity(*_: object) -> None:
    raise ValueError("an entity in a workbook")


def _elements(archive: zipfile.ZipFile, part: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the elements of a small part of a workbook: their names and attributes."""
    found: list[tuple[str, dict[str, str]]] = []
    parser = ParserCreate()
    parser.EntityDeclHandler = _refuse_entity
    parser.StartElementHandler = lambda name, attributes: found.append(
        (name.rpartition(":")[2], attributes)
    )
    with archive.open(part) as stream:
        parser.Parse(stream.read(1 << 24), True)
    yield from found


def sheet_parts(archive: zipfile.ZipFile) -> dict[str, str]:
    """Return the part of an .xlsx that holds each sheet, by the sheet's name."""
    targets = {
        attributes.get("Id", ""): attributes.get("Target", "")
        for name, attributes in _elements(archive, "xl/_rels/workbook.xml.rels")
        if name == "Relationship"
    }
    parts = {}
    for name, attributes in _elements(archive, "xl/workbook.xml"):
        target = targets.get(next((v for k, v in attributes.items() if k.endswith(":id")), ""), "")
        if name == "sheet" and target:
            path = target[1:] if target.startswith("/") else f"xl/{target}"
            parts[attributes.get("name", "")] = path
    return parts


def padded_styles(archive: zipfile.ZipFile) -> dict[str, int]:
    """Return the styles that show numbers with leading zeros, with the number of their digits."""
    formats: dict[str, int] = {}
    styles: dict[str, int] = {}
    in_cells = False
    count = 0
    for name, attributes in _elements(archive, "xl/styles.xml"):
        if name == "numFmt" and _PADDED.fullmatch(attributes.get("formatCode", "")):
            formats[attributes.get("numFmtId", "")] = len(attributes["formatCode"])
        elif name == "cellXfs":
            in_cells = True
        elif name in ("cellStyles", "dxfs"):
            in_cells = False
        elif name == "xf" and in_cells:
            width = formats.get(attributes.get("numFmtId", ""))
            if width is not None:
                styles[str(count)] = width
            count += 1
    return styles


def column_number(letters: str) -> int:
    """Return the number of a column from 0, given its letters."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1


def _say(fields: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()
