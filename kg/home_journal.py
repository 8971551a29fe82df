"""The journal of a home on an object store, which other homes may follow and write to as well."""

from __future__ import annotations

from dataclasses import dataclass

from kg.home import Home
from kg.stores.lock import StoreLock
from kg.stores.open import journaled_files
from schema.errors import UsageError
from schema.progress import ProgressCallback, no_progress


@dataclass(frozen=True, slots=True)
class SharedHome:
    """What a home has sent to the object store, and fetched from there, in versions."""

    sent: int = 0
    fetched: int = 0


def journal_place(home: Home) -> str | None:
    """Return the folder of the home's journal, or its URL on an object store; None without one."""
    files = journaled_files(home.store_url)
    if files is None:
        return None
    return str(files.journal.folder) if files.shared is None else files.shared.url


def check_journal(url: str) -> None:
    """Raise UsageError or StoreError if the folder of an object store cannot hold a journal.

    Nothing is made of it but an object that shows whether two writers can be told apart.
    """
    from kg.stores.object_folder import ObjectFolder
    from kg.stores.shared_journal import check_creates_once

    check_creates_once(ObjectFolder(url))


def set_journal(home: Home, url: str, progress: ProgressCallback = no_progress) -> SharedHome:
    """Keep the journal of a home in a folder of an object store from now on.

    What the home has of it is sent there and read back; where the folder holds a journal already of
    which the home's is the beginning, as that of a new home is, the home follows it. Raises
    UsageError if the store keeps no journal, follows another one, or the folder holds another
    catalogue's, and StoreError if the object store does not answer.
    """
    from kg.stores.object_folder import checked_folder_url
    from kg.stores.shared_journal import share

    url = checked_folder_url(url)
    files = journaled_files(home.store_url)
    if files is None:
        raise UsageError(
            f"the store {home.store_url} keeps no journal: only an embedded store (ladybug:PATH or "
            "rdf:PATH) does"
        )
    if files.shared is not None:
        if files.shared.url == url:
            return SharedHome()
        raise UsageError(
            f"the home follows {files.shared.url}: `catalograph backup FOLDER` makes a home with a "
            "journal of its own, which `init --journal` may send elsewhere"
        )
    lock = StoreLock(files.folder / "lock")
    try:
        if files.graph is not None and files.journal.version < 0:
            raise UsageError(
                f"{files.journal.folder} is empty, but the graph beside it is not: restore the "
                "journal from a copy, or run `catalograph salvage`"
            )
        sent = share(files.journal, url, progress)
    finally:
        lock.release()
    before = files.journal.version
    with home.store() as store:
        # The graph follows at once.
        store.counts()
    return SharedHome(sent, files.journal.version - before)
