"""SHACL shapes: those that hold for every catalogue, and those that express an ontology.

The ontology's shapes are generated into a file in the home, which a person can edit.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schema.files import write_atomically
from schema.iris import BASE, PREFIXES, iri
from schema.literals import pattern_of
from schema.ontology import Ontology, PropertySpec
from schema.stamps import Condition, examine, stamped

if TYPE_CHECKING:
    from rdflib import Graph, URIRef

SHIPPED_SHAPES = Path(__file__).parent / "shapes.ttl"

EDITING_ADVICE = f"""\
# Generated from ontology.toml, and regenerated with it until it is edited.
# You can add shapes of your own here; the file is then never regenerated. To require a colour:
#   <{BASE}shape:mine> a sh:NodeShape ; sh:targetClass schema:Product ;
#     sh:property [ sh:path property:colour ; sh:minCount 1 ] .
"""


def shapes_text(ontology: Ontology) -> str:
    """Return the shapes of an ontology's properties in Turtle.

    Datatype and cardinality are violations; a category to which a property does not apply is a
    warning.
    """
    from rdflib import Graph

    graph = Graph(bind_namespaces="none")
    for prefix, namespace in {**PREFIXES, "sh": "http://www.w3.org/ns/shacl#"}.items():
        graph.bind(prefix, namespace)
    for spec in ontology.properties.values():
        _add_value_shape(graph, spec)
        _add_category_shape(graph, ontology, spec)
    return graph.serialize(format="turtle")


def refresh_shapes(path: Path, ontology: Ontology) -> bool:
    """Regenerate a file of shapes unless it was edited; return whether it matches the ontology."""
    generated = stamped(EDITING_ADVICE + shapes_text(ontology))
    if path.exists():
        current = path.read_bytes()
        if current == generated.encode():
            return True
        is_intact = examine(current).condition is Condition.INTACT
        if not is_intact and not _has_former_stamp(current):
            return False
    write_atomically(path, generated)
    return True


def shape_iri(kind: str, name: str) -> str:
    """Return the IRI of a property's shape.

    The kind ``property`` is the shape of its values, ``applies`` that of its categories.
    """
    return iri(f"shape:{kind}", name)


def _add_value_shape(graph: Graph, spec: PropertySpec) -> None:
    """Add the shape of a property's datatype and cardinality, if it restricts either."""
    from rdflib import SH, Literal, URIRef

    pattern = pattern_of(spec.datatype, spec.unit)
    constraints: list[tuple[URIRef, Any]] = []
    if pattern is not None:
        constraints += [(SH.pattern, pattern), (SH.flags, "i")]
    if spec.cardinality == "one":
        constraints.append((SH.maxCount, 1))
    if not constraints:
        return

    shape = URIRef(shape_iri("property", spec.name))
    kind = f"{spec.datatype} in {spec.unit}" if spec.unit else spec.datatype
    many = "at most one per item" if spec.cardinality == "one" else "one or more per item"
    _add_shape(graph, shape, spec.name, f"{spec.name}: {kind}, {many}")
    graph.add((shape, SH.path, URIRef(iri("property", spec.name))))
    for predicate, value in constraints:
        graph.add((shape, predicate, Literal(value)))


def _add_category_shape(graph: Graph, ontology: Ontology, spec: PropertySpec) -> None:
    """Add the shape of the categories a property applies to, unless it is all of them or none."""
    from rdflib import SH, BNode, Literal, URIRef
    from rdflib.collection import Collection

    categories = [
        category
        for category in sorted({*ontology.categories, *spec.applies_to})
        if ontology.may_have(spec.name, category)
    ]
    applies_everywhere = len(categories) == len(ontology.categories)
    if ontology.threshold <= 0 or not categories or applies_everywhere:
        return

    shape = URIRef(shape_iri("applies", spec.name))
    message = f"{spec.name}: not a property of most items in this category"
    _add_shape(graph, shape, spec.name, message)
    graph.add((shape, SH.path, URIRef(f"{PREFIXES['schema']}category")))
    graph.add((shape, SH.severity, SH.Warning))
    allowed = BNode()
    graph.add((shape, SH["in"], allowed))
    Collection(graph, allowed, [Literal(category) for category in categories])


def _add_shape(graph: Graph, shape: URIRef, property_name: str, message: str) -> None:
    """Add a shape whose targets are the items that have the property.

    If every property's shape targeted all items, checking a catalogue with many properties would
    take items times properties.
    """
    from rdflib import RDF, SH, Literal, URIRef

    graph.add((shape, RDF.type, SH.PropertyShape))
    graph.add((shape, SH.targetSubjectsOf, URIRef(iri("property", property_name))))
    graph.add((shape, SH.message, Literal(message)))


def _has_former_stamp(data: bytes) -> bool:
    """Return whether a file is as an earlier version wrote it: its first line ends in a SHA-256."""
    header, _, body = data.partition(b"\n")
    return header.rpartition(b" ")[2] == hashlib.sha256(body).hexdigest().encode()
