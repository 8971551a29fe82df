"""Write a delimited text again: single cells of its rows change, and no other byte does."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import BinaryIO

from kg.export.in_place.report import Filled, Kept
from kg.export.in_place.table import FilledBatch, NewRow, TableEdit
from kg.export.in_place.wanted import Cell
from kg.ingest.readers.dialect import Detected
from kg.ingest.readers.row_form import SPACED_QUOTE, is_number
from kg.ingest.readers.text_blocks import BLOCK_BYTES, MAX_LINE_BYTES
from kg.ingest.rows import Batch
from kg.marks import Marking
from schema.dialects import Dialect
from schema.errors import DataError
from schema.spreadsheets import defused, restored

_WIDTHS = {"utf-16-le": 2, "utf-16-be": 2, "utf-32-le": 4, "utf-32-be": 4}
_ERRORS = {"utf-8": "surrogateescape", **dict.fromkeys(_WIDTHS, "surrogatepass")}
_SPACES = re.compile(" +(?=[\"'](?![\"']))")
_IDLE_SPACES = re.compile(SPACED_QUOTE.pattern.decode())


@dataclass(frozen=True, slots=True)
class RawCell:
    """A cell as it is written: from where to where in its row, and the text that it says."""

    start: int
    stop: int
    text: str
    is_quoted: bool


class CellScanner:
    """Finds the cells of rows in the text of a file, as the reader does in its own."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        ends = [re.escape(dialect.delimiter), "\n"]
        if dialect.any_line_end:
            ends.append("\r")
        if dialect.escape:
            ends.append(re.escape(dialect.escape))
        self._ends = re.compile("|".join(ends))
        signs = [re.escape(sign) for sign in (dialect.quote, dialect.escape) if sign]
        self._signs = re.compile("|".join(signs)) if signs else None

    def cells(self, text: str) -> list[RawCell] | None:
        """Return the cells of the row that a text of whole lines begins with.

        None if it goes on after the text. Raises ValueError if there is no row.
        """
        dialect = self._dialect
        cells = []
        at = 0
        while True:
            if dialect.spaces_before_quotes and at and text[at - 1] in ",;|\t":
                spaces = _SPACES.match(text, at)
                at = spaces.end() if spaces else at
            if dialect.quote and text.startswith(dialect.quote, at):
                stop = self._end_of_quoted(text, at)
                if stop is None:
                    return None
                inner = self._spaced(text, at, stop)[1:-1].replace(dialect.quote * 2, dialect.quote)
                cells.append(RawCell(at, stop, self._plain(inner), True))
                is_end = self._is_end_of_line(text, stop)
            else:
                stop = self._end_of_plain(text, at)
                is_end = self._is_end_of_line(text, stop)
                cell_stop = stop - 1 if is_end and text.endswith("\r", at, stop) else stop
                cell = self._spaced(text, at, cell_stop)
                cells.append(RawCell(at, cell_stop, self._plain(cell), False))
            if is_end:
                return cells
            if not text.startswith(dialect.delimiter, stop):
                raise ValueError("text after a closing quote")
            at = stop + len(dialect.delimiter)

    def _spaced(self, text: str, start: int, stop: int) -> str:
        """Return a part of the text without the spaces that the reader takes for idle ones."""
        if not self._dialect.spaces_before_quotes:
            return text[start:stop]
        after = text[stop : stop + 1]
        return _IDLE_SPACES.sub("", text[start:stop] + after).removesuffix(after)

    def _is_end_of_line(self, text: str, at: int) -> bool:
        if at >= len(text) or text[at] == "\n" or text.startswith("\r\n", at):
            return True
        return self._dialect.any_line_end and text[at] == "\r"

    def _end_of_quoted(self, text: str, start: int) -> int | None:
        dialect = self._dialect
        at = start + 1
        while self._signs is not None and (sign := self._signs.search(text, at)):
            at = sign.end()
            if sign[0] == dialect.escape:
                if text.startswith((dialect.escape, dialect.quote), at):
                    at += 1
            elif text.startswith(dialect.quote, at):
                at += 1
            else:
                return at
        return None

    def _end_of_plain(self, text: str, start: int) -> int:
        dialect = self._dialect
        at = start
        while sign := self._ends.search(text, at):
            if not dialect.escape or sign[0] != dialect.escape:
                return sign.start()
            at = sign.end()
            if text.startswith(dialect.escape, at):
                at += 1
            elif dialect.quote:
                at += text.startswith(dialect.quote, at)
            elif text.startswith(dialect.delimiter, at):
                at += len(dialect.delimiter)
            else:
                at += len("\r\n") if text.startswith("\r\n", at) else text.startswith("\n", at)
        return len(text)

    def _plain(self, cell: str) -> str:
        """Return what a cell says, without escapes."""
        dialect = self._dialect
        if dialect.any_line_end:
            cell = cell.replace("\r\n", "\n").replace("\r", "\n")
        if not dialect.escape or dialect.escape not in cell:
            return cell
        signs = [dialect.escape, dialect.quote] if dialect.quote else []
        signs = signs or [dialect.escape, dialect.delimiter, "\r\n", "\n"]
        pattern = re.escape(dialect.escape) + f"({'|'.join(map(re.escape, signs))})"
        return re.sub(pattern, lambda found: found[1].replace("\r\n", "\n"), cell)


class RowWriter:
    """Writes texts into the cells of single rows."""

    def __init__(self, dialect: Dialect, mark_bytes: int) -> None:
        self._dialect = dialect
        self._scanner = CellScanner(dialect)
        self._mark_bytes = mark_bytes
        self._codec = dialect.encoding
        self._errors = _ERRORS.get(dialect.encoding, "strict")

    def fault(self, text: str) -> Kept | None:
        """Return why a text cannot be a cell; None if it can be."""
        dialect = self._dialect
        try:
            if text.encode(self._codec).decode(self._codec) != text:
                return Kept.NOT_IN_ENCODING
        except UnicodeError:
            return Kept.NOT_IN_ENCODING
        if not dialect.quote and not dialect.escape and self._must_be_quoted(text):
            return Kept.NOT_IN_DIALECT
        return None

    def cells_of(self, raw: bytes, is_first: bool) -> list[RawCell] | None:
        """Return the cells of the row that lines begin with; None if it goes on after them."""
        return self._scanner.cells(self._decoded(self._without_mark(raw, is_first)))

    def written(
        self, raw: bytes, changes: dict[int, str], texts: Sequence[str | None], is_first: bool
    ) -> bytes | None:
        """Return the lines of a row with other cells; None if it has not the texts it should."""
        mark = raw[: self._mark_bytes] if is_first else b""
        raw = self._without_mark(raw, is_first)
        text = self._decoded(raw)
        cells = self._scanner.cells(text)
        if cells is None or not self._are(cells, texts):
            return None
        offsets = self._offsets(raw, text)
        parts: list[bytes] = [mark]
        at = 0
        for column in sorted(changes):
            new = self._cell(changes[column], cells, column)
            if column < len(cells):
                start = cells[column].start
                stop = cells[column].stop
            else:
                # The row ends before this cell: empty cells come in between.
                start = stop = cells[-1].stop
                missing = column - max(len(cells) - 1, *(c for c in changes if c < column), 0)
                new = self._dialect.delimiter * missing + new
            parts.append(raw[at : offsets(start)])
            parts.append(new.encode(self._codec))
            at = offsets(stop)
        parts.append(raw[at:])
        return b"".join(parts)

    def added(self, raw: bytes, texts: dict[int, str], is_first: bool, end: bytes) -> bytes:
        """Return the line of a new row, written as the row that some lines are."""
        cells = self.cells_of(raw, is_first) or []
        width = max(len(cells), *(column + 1 for column in texts))
        row = (self._cell(texts.get(column, ""), cells, column) for column in range(width))
        return self._dialect.delimiter.join(row).encode(self._codec) + end

    def _without_mark(self, raw: bytes, is_first: bool) -> bytes:
        return raw[self._mark_bytes :] if is_first else raw

    def _decoded(self, raw: bytes) -> str:
        return raw.decode(self._codec, self._errors if self._errors != "strict" else "replace")

    def _offsets(self, raw: bytes, text: str) -> _Offsets:
        return _Offsets(raw, text, self._codec, self._errors)

    @staticmethod
    def _are(cells: Sequence[RawCell], texts: Sequence[str | None]) -> bool:
        """Return whether cells say what the reader read."""
        for column, text in enumerate(texts):
            own = cells[column].text if column < len(cells) else ""
            if own != (text or "") and restored(own) != (text or ""):
                return False
        return True

    def _cell(self, text: str, cells: Sequence[RawCell], column: int) -> str:
        """Return a text as a cell of its row is written: quoted if its like in the row is."""
        dialect = self._dialect
        cell = cells[column] if column < len(cells) else None
        if dialect.quote:
            is_quoted = cell.is_quoted if cell is not None and cell.stop > cell.start else False
            if is_quoted or self._must_be_quoted(text) or self._are_quoted(text, cells):
                if dialect.escape:
                    text = text.replace(dialect.escape, dialect.escape * 2)
                within = (dialect.escape or dialect.quote) + dialect.quote
                return f"{dialect.quote}{text.replace(dialect.quote, within)}{dialect.quote}"
            if dialect.escape:
                text = text.replace(dialect.escape, dialect.escape * 2)
            return text
        if dialect.escape:
            text = text.replace(dialect.escape, dialect.escape * 2)
            return text.replace(dialect.delimiter, dialect.escape + dialect.delimiter)
        return text

    def _must_be_quoted(self, text: str) -> bool:
        signs = (self._dialect.delimiter, "\n", "\r")
        has_quote = bool(self._dialect.quote) and self._dialect.quote in text
        return has_quote or any(sign in text for sign in signs)

    def _are_quoted(self, text: str, cells: Sequence[RawCell]) -> bool:
        """Return whether all cells of a row that are like a text are quoted: numbers or not."""
        filled = [cell for cell in cells if cell.text]
        like = [cell for cell in filled if is_number(cell.text) == is_number(text)] or filled
        return bool(like) and all(cell.is_quoted for cell in like)


class _Offsets:
    """The positions in bytes of characters of a text."""

    def __init__(self, raw: bytes, text: str, codec: str, errors: str) -> None:
        self._raw = raw
        self._text = text
        self._codec = codec
        self._errors = errors

    def __call__(self, character: int) -> int:
        if self._is_reversible:
            return len(self._text[:character].encode(self._codec, self._errors))
        return self._stepwise[character]

    @cached_property
    def _is_reversible(self) -> bool:
        try:
            return self._text.encode(self._codec, self._errors) == self._raw
        except UnicodeError:
            return False

    @cached_property
    def _stepwise(self) -> list[int]:
        """The positions where the same character may be written in several ways."""
        decoder = codecs.getincrementaldecoder(self._codec)("replace")
        positions = [0]
        for at in range(len(self._raw)):
            count = len(decoder.decode(self._raw[at : at + 1]))
            positions += [at + 1] * count
        return [*positions, len(self._raw)]


class LineCopier:
    """Copies the lines of a file; single ones can be taken instead. Lines are counted from 1."""

    def __init__(self, source: BinaryIO, target: BinaryIO, dialect: Dialect) -> None:
        self.line = 1
        self._source = source
        self._target = target
        self._width = _WIDTHS.get(dialect.encoding, 1)
        self._buffer = b""
        self._position = 0
        self._written = 0
        newline = "\n".encode(dialect.encoding)
        if self._width == 1 and newline != b"\n":
            raise DataError(
                f"a text in {dialect.encoding} cannot be written again in its own form: "
                "use --format csv --wide"
            )
        self._ends = [newline]
        if dialect.any_line_end:
            returns = "\r".encode(dialect.encoding)
            self._ends = [returns + newline, returns, newline]
        self._pattern = re.compile(b"|".join(map(re.escape, self._ends)))
        self._returned = "\r".encode(dialect.encoding) + newline
        self.usual_end = newline
        """The end of the line that was met last."""

    def end_of(self, line: bytes) -> bytes:
        """Return how a line ends; b"" for the last one of a file if it has no end."""
        ends = sorted({self._returned, *self._ends}, key=len, reverse=True)
        return next((end for end in ends if line.endswith(end)), b"")

    def copy_to(self, line: int) -> None:
        """Copy all lines before a line."""
        while self.line < line and (end := self._next_end()) is not None:
            self._position = end
            self.line += 1
        self._flush()

    def take(self) -> bytes:
        """Return the next line with its end; b"" at the end of the file."""
        # Perhaps to know how lines end after the last one, which has no end.
        self.usual_end = self.end_of(self._buffer[: self._position]) or self.usual_end
        end = self._next_end()
        stop = len(self._buffer) if end is None else end
        taken = self._buffer[self._position : stop]
        self._position = stop
        self._written = stop
        self.line += end is not None
        return taken

    def write(self, data: bytes) -> None:
        """Write in place of what was taken."""
        self._target.write(data)

    def copy_rest(self) -> None:
        """Copy all that remains."""
        self._position = len(self._buffer)
        self._flush()
        while data := self._source.read(BLOCK_BYTES):
            self._target.write(data)

    def _flush(self) -> None:
        """Write what was copied so far."""
        self._target.write(memoryview(self._buffer)[self._written : self._position])
        self._written = self._position

    def _next_end(self) -> int | None:
        """Return the position after the end of the line in the buffer; None if there is none."""
        start = self._position
        while True:
            end = self._search(start)
            if end is not None:
                return end
            # The bytes of an end may be divided.
            start = max(self._position, len(self._buffer) - 2 * self._width)
            start -= start % self._width
            searched = start - self._position
            if not self._read_more():
                return self._search(self._position, is_last=True)
            start = max(0, searched)

    def _search(self, start: int, is_last: bool = False) -> int | None:
        at = start
        while found := self._pattern.search(self._buffer, at):
            # Lines end where characters do, so that the buffer starts with a character.
            if found.start() % self._width:
                at = found.start() + 1
                continue
            # A return may be followed by its newline in what is not read yet.
            may_go_on = len(self._ends) > 1 and found.end() == len(self._buffer)
            return None if may_go_on and not is_last else found.end()
        return None

    def _read_more(self) -> bool:
        data = self._source.read(BLOCK_BYTES)
        if not data:
            return False
        self._flush()
        self._buffer = self._buffer[self._position :] + data
        self._position = 0
        self._written = 0
        return True


@dataclass(frozen=True)
class DelimitedWriter:
    """Writes the rows of filled batches into a copy of their file."""

    detected: Detected
    filled: Filled
    keep_formulas: bool = False

    @cached_property
    def rows(self) -> RowWriter:
        """What writes single rows."""
        return RowWriter(self.detected.dialect, self.detected.encoding.mark_bytes)

    def fault(self, batch: Batch, edit: TableEdit) -> Kept | None:
        """Return why an edit of a batch cannot be written; None if it can be."""
        row = edit.after if isinstance(edit, NewRow) else edit.row
        line = int(batch.lines[row])
        neighbours = batch.lines[max(0, row - 1) : row + 2].tolist()
        if neighbours.count(line) > 1:
            # Carriage returns separate several rows of this line, and newlines all others.
            return Kept.ROW_UNCLEAR
        texts = [text for _, text in edit.texts] if isinstance(edit, NewRow) else [edit.text]
        faults = (self.rows.fault(self._safe(text)) for text in texts)
        return next((fault for fault in faults if fault is not None), None)

    def write(
        self, source: BinaryIO, target: BinaryIO, batches: Iterator[FilledBatch]
    ) -> Iterator[FilledBatch]:
        """Copy a file with the texts of the batches in it, which are yielded when they are written.

        Raises DataError if a row is not found in the file as it was read.
        """
        copier = LineCopier(source, target, self.detected.dialect)
        for filled in batches:
            lines = filled.batch.lines.tolist()
            for row in sorted({*filled.cells, *filled.new_rows}):
                copier.copy_to(lines[row])
                texts = [column[row].as_py() for column in filled.batch.table.columns]
                changes = self._safe_texts(filled.cells.get(row, {}))
                is_first = copier.line == 1
                raw = self._write_row(copier, changes, texts)
                for new_row in filled.new_rows.get(row, ()):
                    end = copier.end_of(raw)
                    if not end:
                        # The last line of the file has no end, and shall have none.
                        copier.write(copier.usual_end)
                    copier.write(self.rows.added(raw, self._safe_texts(new_row), is_first, end))
            yield filled
        copier.copy_rest()

    def write_marked(
        self,
        source: BinaryIO,
        target: BinaryIO,
        batches: Iterable[FilledBatch],
        marking: Marking,
    ) -> Iterator[FilledBatch]:
        """Copy a file as :meth:`write` does, and give its rows columns for marks at their ends.

        The properties that are filled have to be known before the header is written, so what
        changes is held in memory. Yields the batches before anything is written.
        """
        rows: list[_MarkedRows] = []
        width = 0
        taken: list[str] = []
        for batch in batches:
            rows.append(_MarkedRows.of(batch))
            width = batch.batch.table.num_columns
            taken = batch.batch.table.column_names
            yield batch
        for property in sorted({name for each in rows for name in each.properties()}):
            marking.name(property, [*taken, *marking.names])
        self._write_marked(LineCopier(source, target, self.detected.dialect), rows, marking, width)

    def _write_marked(
        self, copier: LineCopier, rows: Sequence[_MarkedRows], marking: Marking, width: int
    ) -> None:
        dialect = self.detected.dialect
        names = marking.names
        if names:
            copier.copy_to(dialect.header_line or 1)
            self._extend_row(copier, {}, (), width, self._written_names(names))
        for each in rows if names else ():
            for line in each.lines:
                copier.copy_to(line)
                if copier.line != line:
                    continue  # a row before has ended in this line
                changed = each.changed.get(line, _UNCHANGED)
                marks = _marks_of(changed.filled, marking)
                if dialect.lacks_empty_cells and not changed.filled:
                    marks = []
                changes = self._safe_texts(changed.cells)
                is_first = copier.line == 1
                raw = self._extend_row(copier, changes, changed.texts, width, marks)
                end = copier.end_of(raw)
                for texts, cell in zip(changed.new_rows, changed.filled_anew, strict=True):
                    if not end:
                        copier.write(copier.usual_end)
                    new = self._safe_texts(texts)
                    new |= dict(enumerate(_marks_of([cell], marking), width))
                    copier.write(self.rows.added(raw, new, is_first, end))
        copier.copy_rest()

    def _written_names(self, names: Sequence[str]) -> list[str]:
        """Return names as the encoding can write them."""
        codec = self.detected.dialect.encoding
        return [self._safe(name).encode(codec, "replace").decode(codec) for name in names]

    def _extend_row(
        self,
        copier: LineCopier,
        changes: dict[int, str],
        texts: Sequence[str | None],
        width: int,
        more: Sequence[str],
    ) -> bytes:
        """Write a row with other cells and more of them at its end, and return it as it was.

        A row that is not to be read as one stays as it is.
        """
        line = copier.line
        is_first = line == 1
        raw, cells = self._take_row(copier)
        new = None
        if cells is not None:
            start = max(width, len(cells) - self.detected.dialect.ends_with_delimiter)
            added = dict(enumerate(more, start))
            new = self.rows.written(raw, {**changes, **added}, texts, is_first)
        if new is None and changes:
            raise _not_found(line)
        copier.write(raw if new is None else new)
        return raw

    def _take_row(self, copier: LineCopier) -> tuple[bytes, list[RawCell] | None]:
        """Take the lines of a row; its cells are None if it cannot be read."""
        is_first = copier.line == 1
        raw = copier.take()
        try:
            while (cells := self.rows.cells_of(raw, is_first)) is None:
                more = copier.take() if len(raw) <= MAX_LINE_BYTES else b""
                if not more:
                    return raw, None
                raw += more
        except ValueError:
            return raw, None
        return raw, cells

    def _safe_texts(self, texts: dict[int, str]) -> dict[int, str]:
        """Return texts that no spreadsheet takes for formulas, and count those that it would."""
        safe = {at: self._safe(text) for at, text in texts.items()}
        self.filled.defused += sum(text != texts[at] for at, text in safe.items())
        return safe

    def _write_row(
        self, copier: LineCopier, changes: dict[int, str], texts: Sequence[str | None]
    ) -> bytes:
        """Write a row with other cells, and return it as it was."""
        line = copier.line
        is_first = line == 1
        raw, cells = self._take_row(copier)
        new = None if cells is None else self.rows.written(raw, changes, texts, is_first)
        if new is None:
            raise _not_found(line)
        copier.write(new)
        return raw

    def _safe(self, text: str) -> str:
        return text if self.keep_formulas else defused(text)


def _not_found(line: int) -> DataError:
    return DataError(
        f"line {line:,} is not found in the file as it was read: use --format csv --wide, and "
        "report this"
    )


@dataclass(frozen=True)
class _ChangedRow:
    """What changes in a row: its texts as they were, its new ones, and rows to add after it."""

    texts: Sequence[str | None] = ()
    cells: dict[int, str] = field(default_factory=dict)
    filled: Collection[Cell] = ()
    new_rows: Sequence[dict[int, str]] = ()
    filled_anew: Sequence[Cell] = ()


_UNCHANGED = _ChangedRow()


@dataclass(frozen=True)
class _MarkedRows:
    """The lines in which the rows of a batch start, and what changes in some, by their lines.

    A line with several rows is left out. Rejected rows are there, so that they stay too long.
    """

    lines: Sequence[int]
    changed: dict[int, _ChangedRow]

    @classmethod
    def of(cls, batch: FilledBatch) -> _MarkedRows:
        """Return what a batch has to write."""
        lines = batch.batch.lines.tolist()
        single = {line for line, count in Counter(lines).items() if count == 1}
        changed = {
            lines[row]: _ChangedRow(
                [column[row].as_py() for column in batch.batch.table.columns],
                batch.cells.get(row, {}),
                batch.filled.get(row, {}),
                batch.new_rows.get(row, ()),
                batch.filled_anew.get(row, ()),
            )
            for row in sorted({*batch.cells, *batch.new_rows})
        }
        return cls(sorted(single | {each.line for each in batch.batch.rejects}), changed)

    def properties(self) -> Iterator[str]:
        """Yield the properties that are filled."""
        for row in self.changed.values():
            for _, property in chain(row.filled, row.filled_anew):
                yield property


def _marks_of(cells: Iterable[Cell], marking: Marking) -> list[str]:
    """Return what the columns for marks hold in a row."""
    marks = dict.fromkeys(marking.columns, ("", ""))
    marks |= {property: marking.mark(item, property).texts for item, property in cells}
    return [text for texts in marks.values() for text in texts]
