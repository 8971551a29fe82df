"""Records: the nested values of JSON, XML and the like."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kg.ingest.readers.jsonl import JsonlReader
from kg.ingest.rows import BadRowError
from kg.ingest.source import Source
from schema.rejects import MAX_REJECT_TEXT, RejectedRow

BATCH_RECORDS = 2_000


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a source: the line where it starts, and its members, nested as in JSON."""

    line: int
    value: dict[str, Any]


@dataclass
class RecordBatch:
    """Records in the order of the source, and the rows that are none."""

    records: list[Record] = field(default_factory=list)
    rejects: list[RejectedRow] = field(default_factory=list)


def is_record_source(source: Source) -> bool:
    """Return whether a source has nested records rather than rows of a table."""
    return isinstance(source.reader, JsonlReader)


def record_batches(source: Source, batch_records: int = BATCH_RECORDS) -> Iterator[RecordBatch]:
    """Read the records of a source in batches."""
    records = _records(source)
    while chunk := list(itertools.islice(records, batch_records)):
        batch = RecordBatch()
        for record in chunk:
            if isinstance(record, Record):
                batch.records.append(record)
            else:
                batch.rejects.append(record)
        yield batch


def _records(source: Source) -> Iterator[Record | RejectedRow]:
    with source.path.open("rb") as stream:
        for line, raw in enumerate(stream, 1):
            if not raw.strip():
                continue
            try:
                yield Record(line, _parse_line(raw))
            except BadRowError as error:
                text = raw[:MAX_REJECT_TEXT].decode(errors="replace").rstrip()
                yield RejectedRow(str(source.path), line, str(error), text)


def _parse_line(raw: bytes) -> dict[str, Any]:
    """Return the object of a line; raises BadRowError if it is not a JSON object of valid text."""
    try:
        # The first line may start with a byte-order mark.
        text = raw.decode("utf-8-sig")
        members = json.loads(text)
        if "\\ud" in text.lower():
            # JSON can escape half of a surrogate pair, which no store can hold.
            repr_free = json.dumps(members, ensure_ascii=False)
            repr_free.encode()
    except UnicodeDecodeError:
        raise BadRowError("not valid UTF-8") from None
    except UnicodeEncodeError:
        raise BadRowError("a lone surrogate: text that UTF-8 cannot encode") from None
    except (ValueError, RecursionError) as error:
        raise BadRowError(f"not JSON: {error}") from None
    if not isinstance(members, dict):
        raise BadRowError("not a JSON object")
    return members
