"""Export as JSON-LD: schema.org products with ``additionalProperty``, each with its rank and provenance."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kg.export.selection import Chosen
from kg.stores import rdf_terms as terms
from kg.stores.merge import Row
from kg.stores.sorting import with_statements
from schema.context import load_context
from schema.terms import TRUSTED_RANKS


def write_jsonld(chosen: Chosen, path: Path) -> None:
    """One document with its context in it, written a product at a time."""
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(f'{{"@context": {_text(load_context())},\n"@graph": [')
        for number, (item, rows) in enumerate(
            with_statements(chosen.item_rows(), chosen.statement_batches())
        ):
            stream.write(("," if number else "") + "\n" + _text(_product(item, rows)))
        stream.write("\n]}\n")


def _product(item: Row, rows: Iterable[Row]) -> dict[str, Any]:
    images = list(dict.fromkeys(item["images"] or []))
    said = {
        "identifier": item["id"],
        "sku": item["id"],
        "name": item["title"],
        "category": item["category"],
    }
    document: dict[str, Any] = {"id": terms.iri("item", item["id"]).value, "type": "Product"}
    document |= {name: text for name, text in said.items() if text is not None}
    if images:
        document["image"] = images if len(images) > 1 else images[0]
    if len(item["images"] or []) > 1:
        # As everywhere in RDF: a set has no order, and the first image is the one to look at.
        document["images"] = _text(item["images"])
    # What is not trusted is no property of a product's: a reader who does not know ranks must not take it for one.
    for name, trusted in (("additionalProperty", True), ("claim", False)):
        values = [_property_value(row) for row in rows if (row["rank"] in TRUSTED_RANKS) is trusted]
        if values:
            document[name] = values
    return document


def _property_value(row: Row) -> dict[str, Any]:
    said = {
        "id": terms.iri("statement", row["id"]).value,
        "type": "PropertyValue",
        "name": row["property"],
        "value": row["value"],
    }
    things = {name: terms.iri(name, row[name]).value for name in terms.THINGS if row[name]}
    texts = {
        name: row[name]
        for name in ("row", "confidence", "evidence", "time")
        if row[name] not in (None, "")
    }
    if "confidence" in texts:
        # A number of JSON-LD's keeps sixteen digits.
        texts["confidence"] = repr(texts["confidence"])
    return {**said, **things, **texts}


def _text(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False)
