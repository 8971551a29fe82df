"""What the catalogue knows of an item, as plain data: what `show` prints and the API answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from schema.terms import Item, Statement

if TYPE_CHECKING:
    from kg.home import Home


def item_document(home: Home, item: Item, statements: list[Statement]) -> dict[str, Any]:
    """Return an item with all of its statements, and what single sources say of it."""
    is_shown = _shown_statements(home, item, statements)
    document: dict[str, Any] = {
        "id": item.id,
        "title": item.title,
        "description": item.description,
        "category": item.category,
        "images": list(item.images),
        "source": None if item.provenance is None else item.provenance.source or None,
        "statements": [_statement_document(each, is_shown) for each in statements],
    }
    if item.references:
        document["references"] = [
            {
                "source": each.provenance.source or None,
                "title": each.title,
                "description": each.description,
                "category": each.category,
                "images": list(each.images),
            }
            for each in item.references
        ]
    return document


def _shown_statements(home: Home, item: Item, statements: list[Statement]) -> dict[str, bool]:
    """Return by id which statements are shown, of those that sources state differently."""
    sources = {each.provenance.source for each in statements}
    for statement in statements:
        sources |= {each.provenance.source for each in statement.references}
    if len(sources) < 2:
        return {}
    ontology = home.ontology_or_none()
    if ontology is None:
        return {}

    from kg.source_conflicts import conflicts_of
    from kg.stores.references import SourceOrder
    from kg.stores.tables import items_table, statements_table

    (item_row,) = items_table([item]).to_pylist()
    rows = statements_table(statements).to_pylist()
    is_shown: dict[str, bool] = {}
    for conflict in conflicts_of(item_row, rows, ontology, SourceOrder(home.source_order())):
        if conflict.losing:
            is_shown |= {row["id"]: True for row in (*conflict.shown, *conflict.equal)}
            is_shown |= {row["id"]: False for row in conflict.losing}
    return is_shown


def _statement_document(statement: Statement, is_shown: Mapping[str, bool]) -> dict[str, Any]:
    # Only of what sources state differently is there something to say.
    marks = {"shown": is_shown[statement.id]} if statement.id in is_shown else {}
    return {
        "property": statement.property,
        "value": statement.value,
        "language": statement.language,
        "rank": str(statement.rank),
        "confidence": statement.provenance.confidence,
        "source": statement.provenance.source,
        "sources": [each.provenance.source for each in statement.references]
        or [statement.provenance.source],
        **marks,
    }
