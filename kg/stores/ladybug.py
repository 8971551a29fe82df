"""The embedded store: a Ladybug property graph, the projection of a journal."""

from __future__ import annotations

from pathlib import Path

from kg.stores.graph_files import LadybugFiles, side_files
from kg.stores.journaled import JournaledStore
from kg.stores.ladybug_graph import FILE, LadybugGraph
from kg.stores.ladybug_scan import LadybugScan
from kg.stores.verification import StoreFiles


class LadybugStore(JournaledStore):
    """A folder with ``graph.lbug`` (the graph), ``journal/`` (the truth) and ``lock``."""

    scheme = "ladybug"

    @staticmethod
    def graph_files(folder: Path) -> LadybugFiles:
        """Return the files of the folder's graph."""
        return LadybugFiles(folder, FILE)

    @staticmethod
    def open_graph(path: Path, read_only: bool = False) -> LadybugGraph:
        """Open a graph."""
        return LadybugGraph(path, read_only=read_only)

    @staticmethod
    def open_scan(path: Path) -> LadybugScan:
        """Open a graph to be read from end to end."""
        return LadybugScan(path)

    @staticmethod
    def is_unfinished(path: Path) -> bool:
        """Return whether a writer in place left changes beside the graph, as version 0.1 could."""
        return any(file.stat().st_size for file in side_files(path))


def open_url(url: str, *, create: bool, read_only: bool) -> LadybugStore:
    """Open the folder that ``ladybug:PATH`` names."""
    _, _, path = url.partition(":")
    return LadybugStore(Path(path), create=create, read_only=read_only)


def store_files(url: str) -> StoreFiles:
    """Return the files of the folder that ``ladybug:PATH`` names."""
    _, _, path = url.partition(":")
    return LadybugStore.store_files(Path(path))
