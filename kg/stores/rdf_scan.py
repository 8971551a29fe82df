"""Reading an Oxigraph quad store from end to end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from pyoxigraph import Literal, Quad

from kg.stores import rdf_terms as terms
from kg.stores.graph_scan import Content, GraphScan, Inconsistency, Part
from kg.stores.protocol import Counts
from kg.stores.rdf_graph import OxigraphGraph
from kg.stores.sorting import record_batches
from kg.stores.tables import BATCH_ROWS, ITEM_SCHEMA, STATEMENT_SCHEMA, Row
from schema.terms import Rank

ElementT = TypeVar("ElementT")
Groups = Iterator[tuple[str, list[Quad]]]

REQUIRED_PREDICATES = {
    terms.SUBJECT,
    terms.PREDICATE,
    terms.OBJECT,
    terms.NODE_PREDICATES["rank"],
}
"""Predicates without which a statement has no row."""


class OxigraphScan(GraphScan):
    """The folder ``graph.oxigraph`` of a store, read from end to end."""

    def __init__(self, path: Path) -> None:
        self._graph = OxigraphGraph(path, read_only=True)
        self._quads: Any = self._graph.quads
        self._stray: list[str] = []
        self._without_fact: list[str] = []

    def version(self) -> int:
        """Return the journal's version that the graph shows, or -1 if it shows none."""
        return self._graph.applied_version()

    def counts(self) -> Counts:
        """Return the sizes of the graph."""
        return self._graph.counts()

    def parts(self, content: Content) -> list[Part]:
        """Return one part for items and one for statements: their index cannot be divided.

        The two halves of such a part are ways to read it: at once, and each subject for itself.
        """
        return [Part(content, 0, 2)] if content in (Content.ITEMS, Content.STATEMENTS) else []

    def read(self, part: Part) -> Iterator[pa.Table]:
        """Yield the rows of a part."""
        one_by_one = part.start > 0
        if part.content is Content.ITEMS:
            groups = self._groups(terms.ITEM_GRAPH, terms.PRODUCT, one_by_one)
            batches = record_batches(self._items(groups), ITEM_SCHEMA)
        else:
            groups = self._groups(terms.PROVENANCE_GRAPH, terms.STATEMENT, one_by_one)
            batches = record_batches(self._statements(groups), STATEMENT_SCHEMA)
        for batch in batches:
            yield pa.table(batch)

    def inconsistencies(self) -> Iterator[tuple[Inconsistency, list[str]]]:
        """Look up every item, every statement by its fact, and every fact by its statement."""
        for ids in batched(self._item_names(), BATCH_ROWS):
            yield Inconsistency.ITEM_NOT_FOUND, [id for id in ids if not self._has_item(id)]
        for facts in batched(self._facts(), BATCH_ROWS):
            unstated = [str(fact) for fact in facts if not self._is_stated(fact)]
            yield Inconsistency.FACT_WITHOUT_STATEMENT, unstated
        yield Inconsistency.STATEMENT_WITHOUT_FACT, self._without_fact
        yield Inconsistency.STRAY_QUADS, self._stray

    def close(self) -> None:
        """Release the files."""
        del self._quads
        self._graph.close()

    def _items(self, groups: Groups) -> Iterator[Row]:
        for name, quads in groups:
            row = terms.item_row(quads)
            if row is None or row["id"] != name or len(quads) != _item_size(row):
                self._stray.append(name)
            if row is not None:
                # Under the name by which it is looked up.
                yield {**row, "id": name}

    def _statements(self, groups: Groups) -> Iterator[Row]:
        for name, quads in groups:
            objects = {quad.predicate: quad.object for quad in quads}
            if not objects.keys() >= REQUIRED_PREDICATES:
                self._stray.append(name)
                continue
            row = terms.statement_row(quads)
            if len(quads) != _statement_size(row):
                self._stray.append(name)
            if terms.fact_quad(row) not in self._quads:
                self._without_fact.append(name)
            yield {**row, "id": name}

    def _groups(self, graph: Any, type: Any, one_by_one: bool) -> Groups:
        """Yield the names of a graph's subjects, each with its quads."""
        if one_by_one:
            yield from self._groups_one_by_one(graph, type)
            return
        quads = self._quads.quads_for_pattern(None, None, None, graph)
        for subject, group in groupby(quads, key=lambda quad: quad.subject):
            yield terms.node_name(subject), list(group)

    def _groups_one_by_one(self, graph: Any, type: Any) -> Groups:
        """Yield the groups of all subjects that can be read; raise an error if some cannot."""
        failures = 0
        reason = ""
        for quad in self._quads.quads_for_pattern(None, terms.TYPE, type, graph):
            try:
                quads = list(self._quads.quads_for_pattern(quad.subject, None, None, graph))
            except (OSError, RuntimeError, ValueError) as error:
                failures += 1
                reason = str(error)
                continue
            yield terms.node_name(quad.subject), quads
        if failures:
            raise RuntimeError(f"{failures:,} could not be read: {reason}")

    def _item_names(self) -> Iterator[str]:
        products = self._quads.quads_for_pattern(None, terms.TYPE, terms.PRODUCT, terms.ITEM_GRAPH)
        return (terms.node_name(quad.subject) for quad in products)

    def _has_item(self, id: str) -> bool:
        node = terms.named_node("item", id)
        return Quad(node, terms.IDENTIFIER, Literal(id), terms.ITEM_GRAPH) in self._quads

    def _facts(self) -> Iterator[Quad]:
        for rank in Rank:
            yield from self._quads.quads_for_pattern(None, None, None, terms.RANK_GRAPHS[rank])

    def _is_stated(self, fact: Quad) -> bool:
        """Return whether the statement of a fact has the fact's rank."""
        node = terms.statement_node(fact)
        rank: Any = fact.graph_name
        quad = Quad(node, terms.NODE_PREDICATES["rank"], rank, terms.PROVENANCE_GRAPH)
        return quad in self._quads


def _item_size(row: Row) -> int:
    """Return the number of quads that an item has."""
    images = row["images"] or []
    texts = sum(row[name] is not None for name in terms.ITEM_TEXTS.values())
    return 2 + texts + len(set(images)) + (len(images) > 1) + _provenance_size(row)


def _statement_size(row: Row) -> int:
    """Return the number of quads that a statement has in the provenance graph."""
    return 4 + _provenance_size(row)


def _provenance_size(row: Row) -> int:
    """Return the number of quads that say where an item or a statement comes from."""
    names = sum(bool(row.get(name)) for name in (*terms.NODE_PREDICATES, "time"))
    return names + sum(row.get(name) is not None for name in terms.LITERAL_PREDICATES)


def batched(elements: Iterable[ElementT], size: int) -> Iterator[list[ElementT]]:
    """Yield the elements of a stream in lists of at most ``size``."""
    iterator = iter(elements)
    while batch := list(islice(iterator, size)):
        yield batch
