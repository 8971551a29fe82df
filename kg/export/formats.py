"""A store's graph as files of other tools."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kg.export.selection import Chosen, Progress
from kg.stores.protocol import GraphStore
from schema.files import whole_file, whole_files
from schema.terms import TRUSTED_RANKS, Rank


class Format(StrEnum):
    """What a graph is written as."""

    TTL = "ttl"
    NT = "nt"
    NQ = "nq"
    JSONLD = "jsonld"
    CSV = "csv"
    PARQUET = "parquet"
    GRAPHML = "graphml"
    PYKEEN = "pykeen"
    NEO4J_IMPORT = "neo4j-import"


FOLDERS = (Format.CSV, Format.PARQUET, Format.PYKEEN, Format.NEO4J_IMPORT)
"""Formats of several files, which are written into a folder."""


@dataclass(frozen=True)
class ExportReport:
    """What was written, and in how many seconds."""

    format: str
    files: list[str]
    items: int
    statements: int
    seconds: float


def export(
    store: GraphStore,
    format: Format,
    out: Path,
    ranks: Sequence[Rank] = (),
    progress: Progress | None = None,
) -> ExportReport:
    """Write what ``store`` holds, all or nothing; raises UsageError where ``out`` is a file and should be a folder, or the reverse.

    Statements of all ranks where none is named; of trusted ones for PyKEEN, whose triples are all true.
    """
    began = time.monotonic()
    out = Path(out)
    chosen = Chosen(store, ranks or (TRUSTED_RANKS if format is Format.PYKEEN else ()), progress)
    if format in FOLDERS:
        with whole_files(out) as folder:
            _write_folder(format, chosen, folder)
            files = sorted(str(out / path.name) for path in folder.iterdir())
    else:
        with whole_file(out) as path:
            _write_file(format, chosen, path)
        files = [str(out)]
    return ExportReport(
        str(format), files, chosen.items, chosen.statements, round(time.monotonic() - began, 3)
    )


def _write_folder(format: Format, chosen: Chosen, folder: Path) -> None:
    from kg.export import neo4j_import, tables

    if format is Format.CSV:
        tables.write_csv(chosen, folder)
    elif format is Format.PARQUET:
        tables.write_parquet(chosen, folder)
    elif format is Format.PYKEEN:
        tables.write_pykeen(chosen, folder)
    else:
        neo4j_import.write_neo4j(chosen, folder)


def _write_file(format: Format, chosen: Chosen, path: Path) -> None:
    from kg.export import graphml, jsonld, rdf

    if format is Format.NQ:
        rdf.write_quads(chosen, path)
    elif format is Format.JSONLD:
        jsonld.write_jsonld(chosen, path)
    elif format is Format.GRAPHML:
        graphml.write_graphml(chosen, path)
    else:
        rdf.write_triples(chosen, path, turtle=format is Format.TTL)
