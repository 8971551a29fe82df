"""Export as tables: items and statements as CSV or Parquet, triples as PyKEEN reads them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kg.export.selection import Chosen
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA

IMAGES = "|"
"""What separates an item's images in a CSV cell."""


def write_csv(chosen: Chosen, folder: Path) -> None:
    """``items.csv`` and ``statements.csv``; every text is quoted, and a cell without anything is null."""
    flat = pa.schema(
        [
            field if field.name != "images" else pa.field("images", pa.string())
            for field in ITEM_SCHEMA
        ]
    )
    _write_csv(map(_joined, chosen.item_batches()), flat, folder / "items.csv")
    _write_csv(chosen.statement_batches(), STATEMENT_SCHEMA, folder / "statements.csv")


def write_parquet(chosen: Chosen, folder: Path) -> None:
    """``items.parquet`` and ``statements.parquet``."""
    import pyarrow.parquet as pq

    for batches, schema, name in (
        (chosen.item_batches(), ITEM_SCHEMA, "items"),
        (chosen.statement_batches(), STATEMENT_SCHEMA, "statements"),
    ):
        with pq.ParquetWriter(folder / f"{name}.parquet", schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)


def write_pykeen(chosen: Chosen, folder: Path) -> None:
    """``triples.tsv``: head, relation, tail, quoted where a text holds a tab, a quote or the end of a line."""
    with (folder / "triples.tsv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        for batch in chosen.statement_batches():
            writer.writerows(
                zip(
                    *(batch[name].to_pylist() for name in ("item", "property", "value")),
                    strict=True,
                )
            )


def _write_csv(batches: Iterator[pa.RecordBatch], schema: pa.Schema, path: Path) -> None:
    from pyarrow.csv import CSVWriter

    with CSVWriter(path, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _joined(batch: pa.RecordBatch) -> pa.RecordBatch:
    """An item batch whose images are one text."""
    names = pc.binary_join(batch["images"], IMAGES)
    columns = [
        batch["id"],
        batch["title"],
        batch["category"],
        pc.if_else(pc.equal(names, ""), None, names),
    ]
    return pa.record_batch(columns, names=ITEM_SCHEMA.names)
