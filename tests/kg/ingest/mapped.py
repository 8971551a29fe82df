"""Helpers to apply a mapping to made-up rows and records."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from kg.ingest.assemble import Assembler, LeftOut, Origin
from kg.ingest.columns import rows_of_batch
from kg.ingest.flatten import UNMAPPED, Flattener
from kg.ingest.images import SourceImages
from kg.ingest.rows import Batch, Record, RecordBatch
from schema.mapping import Mapping, Sample, adapt_mapping, guess_mapping, load_mapping
from schema.mapping.model import Head


@dataclass
class Made:
    """What became of a source: items by id, (item, property) → values, rejects by line."""

    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    facts: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    lines: dict[tuple[str, str, str], int] = field(default_factory=dict)
    languages: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """The tags of (item, property, value) that have one, which are not among the facts."""
    rejects: dict[int, str] = field(default_factory=dict)
    read: int = 0
    stored: int = 0
    left_out: LeftOut = field(default_factory=LeftOut)

    def values(self, item: str) -> dict[str, Any]:
        """Return an item's values by property: a text, or a list of several."""
        found = {name: values for (id, name), values in self.facts.items() if id == item}
        return {
            name: values[0] if len(values) == 1 else sorted(values)
            for name, values in found.items()
        }

    def add(self, batch: Any) -> None:
        """Add a batch as stores do: what it says of an item joins what was said before."""
        for row in batch.items.to_pylist():
            item = self.items.setdefault(row["id"], _no_item())
            for name in item:
                item[name] = row[name] or item[name]
            if row["description"] is not None:
                item["description"] = row["description"]
        for row in batch.statements.to_pylist():
            self.items.setdefault(row["item"], _no_item())
            if row["language"] is not None:
                self.languages[row["item"], row["property"], row["value"]] = row["language"]
                continue
            values = self.facts.setdefault((row["item"], row["property"]), [])
            if row["value"] not in values:
                values.append(row["value"])
            self.lines[row["item"], row["property"], row["value"]] = row["row"]
        self.rejects |= {reject.line: reject.reason for reject in batch.rejects}
        self.read += batch.rows_read
        self.stored += batch.rows_stored


def _no_item() -> dict[str, Any]:
    return {"title": None, "category": None, "images": []}


ORIGIN = Origin("file", "file", "run", "time")


def table(text: str, delimiter: str = ",") -> tuple[list[str], list[list[str | None]]]:
    """Return the header and the rows of a small table; its cells hold no delimiter."""
    header, *lines = [line.split(delimiter) for line in text.strip("\n").split("\n")]
    return header, [[cell or None for cell in line] for line in lines]


def apply_table(
    mapping: Mapping,
    header: list[str],
    rows: Sequence[Sequence[str | None]],
    batch_rows: int = 1000,
) -> Made:
    """Apply a mapping to the rows of a table, whose first line is 2."""
    made = Made()
    assembler = Assembler(mapping, SourceImages(), ORIGIN, made.left_out, names=header)
    batches = [
        (start, rows[start : start + batch_rows]) for start in range(0, len(rows), batch_rows)
    ]
    for start, part in batches:
        made.add(assembler.assemble(_batch(header, part, start + 2)))
    if assembler.has_deferred:
        for start, part in batches:
            batch = _batch(header, part, start + 2)
            made.add(assembler.assemble_deferred(rows_of_batch(batch, header)))
    if (last := assembler.last_batch()) is not None:
        made.add(last)
    return made


def apply_records(
    mapping: Mapping, records: list[dict[str, Any]], in_one_line: bool = False
) -> Made:
    """Apply a mapping to records, whose lines are counted from 1 unless all are in the first."""
    made = Made()
    assembler = Assembler(mapping, SourceImages(), ORIGIN, made.left_out, strict=False)
    lines = [1] * len(records) if in_one_line else range(1, len(records) + 1)
    rows = Flattener(mapping).rows(list(map(Record, lines, records)))
    made.add(assembler.assemble_rows(rows, RecordBatch()))
    if (last := assembler.last_batch()) is not None:
        made.add(last)
    return made


def shipped(name: str, header: list[str], rows: Sequence[Sequence[str | None]]) -> Made:
    """Guess the mapping of a table, which has to be that of a name, and apply it."""
    texts = tuple(tuple(cell or "" for cell in row) for row in rows)
    guess = guess_mapping(Head("table", (tuple(header), *texts)))
    assert guess.mapping.name == name
    return apply_table(guess.mapping, header, rows)


def guessed(text: str, delimiter: str = ",") -> Mapping:
    """Return the mapping that is guessed for a small table."""
    header, rows = table(text, delimiter)
    texts = tuple(tuple(cell or "" for cell in row) for row in rows)
    return guess_mapping(Head("table", (tuple(header), *texts))).mapping


def shipped_records(name: str, records: list[dict[str, Any]]) -> Made:
    """Guess the mapping of records, which has to be that of a name, and apply it."""
    flat = Flattener(UNMAPPED).rows([Record(line, each) for line, each in enumerate(records, 1)])
    names = tuple(flat.names())
    cells = tuple(zip(*(flat.texts(each) for each in names), strict=True))
    sample = Sample(names, cells)
    head = Head("records", (names,), named=True)
    mapping = guess_mapping(head, sample).mapping
    assert mapping.name == name
    return apply_records(adapt_mapping(load_mapping(name), sample).mapping, records)


def _batch(header: list[str], rows: Sequence[Sequence[str | None]], first_line: int) -> Batch:
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    lines = np.arange(first_line, first_line + len(rows), dtype=np.int64)
    return Batch(pa.table(columns, names=header), lines)
