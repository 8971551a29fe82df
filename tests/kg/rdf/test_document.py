"""Files that are malformed, hostile, or large."""

import json
import socket

import pytest

from kg.ingest.pipeline import ingest
from kg.ingest.readers import open_source
from kg.rdf import json_ld
from kg.stores.open import open_store
from schema.errors import DataError
from tests.kg.export.odd_store import MemoryHome


def loaded(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    store = open_store("memory:")
    try:
        return ingest(MemoryHome.of(tmp_path / "home", store), [path])
    finally:
        if store.counts().items:
            raise AssertionError("something was stored")


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.nt", '<urn:a> <urn:b> "x" .\n<urn:a> urn:b "x" .\n', "line 2"),
        (
            "a.ttl",
            "@prefix s: <https://schema.org/> .\n<urn:a> a s:Product .\n<urn:b> a s:Product ; nope",
            "line 3",
        ),
        ("a.nq", "<urn:a> <urn:b> <urn:c> <urn:d> <urn:e> .", "line 1"),
        ("a.nt", b'<urn:a> <urn:b> "\xff" .', "a.nt"),
        ("a.jsonld", '{"@context": {},\n"@graph": [{"a": 1},\n{"b" 2}]}', "line 3"),
        ("a.jsonld", '[{"@context": {}}', "line 1"),
        ("a.jsonld", '{"@context": {}} x', "follows"),
        ("a.jsonld", '{"@context": {"a": "b c"}, "a": NaN}', "NaN"),
        ("a.jsonld", "[" * 100_000, "deep"),
        ("a.jsonld", b'{"a": "\xff"}', "UTF-8"),
        ("a.jsonld", '"text"', "object"),
        ("a.ttl", " ", "no product"),
        ("a.nt", '<urn:a> <urn:b> "x" .', "no product"),
    ],
)
def test_a_broken_file_is_one_line_and_stores_nothing(tmp_path, name, text, line):
    with pytest.raises(DataError, match=line) as caught:
        loaded(tmp_path, name, text)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


REMOTE = [
    "https://evil.example/x",
    ["https://schema.org", "http://127.0.0.1/x"],
    {"@import": "file:///etc/passwd"},
    {"a": {"@context": "x:y"}},
]


@pytest.mark.parametrize("context", REMOTE, ids=str)
def test_a_context_that_would_be_fetched_is_refused(tmp_path, context, monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *_: pytest.fail("the network was asked"))
    with pytest.raises(DataError, match="would have to be fetched"):
        loaded(
            tmp_path, "a.jsonld", json.dumps({"@context": context, "@type": "Product", "sku": "1"})
        )


@pytest.mark.parametrize("name", ["a.rdf", "a.owl", "a.xml"])
def test_xml_with_its_entities_is_refused(tmp_path, name):
    (tmp_path / name).write_text('<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>')
    with pytest.raises(DataError, match="entities"):
        open_source(tmp_path / name)


def test_an_empty_file_is_said_so(tmp_path):
    (tmp_path / "a.nt").write_text("")
    with pytest.raises(DataError, match="empty"):
        open_source(tmp_path / "a.nt")


def test_a_graph_of_many_nodes_comes_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(json_ld, "_CHUNK", 50)
    monkeypatch.setattr(json_ld, "_NODES", 10)
    nodes = [{"@id": f"urn:{number}", "name": "x" * number} for number in range(95)]
    (tmp_path / "a.jsonld").write_text(
        json.dumps({"@context": {"@vocab": "urn:"}, "@graph": nodes}, indent=1)
    )
    found = [json.loads(part) for part in json_ld.parts(tmp_path / "a.jsonld")]
    assert len(found) == 11
    assert [node for part in found for node in part.get("@graph", [])] == nodes
