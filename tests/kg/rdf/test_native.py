"""Catalograph's own RDF, changed by hand."""

import pytest

from kg.ingest.assemble import Origin
from kg.rdf.document import Document
from kg.rdf.own import OwnReader
from kg.stores.rdf_terms import PREFIXES
from schema.terms import statement_id

HEAD = "".join(f"@prefix {name}: <{address}> .\n" for name, address in PREFIXES.items())
ITEM = 'item:a a schema:Product ; schema:identifier "a" . '
ABOUT = "<urn:catalograph:statement:1> a rdf:Statement ; rdf:subject item:a ; rdf:predicate property:size ; "


def read(tmp_path, text):
    (tmp_path / "own.ttl").write_text(HEAD + text)
    with Document(tmp_path / "own.ttl") as document:
        (found,) = OwnReader(document, Origin("own.ttl", "own.ttl", "run", "now")).batches()
    return found


def test_a_plain_fact_without_a_statement_is_asserted_by_the_file(tmp_path):
    _, done = read(tmp_path, ITEM + 'item:a property:size "3" .')
    (row,) = done.statements.to_pylist()
    assert (row["id"], row["rank"], row["source"]) == (
        statement_id("a", "size", "3"),
        "asserted",
        "own.ttl",
    )


def test_a_statement_about_an_item_that_is_not_described_counts(tmp_path):
    count, done = read(tmp_path, ABOUT + 'rdf:object "3" ; cg:rank rank:accepted .')
    assert (count, done.items.num_rows, done.statements["item"].to_pylist()) == (1, 0, ["a"])


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ('rdf:object "3" ; cg:rank rank:best .', "best"),
        ('rdf:object "3" ; cg:rank rank:accepted, rank:rejected .', "has 2 ranks"),
        ("cg:rank rank:accepted .", "value"),
        ('rdf:object "3" ; cg:rank rank:accepted ; cg:confidence "high" .', "high"),
        (
            'rdf:object "3" ; cg:rank rank:accepted ; prov:wasDerivedFrom <http://x/> .',
            "no source of Catalograph's",
        ),
    ],
)
def test_a_statement_that_is_none_is_rejected(tmp_path, rest, reason):
    count, done = read(tmp_path, ITEM + ABOUT + rest)
    (reject,) = done.rejects
    assert (count, done.stored) == (2, 1)
    assert reason in reject.reason
    assert "urn:catalograph:statement:1" in reject.text


def test_an_item_under_another_address_is_rejected(tmp_path):
    _, done = read(tmp_path, ITEM + "<http://x/y> a schema:Product .")
    (reject,) = done.rejects
    assert "http://x/y" in reject.reason


def test_a_colon_that_was_not_encoded_belongs_to_the_name(tmp_path):
    _, done = read(tmp_path, "<urn:catalograph:item:a:b> a schema:Product .")
    assert done.items["id"].to_pylist() == ["a:b"]
