"""What new sources would change in the ontology of a home; nothing is written.

The sources are read as an ingest reads them. Their items and statements go to temporary files, and
are counted together with those of the store, so that memory stays flat. What variants inherit from
their products is not counted.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from kg.home import Home
from kg.home_declared import load_declared
from kg.home_ontology import Edits
from kg.ingest.assemble import AssembledBatch, Origin
from kg.ingest.run_id import new_run_id
from kg.ingest.source_plan import plan_sources
from kg.source_conflicts import STATED_SCHEMA, Side, Standing, by_source, stated_triples
from kg.stores.tables import TRIPLE_SCHEMA
from schema.errors import GraphNotFoundError, UsageError
from schema.ontology import Ontology
from schema.ontology_changes import Compared, OntologyDiff, ontology_diff
from schema.ontology_counts import STATED_BY
from schema.progress import ProgressCallback, no_progress
from schema.terms import TRUSTED_RANKS, now

if TYPE_CHECKING:
    from kg.stores.protocol import GraphStore
    from schema.ontology_counts import CatalogueCounts

_CATEGORY_SCHEMA = pa.schema([("id", pa.string()), ("category", pa.string())])


@dataclass
class DiffReport:
    """What sources contain, and what they would change in the ontology."""

    mapping: str = ""
    read: int = 0
    rejected: int = 0
    items: int = 0
    statements: int = 0
    diff: OntologyDiff = field(default_factory=OntologyDiff)
    reasons: list[str] = field(default_factory=list)
    """Why each mapping was chosen, one line per source."""
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the fields of the command's JSON."""
        names = ("mapping", "read", "rejected", "items", "statements")
        document = {name: vars(self)[name] for name in names}
        return {**document, **self.diff.as_dict(), "notes": self.notes, "seconds": self.seconds}


def diff_ontology(
    home: Home, sources: Sequence[Path | str], *, mapping: str | None = None
) -> DiffReport:
    """Return what sources would change in the ontology of a home."""
    with OntologyDiffer(home) as differ:
        differ.read(sources, mapping)
        return differ.compare()


class OntologyDiffer:
    """Reads sources and compares them with the ontology of a home; a context manager.

    It keeps what it has read in temporary files, which are deleted at the end.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._started = time.perf_counter()
        self._declared = load_declared(home)
        self._report = DiffReport()
        self._stack = ExitStack()
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="catalograph-"))
        self._spool = _Spool(Path(folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(
        self,
        sources: Sequence[Path | str],
        mapping: str | None = None,
        progress: Callable[[DiffReport], None] = lambda report: None,
    ) -> None:
        """Read the sources; ``progress`` is called with the report so far after each batch."""
        if not sources:
            raise UsageError("no source given: name a file or a folder")
        report = self._report
        with ExitStack() as stack, self._spool.writing() as write:
            planned = plan_sources(sources, mapping, None, stack)
            report.mapping = ", ".join(dict.fromkeys(plan.mapping_name for plan in planned.plans))
            report.reasons = [plan.reason for plan in planned.plans]
            report.notes = [*planned.notes]
            run = new_run_id()
            moment = now()
            for plan in planned.plans:
                report.notes += plan.source.remarks
                if plan.stated is not None:
                    report.notes += self._declared.renew(plan.stated)
                name = plan.source.name
                origin = Origin(plan.source.location, name, run, moment)
                # What a source says now replaces what it said before, and is no second value.
                stated_by = f"NOW {name}" if plan.replaces else Side(Standing.STATED, name).label
                for batch in plan.assembled_batches(origin):
                    if plan.stated is not None:
                        for property, column in batch.columns:
                            self._declared.add(plan.stated, property, column)
                    write(batch, stated_by)
                    report.read += batch.rows_read
                    report.rejected += len(batch.rejects)
                    report.items += batch.items.num_rows
                    report.statements += batch.statements.num_rows
                    progress(report)

    def compare(self, progress: ProgressCallback = no_progress) -> DiffReport:
        """Return what the sources that were read would change.

        ``progress`` is called with the number of statements that were counted, and how many there
        are to count.
        """
        report = self._report
        with ExitStack() as stack:
            store = None
            # A home may be new, and hold no graph yet.
            with suppress(GraphNotFoundError):
                store = stack.enter_context(self._home.store(read_only=True))
            counted = _Counted(store, self._spool, progress)
            edits = Edits.of(self._home)
            before = edits.infer(
                counted.stored_items(),
                counted.stored_statements(),
                load_declared(self._home).given(),
            )
            after = edits.infer(
                counted.all_items(),
                counted.all_statements(),
                self._declared.given(),
                repeated_items=True,
            )
            report.diff = ontology_diff(
                Compared(
                    before.merged,
                    after.merged,
                    before.counts,
                    after.counts,
                    counted.new_counts(),
                    edits.base(before.inferred),
                    edits.edited,
                )
            )
        report.notes += [
            f"{each.property}: {each.line()}"
            for each in self._declared.contradictions()
            if each.line() in _remark(after.merged, each.property)
        ]
        report.seconds = round(time.perf_counter() - self._started, 3)
        return report


def _remark(ontology: Ontology, name: str) -> str:
    spec = ontology.properties.get(name)
    return "" if spec is None else spec.remark


class _Spool:
    """Temporary files with the items and statements of the sources."""

    def __init__(self, folder: Path) -> None:
        self._items = folder / "items.arrows"
        self._statements = folder / "statements.arrows"
        self.statement_count = 0

    @contextmanager
    def writing(self) -> Iterator[Callable[[AssembledBatch, str], None]]:
        """Yield a function that writes a batch."""
        with (
            pa.ipc.new_stream(self._items, _CATEGORY_SCHEMA) as items,
            pa.ipc.new_stream(self._statements, STATED_SCHEMA) as statements,
        ):

            def write(batch: AssembledBatch, stated_by: str) -> None:
                items.write_table(batch.items.select(_CATEGORY_SCHEMA.names))
                # The ontology is about the leading language alone.
                leading = batch.statements.filter(pc.is_null(batch.statements["language"]))
                triples = leading.select(TRIPLE_SCHEMA.names)
                makers = pa.repeat(pa.scalar(stated_by, pa.string()), triples.num_rows)
                statements.write_table(triples.append_column(STATED_BY, makers).cast(STATED_SCHEMA))
                self.statement_count += leading.num_rows

            yield write

    def items(self) -> Iterator[pa.RecordBatch]:
        """Yield the items' ids and categories."""
        yield from _batches(self._items)

    def statements(self) -> Iterator[pa.RecordBatch]:
        """Yield the statements."""
        yield from _batches(self._statements)


class _Counted:
    """The items and statements of a store and of new sources, each read batch by batch."""

    def __init__(self, store: GraphStore | None, spool: _Spool, progress: ProgressCallback) -> None:
        self._store = store
        self._spool = spool
        self._progress = progress
        self._done = 0
        stored = store.counts().statements if store is not None else 0
        # The stored ones are counted alone and with the new ones, and these once more alone.
        self._total = 2 * stored + 2 * spool.statement_count

    def stored_items(self) -> Iterator[pa.RecordBatch]:
        """Yield the categories of the store's items."""
        for batch in self._store.items() if self._store is not None else ():
            yield batch.select(_CATEGORY_SCHEMA.names)

    def stored_statements(self) -> Iterator[pa.RecordBatch]:
        """Yield the trusted statements of the store."""
        batches = stated_triples(self._store) if self._store is not None else ()
        yield from self._counting(iter(batches))

    def all_items(self) -> Iterator[pa.RecordBatch]:
        """Yield the categories of the store's items, then those of the sources, which win."""
        yield from self.stored_items()
        yield from self._spool.items()

    def all_statements(self) -> Iterator[pa.RecordBatch]:
        """Yield the statements of the store and those of the sources."""
        if self._store is not None:
            sourced = self._store.sourced_triples(TRUSTED_RANKS)
            yield from self._counting(by_source(sourced))
        yield from self._counting(self._spool.statements())

    def new_counts(self) -> CatalogueCounts:
        """Return the counts of the sources alone."""
        from schema.ontology_counts import count_catalogue

        statements = self._counting(self._spool.statements())
        return count_catalogue(self._spool.items(), statements, repeated_items=True)

    def _counting(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield batch
            self._done += batch.num_rows
            self._progress(min(self._done, self._total), self._total)


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    with path.open("rb") as file, pa.ipc.open_stream(file) as reader:
        yield from reader
