"""Export as JSON-LD: schema.org products whose properties have their rank and provenance."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kg.export.selection import Selection
from kg.stores import rdf_terms as terms
from kg.stores.sorting import with_statements
from kg.stores.tables import Row
from schema import iris
from schema.context import load_context
from schema.terms import TRUSTED_RANKS


def write_jsonld(selection: Selection, path: Path) -> None:
    """Write one document that includes its context, one product at a time."""
    products = with_statements(selection.item_rows(), selection.statement_batches())
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(f'{{"@context": {_to_json(load_context())},\n"@graph": [')
        separator = "\n"
        for item, statements in products:
            stream.write(separator + _to_json(_product(item, statements)))
            separator = ",\n"
        stream.write("\n]}\n")


def _product(item: Row, statements: Iterable[Row]) -> dict[str, Any]:
    texts = {
        "identifier": item["id"],
        "sku": item["id"],
        "name": item["title"],
        "description": item["description"],
        "category": item["category"],
    }
    product: dict[str, Any] = {"id": iris.iri("item", item["id"]), "type": "Product"}
    product |= {name: text for name, text in texts.items() if text is not None}

    images = item["images"] or []
    distinct_images = list(dict.fromkeys(images))
    if distinct_images:
        product["image"] = distinct_images if len(distinct_images) > 1 else distinct_images[0]
    if len(images) > 1:
        # In RDF the values of a property are a set. The order of the images matters, since the
        # first is the one to look at, so it is kept as JSON text as well.
        product["images"] = _to_json(images)
    product |= _provenance(item)

    # A reader who does not know about ranks must not take an untrusted statement for a property of
    # the product, so those are listed apart.
    trusted: list[dict[str, Any]] = []
    untrusted: list[dict[str, Any]] = []
    for row in statements:
        group = trusted if row["rank"] in TRUSTED_RANKS else untrusted
        group.append(_property_value(row))
    if trusted:
        product["additionalProperty"] = trusted
    if untrusted:
        product["claim"] = untrusted
    return product


def _property_value(row: Row) -> dict[str, Any]:
    value: dict[str, Any] = {
        "id": iris.iri("statement", row["id"]),
        "type": "PropertyValue",
        "name": row["property"],
        "value": row["value"],
    }
    if row["language"] is not None:
        value["value"] = {"@value": row["value"], "@language": row["language"]}
    return value | _provenance(row)


def _provenance(row: Row) -> dict[str, Any]:
    """Return where an item or a statement comes from."""
    found: dict[str, Any] = {
        name: iris.iri(name, row[name]) for name in terms.NODE_PREDICATES if row.get(name)
    }
    for name in (*terms.LITERAL_PREDICATES, "time"):
        if row.get(name) not in (None, ""):
            found[name] = row[name]
    if "confidence" in found:
        # As text, because a number in JSON-LD keeps only sixteen digits.
        found["confidence"] = repr(found["confidence"])
    return found


def _to_json(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False)
