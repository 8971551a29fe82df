"""An Oxigraph quad store on disk: opened, read, and brought up to a journal's batches."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyoxigraph import Literal, NamedNode, Quad, Store

from kg.journal import parts_of
from kg.merge import Row
from kg.sorting import record_batches, sorted_batches
from kg.store import ITEM_SCHEMA, STATEMENT_SCHEMA, TRIPLE_SCHEMA, Counts, Pattern, QueryResult
from kg.stores import rdf_terms as terms
from schema.errors import StoreError
from schema.terms import Rank

FOLDER, BATCH_ROWS = "graph.oxigraph", 65_536
JOURNAL, VERSION = NamedNode(f"{terms.BASE}journal"), NamedNode(f"{terms.BASE}term:version")


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
        return max((int(terms.text_of(quad.object)) for quad in self.quads.quads_for_pattern(JOURNAL, VERSION, None, JOURNAL)), default=-1)

    def apply(self, version: int, changes: pa.Table) -> None:
        """Bring one batch into the graph; doing it twice is doing it once, since the version is written last."""
        items, facts, retracted = parts_of(changes)
        if len(self.quads) == 0:
            self.quads.bulk_extend(quad for row in _rows(items) for quad in terms.item_quads(row))
            self.quads.bulk_extend(quad for row in _rows(facts) for quad in terms.fact_quads(row))
        else:
            for row in _rows(items):
                self._replace(self._of(terms.iri("item", row["id"]), terms.ITEMS), terms.item_quads(row))
            for row in _rows(facts):
                self._replace(self._fact(row["id"]), terms.fact_quads(row))
            for name in retracted:
                self._replace(self._fact(name), ())
        self.quads.extend(terms.name_quads(_rows(facts)))
        versions = list(self.quads.quads_for_pattern(JOURNAL, VERSION, None, JOURNAL))
        self._replace(versions, [Quad(JOURNAL, VERSION, Literal(version), JOURNAL)])

    def _replace(self, old: Iterable[Quad], new: Iterable[Quad]) -> None:
        before, after = set(old), set(new)
        for quad in before - after:
            self.quads.remove(quad)
        self.quads.extend(after - before)

    def _of(self, node: NamedNode, graph: Any) -> list[Quad]:
        return list(self.quads.quads_for_pattern(node, None, None, graph))

    def _fact(self, id: str) -> list[Quad]:
        """A statement's quads in every graph."""
        about = self._of(terms.iri("statement", id), terms.PROVENANCE)
        if not about:
            return []
        fact = terms.fact_quad(terms.fact_row(about))
        return [*about, fact] if fact in self.quads else about

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
        return [id for id in ids if self._of(terms.iri("statement", id), terms.PROVENANCE)]

    def _facts(self, pattern: Pattern) -> Iterator[Row]:
        """Statements that match, in no order."""
        ranks = None if pattern.ranks is None else {str(rank) for rank in pattern.ranks}
        if pattern.item is pattern.property is pattern.value is None:
            # The index keeps a statement's quads together.
            quads = self.quads.quads_for_pattern(None, None, None, terms.PROVENANCE)
            rows = (terms.fact_row(group) for _, group in groupby(quads, key=lambda quad: quad.subject))
            yield from (row for row in rows if ranks is None or row["rank"] in ranks)
            return
        item = None if pattern.item is None else terms.iri("item", pattern.item)
        known = None if pattern.property is None else terms.iri("property", pattern.property)
        value = None if pattern.value is None else Literal(pattern.value)
        for rank, graph in terms.RANKS.items():
            if ranks is None or str(rank) in ranks:
                for quad in self.quads.quads_for_pattern(item, known, value, graph):
                    yield terms.fact_row(self._of(terms.statement_of(quad), terms.PROVENANCE))

    def items(self) -> Iterator[pa.RecordBatch]:
        """All items, ordered by id."""
        quads = self.quads.quads_for_pattern(None, None, None, terms.ITEMS)
        # The index keeps a subject's quads together.
        rows = (terms.item_row(group) for _, group in groupby(quads, key=lambda quad: quad.subject))
        yield from sorted_batches(record_batches((row for row in rows if row is not None), ITEM_SCHEMA), ITEM_SCHEMA)

    def scan(self, pattern: Pattern) -> Iterator[pa.RecordBatch]:
        """Statements that match, ordered by id."""
        yield from sorted_batches(record_batches(self._facts(pattern), STATEMENT_SCHEMA), STATEMENT_SCHEMA)

    def triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Statements of some ranks."""
        for rank in ranks:
            quads = self.quads.quads_for_pattern(None, None, None, terms.RANKS[rank])
            rows = (
                {"item": terms.name_of(q.subject), "property": terms.name_of(q.predicate), "value": terms.text_of(q.object)} for q in quads
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


def _rows(table: pa.Table) -> Iterator[Row]:
    for batch in table.to_batches(max_chunksize=BATCH_ROWS):
        yield from batch.to_pylist()
