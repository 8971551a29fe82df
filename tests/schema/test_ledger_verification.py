"""A flipped byte anywhere in the ledger is found, or changes nothing."""

import multiprocessing
import os
import random
import shutil
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from schema.errors import StoreError
from schema.ledger import TABLES, Ledger, QueryRow, proposals, table_checksums
from schema.ledger_checksums import ChecksummedTable, row_checksum, stored_columns
from schema.ledger_verification import HEADER, is_header_whole, verify_ledger
from schema.rejects import RejectedRow

FLIPS = 150
PROPOSAL = {
    "property": "p",
    "value": "v",
    "values": ["v"],
    "probability": 0.1,
    "candidates": [],
    "decision": "fill",
    "evidence": {"k": [1]},
    "origin": "model",
    "run": "r",
    "state": "proposed",
    "decided": [],
    "created": "t",
    "changed": "t",
    "skips": 0,
    "change": 0,
    "replaces": ["w"],
}


def fill(ledger):
    ledger.record_ingest("run1", "running", ["a.csv"], {"read": 3, "größe": "ü"})
    ledger.record_ingest("run1", "done", [], {"read": 4})
    rejects = [RejectedRow("a.csv", line, "no id", "x" * line) for line in range(60)]
    ledger.add_rejects("run1", rejects)
    ledger.clear_rejects("b.csv")
    ledger.put_queries([QueryRow(f"mug {n}", str(n), n, 2, 1) for n in range(60)])
    ledger.put_queries([QueryRow("mug 1", "1", 7), QueryRow("new", "1", 7)])
    ledger.record_training({"model": "m", "loss": 0.1 + 0.2, "long": "y" * 6000})
    with ledger.writing() as connection:
        rows = [{**PROPOSAL, "item": item} for item in ("1", "2")]
        ChecksummedTable(connection, proposals, table_checksums).insert(rows)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / "ledger.sqlite"
    with Ledger(f"sqlite:///{path}") as ledger:
        fill(ledger)
    return path


@pytest.fixture
def path(written, tmp_path):
    return shutil.copy(written, tmp_path / "ledger.sqlite")


def answers(path):
    """Return what every table has, what the ledger's methods return, and write once more."""
    with Ledger(f"sqlite:///{path}") as ledger:
        found = [ledger.query_log(), ledger.rejects(), ledger.rejects("run1"), ledger.trainings()]
        with ledger._engine.connect() as connection:
            for table in TABLES:
                found.append(connection.execute(sa.select(table)).all())
        ledger.put_queries([QueryRow("mug 2", "2", 1)])
        ledger.record_ingest("run1", "done", [], {})
        ledger.add_rejects("run2", [RejectedRow("c.csv", 1, "r", "t")])
        found.append(ledger.query_log())
    return found


def test_an_intact_ledger_has_no_problem(path):
    assert verify_ledger(path) == []
    answers(path)
    assert verify_ledger(path) == []


def test_a_flipped_byte_is_found_or_changes_no_answer(path, tmp_path):
    expected = answers(shutil.copy(path, tmp_path / "copy.sqlite"))
    original = path.read_bytes()
    rng = random.Random(1)
    places = [*range(100), *(rng.randrange(100, len(original)) for _ in range(FLIPS))]
    missed = []
    for place in places:
        data = bytearray(original)
        data[place] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        if verify_ledger(path):
            continue
        try:
            if answers(path) != expected:
                missed.append(place)
        except StoreError:
            missed.append(place)
    assert missed == []


CHANGES = [
    "UPDATE query_log SET clicks = clicks + 1 WHERE item = '3'",
    "UPDATE rejected_rows SET id = 1000 WHERE id = 60",
    "UPDATE training_runs SET report = replace(report, '0.30', '0.31')",
    "UPDATE proposals SET evidence = '{\"k\": [2]}' WHERE item = '2'",
    "UPDATE ingest_runs SET status = 'running'",
    "UPDATE query_log SET checksum = NULL WHERE item = '3'",
    "DELETE FROM rejected_rows WHERE id = 7",
    "INSERT INTO query_log SELECT query || 'x', item, 1, 1, 1, checksum FROM query_log LIMIT 1",
    "UPDATE table_checksums SET rows = rows + 1 WHERE name = 'proposals'",
    "UPDATE table_checksums SET sum = '0' WHERE name = 'proposals'",
    "DELETE FROM table_checksums WHERE name = 'query_log'",
    "UPDATE table_checksums SET name = 'querylog' WHERE name = 'query_log'",
    "UPDATE alembic_version SET version_num = '0007'",
    "UPDATE alembic_version SET version_num = '0001'",
    "UPDATE alembic_version SET version_num = '0000'",
    "DELETE FROM alembic_version",
    "ALTER TABLE query_log RENAME COLUMN clicks TO klicks",
    "DROP INDEX ix_proposals_cell",
]


@pytest.mark.parametrize("text", CHANGES)
def test_a_change_behind_the_ledgers_back_is_found(path, text):
    with sqlite3.connect(path) as connection:
        assert connection.execute(text).rowcount != 0
    connection.close()
    (problem, *_) = verify_ledger(path)
    assert str(path) in problem
    assert "catalograph salvage" in problem
    assert "\n" not in problem


def test_two_rows_cannot_exchange_their_columns(path):
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE proposals SET value = item, item = value WHERE item = '1'")
    connection.close()
    assert "1 rows of table proposals are damaged" in verify_ledger(path)[0]


def test_a_damaged_row_is_named(path):
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE query_log SET clicks = 9 WHERE query = 'mug 5'")
    connection.close()
    assert "1 rows of table query_log are damaged (mug 5, 5)" in verify_ledger(path)[0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "header"), (b"no database" * 100, "header"), (None, "No such file")],
)
def test_a_file_that_is_no_ledger_is_a_problem(tmp_path, content, reason):
    path = tmp_path / "l.sqlite"
    if content is not None:
        path.write_bytes(content)
    assert reason in verify_ledger(path)[0]
    assert path.exists() == (content is not None)


def test_a_writer_at_work_is_no_damage(path):
    stop = threading.Event()
    failures = []

    def write():
        with Ledger(f"sqlite:///{path}") as ledger:
            number = 0
            while not stop.is_set():
                number += 1
                ledger.put_queries([QueryRow(f"w{number}", str(n), n) for n in range(200)])

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        for _ in range(15):
            failures += verify_ledger(path)
        stop.set()
        writing.result()
    assert failures == []
    assert verify_ledger(path) == []


def test_headers_of_new_ledgers_are_as_expected(written):
    data = written.read_bytes()
    for place, content in HEADER.items():
        assert data[place : place + len(content)] == content


def test_a_ledger_of_the_first_version_gets_checksums(tmp_path, monkeypatch):
    from alembic import command

    path = tmp_path / "l.sqlite"
    upgrade = command.upgrade
    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", lambda config, _: upgrade(config, "0001"))
        with Ledger(f"sqlite:///{path}") as ledger, ledger._engine.begin() as connection:
            for number in range(3):
                connection.execute(
                    sa.text("INSERT INTO query_log VALUES (:query, 'i', 1, 2, 3)"),
                    {"query": f"q{number}"},
                )
            connection.execute(
                sa.text("INSERT INTO training_runs VALUES (4, 't', NULL, '{\"a\":  1}')")
            )
    assert verify_ledger(path) == []
    monkeypatch.setattr("schema.ledger_checksums.ROWS_AT_ONCE", 2)
    with Ledger(f"sqlite:///{path}") as ledger:
        assert len(ledger.query_log()) == 3
        assert ledger.trainings() == [{"time": "t", "a": 1}]
        ledger.put_queries([QueryRow("q0", "i", 5)])
        ledger.record_training({"b": 2})
        with ledger._engine.connect() as connection:
            ids = connection.execute(sa.text("SELECT id, checksum FROM training_runs")).all()
            sums = connection.execute(sa.text("SELECT name, rows FROM table_checksums")).all()
    assert [id for id, _ in ids] == [4, 5]
    assert all(len(checksum) == 16 for _, checksum in ids)
    assert dict(tuple(row) for row in sums)["query_log"] == 3
    assert verify_ledger(path) == []


@pytest.mark.parametrize("is_damaged", [False, True])
def test_what_proposals_replace_is_added_and_removed_with_checksums(
    tmp_path, monkeypatch, is_damaged
):
    from alembic import command

    path = tmp_path / "l.sqlite"
    upgrade = command.upgrade
    columns = [each for each in proposals.columns if each.name != "replaces"]
    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", lambda config, _: upgrade(config, "0003"))
        with Ledger(f"sqlite:///{path}") as ledger, ledger._engine.begin() as connection:
            earlier = sa.Table("proposals", sa.MetaData(), autoload_with=connection)
            assert {each.name for each in earlier.columns} == {each.name for each in columns}
            rows = [
                {
                    **{each.name: "x" for each in earlier.columns},
                    "id": id,
                    "probability": 0.1 * id,
                    "proven": None,
                    "skips": 0,
                    "change": 0,
                    "values": ["ä"],
                    "candidates": [],
                    "evidence": {"a": 0.5},
                    "decided": [],
                }
                for id in range(1, 6)
            ]
            ChecksummedTable(connection, earlier, table_checksums).insert(rows)
            if is_damaged:
                connection.execute(sa.text("UPDATE proposals SET item = 'y' WHERE id = 2"))
                connection.execute(sa.text("DELETE FROM proposals WHERE id = 3"))
    assert verify_ledger(path) == []
    monkeypatch.setattr("schema.ledger_checksums.ROWS_AT_ONCE", 2)
    with Ledger(f"sqlite:///{path}") as ledger:
        found = ledger.rows(sa.select(proposals.c.id, proposals.c.replaces))
    assert [each["replaces"] for each in found] == [[]] * (4 if is_damaged else 5)
    problems = verify_ledger(path)
    assert len(problems) == 2 * is_damaged

    # And back again.
    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", lambda config, _: command.downgrade(config, "0003"))
        patch.setattr("schema.ledger.HEAD_REVISION", "0006")
        with Ledger(f"sqlite:///{path}") as ledger, ledger._engine.begin() as connection:
            later = sa.Table("proposals", sa.MetaData(), autoload_with=connection)
            assert later.columns.keys() == earlier.columns.keys()
            query = sa.select(*stored_columns(later))
            after = [dict(row) for row in connection.execute(query).mappings()]
            ok = [row["id"] for row in after if row_checksum(later, row) == row["checksum"]]
    assert ok == ([1, 4, 5] if is_damaged else [1, 2, 3, 4, 5])
    with Ledger(f"sqlite:///{path}"):
        assert len(verify_ledger(path)) == 2 * is_damaged


def test_what_a_killed_writer_left_is_rolled_back_and_no_damage(path):
    """Its pages are in the file, and what was there before is in SQLite's journal."""
    process = multiprocessing.get_context("spawn").Process(target=write_and_end, args=(path,))
    process.start()
    process.join()
    assert path.with_name(f"{path.name}-journal").exists()
    assert not is_header_whole(path)
    assert verify_ledger(path) == []


def write_and_end(path):
    """Write more than fits in the cache, and end in the middle."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA cache_size = 2")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("CREATE TABLE many (text)")
    connection.executemany("INSERT INTO many VALUES (?)", [("x" * 3000,)] * 300)
    os._exit(9)


def test_a_ledger_that_is_cut_off_while_it_is_made_is_not_there(tmp_path, monkeypatch):
    def end(connection):
        connection.exec_driver_sql("CREATE TABLE half (text)")
        raise KeyboardInterrupt

    monkeypatch.setattr("schema.ledger._run_migrations", end)
    with pytest.raises(KeyboardInterrupt):
        Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    assert list(tmp_path.iterdir()) == []
