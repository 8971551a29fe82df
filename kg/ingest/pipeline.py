"""Ingest: load sources into the store in batches, with provenance.

Every row that is read is either stored or rejected, and counted.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kg.home import Home
from kg.home_declared import load_declared, save_declared
from kg.home_ontology import is_current, open_contradictions, refresh_ontology
from kg.ingest.assemble import AssembledBatch, Origin
from kg.ingest.engine import IngestEngine, LocalEngine
from kg.ingest.inheritance import inherit
from kg.ingest.preview import Preview, Previewer
from kg.ingest.recall import Recaller
from kg.ingest.rows import SkippedLine
from kg.ingest.run_id import new_run_id
from kg.ingest.seen import FoundRows, SeenRows, hashes_of
from kg.ingest.source_plan import BATCH_STATEMENTS, MappedPlan, SourcePlan, plan_sources
from kg.ingest.updates import (
    DryRunSink,
    Gatherer,
    Overlay,
    PropertyChanges,
    StoreSink,
    count_items,
    missing_items,
)
from kg.ingest.values import ColumnCounts, add_counts, remarks
from kg.source_conflicts import ConflictCounts, conflicts, rejected_statements
from kg.sources import Beside, KeptSources, ReadSource, SourceCopy
from kg.stores.protocol import PutReport
from schema.arrays import IntArray
from schema.errors import (
    CatalographError,
    DataError,
    GraphNotFoundError,
    RejectsError,
    UsageError,
)
from schema.ledger import SOURCE_NAMES, Ledger
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
    had been defused for spreadsheets. ``changes`` are those that the run made, or of a dry run
    those that it would make; None without a catalogue that has items.
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
    known_rows: int = 0
    """How many rows are as they were in the last run of their source, and were not read again."""
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
    """Of a dry run: how each source is read."""
    changes: PutReport | None = None
    updated_items: int = 0
    """How many of the items that the sources have were there before and change."""
    properties: dict[str, PropertyChanges] = field(default_factory=dict)
    """Of a dry run: what it would change, by property."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields of the command's JSON."""
        document = {name: vars(self)[name] for name in _JSON_FIELDS}
        if self.changes is not None:
            document["changes"] = self._changes_document(self.changes)
        if self.previews:
            document["preview"] = [preview.as_dict() for preview in self.previews]
        return document

    @property
    def unchanged_items(self) -> int:
        """How many of the items that the sources have were there before and stay as they are."""
        if self.changes is None:
            return 0
        # An item that two sources have may be new by the one and change by the other.
        return max(0, self.items - self.changes.new_items - self.updated_items)

    def _changes_document(self, changes: PutReport) -> dict[str, Any]:
        document: dict[str, Any] = {
            "items": {
                "new": changes.new_items,
                "changed": changes.changed_items,
                "unchanged": self.unchanged_items,
                "retired": changes.deleted,
            },
            "statements": {
                "new": changes.new_statements,
                "changed": changes.changed_statements,
                "retracted": changes.retracted,
            },
        }
        if self.properties:
            document["properties"] = {
                name: asdict(counts) for name, counts in sorted(self.properties.items())
            }
        return document


IngestProgress = Callable[[IngestReport], None]
"""Called with the report so far after each batch; the number of rows to come is not known."""


@dataclass(frozen=True)
class UpdateOptions:
    """How what sources say now changes what they said before.

    Attributes:
        source: the name of the source; None means that each file is one, by its name
        sync: whether items that are gone from a source are retired
        max_retired: how many of a source's items may be, such as "20%" or a number
        reread: whether rows that are as they were in the last run are read again, too
    """

    source: str | None = None
    sync: bool = False
    max_retired: str | float = "20%"
    reread: bool = False


def ingest(
    home: Home,
    sources: Sequence[Path | str],
    *,
    mapping: str | None = None,
    images: Path | str | None = None,
    update: UpdateOptions = UpdateOptions(),
    dry_run: bool = False,
    write_mapping: Path | str | None = None,
    max_rejects: str | float = "1%",
    progress: IngestProgress | None = None,
    engine: IngestEngine | None = None,
) -> IngestReport:
    """Load sources into the home's store. Loading them again adds nothing.

    What a source says of an item now replaces what the same source said of it before. A dry run
    reads and checks everything but writes nothing, so it reports 0 new items; its report has a
    preview of each source, and what would change. ``write_mapping`` saves the mapping of the only
    source as a TOML file to edit, and nothing else: the run is a dry one. ``engine`` is what reads
    the files, by default this process alone.

    Raises RejectsError, with the report as its ``report``, if more than ``max_rejects`` ("1%" of
    the rows, or a number of rows) were rejected, or if more items than allowed would be retired.
    The good rows are stored nevertheless, and the ledger lists the rejected ones.
    """
    started = time.perf_counter()
    limit = parse_limit(max_rejects, "--max-rejects")
    retired_limit = parse_limit(update.max_retired, "--max-retired")
    if update.source is not None and not update.source.strip():
        raise UsageError("--source is empty: give the source a name, or leave the option out")
    if update.source is not None and not update.source.isprintable():
        raise UsageError(
            f"--source {update.source!r} has characters that cannot be printed: leave them out"
        )
    if not sources:
        raise UsageError("no source given: name a file or a folder")

    dry_run = dry_run or write_mapping is not None
    refusal: str | None = None
    with ExitStack() as stack:
        planned = plan_sources(sources, mapping, images, stack)
        plans = planned.plans
        mapping_names = dict.fromkeys(plan.mapping_name for plan in plans)
        report = IngestReport(mapping=", ".join(mapping_names), run=new_run_id())
        report.reasons = [plan.reason for plan in plans]
        report.notes = [*planned.notes, *(note for plan in plans for note in plan.source.remarks)]
        if write_mapping is not None:
            _save_mapping(plans, Path(write_mapping))
        job = _Job(home, plans, update, report, progress, engine or LocalEngine())
        if dry_run:
            job.previewers = [Previewer(plan) for plan in plans]
            report.previews = [previewer.preview for previewer in job.previewers]
            job.store = _readable_store(home, stack)
            if job.store is not None:
                job.sink = DryRunSink(job.store, home.ontology_or_none(), job.overlay())
        else:
            job.store = stack.enter_context(home.store())
            job.ledger = stack.enter_context(home.ledger())
            job.declarations = Declarations(home)
            job.sink = StoreSink(job.store, report.run, replaces=not job.store.is_empty())

        job.run()
        refusal = job.sync(retired_limit) if update.sync else None
        job.finish()
        report.seconds = round(time.perf_counter() - started, 3)
        job.record("done")

    if report.rejected > limit(report.read):
        raise RejectsError(_over_limit_message(report, max_rejects, dry_run), report)
    if refusal is not None:
        raise RejectsError(refusal, report)
    return report


def _readable_store(home: Home, stack: ExitStack) -> GraphStore | None:
    """Open the home's store for reading; None if it has none, or nothing in it."""
    if not home.settings.exists():
        return None
    # A home that was only initialised has no graph.
    with suppress(GraphNotFoundError):
        store = stack.enter_context(home.store(read_only=True))
        return None if store.is_empty() else store
    return None


def parse_limit(text: str | float, option: str) -> Callable[[int], float]:
    """Parse a limit such as ``--max-rejects``: "1%", or a number.

    Returns a function from the number of all to the number that is allowed.
    """
    spelling = str(text).strip()
    try:
        number = float(spelling.removesuffix("%"))
    except ValueError:
        number = -1.0
    # Written as a negation, because it has to refuse NaN, too.
    if not 0 <= number < float("inf"):
        raise UsageError(
            f"{option} {text} is not a valid limit: give a share like 1% or a number like 20"
        )
    if spelling.endswith("%"):
        return lambda count: count * number / 100
    return lambda count: number


def _note(seen: SeenRows, hashes: IntArray, content: int) -> FoundRows:
    """Note ids by their hashes [N]; return which of them were seen before."""
    found = seen.find_hashes(hashes)
    new = hashes[~found.found]
    seen.add_hashes(new, np.full(len(new), content), np.zeros(len(new), np.int64))
    return found


@dataclass
class _Job:
    """One ingest while it runs; a dry one has no ledger, and a store only to compare with."""

    home: Home
    plans: list[SourcePlan]
    update: UpdateOptions
    report: IngestReport
    progress: IngestProgress | None
    engine: IngestEngine
    store: GraphStore | None = None
    sink: StoreSink | DryRunSink | None = None
    ledger: Ledger | None = None
    declarations: Declarations | None = None
    previewers: Sequence[Previewer] = ()

    def __post_init__(self) -> None:
        # Only counts the distinct items of all sources: a set of their ids would not fit in memory.
        self.seen_items = SeenRows(content_type=np.int32, line_type=np.uint8)
        self.seen_of: dict[str, SeenRows] = {}
        self.known_items: dict[str, int] = {}
        self.gathered: list[tuple[SourceKeeper, Recaller | None]] = []
        self.unknown_rejects: Counter[str] = Counter()
        self.allowed_folders: set[Path] = set()

    def source_of(self, plan: SourcePlan) -> str:
        """Return the name of the source that a file belongs to."""
        return self.update.source or plan.source.name

    def record(self, status: str) -> None:
        """Record the run in the ledger, if there is one."""
        if self.ledger is not None:
            files = [plan.source.location for plan in self.plans]
            names = list(dict.fromkeys(map(self.source_of, self.plans)))
            report = {**self.report.as_dict(), SOURCE_NAMES: names}
            self.ledger.record_ingest(self.report.run, status, files, report)

    def overlay(self) -> Overlay | None:
        """Return what a dry run needs if an item may be put more than once."""
        names = set(map(self.source_of, self.plans))
        is_alone = len(names) == 1 and all(plan.replaces for plan in self.plans)
        return None if is_alone else Overlay()

    def run(self) -> None:
        """Read all sources, and hand on what they say."""
        time = now()
        names = Counter(map(self.source_of, self.plans))
        if self.update.sync and self.store is not None:
            # Before the first row is stored: new items must not allow more to be retired.
            self.known_items = {name: count_items(self.store, name) for name in names}
        with ExitStack() as stack:
            stack.callback(self._discard_gathered)
            self.engine.expect(self._unknown_files(time))
            gatherers: dict[str, Gatherer] = {}
            for number, plan in enumerate(self.plans):
                name = self.source_of(plan)
                replaces = self.sink is not None and self.sink.replaces
                is_split = plan.may_split_items or names[name] > 1
                if replaces and is_split and name not in gatherers:
                    gatherers[name] = stack.enter_context(Gatherer())
                self._read(number, plan, time, gatherers.get(name), names[name])
            for name, gatherer in gatherers.items():
                self._hand_on_gathered(name, gatherer)
            for keeper, recaller in self.gathered:
                self.report.notes += keeper.keep(() if recaller is None else recaller.beside())
        self.report.notes += self.engine.notes()
        if self.sink is not None:
            self.report.updated_items = self.sink.report.changed_items

    def _discard_gathered(self) -> None:
        """Remove the copies of files that are not kept, because the run has failed."""
        for keeper, _ in self.gathered:
            keeper.discard()

    def _read(
        self, number: int, plan: SourcePlan, time: str, gatherer: Gatherer | None, files: int
    ) -> None:
        """Read one of the ``files`` of a source.

        What it says is gathered first if there is a gatherer.
        """
        source = self.source_of(plan)
        origin = self._origin(plan, time)
        reading = _Reading(number, source, self._keeper(plan, origin, files), gatherer)
        plan = plan if reading.keeper is None else reading.keeper.plan
        # Before the first row, so that a run that is killed shows as one that did not finish.
        self.record("running")
        reading.recaller = self._recaller(plan, source)
        plan = plan if reading.recaller is None else reading.recaller.plan
        if self.ledger is not None:
            self.ledger.clear_rejects(origin.file)
        if self.declarations is not None:
            self.report.notes += self.declarations.begin(plan)

        restored_before = self.report.restored
        read_before = self.report.read
        try:
            self._read_batches(plan, origin, reading)
        except BaseException as error:
            if reading.keeper is not None:
                reading.keeper.discard()
            if isinstance(error, CatalographError):
                self.record("failed")
            raise
        self._keep(reading)
        _add_notes(plan, self.report, self.report.restored - restored_before)
        if self.report.read == read_before:
            self.report.notes.append(f"{plan.source.name}: no row: it has a header alone")
        self.report.notes += _notes_on_skipped(plan.source.name, reading.skipped)
        if reading.shared:
            self.report.notes.append(
                f"{plan.source.name}: {reading.shared:,} items are in an earlier source of this "
                "run, too"
            )

    def _origin(self, plan: SourcePlan, time: str) -> Origin:
        return Origin(plan.source.location, self.source_of(plan), self.report.run, time)

    def _unknown_files(self, time: str) -> list[tuple[SourcePlan, Origin]]:
        """Return the files of which no last run may be recalled."""
        is_recalled = self.ledger is not None and not self.update.reread
        known = KeptSources(self.home.sources).newest() if is_recalled else {}
        return [
            (plan, self._origin(plan, time))
            for plan in self.plans
            if self.source_of(plan) not in known
        ]

    def _keeper(self, plan: SourcePlan, origin: Origin, files: int) -> SourceKeeper | None:
        return None if self.ledger is None else SourceKeeper(self.home, plan, origin, files)

    def _read_batches(self, plan: SourcePlan, origin: Origin, reading: _Reading) -> None:
        """Read a file batch by batch, and hand on or gather what it says."""
        waiting = _Waiting(self._hand_on)
        try:
            for batch in self._batches(plan, origin, reading):
                if self.declarations is not None:
                    # Before the first statement that is read so is stored.
                    self.declarations.note(plan, batch)
                self._allow_images(plan)
                reading.shared += self._count(batch, reading)
                if reading.gatherer is not None and plan.replaces:
                    reading.gatherer.add(batch.items, batch.statements, batch.rejected_ids)
                else:
                    waiting.put(batch, reading.source if plan.replaces else None)
                self._note(batch, origin.file, reading)
                return_freed_memory()
                if self.progress is not None:
                    self.progress(self.report)
        except DataError:
            # What comes before the damage is stored.
            waiting.hand_on()
            raise
        waiting.hand_on()

    def _note(self, batch: AssembledBatch, file: str, reading: _Reading) -> None:
        """Note what was rejected, passed over and cleaned in a batch."""
        if self.ledger is not None and batch.rejects:
            self.ledger.add_rejects(self.report.run, batch.rejects)
        reading.skipped += batch.skipped
        add_counts(self.report.cleaned.setdefault(file, {}), batch.cleaned)
        if self.previewers:
            self.previewers[reading.number].see(batch)

    def _keep(self, reading: _Reading) -> None:
        """Keep a file that was read, or later if what it says is still gathered."""
        recaller = reading.recaller
        if recaller is not None:
            self.report.known_rows += recaller.known_rows
            self.report.notes += recaller.notes
        if reading.keeper is None:
            return
        if reading.gatherer is not None:
            self.gathered.append((reading.keeper, recaller))
            return
        self.report.notes += reading.keeper.keep(() if recaller is None else recaller.beside())

    def _recaller(self, plan: SourcePlan, source: str) -> Recaller | None:
        """Return what recalls the last run of a source, None if that is not kept."""
        is_alone = sum(self.source_of(each) == source for each in self.plans) == 1
        if self.ledger is None or self.store is None or not is_alone:
            return None
        if not isinstance(plan, MappedPlan):
            return None
        return Recaller(self.home, self.store, plan, source, self.update.reread)

    def _batches(
        self, plan: SourcePlan, origin: Origin, reading: _Reading
    ) -> Iterator[AssembledBatch]:
        if reading.recaller is None or reading.keeper is None:
            return self.engine.batches(plan, origin)
        return reading.recaller.batches(origin, reading.keeper.copy, self.engine)

    def _allow_images(self, plan: SourcePlan) -> None:
        new_folders = plan.images.used_folders - self.allowed_folders
        if self.ledger is not None and new_folders:
            # Before the first image of it is stored, which could not be read otherwise.
            self.home.allow_images(sorted(new_folders))
            self.allowed_folders |= new_folders

    def _count(self, batch: AssembledBatch, reading: _Reading) -> int:
        """Count a batch of a source; return how many of its items other sources had."""
        report = self.report
        report.read += batch.rows_read
        report.stored += batch.rows_stored
        report.rejected += len(batch.rejects)
        report.restored += batch.restored
        report.statements += batch.statements.num_rows + batch.known_statements
        report.first_rejects += batch.rejects[: _FIRST_REJECTS - len(report.first_rejects)]

        own = pc.unique(pa.chunked_array([*batch.items["id"].chunks, batch.known_ids]))
        # A variant in a cell of its product may have no row of its own, and is an item all the
        # same.
        others = pa.chunked_array([*batch.statements["item"].chunks, batch.known_other_ids])
        others = pc.unique(others)
        others = others.filter(pc.invert(pc.is_in(others, value_set=own)))
        if reading.recaller is not None:
            reading.recaller.see(batch, own, others)
        ids = hashes_of([*own.to_pylist(), *others.to_pylist()])
        seen_before = _note(self.seen_items, ids, reading.number)
        report.items = len(self.seen_items)
        if self.update.sync:
            seen = self.seen_of.setdefault(reading.source, SeenRows(np.int8, np.uint8))
            _note(seen, ids, 0)
            # A rejected row shows that its item is still there.
            _note(seen, hashes_of(list(dict.fromkeys(batch.rejected_ids))), 0)
        self.unknown_rejects[reading.source] += len(batch.rejects) - batch.identified_rejects
        is_shared = seen_before.found & (seen_before.contents != reading.number)
        return int(is_shared[: len(own)].sum())

    def _hand_on_gathered(self, source: str, gatherer: Gatherer) -> None:
        """Hand on the items of a source that were gathered.

        Nothing is taken back of an item of which a row was rejected: that row may have said it.
        """
        unknown = self.unknown_rejects[source]
        for items, statements in gatherer.gathered():
            if unknown:
                self._hand_on(items, statements, None)
                continue
            is_whole = gatherer.is_whole(items["id"])
            is_of_whole = gatherer.is_whole(statements["item"])
            self._hand_on(items.filter(is_whole), statements.filter(is_of_whole), source)
            rest = items.filter(pc.invert(is_whole))
            self._hand_on(rest, statements.filter(pc.invert(is_of_whole)), None)
        if unknown or gatherer.rejected_ids:
            those = (
                f"{unknown:,} rows were rejected whose ids are not known, and so of no item"
                if unknown
                else f"a row of {len(gatherer.rejected_ids):,} items was rejected, and so of these"
            )
            self.report.notes.append(
                f"{source}: {those} nothing was taken back that the source said before; mend the "
                "rows and ingest again"
            )

    def _hand_on(self, items: pa.Table, statements: pa.Table, source: str | None) -> None:
        if self.sink is not None and (items.num_rows or statements.num_rows):
            self.sink.put(items, statements, source)

    def sync(self, limit: Callable[[int], float]) -> str | None:
        """Retire the items that are gone from the sources; return why not, if that is refused."""
        if self.store is None or self.sink is None:
            return None
        refusal = None
        for source in dict.fromkeys(map(self.source_of, self.plans)):
            seen = self.seen_of.get(source, SeenRows())
            missing = missing_items(self.store, source, seen)
            known = self.known_items[source]
            count = len(missing)
            if not count:
                continue
            unknown = self.unknown_rejects[source]
            allowed = limit(known)
            if 0 < allowed < 1 < known:
                # A share of a few items allows one, or else none of them could ever go; but an
                # empty file is no reason to retire the only one.
                allowed = 1
            if unknown:
                self.report.notes.append(
                    f"{source}: {count:,} items are not in it, but {unknown:,} rows were rejected "
                    "whose ids are not known: none was retired; mend these rows and ingest again"
                )
            elif count > allowed:
                refusal = (
                    f"{count:,} of the {known:,} items of {source} are gone from it, which "
                    f"is more than --max-retired {self.update.max_retired}: none was retired; "
                    "check that the file is whole, or allow more"
                )
            else:
                self.sink.retire(source, missing)
                self.report.notes.append(
                    f"{source}: {count:,} items are gone from it (the first: {missing[0]})"
                )
        return refusal

    def finish(self) -> None:
        """Let variants inherit, and bring the ontology up to date."""
        report = self.report
        if self.sink is None:
            return
        store = self.sink.store
        changes = report.changes = self.sink.report
        if isinstance(self.sink, DryRunSink):
            report.properties = self.sink.properties
            report.notes += self.sink.conflicts.notes(store.order)
            return
        report.new_items = changes.new_items
        report.new_statements = changes.new_statements
        if changes.differing:
            report.notes.append(
                f"{changes.differing:,} items have another title, description or category in "
                f"another source: all are kept, and {store.order.told()} is shown; `catalograph "
                "sources --order` changes that"
            )
        report.notes += inherit(store, report.run, now()).notes()
        # Inferring reads the whole graph, so a run that changed nothing does not do it, unless an
        # earlier one was killed before it could.
        has_changed = changes != PutReport(0, 0)
        if has_changed or not is_current(self.home, store):
            refresh_ontology(self.home, store)
        if has_changed and len(store.sources()) > 1:
            report.notes += self._new_conflicts(store).notes(store.order)
        report.notes += [
            f"{each.property}: {each.line()}" for each in open_contradictions(self.home)
        ]

    def _new_conflicts(self, store: GraphStore) -> ConflictCounts:
        """Count the values that the run wrote and that others contradict, or reviewers rejected."""
        found = ConflictCounts()
        ontology = self.home.ontology_or_none()
        for conflict in conflicts(store, ontology, self.report.run) if ontology else ():
            found.add(conflict)
        for row in rejected_statements(store, self.report.run):
            found.add_rejected(row)
        return found


@dataclass
class _Reading:
    """One file of a source while it is read.

    Attributes:
        number: its number among the files of the run
        source: the source's name
        keeper: what keeps a copy of it; None in a dry run
        gatherer: what gathers the items of a source that several rows or files tell of
        recaller: what knows it from the last run
        shared: how many of its items an earlier source of this run has
        skipped: lines that are no rows
    """

    number: int
    source: str
    keeper: SourceKeeper | None
    gatherer: Gatherer | None
    recaller: Recaller | None = None
    shared: int = 0
    skipped: list[SkippedLine] = field(default_factory=list)


class _Waiting:
    """Batches that lack the rows that are known: the rest of several is put together.

    Each put is a commit, of which a few rows take as long as many.
    """

    def __init__(self, hand_on: Callable[[pa.Table, pa.Table, str | None], None]) -> None:
        self._hand_on = hand_on
        self._items: list[pa.Table] = []
        self._statements: list[pa.Table] = []
        self._source: str | None = None

    def put(self, batch: AssembledBatch, source: str | None) -> None:
        """Put a batch, or keep it for later."""
        self._source = source
        self._items.append(batch.items)
        self._statements.append(batch.statements)
        rows = sum(statements.num_rows for statements in self._statements)
        if not len(batch.known_ids) or rows >= BATCH_STATEMENTS:
            self.hand_on()

    def hand_on(self) -> None:
        """Put what has been kept."""
        if self._items:
            items = pa.concat_tables(self._items)
            statements = pa.concat_tables(self._statements)
            self._items = []
            self._statements = []
            self._hand_on(items, statements, self._source)


class SourceKeeper:
    """Keeps in the home what an ingest reads of one of the ``files`` of a source.


    ``plan`` is the plan to read it by, and ``copy`` takes the bytes; None if it cannot be written.
    """

    def __init__(self, home: Home, plan: SourcePlan, origin: Origin, files: int) -> None:
        self._kept = KeptSources(home.sources)
        self._origin = origin
        self._files = files
        self._failure: OSError | None = None
        self.copy: SourceCopy | None = None
        self.plan = plan
        try:
            self.copy = self._kept.begin()
        except OSError as error:
            self._failure = error
        else:
            self.plan = replace(plan, source=plan.source.recorded(self.copy))

    def keep(self, beside: Sequence[Beside] = ()) -> list[str]:
        """Keep the source, which has been read; return what there is to say of it."""
        copy = self.copy
        source = self.plan.source
        mapping = self.plan.mapping_to_keep
        origin = self._origin
        try:
            if copy is not None:
                reading = source.reading(mapping)
                read = ReadSource(
                    origin.source, origin.run, self._files, origin.time, source.file, reading
                )
                self._kept.keep(copy, read, mapping, beside)
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
        if self.copy is not None:
            self.copy.discard()


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
