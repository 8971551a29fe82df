"""Read back the RDF that Catalograph wrote: items, and statements with ranks and provenance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from pyoxigraph import Literal, NamedNode, Quad

from kg.ingest.assemble import AssembledBatch, Origin
from kg.ingest.images import SourceImages
from kg.rdf.document import ITEM_PREFIX, RANK, RdfDocument, node_label
from kg.stores import rdf_terms as terms
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA, Row
from schema import iris
from schema.rejects import RejectedRow
from schema.terms import Rank, statement_id

BATCH_ROWS = 20_000
_PROPERTY_PREFIX = f"{iris.BASE}property:"
# In exported JSON-LD an item holds its statements, trusted ones apart from the others.
_HOLDING_PREDICATES = (
    NamedNode(f"{iris.SCHEMA}additionalProperty"),
    NamedNode(f"{iris.BASE}term:claim"),
)
_SCHEMA_VALUE = NamedNode(f"{iris.SCHEMA}value")
_RANK_OF_GRAPH: dict[Any, Rank] = {node: rank for rank, node in terms.RANK_GRAPHS.items()}


@dataclass
class _BatchRows:
    """The rows of a batch so far."""

    items: list[Row] = field(default_factory=list)
    statements: list[Row] = field(default_factory=list)
    rejects: list[RejectedRow] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.items) + len(self.statements) + len(self.rejects)

    def assembled(self) -> AssembledBatch:
        """Return the rows as tables."""
        return AssembledBatch(
            items=pa.Table.from_pylist(self.items, ITEM_SCHEMA),
            statements=pa.Table.from_pylist(self.statements, STATEMENT_SCHEMA),
            rows_read=len(self),
            rows_stored=len(self.items) + len(self.statements),
            rejects=self.rejects,
        )


class NativeRdfReader:
    """Reads a document that Catalograph wrote, or someone who knows its vocabulary.

    The images that it names are looked up in ``images`` like those of any source.

    Every item and every statement is a row. Their numbers are in the order of reading, because RDF
    has no lines.
    """

    def __init__(self, document: RdfDocument, origin: Origin, images: SourceImages) -> None:
        self._document = document
        self._origin = origin
        self._images = images
        self._row_number = 0

    def batches(self) -> Iterator[AssembledBatch]:
        """Yield each item with its statements, then the statements about items not described."""
        batch = _BatchRows()
        statements_of_items = 0
        for item in self._document.subjects(terms.TYPE, terms.PRODUCT):
            self._add_or_reject(self._add_item, item, batch)
            for statement in self._statements_of(item):
                statements_of_items += 1
                self._add_or_reject(self._add_statement, statement, batch)
            if len(batch) >= BATCH_ROWS:
                yield batch.assembled()
                batch = _BatchRows()

        # Looking for them is expensive, and most documents have none.
        if statements_of_items < self._document.count(RANK):
            for statement in self._document.subjects(RANK):
                if not self._belongs_to_described_item(statement):
                    self._add_or_reject(self._add_statement, statement, batch)
        if len(batch):
            yield batch.assembled()

    def _add_or_reject(
        self, add: Callable[[Any, _BatchRows], None], node: Any, batch: _BatchRows
    ) -> None:
        self._row_number += 1
        try:
            add(node, batch)
        except (ValueError, KeyError) as error:
            reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            rejected = RejectedRow(self._origin.file, self._row_number, reason, node_label(node))
            batch.rejects.append(rejected)

    def _statements_of(self, item: Any) -> list[Any]:
        """Return the nodes with the rank and provenance of an item's statements."""
        nodes = list(self._document.subjects(terms.SUBJECT, item))
        for predicate in _HOLDING_PREDICATES:
            nodes += self._document.objects(item, predicate)
        return [node for node in dict.fromkeys(nodes) if self._document.contains(node, RANK)]

    def _items_of(self, statement: Any) -> list[Any]:
        """Return the nodes of the items that a statement belongs to."""
        items = self._document.objects(statement, terms.SUBJECT)
        for predicate in _HOLDING_PREDICATES:
            items += self._document.subjects(predicate, statement)
        return items

    def _belongs_to_described_item(self, statement: Any) -> bool:
        return any(
            self._document.contains(item, terms.TYPE, terms.PRODUCT)
            for item in self._items_of(statement)
        )

    def _add_item(self, node: Any, batch: _BatchRows) -> None:
        id = _decoded_name(node, "item")
        quads = self._document.quads_about(node)
        row = terms.item_row(quads) or {**dict.fromkeys(ITEM_SCHEMA.names), "id": id, "images": []}
        if row["id"] != id:
            raise ValueError(f"its identifier {row['id'][:40]!r} does not match its IRI")
        row["images"] = self._images.find_named(row["images"])
        batch.items.append(row)
        for quad in quads:
            predicate = quad.predicate
            if isinstance(predicate, NamedNode) and predicate.value.startswith(_PROPERTY_PREFIX):
                self._add_plain_fact(quad, batch)

    def _add_plain_fact(self, quad: Quad, batch: _BatchRows) -> None:
        """Add a fact for which there is no ``rdf:Statement``, such as one added by hand."""
        item = _decoded_name(quad.subject, "item")
        property = _decoded_name(quad.predicate, "property")
        value = terms.term_text(quad.object)
        language = terms.language_of(quad.object) if isinstance(quad.object, Literal) else None
        id = statement_id(item, property, value, language)
        if self._document.contains(terms.named_node("statement", id), RANK):
            return
        self._row_number += 1
        batch.statements.append(
            {
                "id": id,
                "item": item,
                "property": property,
                "value": value,
                "language": language,
                "rank": str(_RANK_OF_GRAPH.get(quad.graph_name, Rank.ASSERTED)),
                "source": self._origin.source,
                "batch": self._origin.run,
                "row": self._row_number,
                "time": self._origin.time,
            }
        )

    def _add_statement(self, node: Any, batch: _BatchRows) -> None:
        row: Row = {"source": "", "batch": "", "time": "", "language": None}
        ranks = set()
        for quad in self._document.quads_about(node):
            term: Any = quad.object
            field_name = terms.COLUMN_OF_PREDICATE.get(quad.predicate)
            if quad.predicate == terms.SUBJECT:
                row["item"] = _decoded_name(term, "item")
            elif quad.predicate == terms.PREDICATE:
                row["property"] = _decoded_name(term, "property")
            elif quad.predicate in (terms.OBJECT, _SCHEMA_VALUE):
                row["value"] = term.value
                row["language"] = terms.language_of(term) if isinstance(term, Literal) else None
            elif quad.predicate == terms.NAME:
                # In JSON-LD a statement is a PropertyValue, whose name is the property.
                row.setdefault("property", term.value)
            elif field_name in terms.NODE_PREDICATES:
                row[field_name] = _decoded_name(term, field_name)
            elif field_name is not None:
                row[field_name] = terms.literal_value(field_name, term)
            if field_name == "rank":
                ranks.add(row["rank"])

        if len(ranks) > 1:
            raise ValueError(
                f"has {len(ranks)} ranks, {' and '.join(sorted(ranks))}: a statement has one"
            )
        row["rank"] = str(Rank(row["rank"]))
        if "item" not in row:
            # In JSON-LD the item refers to the statement, and not the other way round.
            items = self._items_of(node)
            if not items:
                raise ValueError("belongs to no item")
            row["item"] = _decoded_name(items[0], "item")
        row["id"] = statement_id(row["item"], row["property"], row["value"], row["language"])
        batch.statements.append(row)


def _decoded_name(node: Any, kind: str) -> str:
    """Return the name in an IRI of Catalograph's; raises ValueError on any other node."""
    prefix = ITEM_PREFIX if kind == "item" else f"{iris.BASE}{kind}:"
    if not isinstance(node, NamedNode) or not node.value.startswith(prefix):
        article = "an" if kind == "item" else "a"
        raise ValueError(
            f"{node_label(node)} is not {article} {kind} of Catalograph's: "
            f"its IRI starts with {prefix}"
        )
    return unquote(node.value.removeprefix(prefix), errors="strict")
