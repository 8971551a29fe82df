"""Every export format, on a store full of odd texts."""

import csv
import json
import sys
from types import ModuleType

import networkx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyoxigraph import RdfFormat, parse

from kg.export.formats import EXPORT_FORMATS, ExportFormat
from kg.export.write import export
from kg.home import Home
from kg.ingest.pipeline import ingest
from kg.stores import rdf_terms as terms
from kg.stores.open import open_store
from kg.stores.tables import items_table, statements_table
from schema.errors import UsageError
from schema.spreadsheets import is_formula
from schema.terms import Item, Rank, Statement
from tests.kg.export.odd_store import ODD, odd_store, rows


def written(tmp_path, format, **options):
    out = tmp_path / f"out.{format}"
    report = export(odd_store(), format, out, **options)
    return out, report


@pytest.mark.parametrize("format", list(EXPORT_FORMATS))
def test_every_format_is_written_and_counted(tmp_path, format):
    out, report = written(tmp_path, format, ranks=list(Rank))
    assert out.exists()
    assert report.format == format
    assert report.statements == 6
    assert sorted(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("format", list(EXPORT_FORMATS))
def test_an_empty_store_is_written_too(tmp_path, format):
    assert export(open_store("memory:"), format, tmp_path / "out").statements == 0


def test_nquads_are_those_of_the_rdf_store(tmp_path):
    out, _ = written(tmp_path, "nq")
    items, facts = rows(odd_store())
    expected = {quad for row in items for quad in terms.item_quads(row)} | {
        quad for row in facts for quad in terms.statement_quads(row)
    }
    expected |= terms.label_quads(
        (kind, row[kind]) for row in facts for kind in terms.LABELLED_COLUMNS
    )
    assert set(parse(path=out, format=RdfFormat.N_QUADS)) == expected


@pytest.mark.parametrize("format", ["ttl", "nt"])
def test_without_named_graphs_untrusted_statements_are_not_facts(tmp_path, format):
    out, _ = written(tmp_path, format)
    size = terms.named_node("property", "size")
    facts = [
        (terms.node_name(q.subject), q.object.value)
        for q in parse(path=out, format=RdfFormat.from_extension(format))
        if q.predicate == size
    ]
    assert facts == [("b", "3")]


def test_turtle_has_prefixes(tmp_path):
    out, _ = written(tmp_path, "ttl")
    assert "item:b a schema:Product" in out.read_text(encoding="utf-8")


def test_jsonld_uses_schema_org(tmp_path):
    out, _ = written(tmp_path, "jsonld")
    document = json.loads(out.read_text(encoding="utf-8"))
    assert document["@context"]["@vocab"] == "https://schema.org/"
    (product,) = [each for each in document["@graph"] if each["identifier"] == "a"]
    properties = [(each["name"], each["value"]) for each in product["additionalProperty"]]
    claimed_ranks = {each["rank"].rpartition(":")[2] for each in product["claim"]}
    assert (product["type"], product["sku"]) == ("Product", "a")
    assert product["image"] == ["x|y;1.jpg", '/z".jpg']
    assert properties == [("colour", ODD)]
    assert claimed_ranks == {"predicted", "rejected"}


def test_csv_has_every_cell(tmp_path):
    out, _ = written(tmp_path, "csv")
    with (out / "statements.csv").open(encoding="utf-8", newline="") as stream:
        cells = {row["id"]: row for row in csv.DictReader(stream)}
    for fact in rows(odd_store())[1]:
        expected = {name: "" if value is None else str(value) for name, value in fact.items()}
        assert cells[fact["id"]] == expected


def test_parquet_has_the_store_s_own_tables(tmp_path):
    out, _ = written(tmp_path, "parquet")
    store = odd_store()
    assert pq.read_table(out / "statements.parquet").equals(pa.Table.from_batches(store.scan()))
    assert pq.read_table(out / "items.parquet")["id"].to_pylist() == [
        row["id"] for row in rows(store)[0]
    ]


def test_networkx_reads_the_graph(tmp_path):
    out, _ = written(tmp_path, "graphml")
    graph = networkx.read_graphml(out, force_multigraph=True)
    kinds = [str(graph.nodes[node]["kind"]) for node in graph]
    assert (kinds.count("item"), kinds.count("value"), graph.number_of_edges()) == (5, 5, 6)
    (edge,) = [data for *_, data in graph.edges(data=True) if data["rank"] == "predicted"]
    assert (edge["property"], edge["confidence"]) == ("size", 0.1 + 0.2)


@pytest.mark.slow
def test_pykeen_reads_the_trusted_triples(tmp_path):
    from pykeen.triples import TriplesFactory

    out, _ = written(tmp_path, "pykeen")
    factory = TriplesFactory.from_path(out / "triples.tsv", create_inverse_triples=False)
    triples = {tuple(row) for row in factory.triples.tolist()}
    assert triples == {("a", "colour", ODD), ("b", "size", "3"), ("z:z", "p:q/é", "NA")}


def test_ranks_select_the_statements(tmp_path):
    _, report = written(tmp_path, "nq", ranks=[Rank.PREDICTED, Rank.REJECTED])
    assert (report.items, report.statements) == (5, 2)


def test_progress_is_reported_up_to_the_last_row(tmp_path):
    calls = []
    written(tmp_path, "csv", progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (11, 11)


def test_a_file_instead_of_a_folder_is_an_error_and_the_reverse(tmp_path):
    (tmp_path / "out.csv").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        written(tmp_path, "csv")
    (tmp_path / "out.nq").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        written(tmp_path, "nq")


def test_a_failed_export_leaves_the_old_file(tmp_path, monkeypatch):
    out, _ = written(tmp_path, "nq")
    before = out.read_bytes()
    monkeypatch.setattr("kg.stores.rdf_terms.statement_quads", lambda row: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        written(tmp_path, "nq")
    assert out.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [out]


def test_an_unknown_format_is_an_error_that_lists_the_formats(tmp_path):
    with pytest.raises(UsageError, match=r"'pdf': use one of ttl, nt"):
        export(odd_store(), "pdf", tmp_path / "out.pdf")


def test_a_new_format_is_a_module_and_a_line(tmp_path, monkeypatch):
    def write_ids(selection, path):
        path.write_text(" ".join(row["id"] for row in selection.item_rows() if row["id"].isalpha()))

    module = ModuleType("kg.export.ids")
    vars(module)["write_ids"] = write_ids
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(EXPORT_FORMATS, "ids", ExportFormat("ids", "ids", "write_ids"))
    out, report = written(tmp_path, "ids")
    assert out.read_text() == "a b"
    assert (report.format, report.items) == ("ids", 5)


FORMULA = "=cmd|'/C calc'!A0"


def formula_store():
    store = open_store("memory:")
    items = [Item(FORMULA, "@SUM(1+1)", "-a > b", ("+x.jpg",)), Item("n", "-5", "'=a")]
    facts = [Statement(FORMULA, "colour", "=1+1"), Statement("n", "size", "+3")]
    store.put(items_table(items), statements_table(facts))
    return store


def cells_of(folder):
    for name in ("items.csv", "statements.csv"):
        with (folder / name).open(encoding="utf-8", newline="") as file:
            yield from (cell for row in csv.reader(file) for cell in row)


def test_a_spreadsheet_runs_nothing_of_a_csv_file(tmp_path):
    report = export(formula_store(), "csv", tmp_path / "out")
    cells = list(cells_of(tmp_path / "out"))
    assert [cell for cell in cells if is_formula(cell)] == []
    assert "-5" in cells
    assert "+3" in cells
    assert "''=a" in cells
    assert report.defused == sum(cell.startswith("'") for cell in cells) == 7


def test_a_user_can_have_every_text_as_it_is(tmp_path):
    report = export(formula_store(), "csv", tmp_path / "out", keep_formulas=True)
    cells = list(cells_of(tmp_path / "out"))
    assert report.defused == 0
    assert {FORMULA, "@SUM(1+1)", "'=a", "=1+1"} <= set(cells)


@pytest.mark.parametrize("format", ["parquet", "pykeen", "neo4j-import", "nq"])
def test_formats_for_programs_have_every_text_as_it_is(tmp_path, format):
    assert export(formula_store(), format, tmp_path / "out").defused == 0


def test_an_ingest_takes_the_apostrophes_off(tmp_path):
    export(formula_store(), "csv", tmp_path / "out")
    home = Home.open(tmp_path / "home", create=True)
    report = ingest(home, [tmp_path / "out" / "items.csv"])
    with home.store(read_only=True) as store:
        entry = store.item(FORMULA)
        assert entry is not None
        found, _ = entry
        assert found.title == "@SUM(1+1)"
        assert found.category == "-a > b"
        other = store.item("n")
        assert other is not None
        assert other[0].category == "'=a"
    assert report.restored == 5
    assert "items.csv: 5 cells had an apostrophe" in " ".join(report.notes)
