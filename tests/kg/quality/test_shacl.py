"""SHACL shapes on the rows of a store."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kg.quality.shacl import MAX_SHAPES_BYTES, Shapes
from kg.stores.tables import items_table, statements_table
from schema.errors import DataError, SourceNotFoundError
from schema.shapes import SHIPPED_SHAPES
from schema.terms import Item, Provenance, Rank, Statement
from schema.validation import Severity

PREFIXES = """
@prefix sh: <http://www.w3.org/ns/shacl#> .
@prefix schema: <https://schema.org/> .
@prefix cg: <urn:catalograph:term:> .
@prefix property: <urn:catalograph:property:> .
@prefix rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#> .
"""
PRODUCT_SHAPE = "<urn:s> a sh:NodeShape ; sh:targetClass schema:Product ; "
REQUIRED_COLOUR = PRODUCT_SHAPE + "sh:property [ sh:path property:colour ; sh:minCount 1 ] ."
QUERY = PRODUCT_SHAPE + "sh:sparql [ sh:message 'm' ; sh:select '''{}''' ] ."
ITEMS = items_table([Item("1", "Mug", "Mugs", ("a.jpg", "b.jpg")), Item("2")]).to_pylist()


def shapes(folder: Path, text: str = "") -> Shapes:
    (folder / "mine.ttl").write_text(PREFIXES + text)
    return Shapes(folder / "mine.ttl")


def rows(*facts: Statement) -> list[dict[str, Any]]:
    return list(statements_table(facts).to_pylist())


def test_items_of_a_store_conform_to_the_shipped_shapes(tmp_path: Path) -> None:
    assert shapes(tmp_path).check(ITEMS, rows(Statement("1", "colour", "red"))) == []


def test_a_user_s_shape_is_checked(tmp_path: Path) -> None:
    facts = rows(Statement("1", "colour", "red"))
    (finding,) = shapes(tmp_path, REQUIRED_COLOUR).check(ITEMS, facts)
    assert (finding.item, finding.property) == ("2", "colour")
    assert (finding.severity, finding.check) == (Severity.VIOLATION, "MinCount")


def test_untrusted_statements_do_not_count(tmp_path: Path) -> None:
    untrusted = rows(
        Statement("1", "colour", "red", Rank.PREDICTED),
        Statement("2", "colour", "red", Rank.REJECTED),
    )
    assert len(shapes(tmp_path, REQUIRED_COLOUR).check(ITEMS, untrusted)) == 2


def test_a_shape_of_statements_checks_their_provenance(tmp_path: Path) -> None:
    text = (
        "<urn:s> a sh:NodeShape ; sh:targetClass rdf:Statement ; "
        "sh:property [ sh:path cg:reviewer ; sh:minCount 1 ] ."
    )
    facts = rows(Statement("1", "colour", "red", Rank.PREDICTED, Provenance("x", confidence=1.5)))
    findings = shapes(tmp_path, text).check(ITEMS, facts)
    checks = {each.check for each in findings}
    statements = {(each.item, each.property, each.value) for each in findings}
    assert checks == {"MinCount of cg:reviewer", "MaxInclusive of cg:confidence"}
    assert statements == {("1", "colour", "red")}


def test_severity_and_message_come_from_the_shape(tmp_path: Path) -> None:
    text = REQUIRED_COLOUR.replace(
        "sh:minCount 1", "sh:minCount 1 ; sh:severity sh:Info ; sh:message 'name a\\n colour'"
    )
    finding = shapes(tmp_path, text).check(ITEMS, [])[0]
    assert (finding.severity, finding.message) == (Severity.INFO, "name a colour")


def test_a_query_can_read_the_catalogue(tmp_path: Path) -> None:
    text = QUERY.format("SELECT $this WHERE { $this <https://schema.org/identifier> '2' }")
    assert [each.item for each in shapes(tmp_path, text).check(ITEMS, [])] == ["2"]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT $this WHERE { SERVICE <http://127.0.0.1:9/> { $this ?p ?o } }",
        "SELECT $this FROM <http://127.0.0.1:9/x> WHERE { $this ?p ?o }",
        "SELECT $this WHERE { { SELECT * { service silent <http://127.0.0.1:9/> { ?s ?p ?o } } } }",
    ],
)
def test_a_query_that_would_read_elsewhere_is_refused(tmp_path: Path, query: str) -> None:
    with pytest.raises(DataError, match="not allowed"):
        shapes(tmp_path, QUERY.format(query))


def test_a_query_hidden_in_a_prefix_is_refused(tmp_path: Path) -> None:
    namespace = "urn:x> SELECT * { SERVICE <http://127.0.0.1:9/> { ?s ?p ?o } } #"
    with pytest.raises(DataError, match="SERVICE"):
        shapes(tmp_path, f"<urn:o> sh:declare [ sh:prefix 'x' ; sh:namespace '{namespace}' ] .")


def test_a_query_hidden_in_a_path_is_refused(tmp_path: Path) -> None:
    # pyshacl pastes the path of a shape into its query, and Turtle has escapes for every character.
    path = "urn:x> ?value . SERVICE <http://127.0.0.1:9/> { ?s ?p ?o } . ?s <urn:y"
    escaped = "".join(f"\\u{ord(letter):04X}" for letter in path)
    query = "SELECT $this ?value WHERE { $this $PATH ?value }"
    text = (
        f"{PRODUCT_SHAPE} sh:property [ sh:path <{escaped}> ; "
        f"sh:sparql [ sh:message 'm' ; sh:select '{query}' ] ] ."
    )
    with pytest.raises(DataError, match="percent-encode"):
        shapes(tmp_path, text)


def test_a_query_uses_the_prefixes_that_it_names(tmp_path: Path) -> None:
    query = "SELECT $this { $this x:identifier '2' } # SERVICE"
    text = (
        "<urn:mine> sh:declare [ sh:prefix 'x' ; sh:namespace 'https://schema.org/' ] . "
        "<urn:o> sh:declare [ sh:prefix 'x' ; sh:namespace 'urn:other:' ] . "
        f"{PRODUCT_SHAPE} sh:sparql [ sh:message 'm' ; sh:prefixes <urn:mine> ; "
        f'sh:select """{query}""" ] .'
    )
    assert [each.item for each in shapes(tmp_path, text).check(ITEMS, [])] == ["2"]


def test_a_query_can_use_the_path_of_its_shape(tmp_path: Path) -> None:
    query = "SELECT $this ?value { $this $PATH ?value FILTER(STRLEN(?value) > 4) }"
    text = (
        f"{PRODUCT_SHAPE} sh:property [ sh:path property:colour ; "
        f"sh:sparql [ sh:message 'm' ; sh:select '{query}' ] ] ."
    )
    facts = rows(Statement("1", "colour", "red"), Statement("2", "colour", "green"))
    assert [each.item for each in shapes(tmp_path, text).check(ITEMS, facts)] == ["2"]


def test_a_query_can_follow_a_path(tmp_path: Path) -> None:
    query = "SELECT $this { $this (^schema:name|schema:name)+ 'Mug' . $this a/a? ?class }"
    declared = "<urn:o> sh:declare [ sh:prefix 'schema' ; sh:namespace 'https://schema.org/' ] . "
    findings = shapes(tmp_path, declared + QUERY.format(query.replace("'", '"'))).check(ITEMS, [])
    assert [each.item for each in findings] == ["1"]


def test_nothing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("something was fetched"))
    owl = "http://www.w3.org/2002/07/owl#"
    imports = f"<urn:o> a <{owl}Ontology> ; <{owl}imports> <http://127.0.0.1:9/x> ."
    script = f"{PRODUCT_SHAPE} sh:js [ sh:jsLibrary [ sh:jsLibraryURL <http://127.0.0.1:9/x> ] ] ."
    assert shapes(tmp_path, imports + script).check(ITEMS, []) == []


# Everything in SHACL, OWL and RDF that names a file or an address.
REACHING_OUT = """
@prefix owl: <http://www.w3.org/2002/07/owl#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
@base <http://127.0.0.1:9/> .
<x> a owl:Ontology ; owl:imports <x.ttl>, <file:///etc/passwd> ; sh:shapesGraph <y.ttl> ;
  sh:entailment <http://www.w3.org/ns/entailment/RDFS> .
<s> a sh:NodeShape ; sh:targetClass schema:Product ;
  sh:js [ sh:jsLibrary [ sh:jsLibraryURL <file:///etc/passwd> ] ; sh:jsFunctionName "f" ] ;
  sh:rule [ a sh:SPARQLRule ; sh:construct "CONSTRUCT { $this <urn:a> 1 } WHERE { }" ] ;
  sh:rule [ a sh:JSRule ; sh:jsFunctionName "g" ; sh:jsLibrary [ sh:jsLibraryURL <a.js> ] ] ;
  sh:target [ a sh:SPARQLTarget ; sh:select "SELECT ?this { ?this a <urn:x> }" ] ;
  sh:property [ sh:path schema:name ; sh:datatype rdf:XMLLiteral ; sh:in (
    "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>"^^rdf:XMLLiteral
    "<a href='file:///etc/passwd'/>"^^rdf:HTML "x"^^<file:///etc/passwd> ) ] .
<f> a sh:SPARQLFunction ; sh:parameter [ sh:path <a> ] ; sh:select "SELECT ?x { }" .
"""
WATCHED = """
import json, sys
from pathlib import Path
from kg.quality.shacl import MAX_SHAPES_BYTES, Shapes
from kg.stores.tables import ITEM_SCHEMA
reached = []
def watch(event, arguments):
    if event == "open" or event.startswith(("socket.", "urllib.", "subprocess.")):
        reached.append(f"{event} {arguments[0]}")
sys.addaudithook(watch)
item = {**dict.fromkeys(ITEM_SCHEMA.names), "id": "1", "title": "Mug", "images": []}
findings = Shapes(Path(sys.argv[1])).check([item], [])
print(json.dumps([reached, [finding.check for finding in findings]]))
"""


def test_shapes_that_reach_out_reach_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mine.ttl"
    path.write_text(PREFIXES + REACHING_OUT)
    process = subprocess.run(
        [sys.executable, "-c", WATCHED, path], capture_output=True, text=True, check=True
    )
    reached, checks = json.loads(process.stdout)
    own = {str(path), str(SHIPPED_SHAPES)}
    libraries = tuple(f"open {folder}/" for folder in (sys.prefix, sys.base_prefix))
    foreign = [each for each in reached if not each.startswith(libraries)]
    assert {each.removeprefix("open ") for each in foreign} == own
    assert sorted(checks) == ["Datatype", "In"]
    assert process.stderr == ""


@pytest.mark.parametrize(
    "text",
    [
        "<urn:s> a",
        "<urn:s> a sh:PropertyShape ; sh:targetClass schema:Product .",
        REQUIRED_COLOUR.replace("1 ]", "'x' ]"),
    ],
)
def test_unusable_shapes_are_a_one_line_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"mine\.ttl") as caught:
        shapes(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_file_that_never_ends_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ttl")
    (tmp_path / "large.ttl").write_bytes(b" " * (MAX_SHAPES_BYTES + 1))
    for path, message in (
        (tmp_path / "pipe.ttl", "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
        (tmp_path / "large.ttl", "the limit is"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            Shapes(path)
        assert str(path) in str(caught.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match=r"none\.ttl"):
        Shapes(tmp_path / "none.ttl")
