"""JSONL: one JSON object per line."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

from kg.ingest.files import SourceFile
from kg.ingest.readers.base import Reader
from kg.ingest.readers.json_cells import TextCells, object_cells
from kg.ingest.rows import BadRowError, Batch, TextRow, batches_of_rows
from schema.errors import DataError
from schema.mapping import Head, Mapping
from schema.rejects import MAX_REJECT_TEXT, RejectedRow

_HEAD_ROWS = 50


class JsonlReader(Reader):
    """Reads JSONL; the members of nested objects are columns with dotted names."""

    suffixes = (".jsonl", ".ndjson")

    def head(self, file: SourceFile, mapping: Mapping | None = None) -> Head:
        """Return the names of all members in the first lines."""
        names: dict[str, None] = {}
        with file.open() as stream:
            for raw in itertools.islice(stream, _HEAD_ROWS):
                try:
                    names.update(dict.fromkeys(_parse_line(raw)))
                except BadRowError:
                    continue
        if not names:
            raise DataError(
                f"{file.path} has no JSON object in its first {_HEAD_ROWS} lines: "
                "JSONL is one object per line"
            )
        return Head(file.name, (tuple(names),), named=True)

    def batches(
        self, file: SourceFile, head: Head, mapping: Mapping, batch_rows: int
    ) -> Iterator[Batch]:
        """Read the lines that are not blank; a line that is not a JSON object is rejected.

        A batch has the columns of the head and those that first occur in its own rows.
        """
        with file.open() as stream:
            numbered_lines = enumerate(stream, 1)
            while chunk := list(itertools.islice(numbered_lines, batch_rows)):
                columns = dict.fromkeys(head.rows[0])
                parsed: list[tuple[int, TextCells] | RejectedRow] = []
                for line, raw in chunk:
                    if not raw.strip():
                        continue
                    try:
                        cells = _parse_line(raw)
                    except BadRowError as error:
                        text = raw[:MAX_REJECT_TEXT].decode(errors="replace").rstrip()
                        parsed.append(RejectedRow(file.location, line, str(error), text))
                    else:
                        columns.update(dict.fromkeys(cells))
                        parsed.append((line, cells))
                yield from batches_of_rows(_in_order(parsed, columns), tuple(columns), batch_rows)


def _in_order(
    parsed: list[tuple[int, TextCells] | RejectedRow], columns: dict[str, None]
) -> Iterator[TextRow | RejectedRow]:
    """Bring the cells of each row into the order of the columns."""
    for row in parsed:
        if isinstance(row, RejectedRow):
            yield row
        else:
            line, cells = row
            yield TextRow(line, [cells.get(name) for name in columns])


def _parse_line(raw: bytes) -> TextCells:
    """Return the cells of a line; raises BadRowError if it is not a JSON object of valid text."""
    try:
        # The first line may start with a byte-order mark.
        members = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise BadRowError("not valid UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise BadRowError(f"not JSON: {error}") from None
    if not isinstance(members, dict):
        raise BadRowError("not a JSON object")

    try:
        cells = object_cells(members)
        # JSON can escape half of a surrogate pair, which no store can hold.
        "".join(f"{name}{text or ''}" for name, text in cells.items()).encode()
    except UnicodeEncodeError:
        raise BadRowError("a lone surrogate: text that UTF-8 cannot encode") from None
    except RecursionError:
        raise BadRowError("nested too deep") from None
    return cells


READER = JsonlReader()
