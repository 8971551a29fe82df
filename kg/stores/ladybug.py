"""The embedded store: a Ladybug property graph, the projection of a journal."""

from __future__ import annotations

from pathlib import Path

from kg.stores.journaled import JournaledStore
from kg.stores.ladybug_graph import FILE, LadybugGraph, delete_files


class LadybugStore(JournaledStore):
    """A folder with ``graph.lbug`` (the graph), ``journal/`` (the truth) and ``lock``."""

    scheme = "ladybug"

    @staticmethod
    def graph_exists(folder: Path) -> bool:
        """Return whether the folder has a graph."""
        return (folder / FILE).exists()

    @staticmethod
    def open_graph(folder: Path, read_only: bool = False) -> LadybugGraph:
        """Open the folder's graph."""
        return LadybugGraph(folder, read_only=read_only)

    @staticmethod
    def delete_graph(folder: Path) -> None:
        """Delete the graph, but not the journal."""
        delete_files(folder)


def open_url(url: str, *, create: bool, read_only: bool) -> LadybugStore:
    """Open the folder that ``ladybug:PATH`` names."""
    _, _, path = url.partition(":")
    return LadybugStore(Path(path), create=create, read_only=read_only)
