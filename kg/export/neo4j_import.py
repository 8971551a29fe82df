"""Export for ``neo4j-admin database import``: CSV files with typed headers, and a script.

The imported database is the same property graph that the Neo4j store writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kg.export.selection import Selection
from kg.stores.property_graph import ITEM_PROPERTIES, RELATIONSHIP_PROPERTIES
from kg.stores.sorting import Distinct

ARRAY_DELIMITER = "\x1f"
"""Separates an item's images: ASCII's unit separator, which no path contains."""

TYPED_NAMES = {
    "id": "id:ID(Item)",
    "images": "images:string[]",
    "row": "row:long",
    "confidence": "confidence:double",
}
ITEM_HEADER = (*(TYPED_NAMES.get(name, name) for name in ITEM_PROPERTIES), ":LABEL")
VALUE_HEADER = ("text:ID(Value)", ":LABEL")
EDGE_HEADER = (
    ":START_ID(Item)",
    ":END_ID(Value)",
    *(name if name == "id" else TYPED_NAMES.get(name, name) for name in RELATIONSHIP_PROPERTIES),
    ":TYPE",
)
ARROW_TYPES = {"row:long": pa.int64(), "confidence:double": pa.float64()}

# Values may have line breaks; and a backslash before a quote must not escape it, as it would in the
# legacy style.
IMPORT_OPTIONS = (
    "--nodes=items.csv",
    "--nodes=values.csv",
    "--relationships=statements.csv",
    "--id-type=string",
    "--array-delimiter=U+001F",
    "--multiline-fields=true",
    "--legacy-style-quoting=false",
)
IMPORT_SCRIPT = f"""#!/bin/sh
# Loads this folder into a new Neo4j database: ./import.sh [DATABASE]
cd "$(dirname "$0")" || exit 1
exec neo4j-admin database import full {" ".join(IMPORT_OPTIONS)} "${{1:-neo4j}}"
"""


def write_neo4j(selection: Selection, folder: Path) -> None:
    """Write ``items.csv``, ``values.csv``, ``statements.csv``, and ``import.sh`` to load them."""
    item_columns = map(_item_columns, selection.item_batches())
    _write_csv(folder / "items.csv", ITEM_HEADER, item_columns)
    with Distinct() as values:
        # The values are collected while the statements are read, so their file comes afterwards.
        edge_columns = _edge_columns(selection, values)
        _write_csv(folder / "statements.csv", EDGE_HEADER, edge_columns)
        value_columns = (_with_label([texts], "Value") for texts in values.batches())
        _write_csv(folder / "values.csv", VALUE_HEADER, value_columns)
    script = folder / "import.sh"
    script.write_text(IMPORT_SCRIPT, encoding="utf-8")
    script.chmod(0o755)


def _item_columns(batch: pa.RecordBatch) -> list[pa.Array]:
    """Return the columns of ITEM_HEADER; the first image also has a column of its own."""
    images = batch["images"]
    has_images = pc.greater(pc.list_value_length(images), 0)
    # list_element fails on empty lists, so they get an element that is dropped afterwards.
    padded = pc.if_else(has_images, images, pa.scalar([""], images.type))
    first_image = pc.if_else(has_images, pc.list_element(padded, 0), None)
    all_images = pc.if_else(has_images, pc.binary_join(images, ARRAY_DELIMITER), None)
    columns = {
        **{name: batch[name] for name in batch.schema.names},
        "image": first_image,
        "images": all_images,
    }
    return _with_label([columns[name] for name in ITEM_PROPERTIES], "Item")


def _edge_columns(selection: Selection, values: Distinct) -> Iterator[list[pa.Array]]:
    """Yield the columns of EDGE_HEADER, and collect the values that they lead to."""
    for batch in selection.statement_batches():
        values.add(batch["value"])
        columns = [batch[name] for name in ("item", "value", *RELATIONSHIP_PROPERTIES)]
        yield _with_label(columns, "HAS")


def _with_label(columns: list[pa.Array], label: str) -> list[pa.Array]:
    return [*columns, pa.repeat(label, len(columns[0]))]


def _write_csv(path: Path, header: tuple[str, ...], batches: Iterable[list[pa.Array]]) -> None:
    """Write a CSV file in which every text is quoted.

    A null is an empty cell without quotes, so that it differs from an empty text.
    """
    from pyarrow.csv import CSVWriter

    schema = pa.schema([(name, ARROW_TYPES.get(name, pa.string())) for name in header])
    with CSVWriter(path, schema) as writer:
        for columns in batches:
            writer.write_batch(pa.record_batch(columns, schema=schema))
