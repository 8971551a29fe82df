"""init, ingest, queries, rejects, schema."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.conftest import ITEMS, Call

FIELDS = [
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
]


def test_init_makes_a_home(call: Call, tmp_path: Path) -> None:
    report = call("--home", "shoes", "init", "--json").json
    assert report == {
        "home": str(tmp_path / "shoes"),
        "store": f"ladybug:{tmp_path / 'shoes' / 'graph'}",
    }
    assert call("--home", "shoes", "rejects").code == 0


def test_init_keeps_the_store_that_it_is_told(call: Call, table: Path, tmp_path: Path) -> None:
    assert (
        call("init", "--store", "rdf:elsewhere", "--json").json["store"]
        == f"rdf:{tmp_path / 'elsewhere'}"
    )
    call("ingest", table)
    assert call("stats", "--json").json["store"] == f"rdf:{tmp_path / 'elsewhere'}"
    assert call("sparql", "SELECT ?n { item:1 schema:name ?n }", "--json").json["rows"] == [
        ["Red clay mug"]
    ]


def test_a_store_of_one_call_or_of_the_environment_is_not_kept(
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
def test_a_password_in_a_url_is_neither_kept_nor_said(call: Call, tmp_path: Path, url: str) -> None:
    for given in (("init", "--store", url), ("init",), ("stats", "--store", url, "-v")):
        said = call(*given)
        assert said.code == (0 if given == ("init",) else 2)
        assert "hush" not in said.out + said.err
    assert not any(
        "hush" in path.read_text(errors="ignore") for path in tmp_path.rglob("*") if path.is_file()
    )


def test_ingest_reports_by_the_contract(call: Call, table: Path) -> None:
    report = call("--json", "ingest", table).json
    assert list(report) == FIELDS
    assert (
        report["read"],
        report["stored"],
        report["rejected"],
        report["items"],
        report["images"],
    ) == (4, 4, 0, 4, 1)
    assert report["new_statements"] == report["statements"] == 6


def test_ingest_again_adds_nothing(shop: Call, table: Path) -> None:
    report = shop("ingest", table, "--json").json
    assert (report["new_items"], report["new_statements"]) == (0, 0)


def test_ingest_says_the_mapping_on_stderr(call: Call, table: Path) -> None:
    said = call("ingest", table)
    assert "mapping" in said.err
    assert "4 read, 4 stored, 0 rejected" in said.out


def test_a_dry_run_leaves_nothing_behind(call: Call, table: Path, tmp_path: Path) -> None:
    assert call("ingest", table, "--dry-run", "--json").json["read"] == 4
    assert not (tmp_path / "catalog").exists()


def test_the_global_options_stand_before_or_after(call: Call, table: Path) -> None:
    call("--home", "a", "ingest", table)
    assert (
        call("--json", "--home", "a", "show", "1").json
        == call("show", "1", "--home", "a", "--json").json
    )


def test_the_home_may_come_from_the_environment(
    call: Call, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATALOGRAPH_HOME", str(tmp_path / "here"))
    assert call("ingest", table).code == 0
    assert (tmp_path / "here" / "home.toml").is_file()
    assert call("--home", "elsewhere", "stats").code == 2


def test_past_the_limit_of_rejects_the_report_comes_all_the_same(
    call: Call, tmp_path: Path
) -> None:
    (tmp_path / "bad.csv").write_text("id,title,colour\n1,Mug,red\n,No id,blue\n")
    said = call("ingest", "bad.csv", "--json")
    assert said.code == 1
    assert (said.json["stored"], said.json["rejected"]) == (1, 1)
    assert said.err.count("error: ") == 1


def test_rejects_say_file_line_and_reason(call: Call, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("id,title,colour\n1,Mug,red\n,No id,blue\n")
    call("ingest", "bad.csv", "--max-rejects", "50%")
    (row,) = call("rejects", "--json").json
    assert row["file"].endswith("bad.csv")
    assert (row["line"], bool(row["reason"])) == (3, True)


def test_queries_are_loaded(shop: Call, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(
        "query,item,impressions,clicks,purchases\nred mug,1,9,2,1\nchair,4,5,1,0\n"
    )
    assert shop("queries", "log.csv", "--json").json == {"read": 2, "stored": 2, "rejected": 0}


def test_schema_shows_the_properties(shop: Call) -> None:
    document = shop("schema", "--json").json
    assert [each["property"] for each in document["properties"]] == ["colour", "material"]
    assert shop("schema", "show", "--json").json == document


def test_schema_shows_one_property_with_its_values(shop: Call) -> None:
    document = shop("schema", "show", "colour", "--json").json
    assert document["values"] == {"blue": 2, "red": 1}
    assert document["applies_to"]["Mugs"] == 1.0


def test_an_edit_of_the_ontology_stands_when_it_is_inferred_again(
    shop: Call, tmp_path: Path
) -> None:
    path = tmp_path / "catalog" / "ontology.toml"
    path.write_text(path.read_text().replace("threshold = 0.5", "threshold = 0.3"))
    assert shop("schema", "infer", "--json").json["threshold"] == 0.3


def test_items_without_titles_images_or_properties_are_taken(call: Call, tmp_path: Path) -> None:
    (tmp_path / "bare.csv").write_text("id,colour\n1,red\n2,\n")
    report = call("ingest", "bare.csv", "--json").json
    assert (report["items"], report["statements"], report["images"]) == (2, 1, 0)


def test_rows_that_are_added_are_new(shop: Call, table: Path) -> None:
    table.write_text(ITEMS + "5,Pine chair,Chairs,,,pine\n")
    report = shop("ingest", table, "--json").json
    assert (report["new_items"], report["new_statements"]) == (1, 1)


def test_sample_draws_a_catalogue_that_ingests(call: Call, tmp_path: Path) -> None:
    report = call("sample", "shop", "--items", "12", "--seed", "1", "--json").json
    assert (list(report), report["items"]) == (["items", "images", "queries", "seconds"], 12)
    assert {path.name for path in (tmp_path / "shop").iterdir()} == {
        "items.csv",
        "images",
        "queries.csv",
        "truth.csv",
    }
    loaded = call("ingest", "shop/items.csv", "--json").json
    assert (loaded["mapping"], loaded["read"], loaded["rejected"]) == ("sample", 12, 0)
    assert call("queries", "shop/queries.csv", "--json").json["stored"] == report["queries"]
