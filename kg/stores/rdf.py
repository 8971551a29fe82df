"""The RDF store: an Oxigraph quad store, the projection of a journal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kg.stores.graph_files import OxigraphFiles
from kg.stores.journaled import JournaledStore
from kg.stores.oxigraph_database import open_for_reading, oxigraph_errors
from kg.stores.protocol import QueryResult
from kg.stores.query_limits import DEFAULT_LIMITS, DEFAULT_SECONDS, QueryLimits
from kg.stores.rdf_graph import FOLDER, OxigraphGraph
from kg.stores.rdf_scan import OxigraphScan
from kg.stores.verification import StoreFiles

if TYPE_CHECKING:
    from rdflib import Dataset


class RdfStore(JournaledStore):
    """A folder with ``graph.oxigraph.N`` (the quads), ``journal/`` (the truth) and ``lock``."""

    scheme = "rdf"
    _graph: OxigraphGraph

    @staticmethod
    def graph_files(folder: Path) -> OxigraphFiles:
        """Return the files of the folder's graph."""
        return OxigraphFiles(folder, FOLDER)

    @staticmethod
    def open_graph(path: Path, read_only: bool = False) -> OxigraphGraph:
        """Open a graph."""
        return OxigraphGraph(path, read_only=read_only)

    @staticmethod
    def open_scan(path: Path) -> OxigraphScan:
        """Open a graph to be read from end to end."""
        return OxigraphScan(path)

    def sparql(
        self, text: str, timeout: float = DEFAULT_SECONDS, limits: QueryLimits = DEFAULT_LIMITS
    ) -> QueryResult:
        """Run a read-only SPARQL query with a time limit in seconds, and other limits."""
        return self._graph.sparql(text, timeout, limits)

    def dataset(self) -> Dataset:
        """Return the quads in rdflib's API, for reading; its default graph joins all graphs.

        The dataset shows the graph at this moment, without what is put later, and lasts as long as
        this store is open. To write, use :meth:`kg.stores.journaled.JournaledStore.put`.
        """
        from oxrdflib import OxigraphStore
        from rdflib import Dataset

        path = self._graph.path
        with oxigraph_errors(path):
            quads = open_for_reading(str(path))
        return Dataset(store=OxigraphStore(store=quads), default_union=True)


def open_url(url: str, *, create: bool, read_only: bool) -> RdfStore:
    """Open the folder that ``rdf:PATH`` names."""
    _, _, path = url.partition(":")
    return RdfStore(Path(path), create=create, read_only=read_only)


def store_files(url: str) -> StoreFiles:
    """Return the files of the folder that ``rdf:PATH`` names."""
    _, _, path = url.partition(":")
    return RdfStore.store_files(Path(path))
