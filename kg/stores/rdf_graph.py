"""An Oxigraph quad store on disk: open and read it, and apply the journal's batches to it.

Iterators of pyoxigraph must be used and released by the thread that created them, hence the
``on_one_thread`` around the streams.
"""

from __future__ import annotations

import io
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc
from pyoxigraph import Literal, NamedNode, Quad, QuerySolutions, RdfFormat, Store

from kg.stores import rdf_terms as terms
from kg.stores.graph_files import hold
from kg.stores.journal import JournalBatch
from kg.stores.merge import StoredRows
from kg.stores.oxigraph_database import check_memory, open_for_reading, oxigraph_errors
from kg.stores.projection import Projection
from kg.stores.protocol import Counts, Pattern, QueryResult
from kg.stores.query_child import Engine
from kg.stores.query_limits import QueryLimits
from kg.stores.query_pool import QueryPool
from kg.stores.query_process import GraphSource
from kg.stores.references import sources_of
from kg.stores.sorting import on_one_thread, record_batches, sorted_batches
from kg.stores.sparql_guard import checked_sparql
from kg.stores.tables import (
    BATCH_ROWS,
    ITEM_SCHEMA,
    SOURCED_TRIPLE_SCHEMA,
    STATEMENT_SCHEMA,
    TRIPLE_SCHEMA,
    Row,
)
from schema import iris
from schema.errors import StoreError
from schema.memory import return_freed_memory
from schema.terms import Rank

FOLDER = "graph.oxigraph"
LOAD_ROWS = 25_000
"""Rows that one thread loads at a time."""
EXTEND_QUADS = 20_000
"""Quads that are added to the store at once when rows are replaced."""
JOINED_TEXTS = 500
"""Texts that are encoded at once for a bulk load."""
GROWTH = 40
"""Bytes of disk for a byte of changes in Arrow's form, while its tables are being compacted."""
JOURNAL = NamedNode(f"{iris.BASE}journal")
VERSION = NamedNode(f"{iris.BASE}term:version")


class OxigraphGraph(Projection):
    """A folder of quads, and the version of the journal that it shows.

    Opened for writing, the folder is made if there is none. Raises StoreDamagedError if its files
    are damaged, and StoreUnavailableError if the system refuses to open them for now.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._handle: int | None = None
        self.queries = QueryPool(GraphSource(Engine.OXIGRAPH, path))
        check_memory(path)
        with oxigraph_errors(path):
            if read_only:
                self._handle = hold(path)
                try:
                    self.quads = open_for_reading(str(path))
                except BaseException:
                    self.close()
                    raise
            else:
                self.quads = Store(str(path))

    def close(self) -> None:
        """Release the files."""
        self.queries.close()
        # pyoxigraph has no close(): the files are released with the last reference.
        vars(self).pop("quads", None)
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def finish(self) -> None:
        """Write all changes into the files, and release them."""
        self.flush()
        self.close()

    def flush(self) -> None:
        """Write all changes into the files."""
        with oxigraph_errors(self.path):
            self.quads.flush()

    def save_copy(self, target: Path) -> None:
        """Copy the files; most of them are linked."""
        with oxigraph_errors(self.path):
            self.quads.backup(str(target))

    def abandon(self) -> None:
        """Give up a graph that failed to be written."""
        self.close()

    def room_for(self, changes: pa.Table) -> int:
        """Return about how many bytes of disk a batch needs while it is applied."""
        return GROWTH * changes.nbytes

    def applied_version(self) -> int:
        """Return the journal's version that the graph shows, or -1 if it shows none."""
        with oxigraph_errors(self.path):
            versions = [int(terms.term_text(quad.object)) for quad in self._version_quads()]
        return max(versions, default=-1)

    def apply(self, version: int, changes: pa.Table) -> None:
        """Apply one batch of the journal; applying it twice has the same result as once.

        The version is written last, so that a batch that was cut off is applied again. New items
        and statements have nothing to replace, and are loaded in bulk.
        """
        with oxigraph_errors(self.path):
            self._apply(version, changes)

    def _apply(self, version: int, changes: pa.Table) -> None:
        batch = JournalBatch.from_table(changes)
        items = batch.items
        statements = batch.statements

        item_ids = pc.unique(
            pa.chunked_array([*items["id"].chunks, *statements["item"].chunks], pa.string())
        ).to_pylist()
        existing_items = pa.array([id for id in item_ids if self._has_item(id)], pa.string())
        # Only items that exist can have statements, so the others need not be looked up.
        candidates = statements["id"].filter(pc.is_in(statements["item"], value_set=existing_items))
        existing_statements = pa.array(
            self.existing_statements(candidates.to_pylist()), pa.string()
        )
        new_items, updated_items = _split(items, existing_items)
        new_statements, updated_statements = _split(statements, existing_statements)

        if new_items.num_rows or new_statements.num_rows:
            self._load(new_items, new_statements)
        self._replace(
            (self._item_quads(row["id"]), terms.item_quads(row)) for row in _rows(updated_items)
        )
        self._replace(
            (self._statement_quads(row["id"], row), terms.statement_quads(row))
            for row in _rows(updated_statements)
        )
        self._replace((self._statement_quads(id), []) for id in batch.retracted)
        self._replace((self._item_quads(id), []) for id in batch.deleted)
        listed = (
            (statements, terms.LISTED_COLUMNS),
            (items, terms.LISTED_ITEM_COLUMNS),
        )
        self.quads.extend(
            terms.label_quads(
                (column, name)
                for table, columns in listed
                for column in columns
                for name in pc.unique(table[column]).to_pylist()
            )
        )
        version_quad = Quad(JOURNAL, VERSION, Literal(version), JOURNAL)
        self._replace([(self._version_quads(), [version_quad])])

    def rows_about(self, item_ids: Sequence[str]) -> StoredRows:
        """Return the rows of these items, as far as the graph has them, and their statements."""
        items: dict[str, Row] = {}
        statements: dict[str, Row] = {}
        with oxigraph_errors(self.path):
            for id in item_ids:
                row = terms.item_row(self._item_quads(id))
                if row is not None:
                    items[id] = row
                    statements |= {each["id"]: each for each in self._statements(Pattern(item=id))}
        return StoredRows(items, statements)

    def existing_statements(self, ids: Sequence[str]) -> list[str]:
        """Return those of the statement ids that the graph has."""
        with oxigraph_errors(self.path):
            return [id for id in ids if self._has_statement(id)]

    def items(self) -> Iterator[pa.RecordBatch]:
        """Yield all items, ordered by id."""
        return on_one_thread(self._checked(self._sorted_items()))

    def scan(self, pattern: Pattern) -> Iterator[pa.RecordBatch]:
        """Yield the statements that match, ordered by id."""
        return on_one_thread(self._checked(self._sorted_statements(pattern)))

    def triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks."""
        return on_one_thread(self._checked(self._triples(ranks)))

    def sourced_triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks with what decides between sources."""
        return on_one_thread(self._checked(self._sourced_triples(ranks)))

    def sources(self) -> list[str]:
        """Return the sources of items and statements in order; what is only predicted has none."""
        with oxigraph_errors(self.path):
            return sorted(self._sources())

    def query(
        self, text: str, params: dict[str, Any], timeout: float, limits: QueryLimits
    ) -> QueryResult:
        """Raise StoreError: an RDF store does not answer Cypher."""
        raise StoreError("an RDF store answers no Cypher: ask it with `catalograph sparql`")

    def sparql(self, text: str, timeout: float, limits: QueryLimits) -> QueryResult:
        """Run a read-only SPARQL query in a process of its own."""
        return self.queries.answer(checked_sparql(text), {}, timeout, limits)

    def counts(self) -> Counts:
        """Return the sizes of the graph."""
        sizes: dict[str, int] = {}
        with oxigraph_errors(self.path):
            for name, text in terms.COUNT_QUERIES.items():
                # The answer in no variable: an error's traceback would carry it to other threads.
                ((size,),) = cast("QuerySolutions", self.quads.query(text))
                sizes[name] = int(size.value)
        return Counts(**sizes)

    def _version_quads(self) -> list[Quad]:
        return list(self.quads.quads_for_pattern(JOURNAL, VERSION, None, JOURNAL))

    def _has_item(self, id: str) -> bool:
        node = terms.named_node("item", id)
        return Quad(node, terms.TYPE, terms.PRODUCT, terms.ITEM_GRAPH) in self.quads

    def _has_statement(self, id: str) -> bool:
        node = terms.named_node("statement", id)
        return Quad(node, terms.TYPE, terms.STATEMENT, terms.PROVENANCE_GRAPH) in self.quads

    def _load(self, items: pa.Table, statements: pa.Table) -> None:
        """Load rows that have nothing to replace, on all cores."""
        # Oxigraph sorts each load on a single thread, and in memory: hence several small ones.
        starts = range(0, max(items.num_rows, statements.num_rows), LOAD_ROWS)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            loads = [
                pool.submit(
                    self._load_rows,
                    items.slice(start, LOAD_ROWS),
                    statements.slice(start, LOAD_ROWS),
                )
                for start in starts
            ]
            for load in loads:
                load.result()
        return_freed_memory()

    def _load_rows(self, items: pa.Table, statements: pa.Table) -> None:
        texts = chain(
            map(terms.item_nquads, _rows(items)), map(terms.statement_nquads, _rows(statements))
        )
        # Lenient: these quads are our own, and Oxigraph need not validate their IRIs again.
        self.quads.bulk_load(input=stream_of(texts), format=RdfFormat.N_QUADS, lenient=True)

    def _replace(self, changes: Iterable[tuple[list[Quad], list[Quad]]]) -> None:
        """For each pair of old and new quads, remove the old ones and add the new ones.

        Quads are added many at a time, because every call of ``extend`` is a transaction.
        """
        to_add: list[Quad] = []
        for old, new in changes:
            kept = set(old) & set(new)
            for quad in old:
                if quad not in kept:
                    self.quads.remove(quad)
            to_add += [quad for quad in new if quad not in kept]
            if len(to_add) >= EXTEND_QUADS:
                self.quads.extend(to_add)
                to_add = []
        self.quads.extend(to_add)

    def _item_quads(self, id: str) -> list[Quad]:
        node = terms.named_node("item", id)
        return list(self.quads.quads_for_pattern(node, None, None, terms.ITEM_GRAPH))

    def _provenance_quads(self, statement: NamedNode) -> list[Quad]:
        return list(self.quads.quads_for_pattern(statement, None, None, terms.PROVENANCE_GRAPH))

    def _statement_quads(self, id: str, row: Row | None = None) -> list[Quad]:
        """Return a statement's quads in all graphs, with its ends from ``row`` if it is given.

        The fact comes first. If its removal is cut off, the provenance that is left still says
        which fact it was, and the removal can be repeated.
        """
        provenance = self._provenance_quads(terms.named_node("statement", id))
        item: Any
        property: Any
        value: Any
        if row is not None:
            item = terms.named_node("item", row["item"])
            property = terms.named_node("property", row["property"])
            value = Literal(row["value"], language=row["language"])
        else:
            objects = {quad.predicate: quad.object for quad in provenance}
            if not objects.keys() >= {terms.SUBJECT, terms.PREDICATE, terms.OBJECT}:
                return provenance
            item = objects[terms.SUBJECT]
            property = objects[terms.PREDICATE]
            value = objects[terms.OBJECT]
        facts = [Quad(item, property, value, graph) for graph in terms.RANK_GRAPHS.values()]
        return [fact for fact in facts if fact in self.quads] + provenance

    def _statements(self, pattern: Pattern) -> Iterator[Row]:
        """Yield the rows of the statements that match, in any order."""
        if not pattern.texts():
            for row in self._all_statements():
                if pattern.ranks is None or row["rank"] in pattern.ranks:
                    yield row
            return

        item = None if pattern.item is None else terms.named_node("item", pattern.item)
        property = (
            None if pattern.property is None else terms.named_node("property", pattern.property)
        )
        values: list[Literal | None] = [None]
        if pattern.value is not None:
            values = [*terms.value_terms(pattern.value, self._languages())]
        for rank, graph in terms.RANK_GRAPHS.items():
            if pattern.ranks is not None and rank not in pattern.ranks:
                continue
            for value in values:
                for fact in self.quads.quads_for_pattern(item, property, value, graph):
                    yield terms.statement_row(self._provenance_quads(terms.statement_node(fact)))

    def _languages(self) -> list[str]:
        """Return the languages that statements have or had."""
        graph = terms.LABEL_GRAPH
        quads = self.quads.quads_for_pattern(graph, terms.LANGUAGE, None, graph)
        return [terms.term_text(quad.object) for quad in quads]

    def _all_statements(self) -> Iterator[Row]:
        quads = self.quads.quads_for_pattern(None, None, None, terms.PROVENANCE_GRAPH)
        return (terms.statement_row(group) for group in _by_subject(quads))

    def _sources(self) -> set[str]:
        """Return the names of sources; those that are labelled have to be looked up only."""
        names: set[str] = set()
        for graph in (terms.ITEM_GRAPH, terms.PROVENANCE_GRAPH):
            for quad in self.quads.quads_for_pattern(None, terms.REFERENCES, None, graph):
                names |= sources_of(terms.term_text(quad.object))
        for label in self.quads.quads_for_pattern(None, terms.LABEL, None, terms.LABEL_GRAPH):
            node: Any = label.subject
            name = terms.term_text(label.object)
            if node != terms.named_node("source", name) or name in names:
                continue
            for graph in (terms.ITEM_GRAPH, terms.PROVENANCE_GRAPH):
                quads = self.quads.quads_for_pattern(None, terms.SOURCE, node, graph)
                if any(self._is_plain_source(quad.subject, graph) for quad in quads):
                    names.add(name)
                    break
        return names

    def _is_plain_source(self, node: Any, graph: Any) -> bool:
        """Return whether what is shown of a node is all there is, and is not only predicted."""
        has_several = self.quads.quads_for_pattern(node, terms.REFERENCES, None, graph)
        if next(iter(has_several), None) is not None:
            return False
        rank = terms.NODE_PREDICATES["rank"]
        return Quad(node, rank, terms.RANK_GRAPHS[Rank.PREDICTED], graph) not in self.quads

    def _sourced_triples(self, ranks: Sequence[Rank]) -> Generator[pa.RecordBatch, None, None]:
        rows = (
            row
            for row in self._all_statements()
            if row["rank"] in ranks and row["language"] is None
        )
        yield from record_batches(rows, SOURCED_TRIPLE_SCHEMA)

    def _checked(
        self, batches: Generator[pa.RecordBatch, None, None]
    ) -> Generator[pa.RecordBatch, None, None]:
        """Yield from a stream, whose errors may come at any batch."""
        with oxigraph_errors(self.path):
            yield from batches

    def _sorted_items(self) -> Generator[pa.RecordBatch, None, None]:
        quads = self.quads.quads_for_pattern(None, None, None, terms.ITEM_GRAPH)
        rows = (terms.item_row(group) for group in _by_subject(quads))
        batches = record_batches((row for row in rows if row is not None), ITEM_SCHEMA)
        yield from sorted_batches(batches, ITEM_SCHEMA)

    def _sorted_statements(self, pattern: Pattern) -> Generator[pa.RecordBatch, None, None]:
        batches = record_batches(self._statements(pattern), STATEMENT_SCHEMA)
        yield from sorted_batches(batches, STATEMENT_SCHEMA)

    def _triples(self, ranks: Sequence[Rank]) -> Generator[pa.RecordBatch, None, None]:
        for rank in ranks:
            facts = self.quads.quads_for_pattern(None, None, None, terms.RANK_GRAPHS[rank])
            rows = (
                {
                    "item": terms.node_name(fact.subject),
                    "property": terms.node_name(fact.predicate),
                    "value": terms.term_text(fact.object),
                }
                for fact in facts
                if not terms.language_of(fact.object)
            )
            yield from record_batches(rows, TRIPLE_SCHEMA)


def stream_of(texts: Iterable[str]) -> BinaryIO:
    """Return texts as a binary file to read, which is never in memory as a whole."""
    return io.BufferedReader(_TextStream(iter(texts)), 1 << 20)


class _TextStream(io.RawIOBase):
    """Texts as a raw stream of UTF-8."""

    def __init__(self, texts: Iterator[str]) -> None:
        self._texts = texts
        self._rest = b""

    def readable(self) -> bool:
        """Return True: the stream can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is left of the texts encoded last, or encode the next ones."""
        if not self._rest:
            self._rest = "".join(islice(self._texts, JOINED_TEXTS)).encode()
        size = min(len(self._rest), len(buffer))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def _by_subject(quads: Iterable[Quad]) -> Iterator[Iterator[Quad]]:
    """Group the quads of a graph by subject; its index yields a subject's quads in a row."""
    return (group for _, group in groupby(quads, key=lambda quad: quad.subject))


def _split(table: pa.Table, existing_ids: pa.Array) -> tuple[pa.Table, pa.Table]:
    """Split a table into the rows that are new and those whose id exists."""
    exists = pc.is_in(table["id"], value_set=existing_ids)
    return table.filter(pc.invert(exists)), table.filter(exists)


def _rows(table: pa.Table) -> Iterator[Row]:
    for batch in table.to_batches(max_chunksize=BATCH_ROWS):
        yield from batch.to_pylist()
