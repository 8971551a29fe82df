"""Check items against SHACL shapes with pyshacl.

The rows of a store are turned into a small RDF graph. Nothing is ever fetched from a network.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyshacl
from pyoxigraph import NamedNode, Quad
from rdflib import OWL, RDF, RDFS, SH, XSD, BNode, Graph, Literal, URIRef

from kg.stores.rdf_terms import fact_quad, item_quads, statement_quads
from kg.stores.sparql_guard import checked_sparql, chosen_graphs
from kg.stores.tables import ITEM_SCHEMA, Row
from schema.errors import (
    DataError,
    FileRefusedError,
    QueryRefusedError,
    SourceNotFoundError,
)
from schema.iris import PREFIXES, name_of_kind
from schema.opening import read_own
from schema.shapes import SHIPPED_SHAPES
from schema.terms import TRUSTED_RANKS
from schema.validation import Finding, Severity

# rdflib logs a traceback for each literal that its datatype does not fit, and Python prints logs
# that have no handler. Whoever wants to read them can set up logging.
logging.getLogger("rdflib").addHandler(logging.NullHandler())

MAX_SHAPES_BYTES = 16_000_000

SEVERITIES = {SH.Warning: Severity.WARNING, SH.Info: Severity.INFO}
"""All other severities, including those that a shape defines itself, are violations."""

GENERATED_CHECKS = {
    SH.PatternConstraintComponent: "datatype",
    SH.MaxCountConstraintComponent: "cardinality",
}
"""Constraints of generated shapes, and the checks in ``schema/validation.py`` that they repeat."""

QUERY_PREDICATES = (SH.select, SH.ask)
QUERY_PREFIXES = {"rdf": str(RDF), "rdfs": str(RDFS), "owl": str(OWL)}
"""Prefixes that pyshacl declares in every query."""
IRI = re.compile(r"[^<>\"{}|^`\\\x00-\x20]*")


class Shapes:
    """The shapes of every catalogue, and those of a Turtle file.

    Provenance is checked only if the file has shapes for statements: it is most of the graph, and
    no store accepts provenance that the shipped shapes would find fault with.

    Raises SourceNotFoundError if there is no file, and DataError if it cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        shapes = _parse(path)
        _make_queries_safe(shapes, path)
        self.has_statement_shapes = (None, SH.targetClass, RDF.Statement) in shapes
        self.graph = shapes + Graph().parse(SHIPPED_SHAPES, format="turtle")
        # Checking one empty item shows what is wrong with the shapes now, and not after a thousand
        # items.
        self.check([{**dict.fromkeys(ITEM_SCHEMA.names), "id": "", "images": []}], [])

    def check(self, items: Iterable[Row], facts: Iterable[Row]) -> list[Finding]:
        """Return the findings about items and their statements, given as rows of a store."""
        facts_by_id = {row["id"]: row for row in facts}
        data = Graph(bind_namespaces="none")
        for quad in _quads(items, facts_by_id.values(), provenance=self.has_statement_shapes):
            data.add(
                (_to_rdflib(quad.subject), _to_rdflib(quad.predicate), _to_rdflib(quad.object))
            )
        try:
            # By default pyshacl follows no owl:imports and runs no JavaScript. The graph was made
            # for this call, so it need not be copied first (inplace).
            _, report, _ = pyshacl.validate(data, shacl_graph=self.graph, inplace=True)
        except Exception as error:  # pyshacl lets through whatever a wrong shape causes
            raise self._unusable(error) from None
        if not isinstance(report, Graph):
            raise self._unusable(report)
        return [
            _finding(dict(report.predicate_objects(result)), facts_by_id)
            for result in report.objects(None, SH.result)
        ]

    def _unusable(self, reason: object) -> DataError:
        return DataError(
            f"{self.path} has shapes that cannot be used ({_one_line(reason)}): correct them"
        )


def _finding(result: Mapping[Any, Any], facts: Mapping[str, Row]) -> Finding:
    """Convert a result of pyshacl's report, given as its objects by predicate."""
    component = result[SH.sourceConstraintComponent]
    check = str(component).rpartition("#")[2].removesuffix("ConstraintComponent")
    severity = SEVERITIES.get(result[SH.resultSeverity], Severity.VIOLATION)
    message = _one_line(result.get(SH.resultMessage, check))
    path = _short_name(result.get(SH.resultPath))
    focus = str(result[SH.focusNode])

    fact = facts.get(name_of_kind("statement", focus) or "")
    if fact is not None:
        return Finding(
            fact["item"],
            fact["property"],
            fact["value"],
            severity,
            f"{check} of {path}",
            message,
        )

    item = name_of_kind("item", focus)
    value = None if result.get(SH.value) is None else str(result[SH.value])
    shape = str(result.get(SH.sourceShape))
    # Shapes generated from the ontology report under the names of the ontology's own checks, so
    # that what both find can be counted once.
    not_applicable = name_of_kind("shape:applies", shape)
    if not_applicable is not None:
        return Finding(item, not_applicable, value, severity, "applies", message)
    if name_of_kind("shape:property", shape) is not None:
        check = GENERATED_CHECKS.get(component, check)
    return Finding(item, path, value, severity, check, message)


def _quads(items: Iterable[Row], facts: Iterable[Row], *, provenance: bool) -> Iterator[Quad]:
    """Yield items, their trusted statements, and optionally the provenance of all statements."""
    for row in items:
        yield from item_quads(row)
    for row in facts:
        fact, *about_fact = statement_quads(row) if provenance else [fact_quad(row)]
        if row["rank"] in TRUSTED_RANKS:
            yield fact
        yield from about_fact


def _to_rdflib(term: Any) -> Any:
    """Convert a term of Oxigraph to one of rdflib.

    Oxigraph gives plain literals the datatype xsd:string; in rdflib "a" and "a"^^xsd:string differ.
    """
    if isinstance(term, NamedNode):
        return _uri(term.value)
    datatype = _uri(term.datatype.value)
    return Literal(term.value, datatype=None if datatype == XSD.string else datatype)


@lru_cache(10_000)
def _uri(text: str) -> URIRef:
    return URIRef(text)


def _parse(path: Path) -> Graph:
    try:
        text = read_own(path, MAX_SHAPES_BYTES).decode()
        return Graph().parse(data=text, format="turtle")
    except FileNotFoundError:
        raise SourceNotFoundError(
            f"no file of shapes {path}: name a file in Turtle format"
        ) from None
    except FileRefusedError as error:
        raise DataError(f"{path} {error}: name a file in Turtle format") from None
    except Exception as error:  # rdflib's parser lets through whatever a broken text causes
        raise DataError(
            f"{path} is not readable as Turtle ({_one_line(error)}): "
            "correct it, or remove it if it is the home's"
        ) from None


def _make_queries_safe(shapes: Graph, path: Path) -> None:
    """Replace the queries of shapes by what the guard understood of them.

    Raises DataError if a query could reach outside. pyshacl pastes the declared prefixes, and the
    IRIs of a shape's path, into the text of a query: so the prefixes are applied here, and an IRI
    that could end early is refused.
    """
    iris = {str(each) for triple in shapes for each in triple if isinstance(each, URIRef)}
    for iri in iris | {str(each) for each in shapes.objects(None, SH.namespace)}:
        if not IRI.fullmatch(iri):
            raise DataError(
                f"{path} has {_one_line(iri)!r} for an IRI: percent-encode its special characters"
            )
    for predicate in QUERY_PREDICATES:
        for node, text in list(shapes.subject_objects(predicate)):
            try:
                query = checked_sparql(str(text), _declared_prefixes(shapes, node))
            except QueryRefusedError as error:
                raise DataError(
                    f"{path} has a shape with a query that is not allowed: {error}"
                ) from None
            if chosen_graphs(query):
                raise DataError(
                    f"{path} has a shape with a query that is not allowed: "
                    "FROM would read another graph; leave it out"
                )
            shapes.remove((node, predicate, text))
            shapes.add((node, predicate, Literal(query)))
    shapes.remove((None, SH.prefixes, None))


def _declared_prefixes(shapes: Graph, node: Any) -> dict[str, str]:
    """Return the prefixes that a query may use; those that its node names override the others."""
    named = [
        each for names in shapes.objects(node, SH.prefixes) for each in shapes[names : SH.declare]
    ]
    prefixes = dict(QUERY_PREFIXES)
    for declaration in [*shapes.objects(None, SH.declare), *named]:
        for prefix in shapes.objects(declaration, SH.prefix):
            for namespace in shapes.objects(declaration, SH.namespace):
                prefixes[str(prefix)] = str(namespace)
    return prefixes


def _short_name(path: Any) -> str | None:
    """Return a property's name, or another IRI with its prefix.

    Returns None for a path of several steps.
    """
    if path is None or isinstance(path, BNode):
        return None
    name = name_of_kind("property", str(path))
    if name is not None:
        return name
    for prefix, namespace in PREFIXES.items():
        if str(path).startswith(namespace):
            return f"{prefix}:{str(path)[len(namespace) :]}"
    return str(path)


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:200]
