import csv
import json

import networkx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyoxigraph import RdfFormat, parse

from kg.export.formats import Format, export
from kg.stores import rdf_terms as terms
from kg.stores.open import open_store
from schema.errors import UsageError
from schema.terms import Rank
from tests.kg.export.shops import ODD, odd_shop, rows


def written(tmp_path, format, **options):
    out = tmp_path / f"out.{format}"
    report = export(odd_shop(), format, out, **options)
    return out, report


@pytest.mark.parametrize("format", list(Format))
def test_every_format_is_written_and_counted(tmp_path, format):
    out, report = written(tmp_path, format, ranks=list(Rank))
    assert out.exists()
    assert report.format == format
    assert report.statements == 6
    assert sorted(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("format", list(Format))
def test_an_empty_store_is_written_too(tmp_path, format):
    assert export(open_store("memory:"), format, tmp_path / "out").statements == 0


def test_n_quads_are_those_of_the_rdf_store(tmp_path):
    out, _ = written(tmp_path, Format.NQ)
    items, facts = rows(odd_shop())
    expected = {quad for row in items for quad in terms.item_quads(row)} | {
        quad for row in facts for quad in terms.fact_quads(row)
    }
    expected |= terms.name_quads((kind, row[kind]) for row in facts for kind in terms.NAMED)
    assert set(parse(path=out, format=RdfFormat.N_QUADS)) == expected


@pytest.mark.parametrize("format", [Format.TTL, Format.NT])
def test_without_graphs_what_is_not_trusted_is_no_fact(tmp_path, format):
    out, _ = written(tmp_path, format)
    size = terms.iri("property", "size")
    facts = [
        (terms.name_of(q.subject), q.object.value)
        for q in parse(path=out, format=RdfFormat.from_extension(format))
        if q.predicate == size
    ]
    assert facts == [("b", "3")]


def test_turtle_has_prefixes(tmp_path):
    out, _ = written(tmp_path, Format.TTL)
    assert "item:b a schema:Product" in out.read_text(encoding="utf-8")


def test_json_ld_is_schema_org(tmp_path):
    out, _ = written(tmp_path, Format.JSONLD)
    document = json.loads(out.read_text(encoding="utf-8"))
    assert document["@context"]["@vocab"] == "https://schema.org/"
    (product,) = [each for each in document["@graph"] if each["identifier"] == "a"]
    assert (product["type"], product["sku"], product["image"]) == (
        "Product",
        "a",
        ["x|y;1.jpg", '/z".jpg'],
    )
    assert [(each["name"], each["value"]) for each in product["additionalProperty"]] == [
        ("colour", ODD)
    ]
    assert {each["rank"].rpartition(":")[2] for each in product["claim"]} == {
        "predicted",
        "rejected",
    }


def test_csv_has_every_cell(tmp_path):
    out, _ = written(tmp_path, Format.CSV)
    with (out / "statements.csv").open(encoding="utf-8", newline="") as stream:
        found = {row["id"]: row for row in csv.DictReader(stream)}
    for fact in rows(odd_shop())[1]:
        assert {
            name: str(value) if value is not None else "" for name, value in fact.items()
        } == found[fact["id"]]


def test_parquet_has_the_stores_own_tables(tmp_path):
    out, _ = written(tmp_path, Format.PARQUET)
    store = odd_shop()
    assert pq.read_table(out / "statements.parquet").equals(pa.Table.from_batches(store.scan()))
    assert pq.read_table(out / "items.parquet")["id"].to_pylist() == [
        row["id"] for row in rows(store)[0]
    ]


def test_networkx_reads_the_graph(tmp_path):
    out, _ = written(tmp_path, Format.GRAPHML)
    graph = networkx.read_graphml(out, force_multigraph=True)
    kinds = [str(graph.nodes[node]["kind"]) for node in graph]
    assert (kinds.count("item"), kinds.count("value"), graph.number_of_edges()) == (5, 5, 6)
    (edge,) = [about for *_, about in graph.edges(data=True) if about["rank"] == "predicted"]
    assert (edge["property"], edge["confidence"]) == ("size", 0.1 + 0.2)


@pytest.mark.slow
def test_pykeen_reads_the_trusted_triples(tmp_path):
    from pykeen.triples import TriplesFactory

    out, _ = written(tmp_path, Format.PYKEEN)
    found = TriplesFactory.from_path(out / "triples.tsv", create_inverse_triples=False)
    triples = {tuple(row) for row in found.triples.tolist()}
    assert triples == {("a", "colour", ODD), ("b", "size", "3"), ("z:z", "p:q/é", "NA")}


def test_ranks_choose_statements(tmp_path):
    _, report = written(tmp_path, Format.NQ, ranks=[Rank.PREDICTED, Rank.REJECTED])
    assert (report.items, report.statements) == (5, 2)


def test_progress_is_told_up_to_all_rows(tmp_path):
    told = []
    written(tmp_path, Format.CSV, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (11, 11)


def test_a_file_where_a_folder_should_be_is_named(tmp_path):
    (tmp_path / "out.csv").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        written(tmp_path, Format.CSV)
    (tmp_path / "out.nq").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        written(tmp_path, Format.NQ)


def test_an_export_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    out, _ = written(tmp_path, Format.NQ)
    before = out.read_bytes()
    monkeypatch.setattr("kg.stores.rdf_terms.fact_quads", lambda row: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        written(tmp_path, Format.NQ)
    assert out.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [out]
