"""The list of formats in which a graph can be exported.

To add one, put a module into this folder with a function that writes a
:class:`kg.export.selection.Selection` to a path, and add its line to ``EXPORT_FORMATS``. Nothing
else has to change: ``catalograph export`` offers what is listed here.

This module loads no format's own module, so that the command's help stays fast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from schema.errors import UsageError
from schema.terms import TRUSTED_RANKS, Rank

if TYPE_CHECKING:
    from kg.export.selection import Selection

WIDE_CSV = "csv-wide"
"""The format of ``export --format csv --wide``."""

ExportWriter: TypeAlias = "Callable[[Selection, Path], None]"


@dataclass(frozen=True)
class ExportFormat:
    """A format: its name, and the module of this package and the function that write it.

    The function gets a path that does not exist yet, or an empty folder if the format consists of
    several files. ``default_ranks`` are exported if the user chooses no ranks; () stands for all.
    ``is_shown`` means that it has what the catalogue shows where sources differ, and not all.
    """

    name: str
    module: str
    function: str
    is_folder: bool = False
    default_ranks: tuple[Rank, ...] = ()
    is_shown: bool = False

    def load_writer(self) -> ExportWriter:
        """Import the format's module and return the function that writes it."""
        writer: ExportWriter = getattr(import_module(f"kg.export.{self.module}"), self.function)
        return writer


def _shown(name: str, module: str, function: str, is_folder: bool = False) -> ExportFormat:
    """Return a format of what counts as true."""
    return ExportFormat(name, module, function, is_folder, TRUSTED_RANKS, is_shown=True)


_FORMATS = (
    ExportFormat("ttl", "rdf", "write_turtle"),
    ExportFormat("nt", "rdf", "write_ntriples"),
    ExportFormat("nq", "rdf", "write_nquads"),
    ExportFormat("jsonld", "jsonld", "write_jsonld"),
    ExportFormat("csv", "tables", "write_csv", is_folder=True),
    # Tables of items have no room for ranks and sources, so that what is in them counts as true.
    _shown(WIDE_CSV, "wide", "write_wide_csv"),
    _shown("xlsx", "xlsx", "write_xlsx"),
    _shown("google-merchant", "google_merchant", "write_google_merchant"),
    _shown("shopify", "shopify", "write_shopify"),
    ExportFormat("parquet", "tables", "write_parquet", is_folder=True),
    ExportFormat("graphml", "graphml", "write_graphml"),
    # PyKEEN treats every triple as true.
    _shown("pykeen", "tables", "write_pykeen", is_folder=True),
    ExportFormat("neo4j-import", "neo4j_import", "write_neo4j", is_folder=True),
)

EXPORT_FORMATS = {each.name: each for each in _FORMATS}


def find_export_format(name: str) -> ExportFormat:
    """Return the format of that name; raise UsageError if there is none."""
    try:
        return EXPORT_FORMATS[name]
    except KeyError:
        names = ", ".join(EXPORT_FORMATS)
        raise UsageError(f"no export format {name!r}: use one of {names}") from None
