"""Ingest: sources become items and statements of a store."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from kg.ingest.pipeline import IngestReport, ingest
    from kg.ingest.queries import ingest_queries

__all__ = [
    "IngestReport",
    "ingest",
    "ingest_queries",
]

# Names are imported when they are first used: most commands need few of these modules.
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "pipeline": ["IngestReport", "ingest"],
        "queries": ["ingest_queries"],
    },
)
