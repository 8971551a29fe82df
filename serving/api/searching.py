"""The search that is served: opened once, brought up to date, made where there is none."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from kg.home import Home
from schema.errors import CatalographError, DataError, StoreError, StoreUnavailableError
from serving.search.encoders import Encoders
from serving.search.index import catch_up, index_folder, index_home, newest_index
from serving.search.opening import encode_items, encode_some, load_encoders
from serving.search.searcher import Searcher
from serving.search.settings import BUILT_IN, EncoderFolders

CATCH_UP_SECONDS = 1.0
"""The index is brought up to date at most so often."""
MAX_OWN_IMAGES = 20_000
"""Items of which a server reads the images itself, for an index that it makes."""


@dataclass(frozen=True)
class _Opened:
    """A search with the encoders that it was opened with."""

    folders: EncoderFolders
    encoders: Encoders
    searcher: Searcher


class ServedSearch:
    """The search of a home, for requests in several threads."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._folder = index_folder(home)
        self._lock = threading.Lock()
        self._opened: _Opened | None = None
        self._former: list[Searcher] = []
        self._looked = -CATCH_UP_SECONDS
        self._stale = ""

    def searcher(self) -> tuple[Searcher, str]:
        """Return the search, brought up to date, and why it is stale if it is.

        Raises StoreUnavailableError if the index is not made yet, and DataError if it cannot be.
        """
        with self._lock:
            path = newest_index(self._folder)
            if path is None:
                raise self._missing()
            if time.monotonic() - self._looked > CATCH_UP_SECONDS:
                self._catch_up(path)
            return self._current().searcher, self._stale

    def _missing(self) -> StoreUnavailableError | DataError:
        """Return why there is no index: it is being made, or cannot be."""
        if self._stale:
            return DataError(f"there is no index yet: {self._stale}")
        return StoreUnavailableError("the index is being made: try again in a moment")

    def _current(self) -> _Opened:
        """Return the search, opened anew if `index` has given it other encoders."""
        folders = EncoderFolders.read(self._folder)
        opened = self._opened
        if opened is None or opened.folders != folders:
            if opened is not None:
                # Requests may be using it.
                self._former.append(opened.searcher)
            encoders = load_encoders(self._home, folders, images=True)
            searcher = Searcher(self._folder, self._home.ontology_or_none(), encoders)
            opened = _Opened(folders, encoders, searcher)
            self._opened = opened
        return opened

    def _catch_up(self, path: Path) -> bool:
        """Index and encode the few items that have changed; return whether that was enough."""
        freshness = catch_up(self._home, path)
        self._looked = time.monotonic()
        self._stale = freshness.stale
        if freshness.items:
            try:
                encode_some(self._home, self._current().encoders, tuple(freshness.items))
            except StoreError as error:
                # Another process encodes them just now: until then words find them.
                self._stale = self._stale or str(error)
        return not freshness.stale

    def maintain(self) -> None:
        """Make the index if there is none, and make it anew where it cannot catch up."""
        try:
            path = newest_index(self._folder)
            if path is not None:
                with self._lock:
                    is_current = self._catch_up(path)
                if is_current:
                    return
            items = index_home(self._home).items
            folders = EncoderFolders.read(self._folder)
            if path is None and folders == EncoderFolders() and items <= MAX_OWN_IMAGES:
                # It needs no weights, and lets everybody search by an image.
                folders = EncoderFolders(image=Path(BUILT_IN))
                folders.write(self._folder)
            encode_items(self._home, load_encoders(self._home, folders, everything=True))
            self._stale = ""
        except CatalographError as error:
            # Such as a catalogue without items: there is nothing to search for.
            self._stale = str(error)

    def close(self) -> None:
        """Close the index."""
        with self._lock:
            opened = [] if self._opened is None else [self._opened.searcher]
            for searcher in (*self._former, *opened):
                searcher.close()
