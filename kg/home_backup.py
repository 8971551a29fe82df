"""A copy of a home, made while others use it, that is a home itself.

The graph and the records of the ledger have to fit each other, whenever the copy is made. So the
writer's lock of the store is held while the journal and the graph are copied, and then the ledger:
a change is written to the ledger first, then to the graph. What the copy has of both is what a
process that was killed at that moment would have left, and every command goes on from there.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kg.home import LEDGER, Home
from kg.home_settings import HomeSettings
from kg.model_lock import LOCKS
from kg.stores.graph_files import copy_file
from kg.stores.journal import LINK
from kg.stores.lock import StoreLock
from kg.stores.open import journaled_files
from schema.errors import GraphNotFoundError, StoreError, StoreLockedError, UsageError
from schema.files import WorkingFolder, sync
from schema.manifests import MANIFEST, manifest_problems
from schema.progress import ProgressCallback, no_progress

WAIT_SECONDS = 60.0
"""How long a writer is waited for."""
LOCK_FILE = "lock"
_LEFT_OUT = ("cache",)
"""Folders of a home that are made again."""
_TRIES = 3
"""How often a model that changes meanwhile is copied."""


@dataclass
class BackupReport:
    """What was copied.

    Attributes:
        folder: the copy
        files, bytes: how many files it has, and their size
        models: the models that it has
        locked_seconds: how long nobody else could write
        seconds: how long it took
        left_out: what it lacks, and why, one line each
    """

    folder: str
    files: int = 0
    bytes: int = 0
    models: list[str] = field(default_factory=list)
    locked_seconds: float = 0.0
    seconds: float = 0.0
    left_out: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def back_up(
    home: Home,
    folder: Path,
    *,
    wait: float = WAIT_SECONDS,
    progress: ProgressCallback = no_progress,
) -> BackupReport:
    """Copy a home into a new folder, completely or not at all.

    Others read it meanwhile; who writes waits for the time that graph and ledger take, and is
    waited for ``wait`` seconds. The ledger of a server becomes a file in the copy, and a journal on
    an object store a folder; a graph that is not in the home is left out. Raises UsageError if the
    folder is there already, StoreLockedError if somebody else writes all the time, and StoreError
    if the disk is full.
    """
    began = time.monotonic()
    folder = Path(folder).absolute()
    if folder.exists():
        raise UsageError(f"{folder} is there already: name a folder that is not")
    if folder.is_relative_to(home.path):
        raise UsageError(f"{folder} is in the home itself: name a folder elsewhere")
    report = BackupReport(str(folder))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with WorkingFolder(folder.parent) as working:
            copy = working.path / folder.name
            copy.mkdir()
            _copy(home, copy, report, wait, progress)
            for path in (*sorted(copy.rglob("*")), copy):
                sync(path)
            # Not over what somebody else has made meanwhile.
            if folder.exists():
                raise UsageError(f"{folder} is there already: name a folder that is not")
            copy.rename(folder)
            sync(folder.parent)
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise StoreError(
            f"the home cannot be copied to {folder} ({reason}): check the folder and free space"
        ) from None
    report.seconds = round(time.monotonic() - began, 3)
    return report


def _copy(
    home: Home, copy: Path, report: BackupReport, wait: float, progress: ProgressCallback
) -> None:
    files = journaled_files(home.store_url)
    if files is not None and files.shared is not None:
        # It fetches what other homes have written so far, or says that it cannot.
        with suppress(GraphNotFoundError):
            home.store(read_only=True).close()
    inside = files is not None and files.folder.is_relative_to(home.path)
    entries = [
        path
        for path in sorted(home.path.iterdir())
        if path.name not in _LEFT_OUT
        and path != home.models
        and not path.name.startswith((".", home.ledger_path.name))
    ]
    lock = _lock(files.folder, wait) if files is not None and inside else None
    locked = time.monotonic()
    try:
        # The graph comes before the ledger, see above.
        store = files.folder if files is not None and inside else None
        entries.sort(key=lambda path: store is None or not store.is_relative_to(path))
        for number, path in enumerate(entries):
            progress(number, len(entries))
            _copy_path(path, copy / path.name, report)
            if number == 0:
                _copy_ledger(home, copy, report)
    finally:
        if lock is not None:
            lock.release()
            report.locked_seconds = round(time.monotonic() - locked, 3)
    if store is None:
        report.left_out.append(f"the graph, which is in {home.store_url}: back it up there")
    elif files is not None and files.shared is not None:
        report.left_out.append(
            f"that the home follows {files.shared.url}: the copy has a journal of its own, up to "
            f"version {files.journal.version}; `init --journal` lets it follow again"
        )
    if home.has_ledger_server:
        with HomeSettings(copy).changing() as settings:
            settings.pop(LEDGER, None)
    for folder in sorted(home.models.iterdir()) if home.models.is_dir() else ():
        _copy_model(folder, copy / home.models.name / folder.name, report)
    (copy / home.models.name).mkdir(exist_ok=True)
    (copy / home.cache.name).mkdir(exist_ok=True)


def _lock(folder: Path, wait: float) -> StoreLock:
    try:
        return StoreLock(folder / LOCK_FILE, wait)
    except StoreLockedError as error:
        raise StoreLockedError(f"{error} (or wait longer: --wait)") from None


def _copy_ledger(home: Home, copy: Path, report: BackupReport) -> None:
    target = copy / home.ledger_path.name
    if home.has_ledger_server:
        from schema.ledger import Ledger

        with home.ledger() as ledger, Ledger(f"sqlite:///{target}") as file:
            ledger.copy_to(file)
    elif home.ledger_path.is_file():
        # SQLite's own way to copy a file that others write.
        with (
            closing(sqlite3.connect(f"{home.ledger_path.as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(target)) as written,
        ):
            source.backup(written)
    else:
        return
    _count(target, report)


def _copy_model(folder: Path, copy: Path, report: BackupReport) -> None:
    """Copy a model's folder; one that is being trained is copied as it is, if it is whole."""
    for _ in range(_TRIES):
        part = BackupReport("")
        # A checkpoint may be removed meanwhile.
        with suppress(FileNotFoundError):
            _copy_path(folder, copy, part)
            manifests = [path.parent for path in copy.rglob(MANIFEST)]
            if not any(manifest_problems(each, "") for each in manifests):
                report.files += part.files
                report.bytes += part.bytes
                if (copy / MANIFEST).is_file():
                    report.models.append(folder.name)
                return
        shutil.rmtree(copy, ignore_errors=True)
    report.left_out.append(
        f"the model {folder.name}, which changes or is damaged: `catalograph verify` tells"
    )


def _copy_path(path: Path, copy: Path, report: BackupReport) -> None:
    """Copy a file, or a folder with all that is in it; links and devices are left out."""
    if path.is_symlink() or not (path.is_dir() or path.is_file()):
        report.left_out.append(f"{path}, which is no file and no folder of its own")
    elif path.is_dir():
        copy.mkdir(parents=True, exist_ok=True)
        for each in _entries(path):
            _copy_path(each, copy / each.name, report)
    elif path.name not in (LOCK_FILE, *LOCKS, LINK):
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy_file(path, copy)
        _count(copy, report)


def _entries(folder: Path) -> Iterator[Path]:
    """Yield what is in a folder, without what others have not finished yet."""
    for path in sorted(folder.iterdir()):
        if not path.name.startswith("."):
            yield path


def _count(path: Path, report: BackupReport) -> None:
    report.files += 1
    report.bytes += path.stat().st_size
