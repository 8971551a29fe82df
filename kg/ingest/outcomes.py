"""What came of a file as a whole, so that the same file need not be read again.

It is kept beside the copy of a source whose rows cannot be known one by one
(:mod:`kg.ingest.known_rows`): records, long tables, and tables in which an item has several rows.
The next run of the same bytes says all that this one says, without reading more than the bytes.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from kg.ingest.assemble import AssembledBatch, LeftOut
from kg.ingest.rows import SkippedLine
from kg.ingest.values import ColumnCounts, add_counts
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA
from schema.rejects import RejectedRow

MAX_REJECTS = 10_000
"""What came of a file of which more rows were rejected is not kept."""
_IDS = pa.schema([("id", pa.string()), ("is_own", pa.bool_())])
_ABOUT = b"about"
_COUNTS = tuple(each.name for each in fields(ColumnCounts))


@dataclass(frozen=True)
class OutcomeKey:
    """What has to be as it was: all that decides how a file is read, and the store's revision."""

    reading: str
    revision: str


@dataclass
class Outcome:
    """What came of a file: a batch that stands for all of its batches, and what was left out.

    Attributes:
        batch: the sums of all batches, without items and statements
        left_out: what the mapping left out
        is_kept: whether it can be kept: there are not too many rejected rows
    """

    batch: AssembledBatch = field(
        default_factory=lambda: AssembledBatch(
            ITEM_SCHEMA.empty_table(), STATEMENT_SCHEMA.empty_table(), 0, 0, []
        )
    )
    left_out: LeftOut = field(default_factory=LeftOut)
    is_kept: bool = True
    _own: list[pa.Array] = field(default_factory=list)
    _others: list[pa.Array] = field(default_factory=list)

    def add(self, batch: AssembledBatch, own: pa.Array, others: pa.Array) -> None:
        """Add a batch with the ids of its items, and of others that it makes statements about."""
        total = self.batch
        self._own.append(own)
        self._others.append(others)
        total.rows_read += batch.rows_read
        total.rows_stored += batch.rows_stored
        total.restored += batch.restored
        total.identified_rejects += batch.identified_rejects
        total.known_statements += batch.statements.num_rows + batch.known_statements
        total.skipped += batch.skipped
        total.columns = list(dict.fromkeys([*total.columns, *batch.columns]))
        add_counts(total.cleaned, batch.cleaned)
        if self.is_kept:
            total.rejects += batch.rejects
            total.rejected_ids += batch.rejected_ids
        if len(total.rejects) > MAX_REJECTS:
            self.is_kept = False
            total.rejects.clear()
            total.rejected_ids.clear()

    def write(self, stream: BinaryIO, key: OutcomeKey) -> None:
        """Write it as an Arrow file; raises OSError."""
        total = self.batch
        left_out = self.left_out
        about = {
            "reading": key.reading,
            "revision": key.revision,
            "rows_read": total.rows_read,
            "rows_stored": total.rows_stored,
            "restored": total.restored,
            "identified_rejects": total.identified_rejects,
            "statements": total.known_statements,
            "skipped": [[each.line, each.what] for each in total.skipped],
            "columns": [list(pair) for pair in total.columns],
            "cleaned": {
                column: {name: getattr(counts, name) for name in _COUNTS}
                for column, counts in total.cleaned.items()
            },
            "rejects": [[each.line, each.reason, each.text] for each in total.rejects],
            "rejected_ids": total.rejected_ids,
            "remarks": list(left_out.remarks),
            "left_out_columns": list(left_out.columns),
            "texts": left_out.texts,
            "notes": left_out.notes,
        }
        schema = _IDS.with_metadata({_ABOUT: json.dumps(about).encode()})
        with pa.ipc.new_file(stream, schema) as file:
            for parts, is_own in ((self._own, True), (self._others, False)):
                ids = pa.chunked_array(parts, pa.string()).unique()
                marks = pa.repeat(pa.scalar(is_own), len(ids))
                file.write_batch(pa.record_batch([ids, marks], schema=schema))

    @classmethod
    def load(cls, path: Path, location: str) -> tuple[Outcome, OutcomeKey]:
        """Read what :meth:`write` wrote, for a file that is at a location now.

        Raises OSError, or ValueError, KeyError or TypeError if the file is damaged.
        """
        with pa.ipc.open_file(pa.memory_map(str(path))) as file:
            if not file.schema.equals(_IDS):
                raise ValueError("it has other columns")
            about = json.loads((file.schema.metadata or {})[_ABOUT])
            table = file.read_all()
        is_own = table["is_own"]
        outcome = cls(
            left_out=LeftOut(
                dict.fromkeys(about["remarks"]),
                dict.fromkeys(about["left_out_columns"]),
                Counter(about["texts"]),
                Counter(about["notes"]),
            )
        )
        outcome.batch = replace(
            outcome.batch,
            rows_read=int(about["rows_read"]),
            rows_stored=int(about["rows_stored"]),
            restored=int(about["restored"]),
            identified_rejects=int(about["identified_rejects"]),
            skipped=[SkippedLine(line, what) for line, what in about["skipped"]],
            columns=[(property, column) for property, column in about["columns"]],
            cleaned={name: _counts(each) for name, each in about["cleaned"].items()},
            rejects=[
                RejectedRow(location, line, reason, text) for line, reason, text in about["rejects"]
            ],
            rejected_ids=about["rejected_ids"],
            known_ids=_joined(table["id"].filter(is_own)),
            known_other_ids=_joined(table["id"].filter(pc.invert(is_own))),
            known_statements=int(about["statements"]),
        )
        return outcome, OutcomeKey(str(about["reading"]), str(about["revision"]))


def _counts(document: dict[str, Any]) -> ColumnCounts:
    values: dict[str, Any] = {
        name: Counter(value) if isinstance(value, dict) else value
        for name, value in document.items()
    }
    return ColumnCounts(**values)


def _joined(ids: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(ids.chunks) if ids.num_chunks else pa.array([], pa.string())
