"""show, stats, validate, cypher, verify, rebuild."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.conftest import Call


def test_show_has_the_shape_of_the_contract(shop: Call, tmp_path: Path) -> None:
    document = shop("show", "1", "--json").json
    assert list(document) == ["id", "title", "category", "images", "statements"]
    assert (document["id"], document["title"], document["category"]) == (
        "1",
        "Red clay mug",
        "Mugs",
    )
    assert document["images"] == [str(tmp_path / "images" / "1.png")]
    first = {
        "property": "colour",
        "value": "red",
        "rank": "asserted",
        "confidence": None,
        "source": "items.csv",
    }
    assert document["statements"][0] == first


def test_show_of_an_item_without_a_title(shop: Call) -> None:
    assert shop("show", "3", "--json").json["title"] is None
    assert "clay" in shop("show", "3").out


def test_stats_count_items_and_coverage(shop: Call) -> None:
    document = shop("stats", "--json").json
    assert (document["items"], document["titles"], document["images"], document["statements"]) == (
        4,
        3,
        1,
        6,
    )
    colour = document["coverage"][0]
    assert colour == {"property": "colour", "items": 3, "share": 0.75, "values": 2, "predicted": 0}


def test_stats_of_a_fresh_home(call: Call) -> None:
    call("init")
    said = call("stats")
    assert said.code in (0, 1)
    assert "Traceback" not in said.err


def test_cypher_answers(shop: Call) -> None:
    text = "MATCH (i:Item)-[h:HAS]->(v:Value) WHERE v.text = $v RETURN i.id AS id ORDER BY id"
    assert shop("cypher", text, "--param", "v=blue", "--json").json == {
        "columns": ["id"],
        "rows": [["2"], ["3"]],
    }


def test_cypher_takes_numbers_as_json(shop: Call) -> None:
    assert shop("cypher", "RETURN $n + 1 AS n", "--param", "n:=2", "--json").json["rows"] == [[3]]


def test_cypher_shows_a_table(shop: Call) -> None:
    said = shop("cypher", "MATCH (v:Value) RETURN v.text AS value ORDER BY value")
    assert said.out.split()[0] == "value"
    assert "oak" in said.out


@pytest.mark.parametrize(
    "text",
    [
        "CREATE (:Item {id: '9'})",
        "MATCH (i:Item) DETACH DELETE i",
        "COPY Item TO 'x.csv'",
        "nonsense",
    ],
)
def test_cypher_only_reads(shop: Call, text: str) -> None:
    said = shop("cypher", text)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("error: ")


def test_verify_finds_a_whole_home_whole(shop: Call) -> None:
    assert shop("verify", "--json").json == {"ok": True, "problems": []}


def test_verify_finds_a_damaged_journal(shop: Call, tmp_path: Path) -> None:
    file = next((tmp_path / "catalog").glob("graph/journal/**/*.parquet"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.chmod(0o644)
    file.write_bytes(data)
    said = shop("verify")
    assert said.code == 1
    assert "Traceback" not in said.out + said.err


def test_rebuild_makes_the_same_graph(shop: Call) -> None:
    before = shop("stats", "--json").json
    assert shop("rebuild", "--json").json == {"items": 4, "statements": 6}
    assert shop("stats", "--json").json == before


def test_a_value_cannot_command_the_terminal(call: Call, tmp_path: Path) -> None:
    (tmp_path / "evil.csv").write_text("id,title\n1,\x1b[31mred [bold]mug\n")
    call("ingest", "evil.csv")
    assert "\x1b" not in call("show", "1").out
    assert "[bold]" in call("show", "1").out


def test_validate_finds_a_whole_catalogue_whole(shop: Call) -> None:
    document = shop("validate", "--json").json
    assert list(document) == [
        "conforms",
        "checked",
        "violations",
        "warnings",
        "infos",
        "rules",
        "results",
    ]
    assert (document["conforms"], document["checked"], document["violations"]) == (True, 4, 0)
    assert document["results"] == [
        {
            "item": "3",
            "property": None,
            "value": None,
            "severity": "warning",
            "check": "title",
            "message": "the item has no title",
        }
    ]


def test_validate_ends_with_1_where_there_is_a_violation(shop: Call, tmp_path: Path) -> None:
    path = tmp_path / "catalog" / "ontology.toml"
    path.write_text(path.read_text().replace('datatype = "string"', 'datatype = "integer"', 1))
    said = shop("validate", "--limit", "1")
    assert said.code == 1
    assert "'red' is no integer" in said.out
    assert "3 violations" in said.out


def test_validate_takes_shapes_of_ones_own(shop: Call, tmp_path: Path) -> None:
    (tmp_path / "mine.ttl").write_text(
        "@prefix sh: <http://www.w3.org/ns/shacl#> . @prefix schema: <https://schema.org/> ."
        "<urn:s> a sh:NodeShape ; sh:targetClass schema:Product ; sh:property [ sh:path schema:image ; sh:minCount 1 ] ."
    )
    assert shop("validate", "--shapes", "mine.ttl", "--json").json["violations"] == 3
    assert not (tmp_path / "catalog" / "shapes.ttl").exists()


def test_validate_says_that_the_shapes_were_edited(shop: Call, tmp_path: Path) -> None:
    shop("validate")
    (tmp_path / "catalog" / "shapes.ttl").write_text("")
    assert "was edited" in shop("validate").err


def test_validate_names_a_file_that_is_not_there(shop: Call) -> None:
    said = shop("validate", "--shapes", "none.ttl")
    assert (said.code, "none.ttl" in said.err) == (2, True)


def test_show_draws_the_item(shop: Call, tmp_path: Path) -> None:
    said = shop("show", "1", "--graph", "mug.svg", "--json")
    assert (said.json["id"], said.err) == ("1", "graph: mug.svg\n")
    text = (tmp_path / "mug.svg").read_text()
    assert all(word in text for word in ("Red clay mug", "clay", "colour · 1 item"))


def test_show_draws_no_other_kind_of_file(shop: Call, tmp_path: Path) -> None:
    said = shop("show", "1", "--graph", "mug.gif")
    assert (said.code, said.out) == (2, "")
    assert not (tmp_path / "mug.gif").exists()


def test_stats_say_the_graph_s_shape(call: Call, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text(
        "id,title,category,colour\n1,A,X > X,Navy Blue\n2,B,X,navy-blue\n3,C,X,\n"
    )
    call("ingest", "items.csv")
    assert call("stats", "--graph", "--json").json["graph"] == {
        "alone": 1,
        "counts": {"components": 2, "duplicates": 1, "cycles": 1},
        "components": [1, 1],
        "duplicates": [{"property": "colour", "values": {"Navy Blue": 1, "navy-blue": 1}}],
        "cycles": [["X", "X"]],
    }
    assert "Navy Blue (1) | navy-blue (1)" in call("stats", "--graph").out


def test_stats_leave_the_shape_out_unless_asked(shop: Call) -> None:
    assert "graph" not in shop("stats", "--json").json
