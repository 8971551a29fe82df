"""A SPARQL 1.1 endpoint as a store: the same RDF as in a folder, read and written by the protocol."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import chain, groupby
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from pyoxigraph import Literal, NamedNode, Quad

from kg.stores import rdf_terms as terms
from kg.stores.merge import Row, changes_of, graph_hash
from kg.stores.protocol import Counts, Pattern, PutReport, QueryResult
from kg.stores.sorting import on_one_thread, record_batches, sorted_batches
from kg.stores.sparql import guard, names_graphs
from kg.stores.sparql_protocol import Endpoint
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA, TRIPLE_SCHEMA, item_of, rows_to_put
from schema.errors import StoreError
from schema.terms import Item, Rank, Statement

AT_ONCE = 1_000
ITEMS = f"GRAPH {terms.ITEMS}"
PROV = f"GRAPH {terms.PROVENANCE}"
# What a query asks that names no graph: ours, as one and each by its name, whatever else the endpoint holds.
DATASET = [
    (f"{kind}-graph-uri", graph.value) for kind in ("default", "named") for graph in terms.GRAPHS
]
# What a statement's node says, under the names of a row.
SAID = {"item": terms.SUBJECT, "property": terms.PREDICATE, "value": terms.OBJECT} | {
    name: node for node, name in terms.SAID.items()
}
SURE = ("item", "property", "value", "rank")
WHOLE = "".join(
    f"?s {node} ?{name} . " if name in SURE else f"OPTIONAL {{ ?s {node} ?{name} }} "
    for name, node in SAID.items()
)
KINDS = {
    f"{terms.BASE}{kind}:": kind
    for kind in ("item", "property", "statement", "rank", "term", *terms.THINGS)
} | {terms.RDF: "rdf", terms.RDFS: "rdfs", terms.PROV: "prov", terms.SCHEMA: "schema"}
BEGIN = "".join(f"PREFIX {name}: <{iri}>\n" for iri, name in KINDS.items())
SHORT = re.compile(r"(.*[:/#])([A-Za-z0-9_](?:[A-Za-z0-9_%-]*[A-Za-z0-9_%])?)")


class RdfEndpointStore:
    """``rdf+http://HOST[:PORT]/DATASET`` or ``rdf+https://…``, an address that takes queries and updates.

    CATALOGRAPH_SPARQL_UPDATE names another address for updates; CATALOGRAPH_SPARQL_USERNAME and _PASSWORD who asks. An update is one
    request, which servers carry out whole or not at all. It keeps no journal, and writers do not wait for each other.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._endpoint = Endpoint(url)
        self._endpoint.greet()

    def put(self, items: pa.Table | None, statements: pa.Table | None) -> PutReport:
        """Add or update a batch in one request."""
        given, facts = rows_to_put(items, statements)
        names = list(dict.fromkeys([*given, *(row["item"] for row in facts)]))
        known = self._items_named(names)
        old = self._facts_named([row["id"] for row in facts])
        changed = changes_of(given, facts, known, old)
        self._update(
            _quads(
                [known[row["id"]] for row in changed.old_items],
                [old[row["id"]] for row in changed.old_statements],
            ),
            chain(
                _quads(changed.items, changed.statements),
                terms.name_quads((k, row[k]) for row in changed.statements for k in terms.NAMED),
            ),
        )
        return PutReport(len(changed.new_items), len(changed.new_statements))

    def retract(self, statement_ids: Sequence[str]) -> int:
        """Take statements out; how many were there."""
        found = self._facts_named(list(dict.fromkeys(statement_ids)))
        self._update(_quads([], found.values()), [])
        return len(found)

    def item(self, id: str) -> tuple[Item, list[Statement]] | None:
        """An item with its statements, or None."""
        row = self._items_named([id]).get(id)
        return None if row is None else item_of(row, self._facts(Pattern(item=id)))

    def items(self) -> Iterator[pa.RecordBatch]:
        """All items, ordered by id."""
        return on_one_thread(self._items())

    def _items(self) -> Generator[pa.RecordBatch, None, None]:
        rows = self._grouped(f"SELECT ?s ?p ?o {{ {ITEMS} {{ ?s ?p ?o }} }} ORDER BY ?s")
        yield from sorted_batches(
            record_batches((terms.item_row(quads) for quads in rows), ITEM_SCHEMA), ITEM_SCHEMA
        )

    def scan(self, pattern: Pattern = Pattern()) -> Iterator[pa.RecordBatch]:  # noqa: B008 - immutable
        """Statements that match, ordered by id."""
        return on_one_thread(self._scan(pattern))

    def _scan(self, pattern: Pattern) -> Generator[pa.RecordBatch, None, None]:
        yield from sorted_batches(
            record_batches(self._facts(pattern), STATEMENT_SCHEMA), STATEMENT_SCHEMA
        )

    def triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Statements of some ranks."""
        return on_one_thread(self._triples(ranks))

    def _triples(self, ranks: Sequence[Rank]) -> Generator[pa.RecordBatch, None, None]:
        for rank in ranks:
            found = self._endpoint.select(
                f"SELECT ?s ?p ?o {{ GRAPH {terms.RANKS[rank]} {{ ?s ?p ?o }} }}"
            )
            rows = (
                {
                    "item": terms.name_of(s["s"]),
                    "property": terms.name_of(s["p"]),
                    "value": s["o"].value,
                }
                for s in found
            )
            yield from record_batches(rows, TRIPLE_SCHEMA)

    def query(
        self, text: str, params: dict[str, Any] | None = None, timeout: float = 30.0
    ) -> QueryResult:
        """No Cypher here; raises StoreError."""
        raise StoreError("an RDF store answers no Cypher: ask it with `catalograph sparql`")

    def sparql(self, text: str, timeout: float = 30.0) -> QueryResult:
        """A read-only SPARQL query; ``timeout`` in seconds."""
        known = "".join(f"PREFIX {name}: <{iri}>\n" for name, iri in terms.PREFIXES.items())
        return self._endpoint.ask(
            known + guard(text), timeout, () if names_graphs(text) else DATASET
        )

    def counts(self) -> Counts:
        """Sizes of the graph."""
        sizes = {}
        for name, text in terms.SIZES.items():
            (row,) = self._endpoint.select(text)
            sizes[name] = int(row["n"].value)
        return Counts(**sizes)

    def content_hash(self) -> str:
        """A hash of the graph's content."""
        return graph_hash(self.items(), self.scan())

    def close(self) -> None:
        """Release the connections."""
        self._endpoint.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _items_named(self, names: Sequence[str]) -> dict[str, Row]:
        rows: dict[str, Row] = {}
        for part in _parts([terms.iri("item", name) for name in names]):
            for quads in self._grouped(
                f"SELECT ?s ?p ?o {{ VALUES ?s {{ {part} }} {ITEMS} {{ ?s ?p ?o }} }} ORDER BY ?s"
            ):
                row = terms.item_row(quads)
                rows |= {} if row is None else {row["id"]: row}
        return rows

    def _facts_named(self, ids: Sequence[str]) -> dict[str, Row]:
        rows: dict[str, Row] = {}
        for part in _parts([terms.iri("statement", id) for id in ids]):
            for quads in self._grouped(
                f"SELECT ?s ?p ?o {{ VALUES ?s {{ {part} }} {PROV} {{ ?s ?p ?o }} }} ORDER BY ?s"
            ):
                row = terms.fact_row(quads)
                rows[row["id"]] = row
        return rows

    def _facts(self, pattern: Pattern) -> Iterator[Row]:
        ends = [
            (terms.SUBJECT, None if pattern.item is None else terms.iri("item", pattern.item)),
            (
                terms.PREDICATE,
                None if pattern.property is None else terms.iri("property", pattern.property),
            ),
            (terms.OBJECT, None if pattern.value is None else Literal(pattern.value)),
        ]
        asked = "".join(f"?s {predicate} {term} . " for predicate, term in ends if term is not None)
        if pattern.ranks is not None:
            asked += f"VALUES ?rank {{ {' '.join(str(terms.RANKS[rank]) for rank in pattern.ranks)} }} ?s {terms.THINGS['rank']} ?rank . "
        # A row a statement, in the server's own order: to sort a graph is dear where it is many million rows long.
        for found in self._endpoint.select(f"SELECT * {{ {PROV} {{ {asked} {WHOLE} }} }}"):
            yield terms.fact_row(
                [
                    Quad(found["s"], predicate, found[name])
                    for name, predicate in SAID.items()
                    if found[name] is not None
                ]
            )

    def _grouped(self, text: str) -> Iterator[list[Quad]]:
        """What a query gives as ?s ?p ?o, ordered by ?s: the quads of each ?s."""
        for subject, found in groupby(self._endpoint.select(text), key=lambda row: row["s"]):
            yield [Quad(subject, row["p"], row["o"]) for row in found]

    def _update(self, before: Iterable[Quad], after: Iterable[Quad]) -> None:
        gone = dict.fromkeys(before)
        come = dict.fromkeys(after)
        steps = [
            ("DELETE", [quad for quad in gone if quad not in come]),
            ("INSERT", [quad for quad in come if quad not in gone]),
        ]
        text = " ;\n".join(f"{verb} DATA {{\n{_data(quads)}}}" for verb, quads in steps if quads)
        if text:
            self._endpoint.update(BEGIN + text)


def _quads(items: Iterable[Row], facts: Iterable[Row]) -> Iterator[Quad]:
    for row in items:
        yield from terms.item_quads(row)
    for row in facts:
        yield from terms.fact_quads(row)


def _parts(nodes: Sequence[NamedNode]) -> Iterator[str]:
    for start in range(0, len(nodes), AT_ONCE):
        yield " ".join(str(node) for node in nodes[start : start + AT_ONCE])


def _data(quads: Iterable[Quad]) -> str:
    """Quads as the groups of an update, subject by subject: a third of what it is with a line a quad."""
    lines = []
    ordered = sorted(quads, key=lambda quad: (str(quad.graph_name), str(quad.subject)))
    for graph, within in groupby(ordered, key=lambda quad: quad.graph_name):
        lines.append(f"GRAPH {graph} {{\n")
        for subject, about in groupby(within, key=lambda quad: quad.subject):
            lines.append(
                f"{_short(subject)} {' ; '.join(f'{_short(quad.predicate)} {_short(quad.object)}' for quad in about)} .\n"
            )
        lines.append("}\n")
    return "".join(lines)


def _short(term: Any) -> str:
    """A term as it is written in an update that knows our prefixes."""
    found = SHORT.fullmatch(term.value) if isinstance(term, NamedNode) else None
    return str(term) if found is None or found[1] not in KINDS else f"{KINDS[found[1]]}:{found[2]}"


def open_url(url: str, *, create: bool, read_only: bool) -> RdfEndpointStore:
    """Connect to the endpoint of ``rdf+http://HOST/DATASET``; its dataset must exist already."""
    return RdfEndpointStore(url)
