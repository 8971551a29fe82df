"""Verify a home: its store, and all other files that it keeps."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from kg.home import Home
from kg.home_ontology import Origin
from kg.model_card import card_text
from kg.sources import KeptSources
from kg.stores.journal import Journal
from kg.stores.open import journaled_files
from kg.stores.replay import misnamed
from kg.stores.scan_process import Limits
from kg.stores.scan_tasks import Found
from kg.stores.verification import Verification, verify_store
from schema.appended import appended_problem
from schema.declared import DeclaredReadings
from schema.errors import CatalographError
from schema.ledger_verification import verify_ledger, verify_ledger_server
from schema.manifests import CARD, CARD_FACTS, MANIFEST, NETWORK, manifest_problems
from schema.ontology import Ontology
from schema.progress import ProgressCallback, no_progress
from schema.stamps import Condition, examine

MODEL_GO_ON = "restore the folder from a copy, or train again"
CHECKPOINT_GO_ON = "a resumed run takes the checkpoint before it; remove the folder"


@dataclass(frozen=True, slots=True)
class EditedFile:
    """A file of a home that people may edit, and how they have what they did accepted."""

    path: Path
    accept: str
    restore: str


def verify_home(
    home: Home,
    *,
    quick: bool = False,
    limits: Limits | None = None,
    progress: ProgressCallback = no_progress,
) -> Verification:
    """Verify the store of a home, its ledger, ontology, settings, shapes, models and kept sources.

    ``quick`` compares the numbers of items and statements in place of the rows.
    """
    files = journaled_files(home.store_url)
    if files is not None:
        report = verify_store(files, quick=quick, limits=limits, progress=progress)
    else:
        report = _verify_server(home, quick, progress)
    if home.has_ledger_server:
        try:
            with home.ledger() as ledger:
                report.problems += verify_ledger_server(ledger)
        except CatalographError as error:
            report.problems.append(str(error))
    elif home.ledger_path.exists():
        report.problems += verify_ledger(home.ledger_path)
    elif report.items:
        report.notes.append(
            f"there is no {home.ledger_path}, in which runs, rejected rows, the query log and "
            "completions are recorded: if there was one, restore it from a copy"
        )
    _check_settings(home, report)
    _check_ontology(home, report, files.journal if files is not None else None)
    _check_edited(
        EditedFile(
            home.declared_path,
            "it holds as it is until an ingest by one of its mappings writes it again",
            "restore it from a copy, or remove it and load the sources again whose mappings say "
            "how columns are read",
        ),
        report,
    )
    try:
        DeclaredReadings.load(home.declared_path)
    except CatalographError as error:
        report.problems.append(str(error))
    _check_edited(
        EditedFile(
            home.shapes_path,
            "remove its first line, and it is taken for yours",
            "remove the file, and `catalograph validate` generates it again",
        ),
        report,
    )
    manifests = (*home.models.glob(f"*/{MANIFEST}"), *home.models.glob(f"*/{NETWORK}/{MANIFEST}"))
    for folder in sorted({path.parent for path in manifests}):
        report.problems += manifest_problems(folder, MODEL_GO_ON)
    for facts in sorted(home.models.glob(f"*/{CARD_FACTS}")):
        _check_facts(facts, report)
    for log in sorted(home.models.glob("*/log.jsonl")):
        damage = appended_problem(log)
        if damage is not None:
            report.problems.append(
                f"{log.parent.name}: {damage}: `catalograph runs` may show other figures; nothing "
                "else depends on it"
            )
    for manifest in sorted(home.models.glob(f"*/checkpoints/*/{MANIFEST}")):
        report.problems += manifest_problems(manifest.parent, CHECKPOINT_GO_ON)
    report.problems += KeptSources(home.sources).problems()
    return report


def _verify_server(home: Home, quick: bool, progress: ProgressCallback) -> Verification:
    """Check what a store without a journal says itself: that its statements fit their ids."""
    report = Verification()
    try:
        with home.store(read_only=True) as store:
            counts = store.counts()
            report.items = counts.items
            report.statements = counts.statements
            report.notes.append(
                f"the store {store.url} keeps no journal to compare it with: "
                + ("it was only counted" if quick else "only its statements' ids were checked")
            )
            found = Found()
            done = 0
            for batch in [] if quick else store.scan():
                found = found.plus(misnamed(pa.table(batch)))
                done += batch.num_rows
                progress(done, counts.statements)
    except CatalographError as error:
        report.problems.append(str(error))
        return report
    report.found(
        found,
        "statements have an id that is not that of their item, property and value",
        "restore the database from a copy, or copy the store it came from again",
    )
    return report


def _check_facts(path: Path, report: Verification) -> None:
    """Check what a model card is written from; the page itself can always be written again."""
    command = f"`catalograph model card {path.parent.name}`"
    _check_edited(
        EditedFile(
            path,
            "the next command that measures the model accepts it",
            "restore it from a copy, or remove it and evaluate the model again",
        ),
        report,
    )
    page = path.with_name(CARD)
    if manifest_problems(path.parent, MODEL_GO_ON):
        # That is told already.
        return
    try:
        if not page.exists() or page.read_bytes() != card_text(path.parent).encode():
            report.notes.append(
                f"{page} does not say what its model does: {command} writes it anew"
            )
    except CatalographError as error:
        report.problems.append(str(error))


def _check_settings(home: Home, report: Verification) -> None:
    _check_edited(
        EditedFile(
            home.settings.path,
            "`catalograph init` accepts the file as it is",
            "put it back",
        ),
        report,
    )


def _check_ontology(home: Home, report: Verification, journal: Journal | None) -> None:
    path = home.ontology_path
    if not path.exists():
        if report.items:
            report.notes.append(f"there is no {path}: `catalograph schema infer` makes it anew")
        return
    _check_edited(
        EditedFile(
            path,
            "`catalograph schema infer` accepts it and keeps your changes",
            "put it back, or remove the file and run `catalograph schema infer`",
        ),
        report,
    )
    try:
        Ontology.load(path)
    except CatalographError as error:
        report.problems.append(str(error))
    for inferred in sorted(home.inferred_ontologies.glob("*.toml")):
        if hashlib.sha256(inferred.read_bytes()).hexdigest() != inferred.stem:
            report.problems.append(
                f"{inferred} is damaged (its sha256 is not its name): remove it; which of your "
                f"changes to {path.name} were made by hand may then be told less exactly"
            )
    origin = Origin.of(path)
    if journal is None or origin is None or origin.store != home.relative_url(home.store_url):
        return
    known = origin.journal_version()
    if known is not None and known > journal.version:
        report.problems.append(
            f"{path} was inferred from version {known} of the journal, which ends at "
            f"{journal.version}: restore the journal from a copy"
        )
    elif origin.revision != _revision(journal):
        report.notes.append(
            f"{path} is older than the graph: the next `catalograph ingest` or `catalograph "
            "schema infer` brings it up to date"
        )


def _revision(journal: Journal) -> str:
    try:
        return journal.revision
    except CatalographError:
        return ""


def _check_edited(file: EditedFile, report: Verification) -> None:
    """Tell an edit, which is a remark, from damage, which is a problem."""
    path = file.path
    if not path.exists():
        return
    examination = examine(path.read_bytes())
    if examination.condition is Condition.DAMAGED:
        report.problems.append(
            f"{path} looks damaged ({examination.damage}): {file.restore}; if you changed it "
            f"yourself, {file.accept}"
        )
    elif examination.condition is Condition.EDITED:
        report.notes.append(f"{path} was edited since Catalograph wrote it: {file.accept}")
    elif examination.condition is Condition.UNSTAMPED:
        report.notes.append(f"{path} has no checksum, so that damage to it would not be found")
