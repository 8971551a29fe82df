"""Shapes generated from an ontology, and the file that holds them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from rdflib import SH, Graph, URIRef
from rdflib.collection import Collection

from schema.ontology import Ontology, PropertySpec
from schema.shapes import SHIPPED_SHAPES, refresh_shapes, shape_iri, shapes_text


def ontology(*specs: PropertySpec) -> Ontology:
    return Ontology(specs, categories={"Mugs": 10, "Chairs > Stools": 5})


def shape_of(source: Ontology, kind: str, name: str) -> dict[Any, Any]:
    """Return the objects of a generated shape by the local names of their predicates."""
    graph = Graph().parse(data=shapes_text(source), format="turtle")
    pairs = graph.predicate_objects(URIRef(shape_iri(kind, name)))
    return {str(predicate).rpartition("#")[2]: value for predicate, value in pairs}


def test_the_shipped_shapes_are_turtle() -> None:
    assert len(Graph().parse(SHIPPED_SHAPES, format="turtle")) > 20


def test_cardinality_one_becomes_a_maximum_count() -> None:
    one = ontology(PropertySpec("colour"))
    many = ontology(PropertySpec("colour", cardinality="many"))
    assert int(shape_of(one, "property", "colour")["maxCount"]) == 1
    assert shape_of(many, "property", "colour") == {}


def test_a_datatype_becomes_a_pattern() -> None:
    sizes = ontology(PropertySpec("size", "integer", cardinality="many"))
    shape = shape_of(sizes, "property", "size")
    assert "[0-9]" in shape["pattern"]
    assert "maxCount" not in shape


def test_no_property_is_required() -> None:
    assert "minCount" not in shapes_text(ontology(PropertySpec("colour", applies_to={"Mugs": 1.0})))


def test_a_category_to_which_a_property_does_not_apply_is_a_warning() -> None:
    legs = ontology(PropertySpec("legs", applies_to={"Mugs": 0.1, "Chairs > Stools": 0.8}))
    graph = Graph().parse(data=shapes_text(legs), format="turtle")
    (allowed,) = graph.objects(URIRef(shape_iri("applies", "legs")), SH["in"])
    assert [str(each) for each in Collection(graph, allowed)] == ["Chairs > Stools"]
    assert shape_of(legs, "applies", "legs")["severity"] == SH.Warning


def test_a_property_of_any_name_has_a_shape() -> None:
    name = 'a "b" <c> 颜色\\\n%'
    shape = shape_of(ontology(PropertySpec(name, "integer")), "property", name)
    assert str(shape["message"]).startswith(name)


def test_a_file_is_generated_and_regenerated(tmp_path: Path) -> None:
    path = tmp_path / "shapes.ttl"
    assert refresh_shapes(path, ontology(PropertySpec("colour")))
    assert refresh_shapes(path, ontology(PropertySpec("size", "integer")))
    assert "colour: string" not in path.read_text()


def test_an_edited_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "shapes.ttl"
    refresh_shapes(path, ontology(PropertySpec("colour")))
    path.write_text(path.read_text() + "# mine\n")
    assert not refresh_shapes(path, ontology(PropertySpec("size", "integer")))
    assert path.read_text().endswith("# mine\n")


def test_an_unedited_file_of_an_older_version_is_regenerated(tmp_path: Path) -> None:
    path = tmp_path / "shapes.ttl"
    refresh_shapes(path, ontology(PropertySpec("colour")))
    header, _, body = path.read_text().partition("\n")
    assert header.rpartition(" ")[2] == hashlib.sha256(body.encode()).hexdigest()
    path.write_text(f"# Worded differently: {header.rpartition(' ')[2]}\n{body}")
    assert refresh_shapes(path, ontology(PropertySpec("size", "integer")))
    assert "size: integer" in path.read_text()
