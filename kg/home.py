"""A catalogue's home: the folder that holds its graph, ledger, ontology and models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from schema.errors import HomeNotFoundError
from schema.files import write_atomically
from schema.ontology import Ontology

if TYPE_CHECKING:
    from kg.store import GraphStore
    from schema.ledger import Ledger

_MARKER = "home.toml"
_MARKER_TEXT = "# A Catalograph home: graph, ledger, ontology and models of one catalogue.\nformat = 1\n"


class Home:
    """Where things lie in a home; ``store_url`` is its own graph unless another store is named."""

    def __init__(self, path: Path, store: str | None = None) -> None:
        self.path = Path(path).absolute()
        self.models = self.path / "models"
        self.cache = self.path / "cache"
        self.regions = self.path / "regions"
        self.ontology_path = self.path / "ontology.toml"
        self.shapes_path = self.path / "shapes.ttl"
        self.inferred_path = self.path / "cache" / "ontology.inferred.toml"
        self.ledger_url = f"sqlite:///{self.path / 'ledger.sqlite'}"
        self.store_url = store or f"ladybug:{self.path / 'graph'}"

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

    def store(self, read_only: bool = False) -> GraphStore:
        """The opened graph store; close it, or use it in a ``with``."""
        from kg.store import open_store

        return open_store(self.store_url, create=not read_only, read_only=read_only)

    def ledger(self) -> Ledger:
        """The ledger, brought to the newest layout."""
        from schema.ledger import Ledger

        return Ledger(self.ledger_url)

    def ontology(self) -> Ontology:
        """The home's ontology; SourceNotFoundError names the mend where nothing was ingested yet."""
        return Ontology.load(self.ontology_path)
