"""The RDF store: an Oxigraph quad store, the projection of a journal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kg.stores.journaled import JournaledStore
from kg.stores.protocol import QueryResult
from kg.stores.rdf_graph import FOLDER, OxigraphGraph, wipe
from kg.stores.rdf_terms import PREFIXES
from kg.stores.sparql import select

if TYPE_CHECKING:
    from rdflib import Dataset


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

    def dataset(self) -> Dataset:
        """The quads in rdflib's API, to read: its default graph is all graphs as one. What is written goes through :meth:`put`.

        It shows the graph as it is now, and not what is put later.
        """
        from oxrdflib import OxigraphStore
        from pyoxigraph import Store
        from rdflib import Dataset

        return Dataset(
            store=OxigraphStore(store=Store.read_only(str(self.folder / FOLDER))),
            default_union=True,
        )

    @staticmethod
    def wipe(folder: Path) -> None:
        """Delete the graph; the journal stays."""
        wipe(folder)


def open_url(url: str, *, create: bool, read_only: bool) -> RdfStore:
    """Open the folder that ``rdf:PATH`` names."""
    _, _, path = url.partition(":")
    return RdfStore(Path(path), create=create, read_only=read_only)
