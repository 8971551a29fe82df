"""RDF in Catalograph's own vocabulary, edited by hand."""

import pytest

from kg.ingest.assemble import Origin
from kg.ingest.files import SourceFile
from kg.ingest.images import SourceImages
from kg.rdf.document import RdfDocument
from kg.rdf.native import NativeRdfReader
from schema.iris import PREFIXES
from schema.terms import statement_id

HEAD = "".join(f"@prefix {name}: <{address}> .\n" for name, address in PREFIXES.items())
ITEM = 'item:a a schema:Product ; schema:identifier "a" . '
STATEMENT = (
    "<urn:catalograph:statement:1> a rdf:Statement ; rdf:subject item:a ; "
    "rdf:predicate property:size ; "
)


def read(tmp_path, text):
    path = tmp_path / "native.ttl"
    path.write_text(HEAD + text)
    origin = Origin("native.ttl", "native.ttl", "run", "now")
    with RdfDocument(SourceFile.of(path)) as document:
        (batch,) = NativeRdfReader(document, origin, SourceImages()).batches()
    return batch


def test_a_plain_fact_without_a_statement_is_asserted_by_the_file(tmp_path):
    batch = read(tmp_path, ITEM + 'item:a property:size "3" .')
    (row,) = batch.statements.to_pylist()
    assert row["id"] == statement_id("a", "size", "3")
    assert (row["rank"], row["source"]) == ("asserted", "native.ttl")


def test_a_statement_about_an_item_that_is_not_described_is_read(tmp_path):
    batch = read(tmp_path, STATEMENT + 'rdf:object "3" ; cg:rank rank:accepted .')
    assert (batch.rows_read, batch.items.num_rows) == (1, 0)
    assert batch.statements["item"].to_pylist() == ["a"]


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ('rdf:object "3" ; cg:rank rank:best .', "best"),
        ('rdf:object "3" ; cg:rank rank:accepted, rank:rejected .', "has 2 ranks"),
        ("cg:rank rank:accepted .", "value"),
        ('rdf:object "3" ; cg:rank rank:accepted ; cg:confidence "high" .', "high"),
        (
            'rdf:object "3" ; cg:rank rank:accepted ; prov:wasDerivedFrom <http://x/> .',
            "not a source of Catalograph's",
        ),
    ],
)
def test_an_invalid_statement_is_rejected(tmp_path, rest, reason):
    batch = read(tmp_path, ITEM + STATEMENT + rest)
    (reject,) = batch.rejects
    assert (batch.rows_read, batch.rows_stored) == (2, 1)
    assert reason in reject.reason
    assert "urn:catalograph:statement:1" in reject.text


def test_an_item_with_a_foreign_iri_is_rejected(tmp_path):
    (reject,) = read(tmp_path, ITEM + "<http://x/y> a schema:Product .").rejects
    assert "http://x/y" in reject.reason


def test_a_colon_that_is_not_encoded_belongs_to_the_name(tmp_path):
    batch = read(tmp_path, "<urn:catalograph:item:a:b> a schema:Product .")
    assert batch.items["id"].to_pylist() == ["a:b"]


@pytest.mark.parametrize("images", ["{}", '{\\"a\\": 1}', "[1]", "[[]]", "x", "[" * 100_000])
def test_an_item_whose_images_are_no_list_of_texts_is_rejected(tmp_path, images):
    (reject,) = read(tmp_path, ITEM.replace(" .", f' ; cg:images "{images}" .')).rejects
    assert "are no list of texts" in reject.reason
