"""Detect the dialect of a delimited text: how its cells, rows and header are written.

Every plausible pair of a delimiter and a way of quoting is tried on the first rows. That one is
taken in which the rows have the same number of cells, below a row that looks like their names.
Quotes are signs like any other unless reading them as quotes gives better rows. The file's suffix
is but a hint.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from kg.ingest.files import SourceFile
from kg.ingest.readers.encodings import (
    Encoding,
    encoding_label,
    find_encoding,
    given_encoding,
)
from kg.ingest.readers.header import Header, HeadRow, are_usual_names, choose_header
from kg.ingest.readers.record_parser import OpenQuoteError, RecordParser
from kg.ingest.readers.row_form import SPACED_QUOTE, RowForm, column_kinds, is_number
from kg.ingest.readers.swallowing import swallowed_rows
from kg.ingest.readers.text_blocks import MAX_LINE_BYTES, utf8_chunks
from kg.ingest.rows import BadRowError
from schema.dialects import Dialect, DialectSettings
from schema.errors import DataError

_HEAD_BYTES = 1 << 20
_SURVEYED_BYTES = 1 << 28
"""How far a file is searched for what its beginning lacks: quotes, and signs other than ASCII's."""

_WINDOW_LINES = 1500
"""Lines of which all readings are tried, at the beginning and from the first quote on."""

_WINDOW_BYTES = 1 << 19
_FEWEST_LINES = 30

_CUT_LINES = 200
"""A quoted cell may go on after the sample if it has opened in so many of its last lines."""

_HEAD_ROWS = 50

MAX_NAME_CHARACTERS = 1 << 16
"""The longest name of a column; a longer one is a text."""

_DELIMITERS = (",", ";", "\t", "|")
_RARE_DELIMITERS = ("^", "~", "\x01", "\x1f")
_SUFFIX_DELIMITERS = {".tsv": "\t", ".tab": "\t", ".csv": ","}
_SEPARATOR_LINE = re.compile(rb'"?sep=(?P<sign>[^"\r\n])"?\r?\n', re.IGNORECASE)
_SINGLE_COLUMN_SCORE = 0.4
_USUAL_NAMES_SCORE = 0.45
"""What a header of usual names speaks for the delimiter between them, whatever the rows do."""
_MANY_UNDECODABLE = 20
_MAX_UNDECODABLE = 0.05


@dataclass(frozen=True)
class Detected:
    """A dialect, the first rows in it, and what its rows look like.

    ``rows`` start with the names of the columns if the file has them.
    """

    encoding: Encoding
    dialect: Dialect
    rows: tuple[tuple[str, ...], ...]
    form: RowForm


def detect_dialect(
    file: SourceFile, settings: DialectSettings, columns: Sequence[str] = ()
) -> Detected:
    """Detect what the settings leave open; ``columns`` are the names for a file without a header.

    Raises DataError if the file is empty or no text, or if the settings do not fit it.
    """
    sample = _read_sample(file, settings)
    returns = sample.text.count(b"\r") - sample.text.count(b"\r\n")
    newlines = sample.text.count(b"\n")
    best = _analyse(sample, settings, columns, file, any_line_end=returns > newlines)
    if returns and newlines:
        # Within cells, either may be the end of a line in them.
        other = _analyse(sample, settings, columns, file, any_line_end=returns <= newlines)
        if other.cost < best.cost:
            best = other
    best.check_decodable(sample.encoding, file)
    longest = max(map(len, best.header.names or ()), default=0)
    if longest > MAX_NAME_CHARACTERS:
        raise DataError(
            f"{file.location}, line {best.header.line:,}: the name of a column has {longest:,} "
            f"characters, and at most {MAX_NAME_CHARACTERS:,} are allowed: name the line of the "
            "header in a mapping (header = 1)"
        )
    line = settings.header
    if not isinstance(line, bool) and line is not None and (best.header.line or 0) < line:
        raise DataError(
            f"{file.name} has no row in line {line:,}, which header = {line} names for the header, "
            f"or below it in its first {_WINDOW_LINES:,} lines"
        )
    return best.detected(sample.encoding)


@dataclass(frozen=True)
class _Sample:
    """Some of a file as UTF-8: its first lines, and later ones that have quotes if those have none.

    ``is_whole`` says whether the first lines are all.
    """

    encoding: Encoding
    text: bytes
    later: bytes
    is_whole: bool


def _read_sample(file: SourceFile, settings: DialectSettings) -> _Sample:
    with file.open() as stream:
        data = stream.read(_HEAD_BYTES)
        is_whole = len(data) < _HEAD_BYTES
        if not is_whole and b"\n" not in data and b"\r" not in data:
            data += stream.read(MAX_LINE_BYTES)
            if b"\n" not in data and b"\r" not in data and len(data) > MAX_LINE_BYTES:
                raise DataError(
                    f"{file.location} has no end of a line in its first {MAX_LINE_BYTES >> 20} MB: "
                    "a table has a header and one row per item"
                )
        # Later chunks are looked at only for what the first has nothing of.
        letters = b""
        quotes = b""
        if settings.encoding is None:
            find_encoding(data, file.name)
        surveyed = 0
        while not is_whole and surveyed < _SURVEYED_BYTES:
            lacks_letters = data.isascii() and not letters
            lacks_quotes = b'"' not in data and not quotes
            if not (lacks_letters or lacks_quotes):
                break
            chunk = stream.read(_HEAD_BYTES)
            if not chunk:
                break
            surveyed += len(chunk)
            if lacks_letters and not chunk.isascii():
                letters = chunk
            if lacks_quotes and b'"' in chunk:
                quotes = chunk
    if settings.encoding is not None:
        encoding = given_encoding(settings.encoding, data)
    elif data.isascii() and letters:
        encoding = find_encoding(_whole(letters), file.name)
    else:
        encoding = find_encoding(data, file.name)
    text = b"".join(utf8_chunks([data[encoding.mark_bytes :]], encoding.name))
    if not is_whole:
        # The last line is cut, and perhaps in the middle of a sign.
        text = text[: max(text.rfind(b"\n"), text.rfind(b"\r")) + 1] or text
    if not text.strip():
        raise DataError(f"{file.path} is empty: a table has a header and one row per item")
    later = b"".join(utf8_chunks([_whole(quotes)], encoding.name))
    return _Sample(encoding, text, later, is_whole)


def _whole(chunk: bytes) -> bytes:
    """Return the whole lines of a chunk from the middle of a file."""
    start = max(chunk.find(b"\n"), chunk.find(b"\r")) + 1
    return chunk[start : chunk.rfind(b"\n") + 1]


@dataclass(frozen=True)
class _SampleRow:
    """A row of the sample: its line, how many lines it takes, and its cells."""

    line: int
    line_count: int
    cells: list[str]


@dataclass(frozen=True)
class _Given:
    """What all readings of a sample have in common: its lines, and what is known of them.

    Attributes:
        first: the first lines, without a line that names the separator
        skipped_lines: how many lines are before them
        is_whole: whether there are no more
        later: some lines with quotes, if the first have none
        settings: what is given of the dialect
        columns: the names of the columns of a file without a header
    """

    first: bytes
    skipped_lines: int
    is_whole: bool
    later: bytes
    settings: DialectSettings
    columns: Sequence[str]


class _Reading:
    """What the sample looks like in one dialect."""

    def __init__(self, given: _Given, dialect: Dialect) -> None:
        self.dialect = dialect
        self.form = RowForm(dialect, 0, 0)
        self._given = given
        self._raw_lines: dict[int, bytes] = {}
        self.undecodable = 0
        self.damaged = 0
        """Lines that cannot be read at all."""
        self.rows = self._read(given.first, 1 + given.skipped_lines, given.is_whole)
        self.later = self._read(given.later, 1, False)

    def _read(self, text: bytes, first_line: int, is_whole: bool) -> list[_SampleRow]:
        data = self.form.prepared(text)
        records = RecordParser(self.form.delimiter, self.form.quote)
        rows: list[_SampleRow] = []
        at = 0
        line = first_line
        while at < len(data):
            end = data.find(b"\n", at)
            stop = len(data) if end < 0 else end + 1
            try:
                record = records.parse(data, at)
            except OpenQuoteError:
                if not is_whole and self._goes_on(data, end):
                    break
                self.damaged += 1
            except BadRowError:
                self.damaged += 1
            else:
                stop = record.stop
                cells = self._decoded(record.cells)
                line_count = data.count(b"\n", at, stop)
                # Lines of spaces are no rows.
                if any(map(str.strip, cells)):
                    rows.append(_SampleRow(line, line_count, cells))
                    if line_count > 1:
                        self._raw_lines[id(rows[-1])] = data[at : stop - 1]
            line += data.count(b"\n", at, stop)
            at = stop
        return rows

    def _goes_on(self, data: bytes, start: int) -> bool:
        """Return whether a cell that is open at a position may be closed after the sample."""
        lines = data[start:].split(b"\n")
        # Lines of prose have the delimiter here and there, rows have it in every line.
        with_delimiter = sum(self.form.delimiter in line for line in lines)
        return len(lines) < _CUT_LINES or with_delimiter * 2 < len(lines)

    def _decoded(self, cells: Sequence[bytes]) -> list[str]:
        try:
            return [self.form.restored(cell.decode()) for cell in cells]
        except UnicodeDecodeError:
            self.undecodable += 1
            return [self.form.restored(cell.decode(errors="replace")) for cell in cells]

    @cached_property
    def width(self) -> int:
        """The number of cells that most rows have; of equally frequent ones the first."""
        if self._given.columns and self._given.settings.header is False:
            return len(self._given.columns)
        counts = Counter(len(row.cells) for row in (*self.rows, *self.later))
        return max(counts, key=lambda width: counts[width], default=1)

    @cached_property
    def header(self) -> Header:
        """The row with the names of the columns."""
        rows = [HeadRow(row.line, row.line_count, row.cells) for row in self.rows]
        given = self._given
        return choose_header(
            rows, self.width, given.settings.header, given.first, given.skipped_lines
        )

    @cached_property
    def body(self) -> list[_SampleRow]:
        """The rows below the header that say something."""
        first = self.header.first_row_index
        return [row for row in (*self.rows[first:], *self.later) if any(row.cells)]

    @cached_property
    def lacks_empty_cells(self) -> bool:
        """Whether rows end after their last cell that is not empty."""
        names = self.header.names
        if names is None or len(names) < 3:
            return False
        short = sum(len(row.cells) < len(names) for row in self.body)
        no_row_ends_empty = all(row.cells[-1] and len(row.cells) <= len(names) for row in self.body)
        some_are_whole = 3 <= short < len(self.body) >= 5 and short * 5 >= len(self.body)
        return no_row_ends_empty and some_are_whole

    @cached_property
    def ends_with_delimiter(self) -> bool:
        """Whether rows end with a delimiter that the header does not end with."""
        count = self._column_count
        wide = [row for row in self.body if len(row.cells) == count + 1]
        is_usual = len(wide) > len(self.body) - len(wide)
        return count > 0 and is_usual and all(not row.cells[-1] for row in wide)

    @property
    def _column_count(self) -> int:
        """The number of columns that have a name in the file or the settings; 0 if none has."""
        if self.header.names is not None:
            return len(self.header.names)
        return len(self._given.columns)

    @cached_property
    def row_width(self) -> int:
        """The number of cells that a row has to have."""
        names = self.header.names
        if names is not None and len(names) == self.width + 1 and not names[-1].strip():
            # Only the header ends with a delimiter.
            return self.width
        return (self._column_count or self.width) + self.ends_with_delimiter

    @cached_property
    def fitting(self) -> int:
        """The number of rows that have a right number of cells."""
        if self.lacks_empty_cells:
            return len(self.body)
        return sum(len(row.cells) == self.row_width for row in self.body)

    @cached_property
    def swallowed(self) -> int:
        """The number of rows that quoted cells have swallowed."""
        several = [row for row in (*self.rows, *self.later) if row.line_count > 1]
        if not several:
            return 0
        rows = [row.cells for row in self.body if row.line_count == 1]
        kinds = column_kinds(rows, self.row_width, handles=True)
        form = replace(self.form, width=self.row_width, kinds=kinds)
        return sum(swallowed_rows(self._raw_lines[id(row)].split(b"\n"), form) for row in several)

    @cached_property
    def bad_rows(self) -> int:
        """The number of rows that are damaged, swallowed, or have a wrong number of cells."""
        wrong = len(self.body) - self.fitting
        return self.damaged + self.swallowed + wrong

    @cached_property
    def visible_signs(self) -> int:
        """The number of cells in which quotes and escapes show that should rather not.

        A writer that quotes only where it must does not enclose a few cells for nothing, so in
        tab-separated text such cells are titles with quotes.
        """
        found = 0
        is_usual = not self.dialect.quote and self.dialect.delimiter in (",", ";")
        names = self.header.names or ()
        for column in range(self.row_width):
            cells = [row.cells[column] for row in self.body if column < len(row.cells)]
            filled = [cell for cell in cells if cell]
            enclosed = [cell for cell in filled if self._is_enclosed(cell)]
            doubled = sum(cell[0] * 2 in cell[1:-1] for cell in enclosed)
            is_system = len(enclosed) > 1 and len(enclosed) >= 0.8 * len(filled)
            if column < len(names) and self._is_enclosed(names[column]):
                enclosed.append(names[column])
                is_system = True
            is_quoted = is_system or (is_usual and any(cell[0] == '"' for cell in enclosed))
            found += len(enclosed) if is_quoted else doubled
            if not (self.dialect.escape and self.dialect.quote):
                found += sum('\\"' in cell for cell in filled)
        return found

    def _is_enclosed(self, cell: str) -> bool:
        """Return whether a cell looks quoted: quotes around it, and only doubled ones within."""
        sign = cell[:1]
        if len(cell) < 2 or sign != cell[-1] or sign not in "\"'" or sign == self.dialect.quote:
            return False
        return sign not in cell[1:-1].replace(sign * 2, "")

    @property
    def cost(self) -> int:
        """How much speaks against this way of quoting."""
        # That rows may lack cells is no explanation if in another way they do not.
        lacking = sum(len(row.cells) < self.row_width for row in self.body)
        above = max(0, self.header.first_row_index - 1)
        return self.bad_rows + self.visible_signs + self.lacks_empty_cells * lacking + above

    @cached_property
    def score(self) -> float:
        """How much speaks for this delimiter: at most 1."""
        total = len(self.body) + self.damaged
        if self.row_width < 2 or self._passes_over_names():
            return 0.0
        least = _USUAL_NAMES_SCORE if self.header.has_usual_names else 0.0
        if not total:
            return least
        consistency = max(0.0, self.fitting - self.swallowed) / total
        cells = [cell for row in self.body[:300] for cell in row.cells if cell]
        competing = max(self._competing_share(cells), self._competing_share(self.header.names))
        # More cells in every row are less likely to be an accident.
        score = (
            consistency
            * self.header.confidence
            * (1 - 0.5 * competing)
            * (1 - 0.5 / self.row_width)
        )
        return max(score, least)

    def _passes_over_names(self) -> bool:
        """Return whether it takes a header of usual names, as another delimiter gives it, for one
        cell above rows that have no names themselves."""
        if self.header.is_named or self._given.settings.header is False:
            return False
        above = self.rows[: max(1, self.header.first_row_index - 1)]
        alone = [cells[0] for row in above if len(cells := [*filter(str.strip, row.cells)]) == 1]
        others = [sign for sign in _DELIMITERS if sign != self.dialect.delimiter]
        return any(are_usual_names(cell.split(sign)) for cell in alone for sign in others)

    def _competing_share(self, cells: Sequence[str] | None) -> float:
        """Return the share of cells that look as if another delimiter separated them."""
        others = [sign for sign in _DELIMITERS if sign != self.dialect.delimiter]
        pattern = re.compile("|".join(re.escape(sign) + r"(?=\S)" for sign in others))
        cells = cells or ()
        competing = sum(bool(pattern.search(cell)) and not is_number(cell) for cell in cells)
        return competing / len(cells) if cells else 0.0

    def check_decodable(self, encoding: Encoding, file: SourceFile) -> None:
        """Raise DataError if many rows are not valid in the encoding."""
        rows = len(self.rows) + self.damaged
        check_undecodable(self.undecodable, rows, encoding.name, file.name)

    def detected(self, encoding: Encoding) -> Detected:
        """Return the dialect in full, with the first rows in it."""
        header = self.header
        width = self.row_width
        columns = width - self.ends_with_delimiter
        comments = any(row.cells[0].startswith("#") for row in header.left_out)
        dialect = replace(
            self.dialect,
            encoding=encoding.name,
            header_line=header.line,
            first_line=header.first_line,
            ends_with_delimiter=self.ends_with_delimiter,
            lacks_empty_cells=self.lacks_empty_cells,
            comment="#" if comments else "",
            left_out=tuple(row.line for row in header.left_out),
            reasons=tuple(self._reasons(encoding)),
        )
        rows_of_width = [row.cells for row in self.body if len(row.cells) == width]
        kinds = column_kinds(rows_of_width, width, handles=True)
        form = RowForm(
            dialect,
            width,
            1 if self.lacks_empty_cells else columns,
            kinds,
            self.form.prepared(header.text) if width > 1 else b"",
        )
        rows = [tuple(row.cells[:columns]) for row in self.body[:_HEAD_ROWS]]
        if header.names is not None:
            rows.insert(0, header.names[:columns])
        return Detected(encoding, dialect, tuple(rows), form)

    def _reasons(self, encoding: Encoding) -> Iterator[str]:
        yield f"{encoding_label(encoding.name)}: {encoding.reason}"
        yield f"{self.fitting:,} of the first {len(self.body):,} rows have {self.row_width} cells"
        yield self.header.reason
        if not self.dialect.quote:
            yield "quotes read better as plain signs"
        elif self.dialect.escape:
            yield f"rows read better with {self.dialect.escape} as the escape of a quote"


def check_undecodable(count: int, rows: int, encoding: str, name: str) -> None:
    """Raise DataError if too many of some rows are not valid in the encoding to be damage."""
    if count >= _MANY_UNDECODABLE and count > _MAX_UNDECODABLE * rows:
        label = encoding_label(encoding)
        raise DataError(
            f"{name}: {count:,} of {rows:,} rows are not valid {label}: "
            'name its encoding in a mapping file (encoding = "cp1252"), or convert it to UTF-8'
        )


def _analyse(
    sample: _Sample,
    settings: DialectSettings,
    columns: Sequence[str],
    file: SourceFile,
    any_line_end: bool,
) -> _Reading:
    """Return the best reading of a sample."""
    text = sample.text
    later = sample.later
    if any_line_end:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        later = later.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    skipped_lines = 0
    separator = _SEPARATOR_LINE.match(text)
    if separator:
        text = text[separator.end() :]
        skipped_lines = 1
    if not text.strip():
        raise DataError(f"{file.path} is empty but for a line that names its separator")
    signs = [settings.delimiter] if settings.delimiter else _plausible_delimiters(text)
    if separator and not settings.delimiter and separator["sign"] in text:
        signs = [separator["sign"].decode()]
    first, later = _windows(text, later, sample.is_whole)
    is_whole = sample.is_whole and len(first) >= len(text)
    given = _Given(first, skipped_lines, is_whole, later, settings, columns)

    best: _Reading | None = None
    best_score = 0.0
    for sign in signs:
        # min() takes the first of equals.
        reading = min(
            (_Reading(given, dialect) for dialect in _ways_of_quoting(sign, given, any_line_end)),
            key=lambda each: each.cost,
        )
        score = reading.score
        if _SUFFIX_DELIMITERS.get(file.suffix) == sign:
            score *= 1.02
        if best is None or score > best_score:
            best = reading
            best_score = score
    if best is None or (best_score < _SINGLE_COLUMN_SCORE and len(signs) > 1):
        # A table of one column, in which nothing separates cells.
        single = _Reading(given, _single_column(given, any_line_end))
        if best is None or single.row_width == 1:
            return single
    return best


def _single_column(given: _Given, any_line_end: bool) -> Dialect:
    settings = given.settings
    quote = '"' if settings.quote is None else settings.quote
    return Dialect(quote=quote, escape=settings.escape or "", any_line_end=any_line_end)


def _windows(text: bytes, later: bytes, is_whole: bool) -> tuple[bytes, bytes]:
    """Return the first lines, and later ones if only those have quotes."""
    if is_whole and not text.endswith(b"\n"):
        text += b"\n"
    end = _end_of_lines(text, 0, _WINDOW_LINES)
    first = text[:end]
    if b'"' not in first and b'"' in text[end:]:
        start = text.rfind(b"\n", 0, text.index(b'"', end)) + 1
        return first, text[start : _end_of_lines(text, start, _WINDOW_LINES)]
    if b'"' in first or b'"' not in later:
        return first, b""
    start = later.rfind(b"\n", 0, later.index(b'"')) + 1
    return first, later[start : _end_of_lines(later, start, _WINDOW_LINES)]


def _end_of_lines(text: bytes, start: int, count: int) -> int:
    """Return the position after some lines, or after those that there are."""
    at = start
    for number in range(count):
        end = text.find(b"\n", at)
        if end < 0:
            return len(text) if at == start else at
        at = end + 1
        if at - start > _WINDOW_BYTES and number >= _FEWEST_LINES:
            break
    return at


def _plausible_delimiters(text: bytes) -> list[str]:
    """Return the delimiters that a good part of the lines have."""
    lines = text[: _end_of_lines(text, 0, 500)].split(b"\n")
    filled = [line for line in lines if line.strip()]
    first = b"".join(filled[:2])
    usual = [
        sign
        for sign in _DELIMITERS
        if sign.encode() in first or sum(sign.encode() in line for line in filled) * 4 > len(filled)
    ]
    # Those of mainframes and of Hive have to be in all lines, and as often in each.
    rare = []
    for sign in _RARE_DELIMITERS:
        counts = {line.count(sign.encode()) for line in filled}
        if len(counts) == 1 and 0 not in counts:
            rare.append(sign)
    return usual + rare


def _ways_of_quoting(delimiter: str, given: _Given, any_line_end: bool) -> list[Dialect]:
    """Return the dialects to try with a delimiter: of equally good ones, the first is taken."""
    settings = given.settings
    text = given.first + given.later
    base = Dialect(delimiter=delimiter, escape=settings.escape or "", any_line_end=any_line_end)
    quoted = base.with_(quote='"')
    plain = base.with_(quote="")
    if settings.quote is not None:
        ways = [base.with_(quote=settings.quote)]
    elif delimiter in (",", ";"):
        ways = [quoted, plain]
    else:
        ways = [plain, quoted]
    if settings.quote is None and b'"' not in text:
        # One that comes later is taken for what it usually is.
        ways = ways[:1]
    if settings.quote is None and _has_single_quotes(text, delimiter):
        ways.append(base.with_(quote="'"))
    if SPACED_QUOTE.search(text):
        ways += [way.with_(spaces_before_quotes=True) for way in ways if way.quote]
    if settings.escape is None:
        with_plain = [*ways, plain] if settings.quote is None and plain not in ways else ways
        escapes = [way.with_(escape="\\") for way in with_plain]
        ways += [way for way in escapes if ("\\" + (way.quote or delimiter)).encode() in text]
    return ways


def _has_single_quotes(text: bytes, delimiter: str) -> bool:
    """Return whether some cell is enclosed in single quotes."""
    sign = re.escape(delimiter.encode())
    cell = b"(?:^|" + sign + b")'(?:[^']|'')*+'(?:" + sign + b"|\r?$)"
    return re.search(cell, text, re.MULTILINE) is not None
