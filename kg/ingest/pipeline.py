"""Ingest: sources to the store, in batches, with provenance; every row that is read is stored or rejected."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kg.home import Home
from kg.ingest.assemble import Assembled, Origin
from kg.ingest.queries import QueriesReport, ingest_queries
from kg.ingest.rows import Reject, new_run
from kg.ingest.seen import SeenRows
from kg.ingest.source_plan import SourcePlan, plan
from schema.edits import merge_edits
from schema.errors import CatalographError, RejectsError, UsageError
from schema.ledger import Ledger, RejectedRow
from schema.ontology import Ontology
from schema.terms import TRUSTED_RANKS, now

if TYPE_CHECKING:
    from kg.stores.protocol import GraphStore

__all__ = [
    "IngestReport",
    "Progress",
    "QueriesReport",
    "ingest",
    "ingest_queries",
    "parse_limit",
    "refresh_ontology",
    "rejects",
]


@dataclass
class IngestReport:
    """What an ingest did. ``items`` and ``statements`` are those of the sources, ``new_…`` those that the store did not have."""

    mapping: str = ""
    read: int = 0
    stored: int = 0
    rejected: int = 0
    items: int = 0
    statements: int = 0
    new_items: int = 0
    new_statements: int = 0
    images: int = 0
    seconds: float = 0.0
    run: str = ""
    reasons: list[str] = field(default_factory=list)
    """Why each mapping was taken, a line a source."""
    notes: list[str] = field(default_factory=list)
    """What a user should know: missing images, columns left out."""
    first_rejects: list[Reject] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The fields of the command's JSON."""
        names = (
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
        return {name: getattr(self, name) for name in names}


Progress = Callable[[IngestReport], None]


def ingest(
    home: Home,
    sources: Sequence[Path | str],
    *,
    mapping: str | None = None,
    images: Path | str | None = None,
    dry_run: bool = False,
    max_rejects: str | float = "1%",
    progress: Progress | None = None,
) -> IngestReport:
    """Load sources into the home's store. Running it again adds nothing.

    A dry run reads and checks everything and writes nothing, so it says 0 new. Past ``max_rejects`` ("1%" of the rows, or a number)
    the good rows are stored all the same, the bad ones wait in quarantine, and RejectsError carries the report as its ``report``.
    """
    started = time.perf_counter()
    limit = parse_limit(max_rejects)
    if not sources:
        raise UsageError("no source given: name a file or a folder")
    with ExitStack() as stack:
        plans = [plan(source, mapping, images, stack) for source in sources]
        report = IngestReport(
            mapping=", ".join(dict.fromkeys(each.mapping for each in plans)), run=new_run()
        )
        report.reasons = [each.reason for each in plans]
        store = None if dry_run else stack.enter_context(home.store())
        ledger = None if dry_run else stack.enter_context(home.ledger())
        _run(plans, report, store, ledger, progress)
        if store is not None and (
            report.new_items or report.new_statements or not home.ontology_path.exists()
        ):
            refresh_ontology(home, store)
        report.seconds = round(time.perf_counter() - started, 3)
        if ledger is not None:
            ledger.record_ingest(
                report.run, "done", [str(each.source.path) for each in plans], report.as_dict()
            )
    if report.rejected > limit(report.read):
        raise RejectsError(_past_limit(report, max_rejects, dry_run), report)
    return report


def refresh_ontology(home: Home, store: GraphStore) -> Ontology:
    """Infer the ontology anew from the store and write it; what a person edited since the last inference stands."""
    items = (batch.select(["id", "category"]) for batch in store.items())
    fresh = Ontology.infer(items, store.triples(TRUSTED_RANKS))
    merged = fresh
    if home.ontology_path.exists():
        edited = home.ontology()
        base = Ontology.load(home.inferred_path) if home.inferred_path.exists() else edited
        if edited != base:
            merged = merge_edits(base, edited, fresh)
    fresh.save(home.inferred_path)
    merged.save(home.ontology_path)
    return merged


def parse_limit(text: str | float) -> Callable[[int], float]:
    """``--max-rejects`` as a function from the rows read to the rejects allowed: "1%", or a number of rows."""
    written = str(text).strip()
    try:
        number = float(written.removesuffix("%"))
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise UsageError(
            f"--max-rejects {text} is no limit: give a share like 1% or a number of rows like 20"
        )
    return (lambda rows: rows * number / 100) if written.endswith("%") else (lambda rows: number)


def rejects(home: Home, run: str | None = None) -> list[RejectedRow]:
    """The quarantine: the rows that each file's last ingest rejected, or one run's."""
    with home.ledger() as ledger:
        return ledger.rejects(run)


def _run(
    plans: list[SourcePlan],
    report: IngestReport,
    store: GraphStore | None,
    ledger: Ledger | None,
    progress: Progress | None,
) -> None:
    moment = now()
    known = SeenRows()
    for each in plans:
        file = str(each.source.path)
        origin = Origin(file, each.source.path.name, report.run, moment)
        if ledger is not None:
            ledger.record_ingest(
                report.run, "running", [str(p.source.path) for p in plans], report.as_dict()
            )
            ledger.clear_rejects(file)
        try:
            for rows, done in each.parts(origin):
                _store(done, rows, known, report, store, ledger)
                if progress is not None:
                    progress(report)
        except CatalographError:
            if ledger is not None:
                ledger.record_ingest(report.run, "failed", [], report.as_dict())
            raise
        _note(each, report)


def _store(
    done: Assembled,
    rows: int,
    known: SeenRows,
    report: IngestReport,
    store: GraphStore | None,
    ledger: Ledger | None,
) -> None:
    report.read += rows
    report.stored += done.stored
    report.rejected += len(done.rejects)
    report.statements += done.statements.num_rows
    names = done.items["id"].to_pylist()
    before = known.before(names)
    known.add({name: (0, 0) for name in names if name not in before})
    report.items = len(known)
    report.first_rejects += done.rejects[: 5 - len(report.first_rejects)]
    if store is not None and (done.items.num_rows or done.statements.num_rows):
        added = store.put(done.items, done.statements)
        report.new_items += added.new_items
        report.new_statements += added.new_statements
    if ledger is not None and done.rejects:
        ledger.add_rejects(
            report.run, (RejectedRow(r.file, r.line, r.reason, r.text) for r in done.rejects)
        )


def _note(done: SourcePlan, report: IngestReport) -> None:
    images = done.images
    name = done.source.path.name
    report.images += images.found
    if images.missing:
        report.notes.append(f"{name}: {images.missing:,} images are not there")
    if images.refused:
        report.notes.append(
            f"{name}: {len(images.refused):,} images were refused, the first: {images.refused[0]}"
        )
    if done.ignored():
        report.notes.append(f"{name}: left out {', '.join(done.ignored())}")


def _past_limit(report: IngestReport, limit: str | float, dry_run: bool) -> str:
    first = report.first_rejects[0]
    example = f"the first: {Path(first.file).name}, line {first.line}, {first.reason}"
    mend = "mend the rows, or allow more with --max-rejects"
    if not dry_run:
        mend += "; `catalograph rejects` lists them, the good rows are stored"
    return f"{report.rejected:,} of {report.read:,} rows were rejected, past the limit of {limit} ({example}): {mend}"
