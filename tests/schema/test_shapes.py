"""Shapes made from an ontology, and the file that keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rdflib import SH, Graph, URIRef
from rdflib.collection import Collection

from schema.ontology import Ontology, PropertySpec
from schema.shapes import SHIPPED, refresh_shapes, shape_iri, shapes_text


def ontology(*specs: PropertySpec) -> Ontology:
    return Ontology(specs, categories={"Mugs": 10, "Chairs > Stools": 5})


def said(made: Ontology, kind: str, name: str) -> dict[Any, Any]:
    graph = Graph().parse(data=shapes_text(made), format="turtle")
    return {
        str(p).rpartition("#")[2]: o
        for p, o in graph.predicate_objects(URIRef(shape_iri(kind, name)))
    }


def test_the_shipped_shapes_are_turtle() -> None:
    assert len(Graph().parse(SHIPPED, format="turtle")) > 20


def test_one_value_is_a_count_of_one_at_most() -> None:
    assert int(said(ontology(PropertySpec("colour")), "property", "colour")["maxCount"]) == 1
    assert said(ontology(PropertySpec("colour", cardinality="many")), "property", "colour") == {}


def test_a_datatype_is_a_pattern() -> None:
    found = said(ontology(PropertySpec("size", "integer", cardinality="many")), "property", "size")
    assert "\\d" in found["pattern"]
    assert "maxCount" not in found


def test_no_property_is_asked_of_all() -> None:
    assert "minCount" not in shapes_text(ontology(PropertySpec("colour", applies_to={"Mugs": 1.0})))


def test_categories_where_it_belongs_are_a_warning() -> None:
    made = ontology(PropertySpec("legs", applies_to={"Mugs": 0.1, "Chairs > Stools": 0.8}))
    found = said(made, "applies", "legs")
    graph = Graph().parse(data=shapes_text(made), format="turtle")
    (listed,) = graph.objects(URIRef(shape_iri("applies", "legs")), SH["in"])
    assert [str(each) for each in Collection(graph, listed)] == ["Chairs > Stools"]
    assert found["severity"] == SH.Warning


def test_any_name_makes_a_shape() -> None:
    name = 'a "b" <c> 颜色\\\n%'
    assert str(
        said(ontology(PropertySpec(name, "integer")), "property", name)["message"]
    ).startswith(name)


def test_a_file_is_made_and_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "shapes.ttl"
    assert refresh_shapes(path, ontology(PropertySpec("colour")))
    assert refresh_shapes(path, ontology(PropertySpec("size", "integer")))
    assert "colour: string" not in path.read_text()


def test_an_edited_file_stands(tmp_path: Path) -> None:
    path = tmp_path / "shapes.ttl"
    refresh_shapes(path, ontology(PropertySpec("colour")))
    path.write_text(path.read_text() + "# mine\n")
    assert not refresh_shapes(path, ontology(PropertySpec("size", "integer")))
    assert path.read_text().endswith("# mine\n")
