"""export, and RDF through ingest."""

from __future__ import annotations

from pathlib import Path

import pytest

from kg.export.formats import EXPORT_FORMATS
from tests.commands.conftest import Call, assert_fails


@pytest.mark.parametrize("format_name", list(EXPORT_FORMATS))
def test_export_reports_what_it_wrote(ingested: Call, tmp_path: Path, format_name: str) -> None:
    document = ingested("export", "--format", format_name, "out", "--json").json
    assert list(document) == ["format", "files", "items", "statements", "seconds", "defused"]
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
