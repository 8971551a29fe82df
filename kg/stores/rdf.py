"""The RDF store: an Oxigraph quad store, the projection of a journal."""

from __future__ import annotations

from pathlib import Path

from kg.sparql import select
from kg.store import QueryResult
from kg.stores.journaled import JournaledStore
from kg.stores.rdf_graph import FOLDER, OxigraphGraph, wipe
from kg.stores.rdf_terms import PREFIXES


class RdfStore(JournaledStore):
    """A folder with ``graph.oxigraph`` (the quads), ``journal/`` (the truth) and ``lock``."""

    scheme = "rdf"

    @staticmethod
    def there(folder: Path) -> bool:
        """Whether the folder has a graph."""
        return (folder / FOLDER).exists()

    @staticmethod
    def open_graph(folder: Path, read_only: bool = False) -> OxigraphGraph:
        """The folder's graph."""
        return OxigraphGraph(folder, read_only=read_only)

    def sparql(self, text: str, timeout: float = 30.0) -> QueryResult:
        """A read-only SPARQL query; ``timeout`` in seconds."""
        return select(self.folder / FOLDER, text, PREFIXES, timeout)

    @staticmethod
    def wipe(folder: Path) -> None:
        """Delete the graph; the journal stays."""
        wipe(folder)
