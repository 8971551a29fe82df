"""SHACL shapes: those of every catalogue, and those that an ontology says, in a file that a person may edit."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schema.files import write_atomically
from schema.iris import BASE, PREFIXES, iri
from schema.literals import pattern_of
from schema.ontology import Ontology, PropertySpec

if TYPE_CHECKING:
    from rdflib import Graph

SHIPPED = Path(__file__).parent / "shapes.ttl"
MARK = "# Made from ontology.toml by Catalograph, and made anew with it while it is unedited. sha256 of what follows: "
HINT = f"""
# To ask for more, add to it, and it stays as you left it. That every item has a colour:
#   <{BASE}shape:mine> a sh:NodeShape ; sh:targetClass schema:Product ; sh:property [ sh:path property:colour ; sh:minCount 1 ] .
"""


def shapes_text(ontology: Ontology) -> str:
    """The shapes of an ontology's properties in Turtle: datatype and cardinality, and as warnings the categories where each belongs."""
    from rdflib import Graph

    graph = Graph(bind_namespaces="none")
    for prefix, name in {**PREFIXES, "sh": "http://www.w3.org/ns/shacl#"}.items():
        graph.bind(prefix, name)
    for spec in ontology.properties.values():
        _add_values(graph, spec)
        _add_place(graph, ontology, spec)
    return graph.serialize(format="turtle")


def refresh_shapes(path: Path, ontology: Ontology) -> bool:
    """Bring a file of shapes up to the ontology, if no one edited it; whether it is now what the ontology says."""
    body = HINT + shapes_text(ontology)
    made = f"{MARK}{_sum(body)}\n{body}"
    if path.exists():
        found = path.read_text(encoding="utf-8", errors="replace")
        if found == made:
            return True
        first, _, rest = found.partition("\n")
        if first != MARK + _sum(rest):
            return False
    write_atomically(path, made)
    return True


def shape_iri(kind: str, name: str) -> str:
    """The IRI of the shape that says a kind of thing (``property``, ``applies``) of a property."""
    return iri(f"shape:{kind}", name)


def _add_values(graph: Graph, spec: PropertySpec) -> None:
    from rdflib import SH, Literal, URIRef

    pattern = pattern_of(spec.datatype, spec.unit)
    said: list[tuple[URIRef, Any]] = []
    if pattern is not None:
        said += [(SH.pattern, pattern), (SH.flags, "i")]
    if spec.cardinality == "one":
        said.append((SH.maxCount, 1))
    if not said:
        return
    shape = URIRef(shape_iri("property", spec.name))
    kind = f"{spec.datatype} in {spec.unit}" if spec.unit else spec.datatype
    many = "at most one an item" if spec.cardinality == "one" else "one or more an item"
    _add_shape(graph, shape, spec.name, f"{spec.name}: {kind}, {many}")
    graph.add((shape, SH.path, URIRef(iri("property", spec.name))))
    for predicate, value in said:
        graph.add((shape, predicate, Literal(value)))


def _add_place(graph: Graph, ontology: Ontology, spec: PropertySpec) -> None:
    from rdflib import SH, BNode, Literal, URIRef
    from rdflib.collection import Collection

    places = [
        category
        for category, share in sorted(spec.applies_to.items())
        if share >= ontology.threshold
    ]
    if ontology.threshold <= 0 or not places or len(places) == len(ontology.categories):
        return
    shape = URIRef(shape_iri("applies", spec.name))
    listed = BNode()
    _add_shape(
        graph, shape, spec.name, f"{spec.name}: not a property of most items in this category"
    )
    graph.add((shape, SH.path, URIRef(f"{PREFIXES['schema']}category")))
    graph.add((shape, SH.severity, SH.Warning))
    graph.add((shape, SH["in"], listed))
    Collection(graph, listed, [Literal(place) for place in places])


def _add_shape(graph: Graph, shape: Any, name: str, message: str) -> None:
    """A shape that looks at the items which have the property: to look at all for each is dear where properties are many."""
    from rdflib import RDF, SH, Literal, URIRef

    graph.add((shape, RDF.type, SH.PropertyShape))
    graph.add((shape, SH.targetSubjectsOf, URIRef(iri("property", name))))
    graph.add((shape, SH.message, Literal(message)))


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
