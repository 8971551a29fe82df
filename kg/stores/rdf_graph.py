"""An Oxigraph quad store on disk: opened, read, and brought up to a journal's batches."""

from __future__ import annotations

import ctypes
import io
import os
import shutil
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
from pyoxigraph import Literal, NamedNode, Quad, RdfFormat, Store

from kg.stores import rdf_terms as terms
from kg.stores.journal import parts_of
from kg.stores.merge import Row
from kg.stores.protocol import Counts, Pattern, QueryResult
from kg.stores.sorting import on_one_thread, record_batches, sorted_batches
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA, TRIPLE_SCHEMA
from schema.errors import StoreError
from schema.terms import Rank

FOLDER = "graph.oxigraph"
BATCH_ROWS = 65_536
TEXTS = 500
ADDED = 20_000
LOADED = 25_000
JOURNAL = NamedNode(f"{terms.BASE}journal")
VERSION = NamedNode(f"{terms.BASE}term:version")


class OxigraphGraph:
    """The folder ``graph.oxigraph`` in a store's folder, and the version of the journal that it shows."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        path = str(folder / FOLDER)
        try:
            self.quads = Store.read_only(path) if read_only else Store(path)
        except (OSError, ValueError) as error:
            if read_only:
                raise RuntimeError(str(error)) from None
            wipe(folder)
            self.quads = Store(path)

    def close(self) -> None:
        """Release the files."""
        del self.quads

    def applied(self) -> int:
        """The journal's version that the graph shows, -1 for none."""
        return max(
            (
                int(terms.text_of(quad.object))
                for quad in self.quads.quads_for_pattern(JOURNAL, VERSION, None, JOURNAL)
            ),
            default=-1,
        )

    def apply(self, version: int, changes: pa.Table) -> None:
        """Bring one batch into the graph; doing it twice is doing it once, since the version is written last.

        Items and statements that are not there yet have nothing to replace, and are loaded in bulk.
        """
        items, facts, retracted = parts_of(changes)
        names = pc.unique(
            pa.chunked_array([*items["id"].chunks, *facts["item"].chunks], pa.string())
        )
        there = pa.array([name for name in names.to_pylist() if self._has(name)], pa.string())
        new_items, old_items = _parted(items, "id", there)
        asked = facts["id"].filter(pc.is_in(facts["item"], value_set=there)).to_pylist()
        new_facts, old_facts = _parted(facts, "id", pa.array(self.present(asked), pa.string()))
        if new_items.num_rows or new_facts.num_rows:
            self._load(new_items, new_facts)
        self._replace(
            (self._of(terms.iri("item", row["id"]), terms.ITEMS), terms.item_quads(row))
            for row in _rows(old_items)
        )
        self._replace(
            (self._fact(row["id"], row), terms.fact_quads(row)) for row in _rows(old_facts)
        )
        self._replace((self._fact(name), []) for name in retracted)
        self.quads.extend(
            terms.name_quads(
                (kind, name) for kind in terms.NAMED for name in pc.unique(facts[kind]).to_pylist()
            )
        )
        versions = list(self.quads.quads_for_pattern(JOURNAL, VERSION, None, JOURNAL))
        self._replace([(versions, [Quad(JOURNAL, VERSION, Literal(version), JOURNAL)])])

    def _load(self, items: pa.Table, facts: pa.Table) -> None:
        """Put in rows that have nothing to replace, parts beside each other: Oxigraph sorts a part on one thread, and in memory."""
        starts = range(0, max(items.num_rows, facts.num_rows), LOADED)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(
                pool.map(
                    lambda at: self._load_part(items.slice(at, LOADED), facts.slice(at, LOADED)),
                    starts,
                )
            )
        _trim()

    def _load_part(self, items: pa.Table, facts: pa.Table) -> None:
        lines = chain(map(terms.item_text, _rows(items)), map(terms.fact_text, _rows(facts)))
        self.quads.bulk_load(input=stream_of(lines), format=RdfFormat.N_QUADS, lenient=True)

    def _has(self, name: str) -> bool:
        return Quad(terms.iri("item", name), terms.TYPE, terms.PRODUCT, terms.ITEMS) in self.quads

    def _replace(self, changes: Iterable[tuple[list[Quad], list[Quad]]]) -> None:
        """Take out the first quads of each change and put in the second, many at once."""
        added: list[Quad] = []
        for old, new in changes:
            before = set(old)
            after = set(new)
            for quad in old:
                if quad not in after:
                    self.quads.remove(quad)
            added += [quad for quad in new if quad not in before]
            if len(added) >= ADDED:
                self.quads.extend(added)
                added = []
        self.quads.extend(added)

    def _of(self, node: NamedNode, graph: Any) -> list[Quad]:
        return list(self.quads.quads_for_pattern(node, None, None, graph))

    def _fact(self, id: str, row: Row | None = None) -> list[Quad]:
        """A statement's quads in every graph: the fact first, so that what is left of a killed removal still tells which fact it was."""
        about = self._of(terms.iri("statement", id), terms.PROVENANCE)
        said: Any = {quad.predicate: quad.object for quad in about}
        if row is not None:
            ends = (
                terms.iri("item", row["item"]),
                terms.iri("property", row["property"]),
                Literal(row["value"]),
            )
        elif {terms.SUBJECT, terms.PREDICATE, terms.OBJECT} <= set(said):
            ends = said[terms.SUBJECT], said[terms.PREDICATE], said[terms.OBJECT]
        else:
            return about
        return [
            fact for graph in terms.RANKS.values() if (fact := Quad(*ends, graph)) in self.quads
        ] + about

    def known(self, names: list[str]) -> tuple[dict[str, Row], dict[str, Row]]:
        """Those of the named items that are there, and their statements, both by id."""
        items: dict[str, Row] = {}
        facts: dict[str, Row] = {}
        for name in names:
            row = terms.item_row(self._of(terms.iri("item", name), terms.ITEMS))
            if row is not None:
                items[name] = row
                facts |= {fact["id"]: fact for fact in self._facts(Pattern(item=name))}
        return items, facts

    def present(self, ids: list[str]) -> list[str]:
        """Those of the statements ``ids`` that are there."""
        return [
            id
            for id in ids
            if Quad(terms.iri("statement", id), terms.TYPE, terms.STATEMENT, terms.PROVENANCE)
            in self.quads
        ]

    def _facts(self, pattern: Pattern) -> Iterator[Row]:
        """Statements that match, in no order."""
        if pattern.item is pattern.property is pattern.value is None:
            yield from (
                row
                for row in self._all_facts()
                if pattern.ranks is None or row["rank"] in pattern.ranks
            )
            return
        item = None if pattern.item is None else terms.iri("item", pattern.item)
        known = None if pattern.property is None else terms.iri("property", pattern.property)
        value = None if pattern.value is None else Literal(pattern.value)
        graphs = [
            graph
            for rank, graph in terms.RANKS.items()
            if pattern.ranks is None or rank in pattern.ranks
        ]
        for graph in graphs:
            for quad in self.quads.quads_for_pattern(item, known, value, graph):
                yield terms.fact_row(self._of(terms.statement_of(quad), terms.PROVENANCE))

    def _all_facts(self) -> Iterator[Row]:
        # The index keeps a statement's quads together.
        quads = self.quads.quads_for_pattern(None, None, None, terms.PROVENANCE)
        return (terms.fact_row(group) for _, group in groupby(quads, key=lambda quad: quad.subject))

    def items(self) -> Iterator[pa.RecordBatch]:
        """All items, ordered by id."""
        return on_one_thread(self._items())

    def _items(self) -> Generator[pa.RecordBatch, None, None]:
        quads = self.quads.quads_for_pattern(None, None, None, terms.ITEMS)
        # The index keeps a subject's quads together.
        rows = (terms.item_row(group) for _, group in groupby(quads, key=lambda quad: quad.subject))
        yield from sorted_batches(
            record_batches((row for row in rows if row is not None), ITEM_SCHEMA), ITEM_SCHEMA
        )

    def scan(self, pattern: Pattern) -> Iterator[pa.RecordBatch]:
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
            quads = self.quads.quads_for_pattern(None, None, None, terms.RANKS[rank])
            rows = (
                {
                    "item": terms.name_of(q.subject),
                    "property": terms.name_of(q.predicate),
                    "value": terms.text_of(q.object),
                }
                for q in quads
            )
            yield from record_batches(rows, TRIPLE_SCHEMA)

    def query(self, text: str, params: dict[str, Any], timeout: float) -> QueryResult:
        """No Cypher here; raises StoreError."""
        raise StoreError("an RDF store answers no Cypher: ask it with `catalograph sparql`")

    def counts(self) -> Counts:
        """Sizes of the graph."""
        found: dict[str, Any] = {name: self.quads.query(text) for name, text in terms.SIZES.items()}
        return Counts(**{name: int(next(rows)["n"].value) for name, rows in found.items()})


def wipe(folder: Path) -> None:
    """Delete the graph's files below ``folder``; the journal stays."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def stream_of(texts: Iterable[str]) -> BinaryIO:
    """Texts as a file to read, which is never whole in memory."""
    return io.BufferedReader(_Texts(iter(texts)), 1 << 20)


class _Texts(io.RawIOBase):
    def __init__(self, texts: Iterator[str]) -> None:
        self._texts = texts
        self._rest = b""

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, into: Any) -> int:
        """Read what is left of the texts at hand, or else of the next ones."""
        if not self._rest:
            self._rest = "".join(islice(self._texts, TEXTS)).encode()
        size = min(len(self._rest), len(into))
        into[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def _trim() -> None:
    """Give memory that is free back to the system, where the C library can: each thread that loaded would keep its share of it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _parted(table: pa.Table, column: str, there: pa.Array) -> tuple[pa.Table, pa.Table]:
    """The rows about items that are not there, and the others."""
    known = pc.is_in(table[column], value_set=there)
    return table.filter(pc.invert(known)), table.filter(known)


def _rows(table: pa.Table) -> Iterator[Row]:
    for batch in table.to_batches(max_chunksize=BATCH_ROWS):
        yield from batch.to_pylist()
