"""Ingest: load sources into the store in batches, with provenance.

Every row that is read is either stored or rejected, and counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from kg.home import Home
from kg.home_declared import load_declared, save_declared
from kg.home_ontology import is_current, open_contradictions, refresh_ontology
from kg.ingest.assemble import AssembledBatch, Origin
from kg.ingest.inheritance import inherit
from kg.ingest.preview import Preview, Previewer
from kg.ingest.rows import SkippedLine
from kg.ingest.run_id import new_run_id
from kg.ingest.seen import SeenRow, SeenRows
from kg.ingest.source_plan import MappedPlan, SourcePlan, plan_sources
from kg.ingest.values import ColumnCounts, add_counts, remarks
from kg.sources import KeptSources, ReadSource, SourceCopy
from schema.errors import CatalographError, GraphNotFoundError, RejectsError, UsageError
from schema.ledger import Ledger
from schema.mapping import write_mapping as save
from schema.memory import return_freed_memory
from schema.rejects import RejectedRow
from schema.terms import now

if TYPE_CHECKING:
    from kg.stores.protocol import GraphStore

_FIRST_REJECTS = 5
_JSON_FIELDS = (
    "mapping",
    "read",
    "stored",
    "rejected",
    "items",
    "statements",
    "new_items",
    "new_statements",
    "images",
    "seconds",
)


@dataclass
class IngestReport:
    """The result of an ingest.

    ``items`` and ``statements`` count what the sources contain; ``new_items`` and
    ``new_statements`` count what the store did not have before. ``restored`` counts the cells that
    had been defused for spreadsheets.
    """

    mapping: str = ""
    read: int = 0
    stored: int = 0
    rejected: int = 0
    items: int = 0
    statements: int = 0
    new_items: int = 0
    new_statements: int = 0
    images: int = 0
    restored: int = 0
    seconds: float = 0.0
    run: str = ""
    reasons: list[str] = field(default_factory=list)
    """Why each mapping was chosen, one line per source."""
    notes: list[str] = field(default_factory=list)
    """Remarks for the user: missing images, columns that were left out."""
    first_rejects: list[RejectedRow] = field(default_factory=list)
    cleaned: dict[str, dict[str, ColumnCounts]] = field(default_factory=dict)
    """By source and column: what cleaning did to the cells."""
    previews: list[Preview] = field(default_factory=list)
    """Of a dry run: how each source is read, and what it would change."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields of the command's JSON."""
        document = {name: vars(self)[name] for name in _JSON_FIELDS}
        if self.previews:
            document["preview"] = [preview.as_dict() for preview in self.previews]
        return document


IngestProgress = Callable[[IngestReport], None]
"""Called with the report so far after each batch; the number of rows to come is not known."""


def ingest(
    home: Home,
    sources: Sequence[Path | str],
    *,
    mapping: str | None = None,
    images: Path | str | None = None,
    dry_run: bool = False,
    write_mapping: Path | str | None = None,
    max_rejects: str | float = "1%",
    progress: IngestProgress | None = None,
) -> IngestReport:
    """Load sources into the home's store. Loading them again adds nothing.

    A dry run reads and checks everything but writes nothing, so it reports 0 new items; its report
    has a preview of each source. ``write_mapping`` saves the mapping of the only source as a TOML
    file to edit, and nothing else: the run is a dry one.

    Raises RejectsError, with the report as its ``report``, if more than ``max_rejects`` ("1%" of
    the rows, or a number of rows) were rejected. The good rows are stored nevertheless, and the
    ledger lists the rejected ones.
    """
    started = time.perf_counter()
    limit = parse_limit(max_rejects)
    if not sources:
        raise UsageError("no source given: name a file or a folder")

    dry_run = dry_run or write_mapping is not None
    with ExitStack() as stack:
        planned = plan_sources(sources, mapping, images, stack)
        plans = planned.plans
        mapping_names = dict.fromkeys(plan.mapping_name for plan in plans)
        report = IngestReport(mapping=", ".join(mapping_names), run=new_run_id())
        report.reasons = [plan.reason for plan in plans]
        report.notes = [*planned.notes, *(note for plan in plans for note in plan.source.remarks)]
        if write_mapping is not None:
            _save_mapping(plans, Path(write_mapping))
        store = None if dry_run else stack.enter_context(home.store())
        ledger = None if dry_run else stack.enter_context(home.ledger())
        declarations = None if dry_run else Declarations(home)
        previewers = _previewers(home, plans, stack) if dry_run else []

        _run(home, plans, report, store, ledger, progress, previewers, declarations)
        if store is not None:
            report.notes += inherit(store, report.run, now()).notes()

        has_new = report.new_items or report.new_statements
        # Inferring reads the whole graph, so a run that changed nothing does not do it, unless an
        # earlier one was killed before it could.
        if store is not None and (has_new or not is_current(home, store)):
            refresh_ontology(home, store)
        if store is not None:
            report.notes += [
                f"{each.property}: {each.line()}" for each in open_contradictions(home)
            ]
        report.seconds = round(time.perf_counter() - started, 3)
        if ledger is not None:
            ledger.record_ingest(report.run, "done", _files(plans), report.as_dict())

    if report.rejected > limit(report.read):
        raise RejectsError(_over_limit_message(report, max_rejects, dry_run), report)
    return report


def parse_limit(text: str | float) -> Callable[[int], float]:
    """Parse ``--max-rejects``: "1%", or a number of rows.

    Returns a function from the number of rows read to the number of rejects allowed.
    """
    spelling = str(text).strip()
    try:
        number = float(spelling.removesuffix("%"))
    except ValueError:
        number = -1.0
    # Written as a negation, because it has to refuse NaN, too.
    if not 0 <= number < float("inf"):
        raise UsageError(
            f"--max-rejects {text} is not a valid limit: "
            "give a share like 1% or a number of rows like 20"
        )
    if spelling.endswith("%"):
        return lambda rows_read: rows_read * number / 100
    return lambda rows_read: number


def _run(
    home: Home,
    plans: list[SourcePlan],
    report: IngestReport,
    store: GraphStore | None,
    ledger: Ledger | None,
    progress: IngestProgress | None,
    previewers: Sequence[Previewer] = (),
    declarations: Declarations | None = None,
) -> None:
    time = now()
    # Only counts the distinct items of all sources: a set of their ids would not fit in memory.
    seen_items = SeenRows(content_type=np.int32, line_type=np.uint8)
    allowed_folders: set[Path] = set()
    report.previews = [previewer.preview for previewer in previewers]
    for number, plan in enumerate(plans):
        file = plan.source.location
        restored_before = report.restored
        read_before = report.read
        shared = 0
        skipped: list[SkippedLine] = []
        origin = Origin(file, plan.source.name, report.run, time)
        keeper = SourceKeeper(home, plan, origin) if store is not None else None
        if keeper is not None:
            plan = keeper.plan
        if ledger is not None:
            # Before the first row, so that a run that is killed shows as one that did not finish.
            ledger.record_ingest(report.run, "running", _files(plans), report.as_dict())
            ledger.clear_rejects(file)
        if declarations is not None:
            report.notes += declarations.begin(plan)
        try:
            for batch in plan.assembled_batches(origin):
                if declarations is not None:
                    # Before the first statement that is read so is stored.
                    declarations.note(plan, batch)
                new_folders = plan.images.used_folders - allowed_folders
                if store is not None and new_folders:
                    # Before the first image of it is stored, which could not be read otherwise.
                    home.allow_images(sorted(new_folders))
                    allowed_folders |= new_folders
                shared += _store_batch(batch, report, seen_items, number, store, ledger)
                skipped += batch.skipped
                add_counts(report.cleaned.setdefault(file, {}), batch.cleaned)
                if previewers:
                    previewers[number].see(batch)
                return_freed_memory()
                if progress is not None:
                    progress(report)
        except BaseException as error:
            if keeper is not None:
                keeper.discard()
            if ledger is not None and isinstance(error, CatalographError):
                # The sources were recorded when the run started.
                ledger.record_ingest(report.run, "failed", [], report.as_dict())
            raise
        if keeper is not None:
            report.notes += keeper.keep()
        _add_notes(plan, report, report.restored - restored_before)
        if report.read == read_before:
            report.notes.append(f"{plan.source.name}: no row: it has a header alone")
        report.notes += _notes_on_skipped(plan.source.name, skipped)
        if shared:
            report.notes.append(
                f"{plan.source.name}: {shared:,} items are in an earlier source of this run, too: "
                "the titles, descriptions, categories and images of this one count"
            )


class SourceKeeper:
    """Keeps in the home what an ingest reads of a source; ``plan`` is the plan to read it by."""

    def __init__(self, home: Home, plan: SourcePlan, origin: Origin) -> None:
        self._kept = KeptSources(home.sources)
        self._origin = origin
        self._failure: OSError | None = None
        self._copy: SourceCopy | None = None
        self.plan = plan
        try:
            self._copy = self._kept.begin()
        except OSError as error:
            self._failure = error
        else:
            self.plan = replace(plan, source=plan.source.recorded(self._copy))

    def keep(self) -> list[str]:
        """Keep the source, which has been read; return what there is to say of it."""
        copy = self._copy
        source = self.plan.source
        mapping = self.plan.mapping_to_keep
        origin = self._origin
        try:
            if copy is not None:
                reading = source.reading(mapping)
                read = ReadSource(origin.source, origin.run, origin.time, source.file, reading)
                self._kept.keep(copy, read, mapping)
        except OSError as error:
            self._failure = error
        finally:
            if copy is not None:
                copy.discard()
        if self._failure is None:
            return []
        return [
            f"{source.name}: the file is not kept in the home ({self._failure.strerror}): "
            "`export --format source` needs it with --template"
        ]

    def discard(self) -> None:
        """Keep nothing, since the source could not be read."""
        if self._copy is not None:
            self._copy.discard()


class Declarations:
    """Keeps in the home what the mappings of an ingest say of how properties are read."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._declared = load_declared(home)
        self._saved = self._declared.digest()

    def begin(self, plan: SourcePlan) -> list[str]:
        """Let the mapping of a source say again what it says; return what it says anew."""
        lines = [] if plan.stated is None else self._declared.renew(plan.stated)
        self._save()
        return lines

    def note(self, plan: SourcePlan, batch: AssembledBatch) -> None:
        """Keep what the mapping of a source says of the columns of a batch."""
        if plan.stated is None:
            return
        for property, column in batch.columns:
            self._declared.add(plan.stated, property, column)
        self._save()

    def _save(self) -> None:
        if not self._declared.has_changed:
            return
        self._declared.has_changed = False
        digest = self._declared.digest()
        if digest != self._saved:
            save_declared(self._home, self._declared)
            self._saved = digest


def _previewers(home: Home, plans: list[SourcePlan], stack: ExitStack) -> list[Previewer]:
    """Return a previewer for each source, which look into the home if there is one."""
    store = None
    if home.settings.exists():
        # A home that was only initialised has no graph.
        with suppress(GraphNotFoundError):
            store = stack.enter_context(home.store(read_only=True))
    return [Previewer(plan, store) for plan in plans]


def _save_mapping(plans: list[SourcePlan], path: Path) -> None:
    """Save the mapping of the only source; raises UsageError if there is no such mapping."""
    plan = plans[0]
    if len(plans) != 1 or not isinstance(plan, MappedPlan):
        raise UsageError(
            f"--write-mapping {path}: it saves the mapping of one table or file of records: "
            "name one source"
        )
    if path.exists():
        raise UsageError(f"--write-mapping {path}: there is such a file: name a new one")
    mapping = replace(plan.mapping, name=path.stem, guess=())
    remarks = [plan.reason, *(f"{column}: {why}" for column, why in plan.why.items())]
    try:
        save(mapping, path, tuple(remarks))
    except OSError as error:
        raise UsageError(
            f"--write-mapping {path} cannot be written ({error.strerror}): name another file"
        ) from None


def _store_batch(
    batch: AssembledBatch,
    report: IngestReport,
    seen_items: SeenRows,
    number: int,
    store: GraphStore | None,
    ledger: Ledger | None,
) -> int:
    """Store a batch of the source of a number; return how many of its items other sources had."""
    report.read += batch.rows_read
    report.stored += batch.rows_stored
    report.rejected += len(batch.rejects)
    report.restored += batch.restored
    report.statements += batch.statements.num_rows
    report.first_rejects += batch.rejects[: _FIRST_REJECTS - len(report.first_rejects)]

    own = dict.fromkeys(batch.items["id"].to_pylist())
    # A variant in a cell of its product may have no row of its own, and is an item all the same.
    ids = own | dict.fromkeys(pc.unique(batch.statements["item"]).to_pylist())
    seen_before = seen_items.find(ids)
    row = SeenRow(content=number, line=0)
    seen_items.add({id: row for id in ids if id not in seen_before})
    report.items = len(seen_items)

    if store is not None and (batch.items.num_rows or batch.statements.num_rows):
        added = store.put(batch.items, batch.statements)
        report.new_items += added.new_items
        report.new_statements += added.new_statements
    if ledger is not None and batch.rejects:
        ledger.add_rejects(report.run, batch.rejects)
    return sum(seen.content != number for id, seen in seen_before.items() if id in own)


def _files(plans: list[SourcePlan]) -> list[str]:
    return [plan.source.location for plan in plans]


def _add_notes(plan: SourcePlan, report: IngestReport, restored: int) -> None:
    images = plan.images
    name = plan.source.name
    report.images += images.found
    report.notes += [f"{name}: {note}" for note in images.notes()]
    if restored:
        report.notes.append(
            f"{name}: {restored:,} cells had an apostrophe that keeps a spreadsheet from running "
            "them as formulas; it was taken off"
        )
    cleaned = report.cleaned.get(plan.source.location, {})
    report.notes += [f"{name}: {remark}" for remark in remarks(cleaned)]
    report.notes += [f"{name}: {note}" for note in plan.notes()]


def _notes_on_skipped(name: str, skipped: list[SkippedLine]) -> list[str]:
    """Return what to say of lines that are no rows, one note for each kind of them."""
    notes = []
    for what in dict.fromkeys(line.what for line in skipped):
        lines = [line.line for line in skipped if line.what == what]
        times = f"{len(lines):,} times, first in" if len(lines) > 1 else "in"
        notes.append(f"{name}: a {what} is no row: passed over {times} line {lines[0]:,}")
    return notes


def _over_limit_message(report: IngestReport, limit: str | float, dry_run: bool) -> str:
    first = report.first_rejects[0]
    example = f"the first: {Path(first.file).name}, line {first.line}, {first.reason}"
    advice = "fix the rows, or allow more with --max-rejects"
    if not dry_run:
        advice += "; `catalograph rejects` lists them, the good rows are stored"
    return (
        f"{report.rejected:,} of {report.read:,} rows were rejected, "
        f"more than the limit of {limit} ({example}): {advice}"
    )
