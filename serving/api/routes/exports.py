"""Files of the catalogue: for other tools, or a source's own file with what was accepted in it."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from kg.export.formats import WIDE_CSV
from kg.export.in_place.export import export_source, kept_form
from kg.export.separators import Separators
from kg.export.source_options import SourceExport
from kg.export.write import export as write
from schema.errors import DataError
from serving.api.authentication import Reader
from serving.api.catalogue import ServedCatalogue
from serving.api.parameters import Catalogue
from serving.api.problems import EVERYWHERE, documented

router = APIRouter(prefix="/v2", tags=["export"], responses=EVERYWHERE)
NOTES = "Catalograph-Notes"
"""The header with a JSON list of what a user should know of a file."""


class FileFormat(StrEnum):
    """The formats of a single file."""

    CSV = "csv"
    XLSX = "xlsx"
    JSONLD = "jsonld"
    TTL = "ttl"
    NQ = "nq"
    GRAPHML = "graphml"
    GOOGLE_MERCHANT = "google-merchant"
    SHOPIFY = "shopify"
    SOURCE = "source"


_UNSAFE = re.compile(r"[^\w. -]")
_ENDINGS = {
    FileFormat.CSV: ".csv",
    FileFormat.GOOGLE_MERCHANT: ".tsv",
    FileFormat.SHOPIFY: ".csv",
}


@router.get(
    "/export",
    response_class=FileResponse,
    responses={200: {"content": {"application/octet-stream": {}}}, **documented(409)},
)
def export(
    catalogue: Catalogue,
    _: Reader,
    format: FileFormat = FileFormat.CSV,
    source: Annotated[
        str | None,
        Query(max_length=200, description="With `source`: which one, if there are several"),
    ] = None,
) -> FileResponse:
    """Return the catalogue as a file.

    `source` is the file that was last read of a source, in its own columns and order, with accepted
    values in its empty cells. What a user should know is in the header `Catalograph-Notes`.
    """
    folder = Path(tempfile.mkdtemp(prefix="catalograph-export-"))
    try:
        path, notes = _written(catalogue, folder, format, source)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return FileResponse(
        path,
        filename=path.name,
        media_type="application/octet-stream",
        headers={NOTES: json.dumps(notes, ensure_ascii=True)},
        background=BackgroundTask(shutil.rmtree, folder, ignore_errors=True),
    )


def _written(
    catalogue: ServedCatalogue, folder: Path, format: FileFormat, source: str | None
) -> tuple[Path, list[str]]:
    """Write a file into a folder; return it, and what a user should know."""
    home = catalogue.home
    with catalogue.exporting:
        if format is FileFormat.SOURCE:
            form = kept_form(home, source)
            if form is None:
                raise DataError(
                    "the home keeps no source's file: ingest one, or choose another format"
                )
            name = _UNSAFE.sub("_", form.source)
            ending = "" if name.endswith(form.suffixes[0]) else form.suffixes[0]
            target = folder / f"{name.lstrip('.')}{ending}"
            report = export_source(home, target, SourceExport(form.source))
            return target, list(report.filled.lines())
        target = folder / f"catalogue{_ENDINGS.get(format, f'.{format}')}"
        with catalogue.store() as store:
            written = write(
                store,
                WIDE_CSV if format is FileFormat.CSV else str(format),
                target,
                separators=Separators.of_home(home.sources),
                ontology=home.ontology_or_none(),
            )
        return target, list(written.notes)
