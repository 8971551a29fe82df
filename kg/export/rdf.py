"""Export as RDF: N-Quads with their graphs, N-Triples and Turtle without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pyoxigraph import Quad, RdfFormat, Triple, serialize

from kg.export.selection import Chosen
from kg.stores import rdf_terms as terms
from schema.terms import TRUSTED_RANKS

_UNTRUSTED = {node for rank, node in terms.RANKS.items() if rank not in TRUSTED_RANKS}


def write_quads(chosen: Chosen, path: Path) -> None:
    """N-Quads: the quads of the RDF store itself."""
    with path.open("wb") as stream:
        serialize(_quads(chosen), stream, RdfFormat.N_QUADS)


def write_triples(chosen: Chosen, path: Path, *, turtle: bool) -> None:
    """N-Triples or Turtle. Without graphs a triple is a fact, so what is not trusted stands in its ``rdf:Statement`` alone."""
    with path.open("wb") as stream:
        triples = (
            Triple(q.subject, q.predicate, q.object)
            for q in _quads(chosen)
            if q.graph_name not in _UNTRUSTED
        )
        serialize(
            triples,
            stream,
            RdfFormat.TURTLE if turtle else RdfFormat.N_TRIPLES,
            prefixes=terms.PREFIXES if turtle else None,
        )


def _quads(chosen: Chosen) -> Iterator[Quad]:
    for row in chosen.item_rows():
        yield from terms.item_quads(row)
    named: set[tuple[str, str]] = set()
    for row in chosen.statement_rows():
        yield from terms.fact_quads(row)
        fresh = {(kind, row[kind]) for kind in terms.NAMED if row[kind]} - named
        yield from terms.name_quads(fresh)
        named |= fresh
