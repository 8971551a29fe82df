"""The index of a home: where it is, what it was made from, and whether that has changed since."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kg.snapshot import read_snapshot
from kg.source_conflicts import conflicts_of
from kg.stores.lock import StoreLock
from kg.stores.touched import touched_since
from schema.errors import DataError, StoreError
from schema.files import atomic_folder
from schema.ontology import Ontology
from schema.progress import ProgressCallback, no_progress
from schema.terms import TRUSTED_RANKS
from serving.search import building, database
from serving.search.building import Changed
from serving.search.database import read_known, sqlite_errors
from serving.search.documents import DocumentReader, SearchedItem, items_of

if TYPE_CHECKING:
    from kg.home import Home
    from kg.stores.protocol import GraphStore

FOLDER = "search"
MAX_CAUGHT_UP = 500
"""Changed items that a search indexes itself, which takes a second at most."""
_NAME = re.compile(r"index-(\d{1,9})\.sqlite")


def index_folder(home: Home) -> Path:
    """Return the folder of a home's index."""
    return home.path / FOLDER


def newest_index(folder: Path) -> Path | None:
    """Return the file of the newest complete index in a folder; None if there is none."""
    found = list(_numbered(folder))
    return max(found)[1] if found else None


def _numbered(folder: Path) -> Iterator[tuple[int, Path]]:
    if folder.is_dir():
        for path in folder.iterdir():
            match = _NAME.fullmatch(path.name)
            if match:
                yield int(match[1]), path


@dataclass(frozen=True)
class Made:
    """What an index was made from: a store at a revision, with an ontology."""

    format: int
    store: str
    revision: str
    ontology: str

    @classmethod
    def now(cls, home: Home, store: GraphStore, ontology: Ontology | None) -> Made:
        """Return what an index of a home would be made from now."""
        return cls(
            database.FORMAT,
            home.relative_url(home.store_url),
            store.revision(),
            "" if ontology is None else reading_digest(ontology),
        )

    @classmethod
    def read(cls, connection: sqlite3.Connection) -> Made:
        """Return what an index was made from."""
        made = read_known(connection, "made", {})
        return cls(
            int(made.get("format", 0)),
            str(made.get("store", "")),
            str(made.get("revision", "")),
            str(made.get("ontology", "")),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "format": self.format,
            "store": self.store,
            "revision": self.revision,
            "ontology": self.ontology,
        }

    def differs(self, other: Made) -> str:
        """Say what another one has that this has not; an empty text if they are the same."""
        if self.format != other.format:
            return "it was made by another version of Catalograph"
        if self.store != other.store:
            return f"it was made of {self.store}"
        if self.ontology != other.ontology:
            return "ontology.toml has changed since"
        if not other.revision:
            return "the store does not say whether it has changed since"
        if self.revision != other.revision:
            return "the graph has changed since"
        return ""


def reading_digest(ontology: Ontology) -> str:
    """Return a hash of how an ontology has values read; counts, which every ingest changes, apart.

    What another spelling of a value changes is noticed by the items that have it.
    """
    readings = [
        (name, spec.reading, spec.case_sensitive, sorted(spec.synonyms.items()))
        for name, spec in ontology.properties.items()
    ]
    return sha256(repr(readings).encode()).hexdigest()[:32]


def index_home(
    home: Home, *, anew: bool = False, progress: ProgressCallback = no_progress
) -> Changed:
    """Index what has changed in a home since it was indexed last, or all of it.

    A killed call leaves the index as it was. Raises DataError if the home has no items.
    """
    folder = index_folder(home)
    folder.mkdir(parents=True, exist_ok=True)
    with _writing(folder):
        ontology = home.ontology_or_none()
        with home.store(read_only=True) as store:
            made = Made.now(home, store, ontology)
            snapshot = read_snapshot(store, ontology=ontology, details=True)
        if not snapshot.items:
            raise DataError(
                f"the catalogue {home.path} has no items: load some with `catalograph ingest`"
            )
        items = list(items_of(snapshot))
        del snapshot
        reader = DocumentReader(ontology)
        known = {"made": made.as_dict()}
        path = newest_index(folder)
        if path is not None and not anew:
            with closing(database.connect(path, write=True)) as connection, sqlite_errors(path):
                old = Made.read(connection)
                if (old.format, old.ontology) == (made.format, made.ontology):
                    difference = building.difference_of(connection, items)
                    if not building.is_to_be_built_anew(connection, difference.size):
                        connection.execute("PRAGMA journal_mode = WAL")
                        return building.update(connection, difference, reader, known, progress)
        return _build(folder, items, reader, known, progress)


def _build(
    folder: Path,
    items: Sequence[SearchedItem],
    reader: DocumentReader,
    known: dict[str, Any],
    progress: ProgressCallback,
) -> Changed:
    """Make an index in a new file, and remove the older ones."""
    older = dict(_numbered(folder))
    name = f"index-{max(older, default=0) + 1}.sqlite"
    with atomic_folder(folder) as working:
        changed = building.build(working / name, items, reader, known, progress)
    for path in older.values():
        path.unlink(missing_ok=True)
    # Also those of indices that somebody opened while they were removed.
    for path in folder.glob("index-*.sqlite-*"):
        if not path.with_name(path.name.rpartition("-")[0]).exists():
            path.unlink(missing_ok=True)
    return changed


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Keep other processes from writing the index."""
    lock = StoreLock(folder / database.LOCK)
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True)
class Freshness:
    """Whether an index is up to date.

    Attributes:
        stale: why it is not; an empty text if it is
        caught_up: how many changed items were indexed to make it so
        items: the ids of those that may have changed
    """

    stale: str = ""
    caught_up: int = 0
    items: tuple[str, ...] = ()


def catch_up(home: Home, path: Path) -> Freshness:
    """Index the few items that have changed since, and say why an index is stale if it stays so."""
    ontology = home.ontology_or_none()
    with home.store(read_only=True) as store:
        with closing(database.connect(path)) as connection, sqlite_errors(path):
            old = Made.read(connection)
        now = Made.now(home, store, ontology)
        reason = old.differs(now)
        if not reason or old.format != now.format or old.store != now.store:
            return Freshness(reason)
        if old.ontology != now.ontology or not now.revision:
            return Freshness(reason)
        try:
            ids = _touched(store, old.revision)
            if ids is None:
                return Freshness(reason)
            with _writing(path.parent):
                return _index_touched(store, ontology, path, ids, now)
        except (StoreError, LookupError, OSError):
            # Such as a writer at work, or a disk that cannot be written.
            return Freshness(reason)


def _touched(store: GraphStore, revision: str) -> list[str] | None:
    """Return the items that have changed since a revision; None if they are unknown or many."""
    found = touched_since(store, revision)
    if found is None:
        return None
    ids: dict[str, None] = {}
    for part in found:
        ids.update(dict.fromkeys(part.to_pylist()))
        if len(ids) > MAX_CAUGHT_UP:
            return None
    return list(ids)


def _index_touched(
    store: GraphStore, ontology: Ontology | None, path: Path, ids: Sequence[str], now: Made
) -> Freshness:
    items = read_items(store, ontology, ids)
    gone = set(ids) - {item.id for item in items}
    with closing(database.connect(path, write=True)) as connection, sqlite_errors(path):
        connection.execute("PRAGMA journal_mode = WAL")
        difference = building.difference_of(connection, items, gone)
        building.update(connection, difference, DocumentReader(ontology), {"made": now.as_dict()})
    return Freshness(caught_up=difference.size, items=tuple(ids))


def read_items(
    store: GraphStore, ontology: Ontology | None, ids: Sequence[str]
) -> list[SearchedItem]:
    """Return the items with these ids as a snapshot would have them; those that exist."""
    rows = store.rows_about(ids)
    statements: dict[str, list[dict[str, Any]]] = {id: [] for id in rows.items}
    for row in rows.statements.values():
        if row["rank"] in TRUSTED_RANKS and row.get("language") is None:
            statements.setdefault(row["item"], []).append(row)
    found = []
    for id, item in rows.items.items():
        own = statements[id]
        pairs = {(row["property"], row["value"]) for row in own}
        if ontology is not None:
            for conflict in conflicts_of(item, own, ontology, store.order):
                pairs -= {(row["property"], row["value"]) for row in conflict.losing}
            pairs = {(name, ontology.shown(name, value)) for name, value in pairs}
        found.append(
            SearchedItem(
                id,
                item["title"] or "",
                item["category"] or "",
                item["description"] or "",
                tuple(sorted(pairs)),
            )
        )
    return found
