"""init, sample, ingest, queries, rejects, schema."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.conftest import ITEMS, Call, assert_fails

INGEST_FIELDS = [
    "mapping",
    "read",
    "stored",
    "rejected",
    "items",
    "statements",
    "new_items",
    "new_statements",
    "images",
    "seconds",
    "changes",
]


def test_init_creates_a_home(call: Call, tmp_path: Path) -> None:
    report = call("--home", "shoes", "init", "--json").json
    assert report == {
        "home": str(tmp_path / "shoes"),
        "store": f"ladybug:{tmp_path / 'shoes' / 'graph'}",
        "ledger": f"sqlite:///{tmp_path / 'shoes' / 'ledger.sqlite'}",
        "journal": str(tmp_path / "shoes" / "graph" / "journal"),
    }
    assert call("--home", "shoes", "rejects").code == 0


def test_init_allows_folders_of_images(call: Call, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    assert call("init").code == 0
    assert call("init", "--images", "photos").code == 0
    assert str(tmp_path / "photos") in (tmp_path / "catalog" / "home.toml").read_text()
    assert_fails(call("init", "--images", "none"), 2, "none", "--images")


def test_init_keeps_the_given_store(call: Call, table: Path, tmp_path: Path) -> None:
    url = f"rdf:{tmp_path / 'elsewhere'}"
    assert call("init", "--store", "rdf:elsewhere", "--json").json["store"] == url
    call("ingest", table)
    assert call("stats", "--json").json["store"] == url
    result = call("sparql", "SELECT ?n { item:1 schema:name ?n }", "--json")
    assert result.json["rows"] == [["Red clay mug"]]


def test_store_of_one_call_or_of_the_environment_is_not_kept(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("init")
    assert call("stats", "--store", "memory:", "--json").json["store"] == "memory:"
    monkeypatch.setenv("CATALOGRAPH_STORE", "memory:")
    assert call("stats", "--json").json["store"] == "memory:"
    assert "memory" not in (tmp_path / "catalog" / "home.toml").read_text()


@pytest.mark.parametrize(
    "url",
    [
        "neo4j://neo4j:hush@localhost",
        "rdf+http://me:hush@localhost/ds",
        "oracle://me:hush@localhost",
    ],
)
def test_password_in_a_url_is_neither_stored_nor_printed(
    call: Call, tmp_path: Path, url: str
) -> None:
    refused = call("init", "--store", url)
    created = call("init")
    refused_again = call("stats", "--store", url, "-v")
    assert (refused.code, created.code, refused_again.code) == (2, 0, 2)
    for result in (refused, created, refused_again):
        assert "hush" not in result.out + result.err
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or "hush" not in path.read_text(errors="ignore")


def test_ingest_reports_the_fields_of_the_contract(call: Call, table: Path) -> None:
    report = call("--json", "ingest", table).json
    assert list(report) == INGEST_FIELDS
    assert (report["read"], report["stored"], report["rejected"]) == (4, 4, 0)
    assert (report["items"], report["images"]) == (4, 1)
    assert report["new_statements"] == report["statements"] == 6


def test_ingest_again_adds_nothing(ingested: Call, table: Path) -> None:
    report = ingested("ingest", table, "--json").json
    assert (report["new_items"], report["new_statements"]) == (0, 0)


def test_ingest_names_the_mapping_on_stderr(call: Call, table: Path) -> None:
    result = call("ingest", table)
    assert "mapping" in result.err
    assert "4 read, 4 stored, 0 rejected" in result.out


def test_dry_run_writes_nothing(call: Call, table: Path, tmp_path: Path) -> None:
    assert call("ingest", table, "--dry-run", "--json").json["read"] == 4
    assert not (tmp_path / "catalog").exists()


def test_global_options_before_or_after_the_command(call: Call, table: Path) -> None:
    call("--home", "a", "ingest", table)
    before = call("--json", "--home", "a", "show", "1").json
    after = call("show", "1", "--home", "a", "--json").json
    assert before == after


def test_home_from_the_environment(
    call: Call, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATALOGRAPH_HOME", str(tmp_path / "here"))
    assert call("ingest", table).code == 0
    assert (tmp_path / "here" / "home.toml").is_file()
    assert call("--home", "elsewhere", "stats").code == 2


def test_report_is_printed_even_past_the_limit_of_rejects(call: Call, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("id,title,colour\n1,Mug,red\n,No id,blue\n")
    result = call("ingest", "bad.csv", "--json")
    assert result.code == 1
    assert (result.json["stored"], result.json["rejected"]) == (1, 1)
    assert result.err.count("error: ") == 1


def test_rejects_list_file_line_and_reason(call: Call, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("id,title,colour\n1,Mug,red\n,No id,blue\n")
    call("ingest", "bad.csv", "--max-rejects", "50%")
    (row,) = call("rejects", "--json").json
    assert row["file"].endswith("bad.csv")
    assert (row["line"], bool(row["reason"])) == (3, True)


def test_queries_are_loaded(ingested: Call, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(
        "query,item,impressions,clicks,purchases\nred mug,1,9,2,1\nchair,4,5,1,0\n"
    )
    result = ingested("queries", "log.csv", "--json")
    assert result.json == {"read": 2, "stored": 2, "rejected": 0}


def test_schema_lists_the_properties(ingested: Call) -> None:
    document = ingested("schema", "--json").json
    assert [spec["property"] for spec in document["properties"]] == ["colour", "material"]
    assert ingested("schema", "show", "--json").json == document


def test_schema_shows_one_property_with_its_values(ingested: Call) -> None:
    document = ingested("schema", "show", "colour", "--json").json
    assert document["values"] == {"blue": 2, "red": 1}
    assert document["applies_to"]["Mugs"] == 1.0
    assert "one per item, known for 75% of all items" in ingested("schema", "show", "colour").out


def test_inferring_the_ontology_keeps_edits(ingested: Call, tmp_path: Path) -> None:
    path = tmp_path / "catalog" / "ontology.toml"
    path.write_text(path.read_text().replace("threshold = 0.5", "threshold = 0.3"))
    assert ingested("schema", "infer", "--json").json["threshold"] == 0.3


def test_items_without_titles_images_or_properties(call: Call, tmp_path: Path) -> None:
    (tmp_path / "bare.csv").write_text("id,colour\n1,red\n2,\n")
    report = call("ingest", "bare.csv", "--json").json
    assert (report["items"], report["statements"], report["images"]) == (2, 1, 0)


def test_only_added_rows_are_new(ingested: Call, table: Path) -> None:
    table.write_text(ITEMS + "5,Pine chair,Chairs,,,pine\n")
    report = ingested("ingest", table, "--json").json
    assert (report["new_items"], report["new_statements"]) == (1, 1)


def test_sample_generates_a_catalogue_that_can_be_ingested(call: Call, tmp_path: Path) -> None:
    report = call("sample", "shop", "--items", "12", "--seed", "1", "--json").json
    assert list(report) == ["items", "images", "queries", "pairs", "seconds"]
    assert report["items"] == 12
    names = {path.name for path in (tmp_path / "shop").iterdir()}
    assert names == {"items.csv", "images", "queries.csv", "pairs.csv", "truth.csv"}

    loaded = call("ingest", "shop/items.csv", "--json").json
    assert (loaded["mapping"], loaded["read"], loaded["rejected"]) == ("sample", 12, 0)
    assert call("queries", "shop/queries.csv", "--json").json["stored"] == report["queries"]


def test_synonyms_are_offered_and_merged_by_the_ontology(call: Call, tmp_path: Path) -> None:
    rows = [f"{number},Mug,Grey" for number in range(5)]
    table = tmp_path / "colours.csv"
    table.write_text("\n".join(["id,title,colour", *rows, "8,Mug,grey", "9,Mug,Gray"]) + "\n")
    call("ingest", table)
    assert call("schema", "show", "colour", "--json").json["values"] == {"Grey": 6, "Gray": 1}
    assert call("schema", "synonyms", "--json").json == [
        {
            "property": "colour",
            "value": "Grey",
            "items": 6,
            "other": "Gray",
            "other_items": 1,
            "reason": "two spellings",
        }
    ]
    assert "two spellings" in call("schema", "synonyms", "colour").out
    pasted = call("schema", "synonyms", "--toml").out
    ontology = tmp_path / "catalog" / "ontology.toml"
    ontology.write_text(ontology.read_text() + pasted)
    shown = call("schema", "infer", "--json").json
    assert [each["values"] for each in shown["properties"]] == [1]
    assert call("schema", "show", "colour", "--json").json["synonyms"] == {"Grey": ["Gray"]}
    assert call("show", "8", "--json").json["statements"][0]["value"] == "grey"
    assert "no values" in call("schema", "synonyms").out


def test_schema_diff_says_what_new_data_would_change(ingested: Call, tmp_path: Path) -> None:
    path = tmp_path / "catalog" / "ontology.toml"
    path.write_text(path.read_text().replace('datatype = "string"', 'datatype = "integer"', 1))
    (tmp_path / "new.csv").write_text(
        "id,title,category,colour,size\n8,Pot,Pots,green,4\n9,Pan,Pots,7,5\n"
    )
    before = path.read_bytes()
    document = ingested("schema", "diff", "new.csv", "--json").json
    assert list(document) == [
        "mapping",
        "read",
        "rejected",
        "items",
        "statements",
        "new_properties",
        "changes",
        "new_values",
        "new_categories",
        "contradictions",
        "notes",
        "seconds",
    ]
    assert document["new_categories"] == [{"category": "Pots", "items": 2}]
    assert [each["property"] for each in document["new_properties"]] == ["size"]
    assert document["contradictions"] == [
        {
            "property": "colour",
            "field": "datatype",
            "value": "integer",
            "statements": 1,
            "of": 2,
            "examples": ["green"],
        }
    ]
    result = ingested("schema", "diff", "new.csv")
    assert "the data contradict what you have set in ontology.toml" in result.out
    assert "new categories" in result.out
    assert path.read_bytes() == before
    assert ingested("stats", "--json").json["items"] == 4


def test_schema_diff_of_what_is_stored_changes_nothing(ingested: Call) -> None:
    assert "the ontology stays as it is" in ingested("schema", "diff", "items.csv").out
    assert_fails(ingested("schema", "diff", "none.csv"), 2, "none.csv")
