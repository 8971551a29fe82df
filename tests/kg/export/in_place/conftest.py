"""A home with a store in memory, into which sources are loaded and of which they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kg.export.in_place.export import SourceExportReport, export_source
from kg.export.source_options import SourceExport
from kg.home import Home
from kg.ingest.pipeline import ingest
from kg.stores.memory import MemoryStore
from kg.stores.tables import statements_table
from schema.terms import Provenance, Rank, Statement

Fact = tuple[str, str, str]
NOBODY = ("no such item", "colour", "red")
"""Something accepted of an item that no source has: the source is read and written for it."""


@dataclass
class Written:
    """What was written, and the report."""

    data: bytes
    report: SourceExportReport

    @property
    def text(self) -> str:
        return self.data.decode()

    @property
    def filled(self) -> dict[str, int]:
        return dict(self.report.filled.filled)

    @property
    def kept(self) -> dict[str, str]:
        """Why values of each property were not filled in."""
        return {name: why.name for name, why in self.report.filled.kept}


class Workplace:
    """A home, and what can be done with it."""

    def __init__(self, home: Home, store: MemoryStore, folder: Path) -> None:
        self.home = home
        self.graph = store
        self.folder = folder

    def load(self, data: str | bytes, name: str = "items.csv", mapping: str | None = None) -> None:
        """Ingest a file of a name; the mapping is TOML."""
        path = self.folder / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        if mapping is not None:
            (self.folder / "mapping.toml").write_text(mapping)
        ingest(
            self.home,
            [path],
            mapping=None if mapping is None else str(self.folder / "mapping.toml"),
            max_rejects="50%",
        )

    def accept(self, facts: Iterable[Fact], rank: Rank = Rank.ACCEPTED) -> None:
        """Put statements of a rank into the store."""
        statements = [
            Statement(item, property, value, rank, Provenance("review", confidence=0.9))
            for item, property, value in facts
        ]
        self.graph.put(None, statements_table(statements))

    def write(self, options: SourceExport = SourceExport(), name: str = "out") -> Written:  # noqa: B008
        """Export a source."""
        out = self.folder / name
        report = export_source(self.home, out, options)
        return Written(out.read_bytes() if out.is_file() else b"", report)

    def fill(
        self,
        data: str | bytes,
        facts: Iterable[Fact],
        name: str = "items.csv",
        mapping: str | None = None,
    ) -> Written:
        """Ingest a file, accept statements, and write it again."""
        self.load(data, name, mapping)
        self.accept(facts)
        return self.write()

    def facts(self) -> set[tuple[str, str, str, str]]:
        """Return the statements of the store: item, property, value and rank."""
        rows = (row for batch in self.graph.scan() for row in batch.to_pylist())
        return {(row["item"], row["property"], row["value"], row["rank"]) for row in rows}


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Workplace]:
    """Return a function that makes a workplace of its own at every call."""
    current: list[MemoryStore] = []
    monkeypatch.setattr(Home, "store", lambda self, read_only=False: current[-1])
    monkeypatch.setattr("kg.ingest.pipeline.refresh_ontology", lambda home, store: None)

    def workplace() -> Workplace:
        folder = tmp_path / f"place{len(current)}"
        folder.mkdir()
        current.append(MemoryStore())
        return Workplace(Home.open(folder / "home", create=True), current[-1], folder)

    return workplace


@pytest.fixture
def place(make: Callable[[], Workplace]) -> Workplace:
    """A workplace."""
    return make()
