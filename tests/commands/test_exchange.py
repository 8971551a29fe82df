"""export, and RDF through ingest."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.exchange import FORMATS
from kg.export.formats import Format
from tests.commands.conftest import Call
from tests.commands.test_bad_input import fails


def test_the_commands_formats_are_the_librarys() -> None:
    assert tuple(Format) == FORMATS


@pytest.mark.parametrize("kind", FORMATS)
def test_export_says_what_it_wrote(shop: Call, tmp_path: Path, kind: str) -> None:
    document = shop("export", "--format", kind, "out", "--json").json
    assert list(document) == ["format", "files", "items", "statements", "seconds"]
    assert (document["format"], document["statements"]) == (kind, 6)
    assert all((tmp_path / file).is_file() for file in document["files"])


@pytest.mark.parametrize("kind", ["ttl", "nt", "nq", "jsonld"])
def test_an_exported_catalogue_comes_back(shop: Call, kind: str) -> None:
    shop("export", "--format", kind, f"out.{kind}")
    report = shop("--home", "second", "ingest", f"out.{kind}", "--json").json
    assert (report["mapping"], report["items"], report["statements"], report["rejected"]) == (
        "catalograph",
        4,
        6,
        0,
    )
    assert shop("--home", "second", "show", "1", "--json").json == shop("show", "1", "--json").json


def test_export_takes_one_rank_alone(shop: Call) -> None:
    assert (
        shop("export", "--format", "nq", "--rank", "predicted", "out.nq", "--json").json[
            "statements"
        ]
        == 0
    )
    assert shop("export", "--format", "nq", "--rank", "best", "out.nq").code == 2


def test_a_folder_in_the_way_is_named(shop: Call, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    fails(shop("export", "--format", "nt", "out"), 2, "out", "folder")


def test_a_dry_run_of_rdf_writes_nothing(shop: Call, tmp_path: Path) -> None:
    shop("export", "--format", "ttl", "out.ttl")
    report = shop("--home", "second", "ingest", "--dry-run", "out.ttl", "--json").json
    assert (report["read"], report["new_items"]) == (10, 0)
    assert not (tmp_path / "second").exists()


def test_broken_rdf_is_one_line(call: Call, tmp_path: Path) -> None:
    (tmp_path / "a.ttl").write_text("<urn:a> a")
    fails(call("ingest", "a.ttl"), 1, "a.ttl", "line 1")
