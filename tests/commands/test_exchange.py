"""export, and RDF through ingest."""

from __future__ import annotations

from pathlib import Path

import pytest

from kg.export.formats import EXPORT_FORMATS, WIDE_CSV
from kg.home import Home
from kg.stores.tables import statements_table
from schema.terms import Rank, Statement
from tests.commands.conftest import Call, assert_fails


@pytest.mark.parametrize("format_name", [name for name in EXPORT_FORMATS if name != WIDE_CSV])
def test_export_reports_what_it_wrote(ingested: Call, tmp_path: Path, format_name: str) -> None:
    document = ingested("export", "--format", format_name, "out", "--json").json
    assert list(document) == [
        *("format", "files", "items", "statements", "seconds", "defused", "notes", "lacking")
    ]
    assert (document["format"], document["statements"]) == (format_name, 6)
    assert all((tmp_path / file).is_file() for file in document["files"])


@pytest.mark.parametrize("format_name", ["ttl", "nt", "nq", "jsonld"])
def test_exported_rdf_can_be_ingested(ingested: Call, format_name: str) -> None:
    file = f"out.{format_name}"
    ingested("export", "--format", format_name, file)
    report = ingested("--home", "second", "ingest", file, "--images", "images", "--json").json
    assert (report["mapping"], report["items"], report["images"]) == ("catalograph", 4, 1)
    assert (report["statements"], report["rejected"]) == (6, 0)
    original = ingested("show", "1", "--json").json
    assert ingested("--home", "second", "show", "1", "--json").json == original


def test_a_wide_table_is_one_file(ingested: Call, tmp_path: Path) -> None:
    result = ingested("export", "--format", "csv", "--wide", "out.csv", "--json")
    assert (result.json["format"], result.json["items"]) == (WIDE_CSV, 4)
    header, first = (tmp_path / "out.csv").read_text().splitlines()[:2]
    assert header == "id,title,description,category,images,colour,material"
    assert first.startswith("1,Red clay mug,,Mugs,")
    assert_fails(ingested("export", "--format", "xlsx", "--wide", "o"), 2, "--wide", "csv", "xlsx")


def test_a_source_is_written_as_it_was(ingested: Call, table: Path, tmp_path: Path) -> None:
    document = ingested("export", "--format", "source", "out.csv", "--json").json
    assert (tmp_path / "out.csv").read_bytes() == table.read_bytes()
    assert document["files"] == ["out.csv"]
    assert (document["format"], document["source"]) == ("source", "items.csv")
    assert (document["filled"], document["not_filled"], document["already_there"]) == ({}, [], 0)


def test_accepted_values_are_filled_in_and_all_others_counted(
    ingested: Call, tmp_path: Path
) -> None:
    facts = [
        Statement("4", "colour", "brown", Rank.ACCEPTED),
        Statement("2", "material", "clay", Rank.PREDICTED),
        Statement("1", "weight", "1 kg", Rank.ACCEPTED),
    ]
    with Home.open(tmp_path / "catalog").store() as store:
        store.put(None, statements_table(facts))
    result = ingested("export", "--format", "source", "--source", "items.csv", "out.csv", "--json")
    assert result.json["filled"] == {"colour": 1}
    (kept,) = result.json["not_filled"]
    assert (kept["property"], kept["values"]) == ("weight", 1)
    assert "1 values have a property for which the table has no column" in result.err
    assert "4,Oak chair,Chairs,,brown,oak\n" in (tmp_path / "out.csv").read_text()
    result = ingested("export", "--format", "source", "--predicted", "out.csv")
    assert "2 values filled in" in result.out
    assert "2,Blue mug,Mugs,,blue,clay\n" in (tmp_path / "out.csv").read_text()


def test_options_of_a_source_go_with_no_other_format(ingested: Call) -> None:
    assert_fails(ingested("export", "--format", "nt", "--source", "x", "o"), 2, "--source")
    assert_fails(ingested("export", "--format", "nt", "--predicted", "o"), 2, "--predicted")
    rank = ingested("export", "--format", "source", "--rank", "accepted", "o")
    assert_fails(rank, 2, "--rank", "source")
    assert_fails(ingested("export", "--format", "source", "--source", "x", "o"), 2, "items.csv")


def test_export_of_one_rank(ingested: Call) -> None:
    result = ingested("export", "--format", "nq", "--rank", "predicted", "out.nq", "--json")
    assert result.json["statements"] == 0
    assert ingested("export", "--format", "nq", "--rank", "best", "out.nq").code == 2


def test_export_onto_a_folder_is_refused(ingested: Call, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert_fails(ingested("export", "--format", "nt", "out"), 2, "out", "folder")


def test_dry_run_of_rdf_writes_nothing(ingested: Call, tmp_path: Path) -> None:
    ingested("export", "--format", "ttl", "out.ttl")
    report = ingested("--home", "second", "ingest", "--dry-run", "out.ttl", "--json").json
    assert (report["read"], report["new_items"]) == (10, 0)
    assert not (tmp_path / "second").exists()


def test_malformed_rdf_is_one_line(call: Call, tmp_path: Path) -> None:
    (tmp_path / "a.ttl").write_text("<urn:a> a")
    assert_fails(call("ingest", "a.ttl"), 1, "a.ttl", "line 1")


def test_formulas_are_text_in_a_table_unless_they_are_to_be_kept(
    call: Call, tmp_path: Path
) -> None:
    (tmp_path / "items.csv").write_text("id,title,colour\n1,=cmd|'/C calc'!A0,red\n")
    assert call("ingest", "items.csv").code == 0
    safe = call("export", "--format", "csv", "safe", "--json")
    assert safe.json["defused"] == 1
    assert "apostrophe" in safe.err
    assert "\"'=cmd" in (tmp_path / "safe" / "items.csv").read_text()
    kept = call("export", "--format", "csv", "--formulas", "keep", "kept", "--json")
    assert kept.json["defused"] == 0
    assert '"=cmd' in (tmp_path / "kept" / "items.csv").read_text()
    raw = call("export", "--format", "csv", "--raw", "raw", "--json")
    assert (raw.json["defused"], raw.err) == (0, "")
    assert '"=cmd' in (tmp_path / "raw" / "items.csv").read_text()
