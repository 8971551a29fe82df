"""Rescue what a damaged home still holds into a new home; the damaged one is only read."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kg.home import IMAGE_FOLDERS, Home
from kg.home_models import CHAMPION
from kg.home_ontology import refresh_ontology
from kg.stores.open import journaled_files
from kg.stores.salvage import Rescued, salvage_store
from kg.stores.scan_process import Limits
from schema.declared import DeclaredReadings
from schema.documents import parse_toml
from schema.errors import CatalographError, HomeNotFoundError, UsageError
from schema.files import write_atomically
from schema.ledger_salvage import salvage_ledger
from schema.manifests import MANIFEST, NETWORK, manifest_problems
from schema.ontology import Ontology
from schema.progress import ProgressCallback, no_progress
from schema.stamps import Condition, examine, repaired

REPORT = "salvage.json"
"""The file of the new home that says what was rescued, or that a salvage is not finished."""
KNOWN = (
    "home.toml",
    "graph",
    "ledger.sqlite",
    "ontology.toml",
    "ontology.inferred",
    "ontology.declared.toml",
    "shapes.ttl",
)
REMADE = ("cache", "models", "regions")


@dataclass
class SalvageReport:
    """What was rescued into a new home, what was lost, and remarks, one line each."""

    home: str
    items: Rescued = field(default_factory=Rescued)
    statements: Rescued = field(default_factory=Rescued)
    ledger: dict[str, int] = field(default_factory=dict)
    models: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the fields of the command's JSON."""
        return {
            **asdict(self),
            "items": {"rescued": self.items.total, **asdict(self.items)},
            "statements": {"rescued": self.statements.total, **asdict(self.statements)},
        }


def salvage_home(
    damaged: Path,
    new: Path,
    store: str | None = None,
    *,
    limits: Limits | None = None,
    progress: ProgressCallback = no_progress,
) -> SalvageReport:
    """Rescue a home into a new one at the path ``new``.

    ``store`` is the URL of the damaged store, if the home does not say it. Raises HomeNotFoundError
    if there is nothing to rescue, and UsageError if ``new`` has anything in it but a salvage of the
    same home that was cut off, which goes on.
    """
    began = time.monotonic()
    url = _store_url(damaged, store)
    target = _new_home(damaged, new)
    report = SalvageReport(str(target.path))
    _salvage_store(url, target, report, limits, progress)
    _salvage_ledger(damaged, target, report)
    _copy_image_folders(damaged, target)
    _copy_ontology(damaged, target, report)
    _copy_declared(damaged, target, report)
    if journaled_files(url) is not None:
        with target.store(read_only=True) as rescued:
            if rescued.counts().items:
                # With the edits, from what was rescued.
                refresh_ontology(target, rescued, accept=True)
    _copy_shapes(damaged, target, report)
    _copy_models(damaged, target, report)
    _copy_champion(damaged, target, report)
    _note_the_rest(damaged, report)
    report.seconds = round(time.monotonic() - began, 3)
    write_atomically(target.path / REPORT, _state(damaged, finished=True, report=report))
    return report


def _store_url(damaged: Path, store: str | None) -> str:
    """Return the URL of the damaged home's store."""
    if not damaged.is_dir():
        raise HomeNotFoundError(f"no catalogue home at {damaged}: name the damaged one with --home")
    try:
        url = Home(damaged, store).store_url
    except CatalographError:
        # The settings are damaged, too.
        url = _repaired_store_url(damaged)
    if not any((damaged / name).exists() for name in KNOWN) and store is None:
        raise HomeNotFoundError(
            f"nothing to rescue in {damaged}: it has none of {', '.join(KNOWN)}"
        )
    return url


def _repaired_store_url(damaged: Path) -> str:
    path = damaged.absolute()
    scheme, _, place = str(_repaired_settings(damaged).get("store", "ladybug:graph")).partition(":")
    return f"{scheme}:{place if place.startswith('//') else path / place}"


def _repaired_settings(damaged: Path) -> dict[str, Any]:
    """Return what can be read of the damaged home's settings."""
    try:
        return parse_toml(repaired((damaged / "home.toml").read_bytes()))
    except (OSError, ValueError):
        return {}


def _new_home(damaged: Path, new: Path) -> Home:
    """Create the new home, or open one into which the same home was being salvaged."""
    new = new.absolute()
    if new.resolve().is_relative_to(damaged.resolve()):
        raise UsageError(f"{new} is inside the damaged home: name a folder outside it")
    if new.exists() and (not new.is_dir() or any(new.iterdir())):
        try:
            state = json.loads((new / REPORT).read_text(encoding="utf-8"))
            may_go_on = state["source"] == str(damaged.absolute()) and not state["finished"]
        except (OSError, ValueError, KeyError, TypeError):
            may_go_on = False
        if not may_go_on:
            raise UsageError(f"{new} is not empty: name a folder that does not exist yet")
    new.mkdir(parents=True, exist_ok=True)
    # Before anything else, so that a salvage that is cut off can be told from another home.
    write_atomically(new / REPORT, _state(damaged, finished=False))
    return Home.open(new, create=True)


def _state(damaged: Path, *, finished: bool, report: SalvageReport | None = None) -> str:
    document = {
        "source": str(damaged.absolute()),
        "finished": finished,
        "report": None if report is None else report.as_dict(),
    }
    return json.dumps(document, ensure_ascii=False, indent=1)


def _salvage_store(
    url: str,
    target: Home,
    report: SalvageReport,
    limits: Limits | None,
    progress: ProgressCallback,
) -> None:
    files = journaled_files(url)
    if files is None:
        target.set_default_store(url)
        report.notes.append(
            f"the store {url} is a server and was left as it is: the new home uses it, too"
        )
        return
    if files.shared is not None:
        report.notes.append(
            f"the journal on {files.shared.url} was not read, but its copy in the damaged home; "
            "the new home has a journal of its own"
        )
    scheme = url.partition(":")[0]
    target.set_default_store(f"{scheme}:{target.path / 'graph'}")
    with target.store() as store:
        rescued = salvage_store(files, store, limits=limits, progress=progress)
    report.items = rescued.items
    report.statements = rescued.statements
    report.lost += rescued.lost
    report.notes += rescued.notes
    if rescued.items.total:
        report.notes.append(
            "the new journal begins with what was rescued: earlier versions are not in it"
        )


def _salvage_ledger(damaged: Path, target: Home, report: SalvageReport) -> None:
    path = damaged / target.ledger_path.name
    if not path.exists():
        return
    with target.ledger() as ledger:
        rescued = salvage_ledger(path, ledger)
    report.ledger = rescued.rescued
    report.lost += rescued.lost


def _copy_image_folders(damaged: Path, target: Home) -> None:
    """Let images be read from the folders from which the damaged home read them."""
    folders = _repaired_settings(damaged).get(IMAGE_FOLDERS)
    with target.settings.changing() as settings:
        if isinstance(folders, list):
            settings[IMAGE_FOLDERS] = [each for each in folders if isinstance(each, str)]
        else:
            # Then they are those of the sources in the ledger.
            settings.pop(IMAGE_FOLDERS, None)


def _copy_ontology(damaged: Path, target: Home, report: SalvageReport) -> None:
    """Copy the ontology with its edits."""
    path = damaged / target.ontology_path.name
    if path.exists():
        data = path.read_bytes()
        whole = repaired(data)
        try:
            Ontology.from_toml(whole.decode(), str(path))
        except (CatalographError, UnicodeDecodeError) as error:
            report.lost.append(f"your changes to the ontology ({error})")
        else:
            if whole != data:
                report.notes.append(f"{path} was damaged in one byte, which was restored")
            write_atomically(target.ontology_path, whole)
            inferred = damaged / target.inferred_ontologies.name
            for each in [*inferred.glob("*.toml"), damaged / "cache" / "ontology.inferred.toml"]:
                if each.is_file():
                    copy = target.path / each.relative_to(damaged)
                    copy.parent.mkdir(exist_ok=True)
                    shutil.copy2(each, copy)


def _copy_declared(damaged: Path, target: Home, report: SalvageReport) -> None:
    """Copy what mappings say of how properties are read."""
    path = damaged / target.declared_path.name
    if not path.exists():
        return
    data = path.read_bytes()
    whole = repaired(data)
    try:
        DeclaredReadings.from_toml(whole.decode(), str(path))
    except (CatalographError, UnicodeDecodeError) as error:
        report.lost.append(f"what mappings say of how columns are read ({error})")
        return
    if examine(whole).condition is Condition.DAMAGED:
        report.lost.append(f"what mappings say of how columns are read ({path} is damaged)")
        return
    if whole != data:
        report.notes.append(f"{path} was damaged in one byte, which was restored")
    write_atomically(target.declared_path, whole)


def _copy_shapes(damaged: Path, target: Home, report: SalvageReport) -> None:
    path = damaged / target.shapes_path.name
    if path.exists():
        data = path.read_bytes()
        whole = repaired(data)
        if whole != data:
            report.notes.append(f"{path} was damaged in one byte, which was restored")
        write_atomically(target.shapes_path, whole)


def _copy_models(damaged: Path, target: Home, report: SalvageReport) -> None:
    for folder in sorted(path for path in (damaged / "models").glob("*") if path.is_dir()):
        whole = [manifest.parent for manifest in _whole_manifests(folder, report)]
        copy = target.models / folder.name
        if folder in whole:
            _copy_model(folder, copy, whole)
            report.models.append(folder.name)
            continue
        for checkpoint in whole:
            shutil.copytree(checkpoint, copy / checkpoint.relative_to(folder), dirs_exist_ok=True)
    regions = damaged / target.regions.name
    if regions.is_dir():
        shutil.copytree(regions, target.regions, dirs_exist_ok=True)


def _copy_champion(damaged: Path, target: Home, report: SalvageReport) -> None:
    """Keep the champion, if its model was rescued."""
    champion = _repaired_settings(damaged).get(CHAMPION)
    if not isinstance(champion, dict):
        return
    if champion.get("name") in report.models:
        with target.settings.changing() as settings:
            settings[CHAMPION] = champion
    else:
        report.lost.append(f"the champion, {champion.get('name')}, is no whole model")


def _whole_manifests(folder: Path, report: SalvageReport) -> Iterator[Path]:
    """Yield the manifests of a model's folder whose files are whole; report the others."""
    for manifest in sorted(
        [
            *folder.glob(MANIFEST),
            *folder.glob(f"{NETWORK}/{MANIFEST}"),
            *folder.glob(f"checkpoints/*/{MANIFEST}"),
        ]
    ):
        problems = manifest_problems(manifest.parent, "it was left out")
        if problems:
            report.lost.append(problems[0])
        else:
            yield manifest


def _copy_model(folder: Path, copy: Path, whole: Sequence[Path]) -> None:
    """Copy a model's folder, with its log and those checkpoints that are whole."""

    def damaged(path: str, names: list[str]) -> list[str]:
        """Return which names in a folder are those of parts that are not whole."""
        parent = Path(path)
        if parent == folder:
            is_damaged = NETWORK in names and parent / NETWORK not in whole
            return [NETWORK] if is_damaged else []
        if parent.name != "checkpoints":
            return []
        return [name for name in names if parent / name not in whole]

    shutil.copytree(folder, copy, ignore=damaged, dirs_exist_ok=True)


def _note_the_rest(damaged: Path, report: SalvageReport) -> None:
    """Note what lies in the damaged home and was not looked at."""
    others = sorted(
        path.name for path in damaged.iterdir() if path.name not in (*KNOWN, *REMADE, REPORT)
    )
    if others:
        report.notes.append(f"not copied, as Catalograph did not write them: {', '.join(others)}")
