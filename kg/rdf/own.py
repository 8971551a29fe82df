"""Catalograph's own RDF, read back: items, and statements with their ranks and provenance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from pyoxigraph import NamedNode, Quad

from kg.ingest.assemble import Assembled, Origin
from kg.ingest.rows import Reject
from kg.rdf.document import OWN_ITEM, RANK, Document, label
from kg.stores import rdf_terms as terms
from kg.stores.merge import Row
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA
from schema.terms import Rank, statement_id

ROWS = 20_000
_PROPERTY = f"{terms.BASE}property:"
_HOLDERS = (NamedNode(f"{terms.SCHEMA}additionalProperty"), NamedNode(f"{terms.BASE}term:claim"))
_VALUE = NamedNode(f"{terms.SCHEMA}value")
_RANK_OF: dict[Any, Rank] = {node: rank for rank, node in terms.RANKS.items()}


@dataclass
class _Part:
    """Rows on their way to the store."""

    items: list[Row] = field(default_factory=list)
    statements: list[Row] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.items) + len(self.statements) + len(self.rejects)

    def assembled(self) -> Assembled:
        """As tables."""
        items = pa.Table.from_pylist(self.items, ITEM_SCHEMA)
        statements = pa.Table.from_pylist(self.statements, STATEMENT_SCHEMA)
        return Assembled(items, statements, len(self.items) + len(self.statements), self.rejects)


class OwnReader:
    """Reads a document that Catalograph wrote. Each item and each statement is a row, numbered as they come."""

    def __init__(self, document: Document, origin: Origin) -> None:
        self._document = document
        self._origin = origin
        self._number = 0

    def batches(self) -> Iterator[tuple[int, Assembled]]:
        """(rows read, what they are), a batch at a time: each item with its statements, then statements that belong to none of them."""
        part = _Part()
        reified = 0
        for node in self._document.subjects(terms.TYPE, terms.PRODUCT):
            self._try(self._add_item, node, part)
            for statement in self._statements(node):
                reified += 1
                self._try(self._add_statement, statement, part)
            if len(part) >= ROWS:
                yield len(part), part.assembled()
                part = _Part()
        if reified < self._document.count(RANK):
            for statement in self._document.subjects(RANK, None):
                if not any(
                    self._document.says(item, terms.TYPE, terms.PRODUCT)
                    for item in self._items_of(statement)
                ):
                    self._try(self._add_statement, statement, part)
        if len(part):
            yield len(part), part.assembled()

    def _try(self, add: Callable[[Any, _Part], None], node: Any, part: _Part) -> None:
        self._number += 1
        try:
            add(node, part)
        except (ValueError, KeyError) as error:
            reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            part.rejects.append(Reject(self._origin.file, self._number, reason, label(node)))

    def _statements(self, item: Any) -> list[Any]:
        """The nodes that tell of an item's statements."""
        nodes = list(self._document.subjects(terms.SUBJECT, item))
        nodes += [
            term for predicate in _HOLDERS for term in self._document.objects(item, predicate)
        ]
        return [node for node in dict.fromkeys(nodes) if self._document.says(node, RANK)]

    def _items_of(self, statement: Any) -> list[Any]:
        held = [
            item for predicate in _HOLDERS for item in self._document.subjects(predicate, statement)
        ]
        return [*self._document.objects(statement, terms.SUBJECT), *held]

    def _add_item(self, node: Any, part: _Part) -> None:
        name = _name(node, "item")
        quads = self._document.about(node)
        row = terms.item_row(quads) or {"id": name, "title": None, "category": None, "images": []}
        if row["id"] != name:
            raise ValueError(f"its identifier {row['id'][:40]!r} is not what its name says")
        part.items.append(row)
        for quad in quads:
            if isinstance(quad.predicate, NamedNode) and quad.predicate.value.startswith(_PROPERTY):
                self._add_fact(quad, part)

    def _add_fact(self, quad: Quad, part: _Part) -> None:
        """A plain fact that no ``rdf:Statement`` tells more about, as somebody may have added by hand."""
        item = _name(quad.subject, "item")
        known = _name(quad.predicate, "property")
        value = terms.text_of(quad.object)
        id = statement_id(item, known, value)
        if not self._document.says(terms.iri("statement", id), RANK):
            rank = _RANK_OF.get(quad.graph_name, Rank.ASSERTED)
            origin = self._origin
            self._number += 1
            said = {
                "source": origin.source,
                "batch": origin.run,
                "row": self._number,
                "time": origin.time,
            }
            part.statements.append(
                {
                    "id": id,
                    "item": item,
                    "property": known,
                    "value": value,
                    "rank": str(rank),
                    **said,
                }
            )

    def _add_statement(self, node: Any, part: _Part) -> None:
        row: Row = {"source": "", "batch": "", "time": ""}
        ranks = set()
        for quad in self._document.about(node):
            term: Any = quad.object
            predicate: Any = quad.predicate
            name = terms.SAID.get(predicate)
            if quad.predicate == terms.SUBJECT:
                row["item"] = _name(term, "item")
            elif quad.predicate == terms.PREDICATE:
                row["property"] = _name(term, "property")
            elif quad.predicate == terms.OBJECT or quad.predicate == _VALUE:
                row["value"] = term.value
            elif quad.predicate == terms.NAME:
                row.setdefault("property", term.value)
            elif name is not None:
                row[name] = (
                    terms.said(name, term) if name not in terms.THINGS else _name(term, name)
                )
                ranks |= {row[name]} if name == "rank" else set()
        if len(ranks) > 1:
            raise ValueError(
                f"has {len(ranks)} ranks, {' and '.join(sorted(ranks))}: a statement has one"
            )
        row["rank"] = str(Rank(row["rank"]))
        if "item" not in row:
            holders = self._items_of(node)
            if not holders:
                raise ValueError("belongs to no item")
            row["item"] = _name(holders[0], "item")
        part.statements.append(
            {**row, "id": statement_id(row["item"], row["property"], row["value"])}
        )


def _name(node: Any, kind: str) -> str:
    """The name in an IRI of Catalograph's; raises ValueError on any other node."""
    text = str(getattr(node, "value", ""))
    prefix = OWN_ITEM if kind == "item" else f"{terms.BASE}{kind}:"
    if not isinstance(node, NamedNode) or not text.startswith(prefix):
        raise ValueError(
            f"{label(node)} is no {kind} of Catalograph's: its address starts with {prefix}"
        )
    return unquote(text.removeprefix(prefix), errors="strict")
