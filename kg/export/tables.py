"""Export as tables: items and statements as CSV or Parquet, and triples for PyKEEN."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kg.export.selection import Selection
from kg.stores.sorting import sorted_batches
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA, TRIPLE_SCHEMA

CSV_IMAGE_SEPARATOR = "|"
"""Separates an item's images in a CSV cell."""

FLAT_ITEM_SCHEMA = pa.schema(
    [pa.field("images", pa.string()) if field.name == "images" else field for field in ITEM_SCHEMA]
)


def write_csv(selection: Selection, folder: Path) -> None:
    """Write ``items.csv`` and ``statements.csv``.

    Every text is quoted, so an empty cell without quotes is null and not an empty text. A text that
    a spreadsheet would run as a formula has an apostrophe before it, which an ingest takes off.
    """
    items = map(_join_images, selection.item_batches())
    safe_items = map(selection.for_spreadsheets, items)
    _write_csv(safe_items, FLAT_ITEM_SCHEMA, folder / "items.csv")
    safe_statements = map(selection.for_spreadsheets, selection.statement_batches())
    _write_csv(safe_statements, STATEMENT_SCHEMA, folder / "statements.csv")


def write_parquet(selection: Selection, folder: Path) -> None:
    """Write ``items.parquet`` and ``statements.parquet``."""
    _write_parquet(selection.item_batches(), ITEM_SCHEMA, folder / "items.parquet")
    _write_parquet(selection.statement_batches(), STATEMENT_SCHEMA, folder / "statements.parquet")


def write_pykeen(selection: Selection, folder: Path) -> None:
    """Write ``triples.tsv`` with the columns head, relation and tail.

    It has what models learn: texts in other languages than the catalogue's are left out.
    A text that contains a tab, a quote or a line break is quoted, as pandas reads it for PyKEEN.
    """
    triples = (
        batch.filter(pc.is_null(batch["language"])).select(TRIPLE_SCHEMA.names)
        for batch in selection.shown_batches()
    )
    with (folder / "triples.tsv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        for batch in sorted_batches(triples, TRIPLE_SCHEMA, by=TRIPLE_SCHEMA.names):
            columns = (column.to_pylist() for column in batch.columns)
            writer.writerows(zip(*columns, strict=True))


def _write_csv(batches: Iterator[pa.RecordBatch], schema: pa.Schema, path: Path) -> None:
    from pyarrow.csv import CSVWriter

    with CSVWriter(path, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _write_parquet(batches: Iterator[pa.RecordBatch], schema: pa.Schema, path: Path) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)


def _join_images(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return an item batch whose images are one text each, null if there are none."""
    joined = pc.binary_join(batch["images"], CSV_IMAGE_SEPARATOR)
    images = pc.if_else(pc.equal(joined, ""), None, joined)
    columns = [images if name == "images" else batch[name] for name in ITEM_SCHEMA.names]
    return pa.record_batch(columns, names=ITEM_SCHEMA.names)
