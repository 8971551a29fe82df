"""A copy of a home that is made while others write to it."""

import hashlib
import json
import subprocess
import sys
import time

import pytest

from kg.home import Home
from kg.home_backup import back_up
from kg.home_verification import verify_home
from kg.ingest.pipeline import ingest
from kg.stores.lock import StoreLock
from schema.errors import StoreLockedError, UsageError
from schema.ledger import Ledger, QueryRow

WRITER = """
import sys, time
from kg.home import Home
from kg.stores.tables import items_table, statements_table
from schema.ledger import QueryRow
from schema.terms import Item, Statement
home = Home.open(sys.argv[1])
for number in range(100_000):
    with home.store() as store:
        items = items_table([Item(f"w{number}", title="Mug")])
        store.put(items, statements_table([Statement(f"w{number}", "colour", "red")]))
    with home.ledger() as ledger:
        ledger.put_queries([QueryRow("mug", f"w{number}", 1)])
    print(number, flush=True)
    time.sleep(0.05)
"""


@pytest.fixture
def home(tmp_path):
    (tmp_path / "items.csv").write_text("id,title,colour\n1,Mug,red\n2,Cup,blue\n")
    home = Home.open(tmp_path / "home", create=True)
    ingest(home, [tmp_path / "items.csv"])
    model = home.models / "m"
    model.mkdir()
    (model / "config.json").write_text("{}")
    digest = hashlib.sha256(b"{}").hexdigest()
    (model / "manifest.json").write_text(json.dumps({"sha256": {"config.json": digest}}))
    for lock in ("training.lock", "writer.lock"):
        (model / lock).write_text("1")
    (home.cache / "large").write_text("made again")
    return home


def counts(home):
    with home.store(read_only=True) as store:
        return store.counts()


@pytest.mark.filterwarnings("ignore:.*is in use by process")
def test_what_was_acknowledged_is_in_a_copy_made_while_others_write(home, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(home.path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        try:
            assert writer.stdout is not None
            for number in range(3):
                acknowledged = [int(writer.stdout.readline()) for _ in range(4)][-1]
                report = back_up(home, tmp_path / f"copy{number}")
                assert report.locked_seconds <= report.seconds
                copy = Home.open(tmp_path / f"copy{number}")
                assert verify_home(copy).problems == []
                with copy.store(read_only=True) as store, copy.ledger() as ledger:
                    for each in range(acknowledged + 1):
                        assert store.item(f"w{each}") is not None
                    queried = {row.item for row in ledger.query_log()}
                assert queried >= {f"w{each}" for each in range(acknowledged + 1)}
        finally:
            writer.kill()
    # The copy goes on as a home of its own.
    before = counts(home)
    with copy.store() as store:
        store.delete(["w0"])
    assert counts(home) == before


def test_a_copy_has_all_but_what_is_made_again(home, tmp_path):
    report = back_up(home, tmp_path / "copy")
    files = {p.relative_to(tmp_path / "copy").as_posix() for p in (tmp_path / "copy").rglob("*")}
    assert {"home.toml", "ontology.toml", "ledger.sqlite", "models/m/manifest.json"} < files
    assert not any(name.startswith("cache/") or name.endswith("lock") for name in files)
    assert report.models == ["m"]
    assert report.files == sum((tmp_path / "copy" / name).is_file() for name in files)
    assert counts(Home.open(tmp_path / "copy")) == counts(home)
    assert report.left_out == []
    assert not any(path.name.startswith(".") for path in tmp_path.iterdir())


def test_a_damaged_model_is_told_and_left_out(home, tmp_path):
    (home.models / "m" / "config.json").write_text("{ }")
    report = back_up(home, tmp_path / "copy")
    assert report.models == []
    assert "model m" in report.left_out[0]
    assert not (tmp_path / "copy" / "models" / "m").exists()


def test_a_writer_that_does_not_end_is_told(home, tmp_path):
    code = "import sys, time; from pathlib import Path; from kg.stores.lock import StoreLock\n"
    code += "lock = StoreLock(Path(sys.argv[1])); print(flush=True); time.sleep(60)"
    path = home.path / "graph" / "lock"
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout is not None
            writer.stdout.readline()
            with pytest.raises(StoreLockedError, match="--wait"):
                back_up(home, tmp_path / "copy", wait=0)
        finally:
            writer.kill()
    assert not (tmp_path / "copy").exists()
    began = time.monotonic()
    back_up(home, tmp_path / "copy")
    StoreLock(path, 0).release()
    assert time.monotonic() - began < 60


def test_a_folder_that_is_there_or_in_the_home_is_refused(home, tmp_path):
    for folder, said in ((tmp_path, "there already"), (home.path / "backup", "elsewhere")):
        with pytest.raises(UsageError, match=said):
            back_up(home, folder)


def test_what_is_on_servers_is_told_or_taken_along(home, tmp_path, postgres):
    home.set_ledger(postgres.url)
    with home.ledger() as ledger:
        ledger.put_queries([QueryRow("mug", "1", 3)])
        expected = ledger.query_log(), ledger.trainings(), ledger.ingested_sources()
    home.set_default_store(f"rdf:{tmp_path / 'elsewhere'}")
    report = back_up(home, tmp_path / "copy")
    assert [each.partition(",")[0] for each in report.left_out] == ["the graph"]
    copy = Home.open(tmp_path / "copy")
    assert not copy.has_ledger_server
    with Ledger(copy.ledger_url) as ledger:
        assert (ledger.query_log(), ledger.trainings(), ledger.ingested_sources()) == expected
