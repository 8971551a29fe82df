"""A catalogue's home: the folder that holds its graph, ledger, ontology and models."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kg.stores.url import checked_url
from schema.errors import DataError, HomeNotFoundError
from schema.files import write_atomically
from schema.ontology import Ontology

if TYPE_CHECKING:
    from kg.snapshot import GraphSnapshot
    from kg.stores.protocol import GraphStore
    from schema.ledger import Ledger

_MARKER = "home.toml"
_MARKER_TEXT = (
    "# A Catalograph home: graph, ledger, ontology and models of one catalogue.\nformat = 1\n"
)


class Home:
    """Where things lie in a home; ``store_url`` is the store that is named, else the one that it keeps, else its own graph."""

    def __init__(self, path: Path, store: str | None = None) -> None:
        self.path = Path(path).absolute()
        self.models = self.path / "models"
        self.cache = self.path / "cache"
        self.regions = self.path / "regions"
        self.ontology_path = self.path / "ontology.toml"
        self.shapes_path = self.path / "shapes.ttl"
        self.inferred_path = self.path / "cache" / "ontology.inferred.toml"
        self.ledger_url = f"sqlite:///{self.path / 'ledger.sqlite'}"
        self.store_url = store or self._kept_store() or f"ladybug:{self.path / 'graph'}"

    @classmethod
    def open(cls, path: Path | str, create: bool = False, store: str | None = None) -> Home:
        """The home at a path. ``create`` makes it where there is none; without it HomeNotFoundError says how."""
        home = cls(Path(path), store)
        if (home.path / _MARKER).is_file():
            return home
        if not create:
            mend = f"make one with `catalograph --home {path} init`, or `ingest` a source into it"
            raise HomeNotFoundError(f"no catalogue home at {path}: {mend}")
        try:
            home.models.mkdir(parents=True, exist_ok=True)
            home.cache.mkdir(exist_ok=True)
            write_atomically(home.path / _MARKER, _MARKER_TEXT)
        except OSError as error:
            reason = f"cannot make a catalogue home at {path} ({error.strerror})"
            raise HomeNotFoundError(f"{reason}: name a folder that can be written") from None
        return home

    def keep_store(self, url: str) -> None:
        """Use a store from now on where none is named; it is kept in the home, so UsageError where its URL holds a password."""
        scheme, _, place = checked_url(url).partition(":")
        if not place.startswith("//") and place:
            # A folder in the home moves with it; another stays where it is, from wherever the home is used.
            path = Path(place).absolute()
            place = str(path.relative_to(self.path) if path.is_relative_to(self.path) else path)
        import tomli_w

        write_atomically(
            self.path / _MARKER, _MARKER_TEXT + tomli_w.dumps({"store": f"{scheme}:{place}"})
        )
        self.store_url = self._kept_store() or self.store_url

    def _kept_store(self) -> str | None:
        """The store that the home keeps; HomeNotFoundError where its file cannot be read."""
        try:
            kept: dict[str, Any] = tomllib.loads((self.path / _MARKER).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise HomeNotFoundError(
                f"{self.path / _MARKER} cannot be read ({error}): mend it, or `init` the home again"
            ) from None
        url = kept.get("store")
        if url is None:
            return None
        scheme, _, place = checked_url(str(url)).partition(":")
        return str(url) if place.startswith("//") or not place else f"{scheme}:{self.path / place}"

    def store(self, read_only: bool = False) -> GraphStore:
        """The opened graph store; close it, or use it in a ``with``."""
        from kg.stores.open import open_store

        return open_store(self.store_url, create=not read_only, read_only=read_only)

    def snapshot(self) -> GraphSnapshot:
        """Read the trusted statements of the graph. Raises DataError if it has no items."""
        from kg.snapshot import read_snapshot

        with self.store(read_only=True) as store:
            snapshot = read_snapshot(store)
        if not snapshot.items:
            raise DataError(
                f"the catalogue {self.path} has no items: load some with `catalograph ingest` first"
            )
        return snapshot

    def ledger(self) -> Ledger:
        """The ledger, brought to the newest layout."""
        from schema.ledger import Ledger

        return Ledger(self.ledger_url)

    def ontology(self) -> Ontology:
        """The home's ontology; SourceNotFoundError names the mend where nothing was ingested yet."""
        return Ontology.load(self.ontology_path)
