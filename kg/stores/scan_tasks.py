"""What a child process does with a whole graph: sum it up, or write out its records or its rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from kg.stores.failures import temporary_files
from kg.stores.fingerprints import Fingerprints, Keys, Records, Total
from kg.stores.graph_scan import VALUE_SCHEMA, Content, GraphScan, Inconsistency
from kg.stores.protocol import Counts
from kg.stores.scan_process import Activity, ReportActivity, ScanTask
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA

MAX_EXAMPLES = 5
"""Ids that a finding names."""
SCHEMAS = {
    Content.ITEMS: ITEM_SCHEMA,
    Content.STATEMENTS: STATEMENT_SCHEMA,
    Content.SECOND_COPY: STATEMENT_SCHEMA,
    Content.VALUES: VALUE_SCHEMA,
}
COMPARED = (Content.ITEMS, Content.STATEMENTS, Content.SECOND_COPY)
"""Contents that are compared with the journal row by row."""


@dataclass(frozen=True, slots=True)
class Found:
    """How often something was found, and the first ids."""

    count: int = 0
    examples: tuple[str, ...] = ()

    def plus(self, ids: list[str]) -> Found:
        """Return the finding with more ids."""
        return Found(self.count + len(ids), (*self.examples, *ids)[:MAX_EXAMPLES])


@dataclass
class Summary:
    """A whole graph, summed up.

    ``totals`` are those of the contents that the graph keeps, and ``texts`` [N] the records of its
    values, None if it does not keep them apart.
    """

    totals: dict[Content, Total] = field(default_factory=dict)
    texts: Records | None = None
    inconsistencies: dict[Inconsistency, Found] = field(default_factory=dict)


class SumUp(ScanTask[Summary]):
    """Sum up all contents of a graph, and look everything up."""

    def run(self, scan: GraphScan, report: ReportActivity) -> Summary:
        """Return the summary."""
        summary = Summary()
        with Fingerprints() as prints:
            for content in scan.compared:
                # Also if there is no row of it: the journal may have some.
                total = summary.totals.setdefault(content, Total())
                for table in _tables(scan, content, report):
                    total.add(records_of(prints, content, table))
            texts = [
                records_of(prints, Content.VALUES, table)
                for table in _tables(scan, Content.VALUES, report)
            ]
            if texts:
                summary.texts = np.concatenate(texts)
        for inconsistency, ids in scan.inconsistencies():
            report(Activity("while everything was looked up"))
            if ids:
                found = summary.inconsistencies.get(inconsistency, Found())
                summary.inconsistencies[inconsistency] = found.plus(ids)
        return summary


class Count(ScanTask[Counts]):
    """Count items, statements, properties and values."""

    def run(self, scan: GraphScan, report: ReportActivity) -> Counts:
        """Return the counts."""
        return scan.counts()


@dataclass(frozen=True)
class WriteRecords(ScanTask[None]):
    """Write the records of each compared content to a file in a folder."""

    folder: Path

    def run(self, scan: GraphScan, report: ReportActivity) -> None:
        """Write the files."""
        with Fingerprints() as prints:
            for content in COMPARED:
                with self.path(content).open("wb") as file:
                    for table in _tables(scan, content, report):
                        records = records_of(prints, content, table)
                        with temporary_files():
                            file.write(records.tobytes())
                            file.flush()

    def path(self, content: Content) -> Path:
        """Return the file of a content's records."""
        return self.folder / f"{content.name}.records"


@dataclass(frozen=True)
class WriteRows(ScanTask[None]):
    """Write the rows with some keys to an Arrow file in a folder, for each compared content."""

    folder: Path
    keys: dict[Content, Keys]

    def run(self, scan: GraphScan, report: ReportActivity) -> None:
        """Write the files."""
        with Fingerprints() as prints, ExitStack() as stack:
            for content, keys in self.keys.items():
                schema = SCHEMAS[content]
                writer = stack.enter_context(pa.OSFile(str(self.path(content)), "wb"))
                with pa.ipc.new_stream(writer, schema) as stream:
                    for table in _tables(scan, content, report):
                        records = records_of(prints, content, table)
                        is_wanted = np.isin(records["key"], keys)
                        with temporary_files():
                            stream.write_table(table.filter(pa.array(is_wanted)))

    def path(self, content: Content) -> Path:
        """Return the file of a content's rows."""
        return self.folder / f"{content.name}.arrow"

    def rows(self, content: Content) -> pa.Table:
        """Read the rows of a content that were written."""
        with pa.memory_map(str(self.path(content))) as file:
            return pa.ipc.open_stream(file).read_all()


def _tables(scan: GraphScan, content: Content, report: ReportActivity) -> Iterator[pa.Table]:
    """Yield the tables of a content; report what is read."""
    report(Activity(f"while {content} were counted"))
    for part in scan.parts(content):
        activity = f"while {content} {part.start:,} to {part.stop:,} were read"
        report(Activity(activity))
        for table in scan.read(part):
            yield table
            report(Activity(activity, table.num_rows))


def records_of(prints: Fingerprints, content: Content, table: pa.Table) -> Records:
    """Return the records [N] of the rows of a content."""
    if content is Content.ITEMS:
        return prints.items(table)
    if content is Content.VALUES:
        return prints.texts(table["text"])
    return prints.statements(table)
