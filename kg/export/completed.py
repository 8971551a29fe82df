"""A table of all items in which cells are filled that the graph does not have."""

from __future__ import annotations

import csv
import io
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from kg.export.in_place.export import opened_output
from kg.export.not_shown import not_shown
from kg.export.selection import Selection
from kg.export.separators import Separators
from kg.export.wide import WideTable
from kg.export.xlsx import write_xlsx
from kg.home import Home
from kg.marks import Mark, Marks, mark_names
from kg.stores.tables import BATCH_ROWS
from schema.files import atomic_file
from schema.progress import ProgressCallback, no_progress
from schema.terms import TRUSTED_RANKS

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_PARQUET = ".parquet"
_WORKBOOK = ".xlsx"
ENDINGS = (*_SEPARATORS, _PARQUET, _WORKBOOK)
"""The endings of the tables that can be written."""
_NO_MARK = Mark(None, "")


@dataclass
class CompletedReport:
    """What was written: items and statements, and remarks."""

    items: int = 0
    statements: int = 0
    defused: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)


class MarkedTable(WideTable):
    """A table with two more columns after each property with marks: probability and decision.

    A property that has marks but no value has columns as well.
    """

    def __init__(self, selection: Selection, marks: Marks) -> None:
        super().__init__(selection)
        self._marks = [(name, marks[name]) for name in sorted(marks)]

    @property
    def columns(self) -> list[str]:
        """The names of the columns, no two of which are the same."""
        names = dict.fromkeys(super().columns)
        for property, _ in self._marks:
            names.update(dict.fromkeys(mark_names(property, names)))
        return list(names)

    @property
    def numeric(self) -> list[bool]:
        """Which columns have numbers alone."""
        return [*super().numeric, *[True, False] * len(self._marks)]

    def rows(self) -> Iterator[list[str]]:
        """Yield the cells of each item, "" where it has nothing."""
        for cells in super().rows():
            for _, of_items in self._marks:
                cells += of_items.get(cells[0], _NO_MARK).texts
            yield cells


def write_completed(
    home: Home,
    out: Path,
    suffix: str,
    beside: pa.Table,
    marks: Marks | None = None,
    progress: ProgressCallback = no_progress,
) -> CompletedReport:
    """Write a row for each item, with statements ``beside`` the graph, in STATEMENT_SCHEMA.

    ``suffix`` is one of ENDINGS; the file is compressed if it ends in .gz or .zst.
    """
    started = time.monotonic()
    with home.store(read_only=True) as store, atomic_file(out) as path:
        hidden = not_shown(store, home.ontology_or_none())
        selection = Selection(
            store,
            TRUSTED_RANKS,
            progress,
            separators=Separators.of_home(home.sources),
            left_out=hidden.ids,
            beside=beside,
        )
        table = MarkedTable(selection, marks) if marks is not None else WideTable(selection)
        if suffix == _WORKBOOK:
            write_xlsx(selection, path, table)
        elif suffix == _PARQUET:
            _write_parquet(table, path)
        else:
            _write_text(table, selection, path, _SEPARATORS[suffix])
        notes = [
            *hidden.notes(),
            *(f"{count:,} {note}" for note, count in selection.notes.items()),
        ]
    return CompletedReport(
        selection.item_count,
        selection.statement_count,
        selection.defused,
        round(time.monotonic() - started, 3),
        notes,
    )


def _write_text(table: WideTable, selection: Selection, path: Path, separator: str) -> None:
    with (
        opened_output(path) as raw,
        io.TextIOWrapper(raw, encoding="utf-8", newline="", write_through=True) as stream,
    ):
        writer = csv.writer(stream, delimiter=separator, lineterminator="\n")
        writer.writerow([selection.safe(name) for name in table.columns])
        for cells in table.rows():
            writer.writerow([selection.safe(cell) if cell else cell for cell in cells])


def _write_parquet(table: WideTable, path: Path) -> None:
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.string()) for name in table.columns])
    rows = table.rows()
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while batch := list(itertools.islice(rows, BATCH_ROWS)):
            columns = [
                pa.array([cell or None for cell in cells]) for cells in zip(*batch, strict=True)
            ]
            arrays = [column.cast(pa.string()) for column in columns]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
