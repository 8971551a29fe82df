"""Export as RDF: N-Quads with named graphs, N-Triples and Turtle without them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pyoxigraph import Quad, RdfFormat, Triple, serialize

from kg.export.selection import Selection
from kg.stores import rdf_terms as terms
from schema import iris
from schema.terms import TRUSTED_RANKS

UNTRUSTED_GRAPHS = {node for rank, node in terms.RANK_GRAPHS.items() if rank not in TRUSTED_RANKS}


def write_nquads(selection: Selection, path: Path) -> None:
    """Write N-Quads: exactly the quads of the RDF store."""
    with path.open("wb") as stream:
        serialize(_quads(selection), stream, RdfFormat.N_QUADS)


def write_ntriples(selection: Selection, path: Path) -> None:
    """Write N-Triples."""
    with path.open("wb") as stream:
        serialize(_triples(selection), stream, RdfFormat.N_TRIPLES)


def write_turtle(selection: Selection, path: Path) -> None:
    """Write Turtle."""
    with path.open("wb") as stream:
        serialize(_triples(selection), stream, RdfFormat.TURTLE, prefixes=iris.PREFIXES)


def _triples(selection: Selection) -> Iterator[Triple]:
    """Yield the triples of the graph.

    Without a named graph that says otherwise a triple is a fact, so an untrusted statement appears
    only as an ``rdf:Statement`` with its rank.
    """
    for quad in _quads(selection):
        if quad.graph_name not in UNTRUSTED_GRAPHS:
            yield Triple(quad.subject, quad.predicate, quad.object)


def _quads(selection: Selection) -> Iterator[Quad]:
    # The names of properties, sources and the like are written once each.
    named: set[tuple[str, str]] = set()
    for rows, columns, quads_of in (
        (selection.item_rows(), terms.LISTED_ITEM_COLUMNS, terms.item_quads),
        (selection.statement_rows(), terms.LABELLED_COLUMNS, terms.statement_quads),
    ):
        for row in rows:
            yield from quads_of(row)
            new_names = {(kind, row[kind]) for kind in columns if row[kind]} - named
            yield from terms.label_quads(new_names)
            named |= new_names
