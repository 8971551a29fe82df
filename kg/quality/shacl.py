"""SHACL by pyshacl over rows of a store, which become a small RDF graph; nothing is fetched from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyshacl
from pyoxigraph import NamedNode, Quad
from rdflib import RDF, SH, XSD, BNode, Graph, Literal, URIRef

from kg.stores.merge import Row
from kg.stores.rdf_terms import fact_quad, fact_quads, item_quads
from kg.stores.sparql import guard, names_graphs
from schema.errors import DataError, QueryRefusedError, SourceNotFoundError
from schema.iris import PREFIXES, name_of_kind
from schema.shapes import SHIPPED_SHAPES
from schema.terms import TRUSTED_RANKS
from schema.validation import Finding, Severity

SEVERITIES = {SH.Warning: Severity.WARNING, SH.Info: Severity.INFO}
# What the shapes that are made from an ontology check, in the words of the ontology's own checks.
MADE = {SH.PatternConstraintComponent: "datatype", SH.MaxCountConstraintComponent: "cardinality"}
QUERIES = (SH.select, SH.ask)


class Shapes:
    """The shapes of every catalogue and those of a file in Turtle; raises SourceNotFoundError, or DataError where it is unfit.

    Provenance is looked at where the file has shapes for statements: it makes most of a graph, and no store lets it be wrong.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        own = _parsed(path)
        _guard(own, path)
        self.provenance = (None, SH.targetClass, RDF.Statement) in own
        self.graph = own + Graph().parse(SHIPPED_SHAPES, format="turtle")
        # What is wrong with the shapes of items shows now, and not after the first thousand.
        self.check([{"id": "", "title": None, "category": None, "images": []}], [])

    def check(self, items: Iterable[Row], facts: Iterable[Row]) -> list[Finding]:
        """What the shapes find in items and their statements, rows of a store's tables."""
        known = {row["id"]: row for row in facts}
        graph = Graph(bind_namespaces="none")
        for quad in _quads(items, known.values(), self.provenance):
            graph.add((_term(quad.subject), _term(quad.predicate), _term(quad.object)))
        try:
            _, report, _ = pyshacl.validate(graph, shacl_graph=self.graph, inplace=True)
        except Exception as error:  # pyshacl raises whatever a wrong shape brings it to
            raise DataError(
                f"{self.path} has shapes that cannot be used ({_line(error)}): correct them"
            ) from None
        if not isinstance(report, Graph):
            raise DataError(
                f"{self.path} has shapes that cannot be used ({_line(report)}): correct them"
            )
        return [
            _finding(dict(report.predicate_objects(result)), known)
            for result in report.objects(None, SH.result)
        ]


def _finding(said: Mapping[Any, Any], facts: Mapping[str, Row]) -> Finding:
    """A result of pyshacl's report, by the predicates of which it consists."""
    component = said[SH.sourceConstraintComponent]
    shape = str(said.get(SH.sourceShape))
    path = said.get(SH.resultPath)
    check = str(component).rpartition("#")[2].removesuffix("ConstraintComponent")
    severity = SEVERITIES.get(said[SH.resultSeverity], Severity.VIOLATION)
    message = _line(said.get(SH.resultMessage, check))
    fact = facts.get(name_of_kind("statement", str(said[SH.focusNode])) or "")
    if fact is not None:
        return Finding(
            fact["item"],
            fact["property"],
            fact["value"],
            severity,
            f"{check} of {_short(path)}",
            message,
        )
    value = None if said.get(SH.value) is None else str(said[SH.value])
    item = name_of_kind("item", str(said[SH.focusNode]))
    placed = name_of_kind("shape:applies", shape)
    if placed is not None:
        return Finding(item, placed, value, severity, "applies", message)
    made = name_of_kind("shape:property", shape) is not None
    return Finding(
        item, _short(path), value, severity, MADE.get(component, check) if made else check, message
    )


def _quads(items: Iterable[Row], facts: Iterable[Row], provenance: bool) -> Iterator[Quad]:
    """Items, what is trusted of them, and where that comes from, of statements of every rank."""
    for row in items:
        yield from item_quads(row)
    for row in facts:
        fact, *said = fact_quads(row) if provenance else [fact_quad(row)]
        if row["rank"] in TRUSTED_RANKS:
            yield fact
        yield from said


def _term(term: Any) -> Any:
    """A term of Oxigraph's as one of rdflib's, to which "a" and "a"^^xsd:string are two."""
    if isinstance(term, NamedNode):
        return _iri(term.value)
    kind = _iri(term.datatype.value)
    return Literal(term.value, datatype=None if kind == XSD.string else kind)


@lru_cache(10_000)
def _iri(text: str) -> URIRef:
    return URIRef(text)


def _parsed(path: Path) -> Graph:
    try:
        return Graph().parse(data=path.read_text(encoding="utf-8"), format="turtle")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise SourceNotFoundError(f"no file of shapes {path}: name one in Turtle") from None
    except (
        Exception
    ) as error:  # rdflib's parser raises its own, and what a broken text brings it to
        raise DataError(
            f"{path} is not readable as Turtle ({_line(error)}): correct it, or remove it where it is the home's"
        ) from None


def _guard(graph: Graph, path: Path) -> None:
    """SHACL lets a shape ask in SPARQL, and SPARQL could call out."""
    texts = [str(text) for predicate in QUERIES for text in graph.objects(None, predicate)]
    texts += [f"PREFIX {prefix}: <urn:x>" for prefix in graph.objects(None, SH.prefix)]
    texts += [f"PREFIX x: <{name}>" for name in graph.objects(None, SH.namespace)]
    for text in texts:
        try:
            guard(text)
        except QueryRefusedError as error:
            raise DataError(
                f"{path} has a shape with a query that is not allowed: {error}"
            ) from None
        if names_graphs(text):
            raise DataError(
                f"{path} has a shape with a query that is not allowed: FROM would read another graph; leave it out"
            )


def _short(path: Any) -> str | None:
    """A property's name; another IRI with its prefix, and None for a path of several steps."""
    if path is None or isinstance(path, BNode):
        return None
    known = name_of_kind("property", str(path))
    if known is not None:
        return known
    short = (
        f"{prefix}:{str(path)[len(base) :]}"
        for prefix, base in PREFIXES.items()
        if str(path).startswith(base)
    )
    return next(short, str(path))


def _line(text: object) -> str:
    return " ".join(str(text).split())[:200]
