"""The RDF store: an Oxigraph quad store, the projection of a journal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kg.stores.journaled import JournaledStore
from kg.stores.oxigraph_files import open_for_reading
from kg.stores.protocol import QueryResult
from kg.stores.rdf_graph import FOLDER, OxigraphGraph, delete_files
from kg.stores.sparql import query_in_child_process
from schema.iris import PREFIXES

if TYPE_CHECKING:
    from rdflib import Dataset


class RdfStore(JournaledStore):
    """A folder with ``graph.oxigraph`` (the quads), ``journal/`` (the truth) and ``lock``."""

    scheme = "rdf"

    @staticmethod
    def graph_exists(folder: Path) -> bool:
        """Return whether the folder has a graph."""
        return (folder / FOLDER).exists()

    @staticmethod
    def open_graph(folder: Path, read_only: bool = False) -> OxigraphGraph:
        """Open the folder's graph."""
        return OxigraphGraph(folder, read_only=read_only)

    @staticmethod
    def delete_graph(folder: Path) -> None:
        """Delete the graph, but not the journal."""
        delete_files(folder)

    def sparql(self, text: str, timeout: float = 30.0) -> QueryResult:
        """Run a read-only SPARQL query; ``timeout`` in seconds."""
        return query_in_child_process(self.folder / FOLDER, text, PREFIXES, timeout)

    def dataset(self) -> Dataset:
        """Return the quads in rdflib's API, for reading; its default graph joins all graphs.

        The dataset shows the graph at this moment, without what is put later. To write, use
        :meth:`kg.stores.journaled.JournaledStore.put`.
        """
        from oxrdflib import OxigraphStore
        from rdflib import Dataset

        quads = open_for_reading(str(self.folder / FOLDER))
        return Dataset(store=OxigraphStore(store=quads), default_union=True)


def open_url(url: str, *, create: bool, read_only: bool) -> RdfStore:
    """Open the folder that ``rdf:PATH`` names."""
    _, _, path = url.partition(":")
    return RdfStore(Path(path), create=create, read_only=read_only)
