"""SHACL over rows of a store."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from kg.quality.shacl import Shapes
from kg.stores.tables import items_table, statements_table
from schema.errors import DataError, SourceNotFoundError
from schema.terms import Item, Provenance, Rank, Statement
from schema.validation import Severity

PREFIXES = """@prefix sh: <http://www.w3.org/ns/shacl#> . @prefix schema: <https://schema.org/> . @prefix cg: <urn:catalograph:term:> .
@prefix property: <urn:catalograph:property:> . @prefix rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#> . """
COLOUR = "<urn:s> a sh:NodeShape ; sh:targetClass schema:Product ; sh:property [ sh:path property:colour ; sh:minCount 1 ] ."
ITEMS = items_table([Item("1", "Mug", "Mugs", ("a.jpg", "b.jpg")), Item("2")]).to_pylist()
NO_NETWORK = "<urn:s> a sh:NodeShape ; sh:targetClass schema:Product ; sh:sparql [ sh:message 'm' ; sh:select '''{}''' ] ."


def shapes(folder: Path, text: str = "") -> Shapes:
    (folder / "mine.ttl").write_text(PREFIXES + text)
    return Shapes(folder / "mine.ttl")


def rows(*facts: Statement) -> list[dict[str, Any]]:
    return list(statements_table(facts).to_pylist())


def test_every_item_of_a_store_fits_the_shapes_of_every_catalogue(tmp_path: Path) -> None:
    assert shapes(tmp_path).check(ITEMS, rows(Statement("1", "colour", "red"))) == []


def test_a_person_may_ask_for_more(tmp_path: Path) -> None:
    (found,) = shapes(tmp_path, COLOUR).check(ITEMS, rows(Statement("1", "colour", "red")))
    assert (found.item, found.property, found.severity, found.check) == (
        "2",
        "colour",
        Severity.VIOLATION,
        "MinCount",
    )


def test_what_is_not_trusted_does_not_count(tmp_path: Path) -> None:
    guessed = rows(
        Statement("1", "colour", "red", Rank.PREDICTED),
        Statement("2", "colour", "red", Rank.REJECTED),
    )
    assert len(shapes(tmp_path, COLOUR).check(ITEMS, guessed)) == 2


def test_a_shape_of_statements_sees_their_provenance(tmp_path: Path) -> None:
    text = "<urn:s> a sh:NodeShape ; sh:targetClass rdf:Statement ; sh:property [ sh:path cg:reviewer ; sh:minCount 1 ] ."
    facts = rows(Statement("1", "colour", "red", Rank.PREDICTED, Provenance("x", confidence=1.5)))
    found = shapes(tmp_path, text).check(ITEMS, facts)
    assert {each.check for each in found} == {
        "MinCount of cg:reviewer",
        "MaxInclusive of cg:confidence",
    }
    assert {(each.item, each.property, each.value) for each in found} == {("1", "colour", "red")}


def test_severity_and_message_are_the_shape_s(tmp_path: Path) -> None:
    text = COLOUR.replace(
        "sh:minCount 1", "sh:minCount 1 ; sh:severity sh:Info ; sh:message 'name a\\n colour'"
    )
    found = shapes(tmp_path, text).check(ITEMS, [])[0]
    assert (found.severity, found.message) == (Severity.INFO, "name a colour")


def test_a_query_may_look_at_the_catalogue(tmp_path: Path) -> None:
    asked = NO_NETWORK.format("SELECT $this WHERE { $this <https://schema.org/identifier> '2' }")
    assert [each.item for each in shapes(tmp_path, asked).check(ITEMS, [])] == ["2"]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT $this WHERE { SERVICE <http://127.0.0.1:9/> { $this ?p ?o } }",
        "SELECT $this FROM <http://127.0.0.1:9/x> WHERE { $this ?p ?o }",
        "SELECT $this WHERE { { SELECT * { service silent <http://127.0.0.1:9/> { ?s ?p ?o } } } }",
    ],
)
def test_a_query_may_not_call_out(tmp_path: Path, query: str) -> None:
    with pytest.raises(DataError, match="not allowed"):
        shapes(tmp_path, NO_NETWORK.format(query))


def test_a_prefix_may_not_hide_a_query_that_calls_out(tmp_path: Path) -> None:
    name = "urn:x> SELECT * { SERVICE <http://127.0.0.1:9/> { ?s ?p ?o } } #"
    with pytest.raises(DataError, match="SERVICE"):
        shapes(tmp_path, f"<urn:o> sh:declare [ sh:prefix 'x' ; sh:namespace '{name}' ] .")


def test_nothing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("something was fetched"))
    imports = "<urn:o> a <http://www.w3.org/2002/07/owl#Ontology> ; <http://www.w3.org/2002/07/owl#imports> <http://127.0.0.1:9/x> ."
    script = "<urn:s> a sh:NodeShape ; sh:targetClass schema:Product ; sh:js [ sh:jsLibrary [ sh:jsLibraryURL <http://127.0.0.1:9/x> ] ] ."
    assert shapes(tmp_path, imports + script).check(ITEMS, []) == []


@pytest.mark.parametrize(
    "text",
    [
        "<urn:s> a",
        "<urn:s> a sh:PropertyShape ; sh:targetClass schema:Product .",
        COLOUR.replace("1 ]", "'x' ]"),
    ],
)
def test_unfit_shapes_are_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"mine\.ttl") as raised:
        shapes(tmp_path, text)
    assert "\n" not in str(raised.value)


def test_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match=r"none\.ttl"):
        Shapes(tmp_path / "none.ttl")
