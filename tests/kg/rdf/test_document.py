"""RDF files that are malformed, hostile or large."""

import gzip
import json
import socket

import pytest
from pyoxigraph import Literal

from kg.ingest import json_stream
from kg.ingest.files import SourceFile
from kg.ingest.pipeline import ingest
from kg.ingest.source import open_source
from kg.rdf import json_ld
from kg.rdf.document import RdfDocument, _has_zeros
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


def literals(tmp_path, name, text):
    """Return the texts of a file's literals in their order."""
    (tmp_path / name).write_text(text)
    with RdfDocument(SourceFile.of(tmp_path / name)) as document:
        return sorted(
            quad.object.value for quad in document._match() if isinstance(quad.object, Literal)
        )


XSD = "http://www.w3.org/2001/XMLSchema#"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.ttl", "<urn:a> <urn:b> 0400638133393, 1.10, 20.00, 7 .", ["0400638133393", "1.10"]),
        ("a.trig", "<urn:g> {<urn:a> <urn:b> 00123 .}", ["00123"]),
        ("a.nt", f'<urn:a> <urn:b> "007"^^<{XSD}integer> .', ["007"]),
        ("a.nq", f'<urn:a> <urn:b> "2.50"^^<{XSD}decimal> <urn:g> .', ["2.50"]),
        ("a.ttl", f'<urn:a> <urn:b> "0099"^^<{XSD}long> .', ["0099"]),
    ],
)
def test_zeros_of_numbers_are_not_lost(tmp_path, name, text, expected):
    assert set(expected) <= set(literals(tmp_path, name, text))


@pytest.mark.parametrize("text", ["7", "-2.5", '"00123"', "1.0E0", "true"])
def test_other_literals_do_not_take_the_slow_way(tmp_path, text):
    (tmp_path / "a.ttl").write_text(f"<urn:a> <urn:b> {text} .")
    assert not _has_zeros(SourceFile.of(tmp_path / "a.ttl"))


def test_terms_beside_an_import_are_kept(tmp_path):
    document = {
        "@context": {"@import": "https://schema.org/", "farbe": "https://schema.org/color"},
        "@type": "Product",
        "name": "Mug",
        "farbe": "red",
    }
    (piece,) = (json.loads(json_ld.local_json_ld(document, "a.jsonld")),)
    assert piece["@context"]["farbe"] == "https://schema.org/color"
    assert piece["@context"]["@vocab"] == "https://schema.org/"
    assert literals(tmp_path, "a.jsonld", json.dumps(document)) == ["Mug", "red"]


@pytest.mark.parametrize("context", [{"@import": ["https://schema.org"]}, {"@import": 7}])
def test_an_import_that_is_no_address_is_an_error(tmp_path, context):
    with pytest.raises(DataError, match="@import"):
        ingest_text(tmp_path, "a.jsonld", json.dumps({"@context": context, "@type": "Product"}))


@pytest.mark.parametrize("name", ["a.nt.gz", "a.ttl.gz"])
def test_a_compressed_file_is_loaded(tmp_path, name):
    data = gzip.compress(b'<urn:a> <urn:b> "x" .')
    (tmp_path / name).write_bytes(data)
    with RdfDocument(SourceFile.of(tmp_path / name)) as document:
        assert [quad.object for quad in document._match()] == [Literal("x")]
    (tmp_path / name).write_bytes(data[:-9])
    with pytest.raises(DataError, match="cut off"):
        RdfDocument(SourceFile.of(tmp_path / name))
