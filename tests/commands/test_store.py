"""show, stats, validate, cypher, verify, rebuild."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from kg.stores.open import open_store
from kg.stores.tables import statements_table
from schema.terms import Statement
from tests.commands.conftest import Call, assert_fails


def test_show_has_the_fields_of_the_contract(ingested: Call, tmp_path: Path) -> None:
    document = ingested("show", "1", "--json").json
    assert list(document) == [
        "id",
        "title",
        "description",
        "category",
        "images",
        "source",
        "statements",
    ]
    assert (document["id"], document["title"]) == ("1", "Red clay mug")
    assert document["category"] == "Mugs"
    assert document["images"] == [str(tmp_path / "images" / "1.png")]
    assert document["statements"][0] == {
        "property": "colour",
        "value": "red",
        "language": None,
        "rank": "asserted",
        "confidence": None,
        "source": "items.csv",
        "sources": ["items.csv"],
    }


def test_show_an_item_without_a_title(ingested: Call) -> None:
    assert ingested("show", "3", "--json").json["title"] is None
    assert "clay" in ingested("show", "3").out


def test_show_draws_the_item(ingested: Call, tmp_path: Path) -> None:
    result = ingested("show", "1", "--graph", "mug.svg", "--json")
    assert (result.json["id"], result.err) == ("1", "graph: mug.svg\n")
    text = (tmp_path / "mug.svg").read_text()
    assert all(word in text for word in ("Red clay mug", "clay", "colour · 1 item"))


def test_show_refuses_other_image_formats(ingested: Call, tmp_path: Path) -> None:
    result = ingested("show", "1", "--graph", "mug.gif")
    assert (result.code, result.out) == (2, "")
    assert not (tmp_path / "mug.gif").exists()


def test_control_characters_do_not_reach_the_terminal(call: Call, tmp_path: Path) -> None:
    (tmp_path / "evil.csv").write_text("id,title\n1,\x1b[31mred [bold]mug\n")
    call("ingest", "evil.csv")
    assert "\x1b" not in call("show", "1").out
    assert "[bold]" in call("show", "1").out


def test_stats_count_items_and_coverage(ingested: Call) -> None:
    document = ingested("stats", "--json").json
    assert (document["items"], document["titles"], document["images"]) == (4, 3, 1)
    assert document["statements"] == 6
    assert document["coverage"][0] == {
        "property": "colour",
        "items": 3,
        "share": 0.75,
        "values": 2,
        "predicted": 0,
    }
    assert "graph" not in document


def test_stats_write_a_page(ingested: Call, tmp_path: Path) -> None:
    result = ingested("stats", "--html", "out/stats.html", "--json")
    assert result.json["page"] == "out/stats.html"
    assert "Missing values by category" in (tmp_path / "out" / "stats.html").read_text()


def test_stats_of_an_empty_home(call: Call) -> None:
    call("init")
    result = call("stats")
    assert result.code in (0, 1)
    assert "Traceback" not in result.err


def test_stats_describe_the_shape_of_the_graph(call: Call, tmp_path: Path) -> None:
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
    text = call("stats", "--graph").out
    assert "connected components: 2" in text
    assert "Navy Blue (1) | navy-blue (1)" in text


def test_cypher_answers(ingested: Call) -> None:
    text = "MATCH (i:Item)-[h:HAS]->(v:Value) WHERE v.text = $v RETURN i.id AS id ORDER BY id"
    result = ingested("cypher", text, "--param", "v=blue", "--json")
    assert result.json == {"columns": ["id"], "rows": [["2"], ["3"]]}


def test_cypher_takes_parameters_as_json(ingested: Call) -> None:
    result = ingested("cypher", "RETURN $n + 1 AS n", "--param", "n:=2", "--json")
    assert result.json["rows"] == [[3]]


def test_cypher_prints_a_table(ingested: Call) -> None:
    result = ingested("cypher", "MATCH (v:Value) RETURN v.text AS value ORDER BY value")
    assert result.out.split()[0] == "value"
    assert "oak" in result.out


@pytest.mark.parametrize(
    "text",
    [
        "CREATE (:Item {id: '9'})",
        "MATCH (i:Item) DETACH DELETE i",
        "COPY Item TO 'x.csv'",
        "nonsense",
    ],
)
def test_cypher_only_reads(ingested: Call, text: str) -> None:
    result = ingested("cypher", text)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("error: ")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--timeout", "0"), ("0 s", "86,400")),
        (("--timeout", "nan"), ("nan s", "86,400")),
        (("--timeout", "-1"), ("-1 s", "86,400")),
        (("--timeout", "inf"), ("inf s", "86,400")),
        (("--max-rows", "0"), ("0 rows", "1 or more")),
        (("--max-answer", "lots"), ("'lots'", "512MB")),
        (("--max-memory", "1MB"), ("1 MB", "256 MB")),
    ],
)
def test_cypher_refuses_impossible_limits(
    ingested: Call, options: tuple[str, str], words: tuple[str, str]
) -> None:
    result = ingested("cypher", "MATCH (i:Item) RETURN i.id", *options)
    assert (result.code, result.out, len(result.err.splitlines())) == (2, "", 1)
    assert all(word in result.err for word in words)


@pytest.mark.parametrize(
    ("options", "text", "words"),
    [
        (("--max-rows", "2"), "MATCH (i:Item) RETURN i.id", ("2 rows", "--max-rows")),
        (("--max-answer", "10B"), "MATCH (i:Item) RETURN i.title", ("10 B", "--max-answer")),
        (("--timeout", "0.3"), "MATCH (i)-[*1..30]-(j) RETURN count(*)", ("0.3 s", "--timeout")),
        (
            ("--max-memory", "256MB"),
            "WITH 'ab' AS t " + "WITH t + t AS t " * 40 + "RETURN size(t)",
            ("256 MB", "--max-memory"),
        ),
    ],
)
def test_cypher_stops_at_its_limits(
    ingested: Call, options: tuple[str, str], text: str, words: tuple[str, str]
) -> None:
    result = ingested("cypher", text, *options)
    assert (result.code, result.out, len(result.err.splitlines())) == (1, "", 1)
    assert all(word in result.err for word in words)


def test_verify_an_intact_home(ingested: Call) -> None:
    for options in ([], ["--quick"]):
        result = ingested("verify", "--json", *options)
        assert (result.code, result.err) == (0, "")
        assert result.json == {
            "ok": True,
            "problems": [],
            "notes": [],
            "items": 4,
            "statements": 6,
        }
    assert "no damage found: 4 items, 6 statements compared" in ingested("verify").out


def test_verify_a_damaged_journal(ingested: Call, tmp_path: Path) -> None:
    file = next((tmp_path / "catalog").glob("graph/journal/**/*.parquet"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.chmod(0o644)
    file.write_bytes(data)
    result = ingested("verify")
    assert result.code == 1
    assert f"{file.name} is damaged" in result.out
    assert "catalograph salvage" in result.out
    assert "Traceback" not in result.out + result.err
    assert ingested("verify", "--json").json["ok"] is False


def test_salvage_makes_a_new_home(ingested: Call, tmp_path: Path) -> None:
    journal = tmp_path / "catalog" / "graph" / "journal"
    (journal / "_delta_log" / f"{0:020d}.json").unlink()
    assert ingested("verify", "--quick").code == 1
    result = ingested("salvage", "rescued")
    assert result.code == 0
    assert "items: 4 rescued (4 the same in journal and graph" in result.out
    assert ingested("--home", "rescued", "verify").code == 0
    assert ingested("--home", "rescued", "show", "1", "--json").json["title"] == "Red clay mug"

    next(journal.glob("*.parquet")).unlink()
    (tmp_path / "catalog" / "graph" / "graph.lbug").unlink()
    result = ingested("salvage", "nothing", "--json")
    assert result.code == 1
    assert result.json["items"]["rescued"] == 0
    assert "version 0 of the journal" in result.json["lost"][0]
    assert_fails(ingested("salvage", "rescued"), 2, "rescued", "not empty")
    assert_fails(ingested("--home", "nowhere", "salvage", "new"), 2, "nowhere")


def test_verify_finds_damage_outside_the_store(ingested: Call, tmp_path: Path) -> None:
    ingested("validate")
    home = tmp_path / "catalog"
    for name, word in (
        ("ontology.toml", "colour"),
        ("home.toml", "format"),
        ("shapes.ttl", "Shape"),
        ("ledger.sqlite", "items.csv"),
    ):
        path = home / name
        original = path.read_bytes()
        place = original.index(word.encode())
        path.write_bytes(original[:place] + b"x" + original[place + 1 :])
        report = ingested("verify", "--quick", "--json")
        assert report.code == (2 if name == "home.toml" else 1)
        if name != "home.toml":
            assert name in report.json["problems"][0]
        path.write_bytes(original)
    assert ingested("verify", "--quick").code == 0


def test_an_edit_is_no_damage_and_can_be_accepted(ingested: Call, tmp_path: Path) -> None:
    path = tmp_path / "catalog" / "ontology.toml"
    path.write_text(path.read_text().replace('cardinality = "one"', 'cardinality = "many"'))
    result = ingested("verify", "--quick")
    assert result.code == 0
    assert "note: " in result.err
    assert "ontology.toml was edited" in result.err
    ingested("schema", "infer")
    result = ingested("verify", "--quick")
    assert (result.code, result.err) == (0, "")
    assert 'cardinality = "many"' in path.read_text()


def test_one_edited_letter_of_the_settings_is_accepted_by_init(
    ingested: Call, tmp_path: Path
) -> None:
    path = tmp_path / "catalog" / "home.toml"
    path.write_text(path.read_text().replace("of one catalogue", "of our catalogue"))
    assert ingested("verify", "--quick").code == 0
    path.write_text(path.read_text().replace("our catalogue", "0ur catalogue"))
    ingested("init")
    path.write_text(path.read_text().replace("0ur catalogue", "Our catalogue"))
    result = ingested("verify", "--quick")
    assert result.code == 1
    assert "was b'0' and is b'O'" in result.out
    assert "`catalograph init` accepts" in result.out
    ingested("init")
    result = ingested("verify", "--quick")
    assert (result.code, result.err) == (0, "")


def test_rebuild_gives_the_same_graph(ingested: Call) -> None:
    before = ingested("stats", "--json").json
    assert ingested("rebuild", "--json").json == {"items": 4, "statements": 6}
    assert ingested("stats", "--json").json == before


def test_rebuild_refuses_a_journal_that_lost_something(ingested: Call, tmp_path: Path) -> None:
    before = ingested("stats", "--json").json
    shutil.rmtree(tmp_path / "catalog" / "graph" / "journal")
    assert_fails(ingested("rebuild"), 1, "nothing was rebuilt", "catalograph salvage")
    result = ingested("stats", "--json")
    assert result.json == before
    assert result.err.startswith("warning: ")
    assert result.err.count("\n") == 1


def test_readers_beside_a_writer_say_what_they_read(ingested: Call, tmp_path: Path) -> None:
    with open_store(f"ladybug:{tmp_path / 'catalog' / 'graph'}") as writer:
        writer.put(None, statements_table([Statement("1", "size", "3 cm")]))
        result = ingested("show", "1", "--json")
        assert [each["property"] for each in result.json["statements"]] == ["colour", "material"]
        assert result.err.startswith("warning: ")
        assert "reading version 0, as published, of 1" in result.err
        assert_fails(ingested("ingest", "items.csv"), 1, "in use by process")
    result = ingested("show", "1", "--json")
    assert (len(result.json["statements"]), result.err) == (3, "")


def test_damaged_graph_is_told_by_readers_and_replaced_by_writers(
    ingested: Call, tmp_path: Path
) -> None:
    before = ingested("stats", "--json").json
    graph = tmp_path / "catalog" / "graph" / "graph.lbug"
    os.truncate(graph, 4096)
    assert_fails(ingested("show", "1"), 1, "is damaged", "catalograph rebuild")
    assert graph.stat().st_size == 4096
    result = ingested("ingest", "items.csv")
    assert result.code == 0
    (aside,) = graph.parent.glob("graph.lbug.damaged-*")
    assert aside.stat().st_size == 4096
    assert f"renamed to {aside}" in result.err
    assert ingested("stats", "--json").json == before


@pytest.mark.parametrize("command", [["show", "1"], ["stats"], ["validate"], ["rejects"]])
def test_home_that_cannot_be_written_is_read(
    ingested: Call, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    really_open = os.open

    def refuse_to_write(path: Any, flags: int, *more: Any, **options: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR) and "catalog" in str(path):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return really_open(path, flags, *more, **options)

    monkeypatch.setattr(os, "open", refuse_to_write)
    result = ingested(*command)
    assert (result.code, result.err) == (0, "")
    assert_fails(ingested("ingest", "items.csv"), 1, "Read-only file system")


def test_validate_a_valid_catalogue(ingested: Call) -> None:
    document = ingested("validate", "--json").json
    assert list(document) == [
        "conforms",
        "checked",
        "violations",
        "warnings",
        "infos",
        "rules",
        "results",
        "properties",
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


def test_validate_exits_with_1_on_a_violation(ingested: Call, tmp_path: Path) -> None:
    path = tmp_path / "catalog" / "ontology.toml"
    path.write_text(path.read_text().replace('datatype = "string"', 'datatype = "integer"', 1))
    result = ingested("validate", "--limit", "1")
    assert result.code == 1
    assert "'red' is not an integer" in result.out
    assert "3 violations" in result.out


def test_validate_reports_by_property(ingested: Call, tmp_path: Path) -> None:
    path = tmp_path / "catalog" / "ontology.toml"
    path.write_text(path.read_text().replace('datatype = "string"', 'datatype = "integer"', 1))
    document = ingested("validate", "--json").json
    colour, material = document["properties"]
    assert (colour["property"], colour["checked"], colour["violations"]) == ("colour", 3, 3)
    (check,) = colour["checks"]
    assert (check["check"], check["severity"], check["count"]) == ("datatype", "violation", 3)
    assert check["examples"][0] == {
        "item": "1",
        "value": "red",
        "message": "'red' is not an integer",
    }
    # One for each different value.
    assert {each["value"] for each in check["examples"]} == {"red", "blue"}
    assert (material["checked"], material["checks"]) == (3, [])
    text = ingested("validate").out
    assert "without a finding: 1 properties with 3 statements" in text
    assert "datatype 3" in text


def test_validate_takes_other_shapes(ingested: Call, tmp_path: Path) -> None:
    (tmp_path / "mine.ttl").write_text(
        "@prefix sh: <http://www.w3.org/ns/shacl#> . @prefix schema: <https://schema.org/> ."
        "<urn:s> a sh:NodeShape ; sh:targetClass schema:Product ;"
        " sh:property [ sh:path schema:image ; sh:minCount 1 ] ."
    )
    assert ingested("validate", "--shapes", "mine.ttl", "--json").json["violations"] == 3
    assert not (tmp_path / "catalog" / "shapes.ttl").exists()


def test_validate_notes_edited_shapes(ingested: Call, tmp_path: Path) -> None:
    ingested("validate")
    (tmp_path / "catalog" / "shapes.ttl").write_text("")
    assert "was edited" in ingested("validate").err


def test_validate_names_a_missing_file(ingested: Call) -> None:
    assert_fails(ingested("validate", "--shapes", "none.ttl"), 2, "none.ttl")
