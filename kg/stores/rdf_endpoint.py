"""A SPARQL 1.1 endpoint as a store: the RDF of ``rdf_terms``, read and written over HTTP."""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import chain, groupby
from typing import Any

import pyarrow as pa
from pyoxigraph import Literal, NamedNode, Quad

from kg.stores import rdf_terms as terms
from kg.stores.journal import (
    ChangeOrigin,
    JournalBatch,
    bytes_of_changes,
    changes_from_bytes,
    changes_table,
)
from kg.stores.merge import Changes, StoredRows
from kg.stores.protocol import (
    EVERYTHING,
    ChangeBatch,
    Counts,
    GraphStore,
    Pattern,
    PutReport,
    QueryResult,
)
from kg.stores.query_limits import DEFAULT_LIMITS, DEFAULT_SECONDS, QueryLimits
from kg.stores.references import sources_of
from kg.stores.sorting import on_one_thread, record_batches, sorted_batches
from kg.stores.sparql_guard import checked_sparql, chosen_graphs
from kg.stores.sparql_protocol import Endpoint
from kg.stores.tables import (
    ITEM_SCHEMA,
    SOURCED_TRIPLE_SCHEMA,
    STATEMENT_SCHEMA,
    TRIPLE_SCHEMA,
    Row,
    chunks,
    item_from_row,
    statements_from_rows,
)
from schema import iris
from schema.errors import QueryRefusedError, StoreError
from schema.terms import Item, Rank, Statement

NODES_PER_QUERY = 1_000
JOURNAL = NamedNode(f"{iris.BASE}journal")
"""The graph of what a store remembers about itself, and the thing that it says it about."""
REVISION = NamedNode(f"{iris.BASE}term:revision")
CHANGES = NamedNode(f"{iris.BASE}term:changes")
"""Says what a batch changed: a Parquet file in Base64."""

# A query that names no graph reads ours, as one and each by its name, and not whatever else the
# endpoint may hold.
OUR_GRAPHS = [
    (f"{role}-graph-uri", graph.value) for role in ("default", "named") for graph in terms.GRAPHS
]
GRAPH_IRIS = frozenset(graph.value for graph in terms.GRAPHS)

PREDICATE_OF_COLUMN = {
    "item": terms.SUBJECT,
    "property": terms.PREDICATE,
    "value": terms.OBJECT,
} | {column: predicate for predicate, column in terms.COLUMN_OF_PREDICATE.items()}
REQUIRED_COLUMNS = ("item", "property", "value", "rank")
# A statement may lack the other columns: without OPTIONAL the pattern would not match it.
STATEMENT_PATTERN = "".join(
    f"?s {predicate} ?{column} . "
    if column in REQUIRED_COLUMNS
    else f"OPTIONAL {{ ?s {predicate} ?{column} }} "
    for column, predicate in PREDICATE_OF_COLUMN.items()
)
"""A graph pattern that binds the columns of a statement ``?s``."""

# Updates are long, and prefixes make them shorter.
UPDATE_PREFIXES = {
    f"{iris.BASE}{kind}:": kind
    for kind in ("item", "property", "statement", "rank", "term", *terms.NODE_PREDICATES)
} | {iris.RDF: "rdf", iris.RDFS: "rdfs", iris.PROV: "prov", iris.SCHEMA: "schema"}
ABBREVIABLE = re.compile(r"(.*[:/#])([A-Za-z0-9_](?:[A-Za-z0-9_%-]*[A-Za-z0-9_%])?)")
"""An IRI as namespace and local name, if SPARQL's grammar lets the local name stand unescaped."""


class RdfEndpointStore(GraphStore):
    """The store at ``rdf+http://HOST[:PORT]/DATASET`` or ``rdf+https://…``.

    The address takes both queries and updates, unless CATALOGRAPH_SPARQL_UPDATE has another one for
    updates; CATALOGRAPH_SPARQL_USERNAME and CATALOGRAPH_SPARQL_PASSWORD are the credentials.

    A batch is one request, which servers carry out as a whole or not at all. There is no journal,
    and writers do not wait for each other.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._endpoint = Endpoint(url)
        self._endpoint.check()

    def retract(self, statement_ids: Sequence[str], *, run: str = "") -> int:
        """Remove statements; return how many of them the store had."""
        rows = self._statements_by_id(list(dict.fromkeys(statement_ids)))
        retracted = {id: row["item"] for id, row in rows.items()}
        return self._write(Changes(retracted=retracted), StoredRows({}, rows), run).retracted

    def append(self, changes: pa.Table) -> None:
        """Write changes as they are in one request."""
        batch = JournalBatch.from_table(changes)
        items = self._items_by_id([*batch.items["id"].to_pylist(), *batch.deleted])
        statements = self._statements_by_id([*batch.statements["id"].to_pylist(), *batch.retracted])
        self._append(changes, StoredRows(items, statements))

    def changes(self, since: int = -1) -> Iterator[ChangeBatch]:
        """Yield what was written after a version, in order."""
        for version in range(since + 1, self._version() + 1):
            text = f"SELECT ?o {{ GRAPH {JOURNAL} {{ {_batch_node(version)} {CHANGES} ?o }} }}"
            for solution in self._endpoint.select(text):
                data = base64.b64decode(solution["o"].value)
                yield ChangeBatch.of(version, changes_from_bytes(data))

    def change(
        self,
        item_ids: Sequence[str],
        changes: Callable[[StoredRows], Changes],
        *,
        run: str = "",
    ) -> PutReport:
        """Write what ``changes`` returns for the rows about some items."""
        stored = self.rows_about(item_ids)
        made = changes(stored)
        return self._write(made, self._with_others(stored, item_ids, made), run)

    def _with_others(
        self, stored: StoredRows, item_ids: Sequence[str], changes: Changes
    ) -> StoredRows:
        """Add the rows that changes replace or remove of other items than those of ``stored``."""
        known = set(item_ids)
        items = [row["id"] for row in changes.items] + changes.deleted
        other_items = [id for id in items if id not in known]
        statements = [row["id"] for row in changes.statements if row["item"] not in known]
        statements += [id for id in changes.retracted if id not in stored.statements]
        if not other_items and not statements:
            return stored
        return StoredRows(
            {**stored.items, **self._items_by_id(other_items)},
            {**stored.statements, **self._statements_by_id(statements)},
        )

    def rows_about(self, item_ids: Sequence[str]) -> StoredRows:
        """Return the rows of items, as far as there are any, and of their statements."""
        items = self._items_by_id(item_ids)
        statements: dict[str, Row] = {}
        for part in chunks(list(items), NODES_PER_QUERY):
            nodes = " ".join(str(terms.named_node("item", id)) for id in part)
            condition = f"VALUES ?item {{ {nodes} }} "
            statements |= {row["id"]: row for row in self._statements_where(condition)}
        return StoredRows(items, statements)

    def _write(self, changes: Changes, stored: StoredRows, run: str) -> PutReport:
        if changes:
            self._append(changes_table(changes, ChangeOrigin.of(run)), stored)
        return PutReport.of(changes)

    def _append(self, changes: pa.Table, stored: StoredRows) -> None:
        """Write changes in one request, given the rows that they replace and remove."""
        batch = JournalBatch.from_table(changes)
        items = batch.items.to_pylist()
        statements = batch.statements.to_pylist()
        item_ids = [*(row["id"] for row in items), *batch.deleted]
        statement_ids = [*(row["id"] for row in statements), *batch.retracted]
        old_quads = _quads(
            [stored.items[id] for id in item_ids if id in stored.items],
            [stored.statements[id] for id in statement_ids if id in stored.statements],
        )
        listed = ((statements, terms.LISTED_COLUMNS), (items, terms.LISTED_ITEM_COLUMNS))
        labels = terms.label_quads(
            (column, row[column]) for rows, columns in listed for row in rows for column in columns
        )
        node = _batch_node(self._version() + 1)
        data = Literal(base64.b64encode(bytes_of_changes(changes)).decode())
        log = [Quad(node, CHANGES, data, JOURNAL)]
        self._update(old_quads, chain(_quads(items, statements), labels, log))

    def _version(self) -> int:
        """Return the newest version, or -1 if nothing was written yet."""
        text = f"SELECT (COUNT(*) AS ?n) {{ GRAPH {JOURNAL} {{ ?s {CHANGES} ?o }} }}"
        (solution,) = self._endpoint.select(text)
        return int(solution["n"].value) - 1

    def item(self, id: str) -> tuple[Item, list[Statement]] | None:
        """Return an item and its statements, or None."""
        row = self._items_by_id([id]).get(id)
        if row is None:
            return None
        return item_from_row(row), statements_from_rows(self._statements(Pattern(item=id)))

    def items(self) -> Iterator[pa.RecordBatch]:
        """Yield all items, ordered by id."""
        return on_one_thread(self._sorted_items())

    def scan(self, pattern: Pattern = EVERYTHING) -> Iterator[pa.RecordBatch]:
        """Yield the statements that match, ordered by id."""
        return on_one_thread(self._sorted_statements(pattern))

    def triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks."""
        return on_one_thread(self._triples(ranks))

    def sourced_triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks with what decides between sources."""
        return on_one_thread(self._sourced_triples(ranks))

    def sources(self) -> list[str]:
        """Return the sources of items and statements in order; what is only predicted has none."""
        names: set[str] = set()
        several = f"?s {terms.REFERENCES} ?references"
        predicted = f"?s {terms.NODE_PREDICATES['rank']} {terms.RANK_GRAPHS[Rank.PREDICTED]}"
        for graph in (terms.ITEM_GRAPH, terms.PROVENANCE_GRAPH):
            alone = (
                f"?s {terms.SOURCE} ?o FILTER NOT EXISTS {{ {several} }} "
                f"FILTER NOT EXISTS {{ {predicted} }}"
            )
            text = f"SELECT DISTINCT ?o {{ GRAPH {graph} {{ {alone} }} }}"
            names |= {terms.node_name(row["o"]) for row in self._endpoint.select(text)}
            text = f"SELECT ?references {{ GRAPH {graph} {{ {several} }} }}"
            for row in self._endpoint.select(text):
                names |= sources_of(terms.term_text(row["references"]))
        return sorted(names)

    def query(
        self,
        text: str,
        params: dict[str, Any] | None = None,
        timeout: float = DEFAULT_SECONDS,
        limits: QueryLimits = DEFAULT_LIMITS,
    ) -> QueryResult:
        """Raise StoreError: an RDF store does not answer Cypher."""
        raise StoreError("an RDF store answers no Cypher: ask it with `catalograph sparql`")

    def sparql(
        self, text: str, timeout: float = DEFAULT_SECONDS, limits: QueryLimits = DEFAULT_LIMITS
    ) -> QueryResult:
        """Run a read-only SPARQL query with a time limit in seconds, and other limits.

        Raises QueryRefusedError for FROM another graph than the catalogue's: there are servers that
        would fetch it.
        """
        query = checked_sparql(text)
        chosen = chosen_graphs(query)
        for graph in chosen:
            if graph not in GRAPH_IRIS:
                raise QueryRefusedError(
                    f"FROM <{graph[:60]}> is not allowed: it is no graph of the catalogue's, such "
                    "as rank:asserted; leave it out"
                )
        return self._endpoint.query(query, timeout, () if chosen else OUR_GRAPHS, limits)

    def counts(self) -> Counts:
        """Return the sizes of the graph."""
        sizes: dict[str, int] = {}
        for name, text in terms.COUNT_QUERIES.items():
            (solution,) = self._endpoint.select(text)
            sizes[name] = int(solution["n"].value)
        return Counts(**sizes)

    def revision(self) -> str:
        """Return a text that changes whenever the content does, if Catalograph changes it."""
        text = f"SELECT ?revision {{ GRAPH {JOURNAL} {{ {JOURNAL} {REVISION} ?revision }} }}"
        return "".join(solution["revision"].value for solution in self._endpoint.select(text))

    def close(self) -> None:
        """Release the connections."""
        self._endpoint.close()

    def _items_by_id(self, ids: Sequence[str]) -> dict[str, Row]:
        """Return the rows of those items that the store has."""
        rows: dict[str, Row] = {}
        for quads in self._quads_of("item", ids, terms.ITEM_GRAPH):
            row = terms.item_row(quads)
            if row is not None:
                rows[row["id"]] = row
        return rows

    def _statements_by_id(self, ids: Sequence[str]) -> dict[str, Row]:
        """Return the rows of those statements that the store has."""
        rows: dict[str, Row] = {}
        for quads in self._quads_of("statement", ids, terms.PROVENANCE_GRAPH):
            row = terms.statement_row(quads)
            rows[row["id"]] = row
        return rows

    def _quads_of(self, kind: str, ids: Sequence[str], graph: NamedNode) -> Iterator[list[Quad]]:
        """Yield the quads in a graph of each of some items or statements."""
        for part in chunks(ids, NODES_PER_QUERY):
            nodes = " ".join(str(terms.named_node(kind, id)) for id in part)
            yield from self._grouped(
                f"SELECT ?s ?p ?o {{ VALUES ?s {{ {nodes} }} GRAPH {graph} {{ ?s ?p ?o }} }} "
                "ORDER BY ?s"
            )

    def _grouped(self, text: str) -> Iterator[list[Quad]]:
        """Yield the quads of each ``?s`` of a query for ``?s ?p ?o`` that is ordered by ``?s``."""
        for subject, solutions in groupby(self._endpoint.select(text), key=lambda row: row["s"]):
            yield [Quad(subject, row["p"], row["o"]) for row in solutions]

    def _statements(self, pattern: Pattern) -> Iterator[Row]:
        """Yield the rows of the statements that match, in any order."""
        conditions = ""
        if pattern.item is not None:
            conditions += f"?s {terms.SUBJECT} {terms.named_node('item', pattern.item)} . "
        if pattern.property is not None:
            property = terms.named_node("property", pattern.property)
            conditions += f"?s {terms.PREDICATE} {property} . "
        if pattern.value is not None:
            values = " ".join(map(str, terms.value_terms(pattern.value, self._languages())))
            conditions += f"VALUES ?value {{ {values} }} ?s {terms.OBJECT} ?value . "
        if pattern.ranks is not None:
            graphs = " ".join(str(terms.RANK_GRAPHS[rank]) for rank in pattern.ranks)
            rank_predicate = terms.NODE_PREDICATES["rank"]
            conditions += f"VALUES ?rank {{ {graphs} }} ?s {rank_predicate} ?rank . "
        yield from self._statements_where(conditions)

    def _statements_where(self, conditions: str) -> Iterator[Row]:
        """Yield the rows of the statements that meet conditions in SPARQL, in any order."""
        # One solution for each statement, in the server's own order, and sorted here: to have the
        # server order all quads of a graph is expensive once there are many millions.
        where = f"GRAPH {terms.PROVENANCE_GRAPH} {{ {conditions} {STATEMENT_PATTERN} }}"
        for solution in self._endpoint.select(f"SELECT * {{ {where} }}"):
            yield terms.statement_row(
                Quad(solution["s"], predicate, solution[column])
                for column, predicate in PREDICATE_OF_COLUMN.items()
                if solution[column] is not None
            )

    def _languages(self) -> list[str]:
        """Return the languages that statements have or had."""
        graph = terms.LABEL_GRAPH
        text = f"SELECT ?o {{ GRAPH {graph} {{ {graph} {terms.LANGUAGE} ?o }} }}"
        return [terms.term_text(row["o"]) for row in self._endpoint.select(text)]

    def _sorted_items(self) -> Generator[pa.RecordBatch, None, None]:
        text = f"SELECT ?s ?p ?o {{ GRAPH {terms.ITEM_GRAPH} {{ ?s ?p ?o }} }} ORDER BY ?s"
        rows = (terms.item_row(quads) for quads in self._grouped(text))
        batches = record_batches((row for row in rows if row is not None), ITEM_SCHEMA)
        yield from sorted_batches(batches, ITEM_SCHEMA)

    def _sorted_statements(self, pattern: Pattern) -> Generator[pa.RecordBatch, None, None]:
        batches = record_batches(self._statements(pattern), STATEMENT_SCHEMA)
        yield from sorted_batches(batches, STATEMENT_SCHEMA)

    def _triples(self, ranks: Sequence[Rank]) -> Generator[pa.RecordBatch, None, None]:
        for rank in ranks:
            graph = terms.RANK_GRAPHS[rank]
            # Not what a translation says.
            pattern = '?s ?p ?o FILTER (LANG(?o) = "")'
            solutions = self._endpoint.select(
                f"SELECT ?s ?p ?o {{ GRAPH {graph} {{ {pattern} }} }}"
            )
            rows = (
                {
                    "item": terms.node_name(solution["s"]),
                    "property": terms.node_name(solution["p"]),
                    "value": terms.term_text(solution["o"]),
                }
                for solution in solutions
            )
            yield from record_batches(rows, TRIPLE_SCHEMA)

    def _sourced_triples(self, ranks: Sequence[Rank]) -> Generator[pa.RecordBatch, None, None]:
        rows = (
            row for row in self._statements(Pattern(ranks=tuple(ranks))) if row["language"] is None
        )
        yield from record_batches(rows, SOURCED_TRIPLE_SCHEMA)

    def _update(self, before: Iterable[Quad], after: Iterable[Quad]) -> None:
        """Replace quads by others in one request; quads that stay are not sent."""
        # Dictionaries, because they keep the order.
        old = dict.fromkeys(before)
        new = dict.fromkeys(after)
        removed = [quad for quad in old if quad not in new]
        added = [quad for quad in new if quad not in old]
        operations = []
        if removed:
            operations.append(f"DELETE DATA {{\n{_quad_data(removed)}}}")
        if added:
            operations.append(f"INSERT DATA {{\n{_quad_data(added)}}}")
        if operations:
            operations.append(
                f"DELETE WHERE {{ GRAPH {JOURNAL} {{ {JOURNAL} {REVISION} ?revision }} }}"
            )
            revision = Literal(uuid.uuid4().hex)
            operations.append(
                f"INSERT DATA {{ GRAPH {JOURNAL} {{ {JOURNAL} {REVISION} {revision} }} }}"
            )
            prologue = "".join(f"PREFIX {name}: <{iri}>\n" for iri, name in UPDATE_PREFIXES.items())
            self._endpoint.update(prologue + " ;\n".join(operations))


def _batch_node(version: int) -> NamedNode:
    return NamedNode(f"{JOURNAL.value}:{version}")


def _quads(items: Iterable[Row], statements: Iterable[Row]) -> Iterator[Quad]:
    for row in items:
        yield from terms.item_quads(row)
    for row in statements:
        yield from terms.statement_quads(row)


def _quad_data(quads: Iterable[Quad]) -> str:
    """Return quads as SPARQL's QuadData, grouped by graph and subject.

    This takes a third of the space that one line per quad would take.
    """
    lines = []
    ordered = sorted(quads, key=lambda quad: (str(quad.graph_name), str(quad.subject)))
    for graph, in_graph in groupby(ordered, key=lambda quad: quad.graph_name):
        lines.append(f"GRAPH {graph} {{\n")
        for subject, of_subject in groupby(in_graph, key=lambda quad: quad.subject):
            pairs = " ; ".join(
                f"{_abbreviated(quad.predicate)} {_abbreviated(quad.object)}" for quad in of_subject
            )
            lines.append(f"{_abbreviated(subject)} {pairs} .\n")
        lines.append("}\n")
    return "".join(lines)


def _abbreviated(term: Any) -> str:
    """Return a term as SPARQL writes it, with one of UPDATE_PREFIXES if possible."""
    match = ABBREVIABLE.fullmatch(term.value) if isinstance(term, NamedNode) else None
    if match is None or match[1] not in UPDATE_PREFIXES:
        return str(term)
    return f"{UPDATE_PREFIXES[match[1]]}:{match[2]}"


def open_url(url: str, *, create: bool, read_only: bool) -> RdfEndpointStore:
    """Connect to the endpoint of ``rdf+http://HOST/DATASET``; its dataset must exist already."""
    return RdfEndpointStore(url)
