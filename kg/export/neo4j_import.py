"""Export for ``neo4j-admin database import``: the property graph that the Neo4j store writes, as CSV with typed headers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kg.export.selection import Chosen
from kg.stores.sorting import Distinct
from kg.stores.tables import STATEMENT_SCHEMA

SEPARATOR = "\x1f"
"""Between an item's images: ASCII's own unit separator, which no path has."""
ITEMS = ("id:ID(Item)", "title", "category", "image", "images:string[]", ":LABEL")
VALUES = ("text:ID(Value)", ":LABEL")
ABOUT = tuple(name for name in STATEMENT_SCHEMA.names if name not in ("item", "value"))
HAS = (
    ":START_ID(Item)",
    ":END_ID(Value)",
    *({"row": "row:long", "confidence": "confidence:double"}.get(n, n) for n in ABOUT),
    ":TYPE",
)
OPTIONS = (
    "--nodes=items.csv",
    "--nodes=values.csv",
    "--relationships=statements.csv",
    "--id-type=string",
    "--array-delimiter=U+001F",
    "--multiline-fields=true",
    "--legacy-style-quoting=false",
)
SCRIPT = f"""#!/bin/sh
# Loads this folder into a new Neo4j database: ./import.sh [DATABASE]
cd "$(dirname "$0")" || exit 1
exec neo4j-admin database import full {" ".join(OPTIONS)} "${{1:-neo4j}}"
"""


def write_neo4j(chosen: Chosen, folder: Path) -> None:
    """``items.csv``, ``values.csv``, ``statements.csv`` and ``import.sh``, which says how they are loaded."""
    _write(folder / "items.csv", ITEMS, map(_items, chosen.item_batches()))
    with Distinct() as values:
        _write(folder / "statements.csv", HAS, _edges(chosen, values))
        _write(
            folder / "values.csv",
            VALUES,
            (_labelled([texts], "Value") for texts in values.batches()),
        )
    script = folder / "import.sh"
    script.write_text(SCRIPT, encoding="utf-8")
    script.chmod(0o755)


def _items(batch: pa.RecordBatch) -> list[pa.Array]:
    """The first image on its own as well: what the Neo4j store keeps of an item."""
    images = batch["images"]
    some = pc.greater(pc.list_value_length(images), 0)
    first = pc.list_element(pc.if_else(some, images, pa.scalar([""], images.type)), 0)
    joined = pc.binary_join(images, SEPARATOR)
    return _labelled(
        [
            batch["id"],
            batch["title"],
            batch["category"],
            pc.if_else(some, first, None),
            pc.if_else(some, joined, None),
        ],
        "Item",
    )


def _edges(chosen: Chosen, values: Distinct) -> Iterator[list[pa.Array]]:
    for batch in chosen.statement_batches():
        values.add(batch["value"])
        yield _labelled([batch[name] for name in ("item", "value", *ABOUT)], "HAS")


def _labelled(columns: list[pa.Array], label: str) -> list[pa.Array]:
    return [*columns, pa.repeat(label, len(columns[0]))]


def _write(path: Path, header: tuple[str, ...], parts: Iterable[list[pa.Array]]) -> None:
    """Every text in quotes and nothing where there is none, so that an empty text is not an absent one."""
    from pyarrow.csv import CSVWriter

    types = {"row:long": pa.int64(), "confidence:double": pa.float64()}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in header])
    with CSVWriter(path, schema) as writer:
        for columns in parts:
            writer.write_batch(pa.record_batch(columns, schema=schema))
