"""RDF files that are malformed, hostile or large."""

import json
import socket

import pytest

from kg.ingest import json_stream
from kg.ingest.files import SourceFile
from kg.ingest.pipeline import ingest
from kg.ingest.source import open_source
from kg.rdf import json_ld
from kg.stores.open import open_store
from schema.errors import DataError
from tests.kg.export.odd_store import MemoryHome


def ingest_text(tmp_path, name, text):
    """Ingest a file, and check that nothing of it was stored."""
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
def test_a_broken_file_is_an_error_of_one_line_and_stores_nothing(tmp_path, name, text, line):
    with pytest.raises(DataError, match=line) as caught:
        ingest_text(tmp_path, name, text)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


REMOTE_CONTEXTS = [
    "https://evil.example/x",
    ["https://schema.org", "http://127.0.0.1/x"],
    {"@import": "file:///etc/passwd"},
    {"a": {"@context": "x:y"}},
]


@pytest.mark.parametrize("context", REMOTE_CONTEXTS, ids=str)
def test_a_context_that_would_be_fetched_is_refused(tmp_path, context, monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *_: pytest.fail("the network was used"))
    document = {"@context": context, "@type": "Product", "sku": "1"}
    with pytest.raises(DataError, match="would have to be fetched"):
        ingest_text(tmp_path, "a.jsonld", json.dumps(document))


@pytest.mark.parametrize("name", ["a.rdf", "a.owl", "a.xml"])
def test_xml_that_declares_entities_is_refused(tmp_path, name):
    (tmp_path / name).write_text('<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>')
    with pytest.raises(DataError, match="entit"):
        open_source(tmp_path / name)


def test_an_empty_file_is_an_error(tmp_path):
    (tmp_path / "a.nt").write_text("")
    with pytest.raises(DataError, match="empty"):
        open_source(tmp_path / "a.nt")


def test_a_graph_of_many_nodes_is_split(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "_CHUNK_CHARACTERS", 50)
    monkeypatch.setattr(json_ld, "_NODES_PER_PIECE", 10)
    nodes = [{"@id": f"urn:{number}", "name": "x" * number} for number in range(95)]
    (tmp_path / "a.jsonld").write_text(
        json.dumps({"@context": {"@vocab": "urn:"}, "@graph": nodes}, indent=1)
    )
    file = SourceFile.of(tmp_path / "a.jsonld")
    pieces = [json.loads(piece) for piece in json_ld.split_json_ld(file)]
    assert len(pieces) == 11
    assert [node for piece in pieces for node in piece.get("@graph", [])] == nodes


def test_the_line_of_an_error_counts_from_the_start_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "_CHUNK_CHARACTERS", 5)
    (tmp_path / "a.jsonld").write_text('[\n{"a": 1},\n{"a": 2},\n{"a" 3}\n\n]')
    with pytest.raises(DataError, match="line 4"):
        list(json_ld.split_json_ld(SourceFile.of(tmp_path / "a.jsonld")))
