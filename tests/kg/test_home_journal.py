"""Homes whose journal lies on an object store, by the commands that people use."""

import json
import sys

import pytest

from cli import main
from kg.home import Home
from kg.stores.shared_journal import link_of

ITEMS = "id,title,colour\n1,Mug,red\n2,Cup,blue\n"


@pytest.fixture
def call(tmp_path, capfd):
    """Call a command on one of the homes in the test's folder; return its JSON, or its error."""
    (tmp_path / "items.csv").write_text(ITEMS)

    def run(home, *words, code=0):
        capfd.readouterr()
        ended = main(["--home", str(tmp_path / home), "--json", *words])
        out, err = capfd.readouterr()
        assert ended == code, err
        return json.loads(out) if code == 0 else err

    return run


def test_two_homes_share_a_catalogue(call, tmp_path, object_store):
    place = object_store.url
    items = str(tmp_path / "items.csv")
    assert call("own", "ingest", items)["new_items"] == 2
    # What the home has is sent there.
    assert call("own", "init", "--journal", place)["journal"] == place
    assert call("other", "init", "--journal", f"{place}/")["journal"] == place
    assert call("other", "show", "1")["title"] == "Mug"
    (tmp_path / "items.csv").write_text(ITEMS.replace("red", "green"))
    made = call("other", "ingest", items)
    assert (made["new_items"], made["new_statements"]) == (0, 1)
    colour = [each["value"] for each in call("own", "show", "1")["statements"]]
    assert colour == ["green"]
    runs = call("own", "history")
    call("own", "undo", runs[-1]["run"])
    assert [each["value"] for each in call("other", "show", "1")["statements"]] == ["red"]
    before = call("other", "show", "1", "--as-of", runs[-1]["run"])
    assert [each["value"] for each in before["statements"]] == ["green"]
    # The file says what it said in this home's last ingest, but the other home has undone that.
    call("other", "ingest", items)
    assert [each["value"] for each in call("own", "show", "1")["statements"]] == ["green"]
    for home in ("own", "other"):
        assert call(home, "verify")["ok"]
    assert call("other", "rebuild")["items"] == 2


def test_a_backup_has_a_journal_of_its_own(call, tmp_path, object_store):
    place = object_store.url
    call("own", "init", "--journal", place)
    call("own", "ingest", str(tmp_path / "items.csv"))
    call("other", "init", "--journal", place)
    call("other", "delete", "2")
    report = call("own", "backup", str(tmp_path / "copy"))
    assert any(place in line for line in report["left_out"])
    # What the other home had written until then is in it.
    assert call("copy", "stats")["items"] == 1
    assert link_of(tmp_path / "copy" / "graph" / "journal") is None
    call("copy", "delete", "1")
    assert call("own", "stats")["items"] == 1
    message = call("copy", "init", "--journal", f"{place}/elsewhere")
    assert message["journal"] == f"{place}/elsewhere"


def test_a_damaged_home_is_salvaged_from_its_copy_of_the_journal(call, tmp_path, object_store):
    place = object_store.url
    call("own", "init", "--journal", place)
    call("own", "ingest", str(tmp_path / "items.csv"))
    (tmp_path / "own" / "graph" / "graph.lbug").write_bytes(b"")
    report = call("own", "salvage", str(tmp_path / "new"))
    assert report["items"]["rescued"] == 2
    assert any(place in line for line in report["notes"])
    assert link_of(tmp_path / "new" / "graph" / "journal") is None


def test_what_cannot_be_shared_is_refused_and_leaves_no_home(call, tmp_path, object_store):
    assert "s3://BUCKET/PREFIX" in call("new", "init", "--journal", "gs://bucket/shop", code=2)
    assert "NoSuchBucket" in call("new", "init", "--journal", "s3://missing/shop", code=1)
    assert not (tmp_path / "new").exists()
    call("own", "init", "--journal", object_store.url)
    assert "the home follows" in call("own", "init", "--journal", object_store.url, code=2)
    message = call("rdf", "--store", "memory:", "init", "--journal", object_store.url, code=2)
    assert "keeps no journal" in message


def test_the_folder_may_come_from_the_environment(call, tmp_path, object_store, monkeypatch):
    place = object_store.url
    monkeypatch.setenv("CATALOGRAPH_JOURNAL", place)
    assert call("own", "init")["journal"] == place
    assert "AWS" not in Home(tmp_path / "own").settings.path.read_text()
    monkeypatch.delenv("CATALOGRAPH_JOURNAL")
    assert call("own", "init")["journal"] == place


def test_a_package_that_is_missing_is_named(call, object_store, monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    message = call("new", "init", "--journal", object_store.url, code=2)
    assert "pip install 'catalograph[object-store]'" in message
