"""Write a source of JSON records again: members of single records change, and nothing else.

The form of a value is that which others of its property have in the same file: a text, a number, a
list, an object with a unit or a language, or an element of a list of names and values.
"""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, BinaryIO, cast

import pyarrow as pa

from kg.export.in_place.delimited import LineCopier
from kg.export.in_place.json_text import JsonEdit, edited, edited_text, number_of
from kg.export.in_place.report import Filled
from kg.export.in_place.table import NOWHERE
from kg.export.in_place.texts import amount_of
from kg.export.in_place.trials import Trials, Way, first_ways, is_stated
from kg.export.in_place.wanted import Wanted, WantedValues
from kg.ingest.assemble import Assembler
from kg.ingest.flatten import Flattener
from kg.ingest.json_stream import record_decoder
from kg.ingest.readers.json_documents import KEY_MEMBER, JsonReader
from kg.ingest.readers.jsonl import JsonlReader
from kg.ingest.rows import Record
from kg.ingest.source_plan import MappedPlan, RecordsPlan
from kg.ingest.values import values_of
from kg.ingest.values.text import clean
from kg.marks import Marking
from schema.dialects import Dialect
from schema.errors import DataError
from schema.mapping import Mapping
from schema.mapping.names import matches

LEARNED_RECORDS = 20_000
"""Records from which it is learned how the values of a property are written."""
_MAX_SHAPES = 4  # of the values of one property
_MAX_DEPTH = 4  # at which lists of names and values are looked for
_CHUNK_CHARACTERS = 1 << 20

Path = tuple[str, ...]


@dataclass(frozen=True)
class RecordEdit:
    """An edit of a record of a batch."""

    row: int
    edit: JsonEdit


@dataclass(frozen=True)
class _FilledRecords:
    """The records of a batch, the edits of some of them by their place, and the statements."""

    records: Sequence[Record]
    edits: dict[int, list[JsonEdit]]
    statements: pa.Table


def write_records(
    plan: MappedPlan,
    stream: BinaryIO,
    target: BinaryIO,
    wanted: WantedValues,
    filled: Filled,
    marking: Marking | None = None,
) -> Iterator[pa.Table]:
    """Write a file of records; yield the ids of the statements that it has then.

    With a ``marking``, records get members with the marks of what was filled in.
    """
    filler = _RecordFiller(cast(RecordsPlan, plan), wanted, filled, marking)
    reader = plan.source.reader
    if isinstance(reader, JsonlReader):
        batches = _write_lines(plan, stream, target, filler.filled_batches())
    elif isinstance(reader, JsonReader):
        batches = _write_document(plan, reader, target, filler.filled_batches())
    else:
        raise DataError(f"{plan.source.name} is no JSON: use --format csv --wide")
    for batch in batches:
        yield batch.statements


# ---- what goes where


@dataclass
class _Shapes:
    """How the values of a file are written: examples by property."""

    members: dict[str, list[tuple[Path, Any]]]
    elements: dict[str, tuple[Path, dict[str, Any], str]]
    any_element: tuple[Path, dict[str, Any], str] | None = None


class _RecordFiller:
    """Fills in members that the records of one source lack."""

    def __init__(
        self, plan: RecordsPlan, wanted: WantedValues, filled: Filled, marking: Marking | None
    ) -> None:
        self._marking = marking
        self._plan = plan
        self._mapping: Mapping = plan.mapping
        self._wanted = wanted
        self._filled = filled
        self._assembler = plan.assembler(NOWHERE)
        self._shapes = _Shapes({}, {})

    def filled_batches(self) -> Iterator[_FilledRecords]:
        """Yield the records of the source, batch by batch, with their edits."""
        self._learn()
        for rows, batch in self._plan.row_batches():
            records = batch.records
            lines = rows.lines
            known = self._assembler.beside()
            draft = self._assembler.maker.draft(rows)
            assembled = self._assembler.assemble_draft(draft, rows, lines, batch)
            statements = assembled.statements.select(["id"])
            wanted = self._wanted.of_items({id for id in draft.ids if id is not None})
            edits: dict[int, list[JsonEdit]] = {}
            if wanted:
                # All records of a file may be in one line, so rows are told by their place.
                bad = set(draft.bad) | draft.deferred
                places = {
                    id: row
                    for row, id in reversed(list(enumerate(draft.ids[: len(records)])))
                    if id is not None and row not in bad
                }
                search = _Search(self._mapping, records, known, self._shapes)
                trials: Trials[RecordEdit] = Trials(
                    search.before, set(wanted), search.read, self._filled
                )
                for each in chain.from_iterable(wanted.values()):
                    before = trials.cells.get((each.item, each.property, each.language), set())
                    if not is_stated(each, before, self._filled):
                        row = places.get(each.item)
                        new = each.in_place_of(before)
                        trials.add(new, [] if row is None else search.ways(new, row))
                result = trials.run()
                if result.edits:
                    statements = result.after(statements)
                for made in result.edits:
                    edits.setdefault(made.row, []).append(made.edit)
                if self._marking is not None:
                    for each, way in result.made:
                        row = way.edits[0].row
                        edits[row] += _marked(self._marking, each, records[row].value)
            yield _FilledRecords(records, edits, statements)

    def _learn(self) -> None:
        """Learn from the first records how the values of each property are written."""
        assembler = self._plan.assembler(NOWHERE)
        count = 0
        for rows, batch in self._plan.row_batches():
            plain = {column.name for column in rows.columns if not column.derived}
            derived = {clean(column.name) for column in rows.columns if column.derived}
            pairs = assembler.assemble_rows(rows, batch).columns
            wanted = [(property, column) for property, column in pairs if column in plain]
            for record in batch.records:
                for property, column in wanted:
                    self._learn_member(property, column, record.value)
                if derived:
                    self._learn_elements(record.value, (), derived)
            count += len(batch.records)
            if count >= LEARNED_RECORDS:
                break

    def _learn_member(self, property: str, column: str, value: dict[str, Any]) -> None:
        shapes = self._shapes.members.setdefault(property, [])
        if len(shapes) >= _MAX_SHAPES:
            return
        found = _member_at(value, column)
        if found is None or found[1] in (None, "", [], {}):
            return
        shape = found[0], _shape_of(found[1])
        if all((path, _shape_of(example)) != shape for path, example in shapes):
            shapes.append(found)

    def _learn_elements(self, value: dict[str, Any], path: Path, names: set[str | None]) -> None:
        for key, member in value.items():
            if isinstance(member, dict) and len(path) < _MAX_DEPTH:
                self._learn_elements(member, (*path, key), names)
            if not isinstance(member, list):
                continue
            for element in member:
                if not isinstance(element, dict):
                    continue
                for name_key, name in element.items():
                    if isinstance(name, str) and clean(name) in names:
                        example = (*path, key), element, name_key
                        self._shapes.elements.setdefault(clean(name) or "", example)
                        if len(element) == 2:
                            self._shapes.any_element = self._shapes.any_element or example


class _Search:
    """Looks for the members of the records of a batch that may hold values."""

    def __init__(
        self, mapping: Mapping, records: Sequence[Record], known: Assembler, shapes: _Shapes
    ) -> None:
        self._mapping = mapping
        self._records = records
        self._known = known
        self._shapes = shapes
        self._reader = known.beside()
        self.before = self._statements(records, self._reader)

    def _statements(self, records: Sequence[Record], assembler: Assembler) -> pa.Table:
        rows = Flattener(self._mapping).rows(records)
        return assembler.statements_of(assembler.maker.draft(rows))

    def read(self, edits: Sequence[RecordEdit]) -> pa.Table:
        """Return the statements of the batch with some edits."""
        by_row: dict[int, list[JsonEdit]] = {}
        for each in edits:
            by_row.setdefault(each.row, []).append(each.edit)
        records = list(self._records)
        for row, of_row in by_row.items():
            records[row] = Record(records[row].line, edited(records[row].value, of_row))
        return self._statements(records, self._known.beside())

    def ways(self, wanted: Wanted, row: int) -> list[Way[RecordEdit]]:
        """Return how values may be written into a record."""
        if wanted.language is not None:
            return []
        record = self._records[row].value
        if wanted.rejected:
            return first_ways(self._ways_in_place(wanted, row, record))
        return first_ways(
            chain(
                self._ways_in_members(wanted, row, record),
                self._ways_in_lists(wanted, row, record),
                self._ways_in_new_members(wanted, row, record),
            )
        )

    def _ways_in_members(
        self, wanted: Wanted, row: int, record: dict[str, Any]
    ) -> Iterator[Way[RecordEdit]]:
        shapes = self._shapes.members.get(wanted.property, [])
        empty = [
            (path, None)
            for path in _empty_members(record, ())
            if self._holds(path, wanted.property) and all(path != known for known, _ in shapes)
        ]
        for path, example in [*shapes, *empty]:
            if self._is_free(record, path):
                yield from self._ways_at(wanted, row, path, example, self._mapping.multi)

    def _ways_in_place(
        self, wanted: Wanted, row: int, record: dict[str, Any]
    ) -> Iterator[Way[RecordEdit]]:
        """Yield how values may stand where people rejected what is said."""
        for path, _ in self._shapes.members.get(wanted.property, []):
            said = _value_at(record, path)
            if said in (None, "", [], {}):
                continue
            beside: list[str] = []
            if isinstance(said, list):
                beside = [each for each in said if isinstance(each, str)]
                beside = [each for each in beside if clean(each) not in wanted.rejected]
            new = replace(wanted, values=(*beside, *wanted.values))
            for way in self._ways_at(new, row, path, said, self._mapping.multi):
                if not beside or way.count == len(new.values):
                    yield replace(way, count=way.count - len(beside))

    def _ways_in_new_members(
        self, wanted: Wanted, row: int, record: dict[str, Any]
    ) -> Iterator[Way[RecordEdit]]:
        """Yield how to say under its own name what no record says so far."""
        if wanted.property not in record:
            yield from self._ways_at(wanted, row, (wanted.property,), None, None)

    @staticmethod
    def _ways_at(
        wanted: Wanted, row: int, path: Path, example: Any, separator: str | None
    ) -> Iterator[Way[RecordEdit]]:
        for values, count, value in _forms(wanted, example, separator):
            yield Way(
                (RecordEdit(row, JsonEdit(path, value)),),
                frozenset(((row, path),)),
                frozenset(values),
                count,
            )

    def _ways_in_lists(
        self, wanted: Wanted, row: int, record: dict[str, Any]
    ) -> Iterator[Way[RecordEdit]]:
        found = self._shapes.elements.get(wanted.property)
        any_element = self._shapes.any_element
        if found is None and any_element is not None:
            path, element, name_key = any_element
            found = path, {**element, name_key: wanted.property}, name_key
        if found is None:
            return
        path, element, name_key = found
        if not isinstance(_value_at(record, path), list | None):
            return
        for key, example in element.items():
            if key == name_key:
                continue
            for values, count, value in _forms(wanted, example, None):
                new = {**element, key: value}
                yield Way(
                    (RecordEdit(row, JsonEdit(path, new, appended=True)),),
                    frozenset(),
                    frozenset(values),
                    count,
                )

    def _holds(self, path: Path, property: str) -> bool:
        """Return whether a member without a value is that of a property."""
        column = ".".join(name.removeprefix("@") for name in path)
        if any(matches(column, each) for each in self._mapping.ignore):
            return False
        return clean(self._mapping.settings_of(column).property or column) == property

    def _is_free(self, record: dict[str, Any], path: Path) -> bool:
        """Return whether a record has nothing at a place, or a word for nothing."""
        for depth in range(1, len(path)):
            if not isinstance(_value_at(record, path[:depth]), dict | None):
                return False
        value = _value_at(record, path)
        if value in (None, "", [], {}):
            return True
        if not isinstance(value, str):
            return False
        column = ".".join(name.removeprefix("@") for name in path)
        values, changes = values_of(value, self._reader.property_rules(column))
        return not values and not (changes is not None and changes.spoilt)


def _marked(marking: Marking, wanted: Wanted, record: dict[str, Any]) -> Iterator[JsonEdit]:
    """Yield members for the marks of what was filled in."""
    texts = marking.mark(wanted.item, wanted.property).texts
    for name, text in zip(marking.name(wanted.property, record), texts, strict=True):
        if text and name not in record:
            yield JsonEdit((name,), number_of(text) or text)


def _forms(
    wanted: Wanted, example: Any, separator: str | None
) -> Iterator[tuple[tuple[str, ...], int, Any]]:
    """Yield how values may be written as an example is: the values meant, their number, the form.

    The values in an object are written as those of the example, one after another.
    """
    first = wanted.values[:1]
    several = wanted.values if len(wanted.values) > 1 else None
    if isinstance(example, list) and example:
        for values in filter(None, (several, first)):
            parts = [list(_forms_of_one(value, example[0])) for value in values]
            for forms in zip(*parts, strict=False):
                yield values, len(values), list(forms)
    elif several and separator and isinstance(example, str | None):
        yield several, len(several), separator.join(several)
    for form in _forms_of_one(first[0], example):
        yield first, 1, form
    if several:
        yield several, len(several), list(several)
    yield first, 1, first[0]


def _forms_of_one(value: str, example: Any) -> Iterator[Any]:
    """Yield how a value may be written as an example is."""
    if isinstance(example, bool):
        if value in ("true", "false"):
            yield value == "true"
    elif isinstance(example, int | float):
        number = number_of(value)
        if number is not None:
            yield number
    elif isinstance(example, dict):
        amount = amount_of(value)
        for key, member in example.items():
            if isinstance(member, dict | list | None):
                continue
            if amount is not None:
                for form in _forms_of_one(amount.number, member):
                    yield {**example, key: form}
            for form in _forms_of_one(value, member):
                yield {**example, key: form}
    elif isinstance(example, str):
        yield value


def _shape_of(value: Any) -> Any:
    """Return the kind of a value, by which two are told apart."""
    if isinstance(value, dict):
        return tuple((name, _shape_of(member)) for name, member in sorted(value.items()))
    if isinstance(value, list):
        return "list", _shape_of(value[0]) if value else None
    return type(value)


def _member_at(value: dict[str, Any], column: str) -> tuple[Path, Any] | None:
    """Return the names that lead to the member that a column is made of, and its value."""
    for key, member in value.items():
        plain = key.removeprefix("@")
        if plain == column:
            return (key,), member
        if isinstance(member, dict) and column.startswith(f"{plain}."):
            found = _member_at(member, column.removeprefix(f"{plain}."))
            if found is not None:
                return (key, *found[0]), found[1]
    return None


def _value_at(value: Any, path: Path) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _empty_members(value: dict[str, Any], path: Path) -> Iterator[Path]:
    """Yield the places of members that say nothing, or a short text that may stand for nothing."""
    for name, member in value.items():
        if isinstance(member, dict) and member and len(path) < _MAX_DEPTH:
            yield from _empty_members(member, (*path, name))
        elif member in (None, "", [], {}) or isinstance(member, str):
            yield (*path, name)


# ---- writing


def _write_lines(
    plan: MappedPlan, stream: BinaryIO, target: BinaryIO, batches: Iterator[_FilledRecords]
) -> Iterator[_FilledRecords]:
    """Copy the lines of a JSONL file, with edits in some of them."""
    encoding, mark = _encoding_of(plan)
    copier = LineCopier(stream, target, Dialect(encoding=encoding))
    decoder = record_decoder()
    for batch in batches:
        for row in sorted(batch.edits):
            copier.copy_to(batch.records[row].line)
            is_first = copier.line == 1
            raw = copier.take()
            before = raw[: len(mark)] if is_first and raw.startswith(mark) else b""
            text = raw[len(before) :].decode(encoding)
            stripped = text.strip().removesuffix(",")
            start = text.index(stripped)
            new = edited_text(stripped, batch.edits[row])
            _check(decoder.decode(new), batch, row, plan)
            changed = text[:start] + new + text[start + len(stripped) :]
            copier.write(before + changed.encode(encoding))
        yield batch
    copier.copy_rest()


def _write_document(
    plan: MappedPlan,
    reader: JsonReader,
    target: BinaryIO,
    batches: Iterator[_FilledRecords],
) -> Iterator[_FilledRecords]:
    """Copy the text of a JSON document, with edits in some of its records."""
    encoding, mark = _encoding_of(plan)
    file = plan.source.file
    path = plan.mapping.records or plan.source.head.records
    located = (
        each for each in reader.located_records(file, path) if isinstance(each.record, Record)
    )
    decoder = record_decoder()
    errors = "surrogateescape" if encoding == "utf-8" else "surrogatepass"
    with io.TextIOWrapper(file.open(), encoding, errors, newline="") as text:
        copier = _TextCopier(text, target, encoding, errors)
        # The reader does not see the mark, which is a character here.
        shift = 1 if mark else 0
        for batch in batches:
            for row, place in zip(range(len(batch.records)), located, strict=False):
                if row not in batch.edits:
                    continue
                copier.copy_to(place.start + shift)
                new = edited_text(copier.take(place.stop - place.start), batch.edits[row])
                value = decoder.decode(new)
                if KEY_MEMBER in batch.records[row].value:
                    value = {KEY_MEMBER: batch.records[row].value[KEY_MEMBER], **value}
                _check(value, batch, row, plan)
                copier.write(new)
            yield batch
        copier.copy_rest()


def _check(value: Any, batch: _FilledRecords, row: int, plan: MappedPlan) -> None:
    """Raise DataError unless the text of a record says what it should."""
    record = batch.records[row]
    if repr(value) != repr(edited(record.value, batch.edits[row])):
        raise DataError(
            f"{plan.source.name}, line {record.line:,}: the record is not written as it is read: "
            "use --format csv --wide, and report this"
        )


def _encoding_of(plan: MappedPlan) -> tuple[str, bytes]:
    """Return the encoding of a file without its byte-order mark, and the mark."""
    start = plan.source.file.start(4)
    encoding = json.detect_encoding(start)
    marks: Iterable[tuple[bytes, str]] = (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    )
    for mark, name in marks:
        if start.startswith(mark):
            return name, mark
    return encoding, b""


class _TextCopier:
    """Copies a text up to positions in characters, parts of which can be taken instead."""

    def __init__(
        self, source: io.TextIOWrapper, target: BinaryIO, encoding: str, errors: str
    ) -> None:
        self._source = source
        self._target = target
        self._encoding = encoding
        self._errors = errors
        self._position = 0

    def copy_to(self, position: int) -> None:
        """Copy what comes before a position."""
        while self._position < position:
            size = min(_CHUNK_CHARACTERS, position - self._position)
            text = self.take(size)
            if not text:
                break
            self.write(text)

    def take(self, size: int) -> str:
        """Return the next characters."""
        text = self._source.read(size)
        self._position += len(text)
        return text

    def write(self, text: str) -> None:
        """Write in place of what was taken."""
        self._target.write(text.encode(self._encoding, self._errors))

    def copy_rest(self) -> None:
        """Copy all that remains."""
        while text := self.take(_CHUNK_CHARACTERS):
            self.write(text)
