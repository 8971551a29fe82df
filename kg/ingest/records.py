"""Records: the nested values of JSON, XML and the like, and readers that yield them.

A record becomes a row of text by a plain rule: the members of nested objects get dotted names, and
the values of a list are joined by ``LIST_SEPARATOR``.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from kg.ingest.files import SourceFile
from kg.ingest.readers.base import Reader
from kg.ingest.rows import BadRowError, Batch, SkippedLine, TextRow, batches_of_rows
from kg.ingest.scalars import scalar_text
from kg.ingest.values.text import LIST_SEPARATOR
from schema.errors import DataError
from schema.mapping import Head
from schema.mapping import Mapping as ColumnMapping
from schema.rejects import MAX_REJECT_TEXT, RejectedRow

if TYPE_CHECKING:
    from kg.ingest.source import Source

BATCH_RECORDS = 2_000
MAX_BATCH_SIZE = 16_000_000
"""About how much a batch of records may hold: characters, and eight for every other value."""
HEAD_RECORDS = 50
MAX_DEPTH = 64
"""How deep a record may be nested."""
MAX_BATCH_CELLS = 2_000_000
"""A batch is a table, whose rows all have the columns of each: so many cells fit into memory."""
TEXT_MEMBER = "#text"
"""The member with the text of an XML element that has more than text."""

# How the members of an object are called that is a property and its value, as in
# {"name": "Colour", "value": "red"}; compared without case and without what is no letter.
_NAME_MEMBERS = frozenset(
    (
        "name key label attribute attributename attributecode property propertyname paramname "
        "featurename fname"
    ).split()
)
_VALUE_MEMBERS = frozenset(("value", "values", "val", "attributevalue", "fvalue", "data"))
_UNIT_MEMBERS = frozenset(("unit", "unitcode", "unittext", "funit"))

TextCells = dict[str, str | None]
"""The text of each cell of a row, by the name of its column; None for an empty cell."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a source: the line where it starts, and its value.

    The value is made of dict, list, str, int, float, bool and None. Numbers that are written as
    1.10 keep that text, see ``WrittenFloat``.
    """

    line: int
    value: dict[str, Any]


@dataclass
class RecordBatch:
    """Records in the order of the source, and the rows that are none.

    Records have no lines that are skipped, nor cells that were defused for spreadsheets.
    """

    records: list[Record] = field(default_factory=list)
    rejects: list[RejectedRow] = field(default_factory=list)
    restored: int = 0
    skipped: list[SkippedLine] = field(default_factory=list)


class RecordReader(Reader):
    """Reads a format whose rows are nested, or may be: then the head says whether they are."""

    @abstractmethod
    def records(self, file: SourceFile, path: str) -> Iterator[Record | RejectedRow]:
        """Read the records of a file in its order, and the rows that are none.

        ``path`` is the place of the records in the document, as ``find_records`` returns it. Raises
        DataError if the rest of the file cannot be read.
        """

    def find_records(self, file: SourceFile) -> str:
        """Return the place of the records in a document, like ``channel/item``; "" for its top.

        Raises DataError if there are none.
        """
        return ""

    def head(self, file: SourceFile, mapping: ColumnMapping | None = None) -> Head:
        """Return the names of the columns of the first records."""
        path = mapping.records if mapping is not None and mapping.records else None
        if path is None:
            status = file.path.stat()
            path = _place(self, file, status.st_mtime_ns, status.st_size)
        names: dict[str, None] = {}
        rejected: RejectedRow | None = None
        try:
            for record in itertools.islice(self.records(file, path), HEAD_RECORDS):
                if isinstance(record, RejectedRow):
                    rejected = rejected or record
                    continue
                try:
                    names.update(dict.fromkeys(record_cells(record.value)))
                except BadRowError as error:
                    rejected = rejected or RejectedRow(file.location, record.line, str(error))
        except DataError:
            # What comes before the damage is read, and the damage is reported then.
            if not names:
                raise
        if not names:
            raise DataError(self._no_record(file, path, rejected))
        return Head(file.name, (tuple(names),), named=True, nested=True, records=path)

    def columns(self, head: Head, mapping: ColumnMapping) -> tuple[str, ...]:
        """Return the names of the columns, which are distinct by nature."""
        return head.rows[0]

    def batches(
        self, file: SourceFile, head: Head, mapping: ColumnMapping, batch_rows: int
    ) -> Iterator[Batch]:
        """Read the records in batches.

        A batch has the columns of the head and those that first occur in its own records. If the
        rest of the file cannot be read, the batch before is yielded first.
        """
        path = mapping.records or head.records
        rows = record_rows(self.records(file, path), file)
        yield from batches_of_records(rows, head.rows[0], batch_rows)

    def _no_record(self, file: SourceFile, path: str, rejected: RejectedRow | None) -> str:
        place = f" at {path!r}" if path else ""
        reason = f" (line {rejected.line}: {rejected.reason})" if rejected else ""
        return (
            f"{file.location} has no record{place} that can be read{reason}: check the file, or "
            'name the place of its records in a mapping (records = "...")'
        )


def is_record_source(source: Source) -> bool:
    """Return whether a source has nested records rather than rows of a table."""
    return isinstance(source.reader, RecordReader) and source.head.nested


def record_batches(
    source: Source, mapping: ColumnMapping, batch_records: int = BATCH_RECORDS
) -> Iterator[RecordBatch]:
    """Read the records of a source in batches.

    If the rest of the file cannot be read, the batch before is yielded first.
    """
    reader = cast(RecordReader, source.reader)
    records = reader.records(source.file, mapping.records or source.head.records)
    batch = RecordBatch()
    size = 0
    damage: DataError | None = None
    while True:
        try:
            record = next(records, None)
        except DataError as error:
            damage = error
            break
        if record is None:
            break
        if isinstance(record, Record):
            batch.records.append(record)
            size += _size(record.value)
        else:
            batch.rejects.append(record)
        count = len(batch.records) + len(batch.rejects)
        if count >= batch_records or size >= MAX_BATCH_SIZE:
            yield batch
            batch = RecordBatch()
            size = 0
    if batch.records or batch.rejects:
        yield batch
    if damage is not None:
        raise damage


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return 8 + sum(map(_size, value.values()))
    if isinstance(value, list | tuple):
        return 8 + sum(map(_size, value))
    return 8


@lru_cache(maxsize=64)
def _place(reader: RecordReader, file: SourceFile, modified: int, size: int) -> str:
    """Return the place of the records of a file, which may take reading it whole: only once."""
    return reader.find_records(file)


@dataclass(frozen=True, slots=True)
class CellRow:
    """A row of a source: its line, and its cells by the names of their columns."""

    line: int
    cells: TextCells


def record_rows(
    records: Iterable[Record | RejectedRow], file: SourceFile
) -> Iterator[CellRow | RejectedRow]:
    """Yield the cells of each record; one that has no cells as text is rejected."""
    for record in records:
        if isinstance(record, RejectedRow):
            yield record
            continue
        try:
            yield CellRow(record.line, record_cells(record.value))
        except BadRowError as error:
            text = str(record.value)[:MAX_REJECT_TEXT]
            text = text.encode(errors="replace").decode()
            yield RejectedRow(file.location, record.line, str(error), text)


def batches_of_records(
    rows: Iterable[CellRow | RejectedRow], columns: Sequence[str], batch_rows: int
) -> Iterator[Batch]:
    """Gather rows into batches of at most ``batch_rows``, rejected rows included.

    Each batch has ``columns`` and those of its rows.
    """
    names = dict.fromkeys(columns)
    gathered: list[CellRow | RejectedRow] = []
    damage: DataError | None = None
    iterator = iter(rows)
    while True:
        try:
            row = next(iterator)
        except StopIteration:
            break
        except DataError as error:
            damage = error
            break
        if isinstance(row, CellRow):
            names.update(dict.fromkeys(row.cells))
        gathered.append(row)
        if len(gathered) >= batch_rows or len(gathered) * len(names) >= MAX_BATCH_CELLS:
            yield from _batch(gathered, names, batch_rows)
            names = dict.fromkeys(columns)
            gathered = []
    if gathered:
        yield from _batch(gathered, names, batch_rows)
    if damage is not None:
        raise damage


def _batch(
    rows: Sequence[CellRow | RejectedRow], names: dict[str, None], batch_rows: int
) -> Iterator[Batch]:
    in_order = (
        row
        if isinstance(row, RejectedRow)
        else TextRow(row.line, [row.cells.get(name) for name in names])
        for row in rows
    )
    return batches_of_rows(in_order, tuple(names), batch_rows)


def record_cells(value: Mapping[str, Any]) -> TextCells:
    """Return a record as cells of text.

    The members of nested objects have dotted names, and the values of a list are joined by
    ``LIST_SEPARATOR``. An object that is a name with a value is a cell of that name. Raises
    BadRowError if the record is nested too deep, or has text that UTF-8 cannot encode.
    """
    texts: dict[str, list[str]] = {}
    for name, member in value.items():
        _add(member, name, texts, 1)
    try:
        return {name: _cell(name, values) for name, values in texts.items()}
    except UnicodeEncodeError:
        # JSON can escape half of a surrogate pair, which no store can hold.
        raise BadRowError("a lone surrogate: text that UTF-8 cannot encode") from None


def _cell(name: str, values: list[str]) -> str | None:
    name.encode()
    cell = LIST_SEPARATOR.join(values)
    cell.encode()
    return cell or None


def _add(value: Any, name: str, texts: dict[str, list[str]], depth: int) -> None:
    """Add a value below ``name`` to the texts of each cell."""
    if depth > MAX_DEPTH:
        raise BadRowError(f"nested too deep: more than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        pair = _pair(value)
        if pair is not None:
            texts.setdefault(f"{name}.{pair.name}", []).extend(pair.values)
            return
        if not value:
            texts.setdefault(name, [])
        for key, member in value.items():
            _add(member, name if key == TEXT_MEMBER else f"{name}.{key}", texts, depth + 1)
    elif isinstance(value, list | tuple):
        texts.setdefault(name, []) if not any(isinstance(each, dict) for each in value) else None
        for element in value:
            _add(element, name, texts, depth + 1)
    else:
        cell = texts.setdefault(name, [])
        text = scalar_text(value)
        if text:
            cell.append(text)


@dataclass(frozen=True)
class _Pair:
    """A property and its values."""

    name: str
    values: list[str]


def _pair(members: Mapping[str, Any]) -> _Pair | None:
    """Return an object like {"name": "Weight", "value": 3, "unit": "kg"} as a property, or None."""
    name = value = unit = None
    for key, member in members.items():
        letters = "".join(letter for letter in key.casefold() if letter.isalnum())
        if key == TEXT_MEMBER:
            letters = "value"
        if letters in _NAME_MEMBERS and name is None and isinstance(member, str):
            name = member.strip()
        elif letters in _VALUE_MEMBERS and value is None:
            value = member
        elif letters in _UNIT_MEMBERS and unit is None and isinstance(member, str):
            unit = member.strip()
        elif member is not None and not key.startswith("@"):
            return None
    if not name or value is None:
        return None
    values = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(each, dict | list | tuple) for each in values):
        return None
    texts = [text for text in map(scalar_text, values) if text]
    return _Pair(name, [f"{text} {unit}" if unit else text for text in texts])
