"""Salvage of the ledger: every whole row is rescued, and what is lost is counted."""

import random
import shutil
import sqlite3

import pytest

from schema.ledger import Ledger, QueryRow
from schema.ledger_salvage import salvage_ledger
from schema.ledger_verification import verify_ledger
from schema.rejects import RejectedRow

QUERIES = [QueryRow(f"mug {n}", str(n), n) for n in range(300)]
REJECTS = [RejectedRow("a.csv", line, "no id", "x" * 50) for line in range(300)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / "ledger.sqlite"
    with Ledger(f"sqlite:///{path}") as ledger:
        ledger.record_ingest("run1", "done", ["a.csv"], {"read": 3, "größe": "ü"})
        ledger.add_rejects("run1", REJECTS)
        ledger.put_queries(QUERIES)
        ledger.record_training({"model": "m", "loss": 0.1 + 0.2})
    return path


@pytest.fixture
def path(written, tmp_path):
    return shutil.copy(written, tmp_path / "ledger.sqlite")


def salvage(path):
    """Return the report, the rescued queries and rejects, and what verifying them finds."""
    before = path.read_bytes()
    new = path.parent / "new.sqlite"
    new.unlink(missing_ok=True)
    with Ledger(f"sqlite:///{new}") as target:
        report = salvage_ledger(path, target)
        found = target.query_log(), target.rejects(), target.trainings()
    assert path.read_bytes() == before
    assert verify_ledger(new) == []
    return report, *found


def test_a_whole_ledger_is_rescued_whole(path):
    report, queries, rejects, trainings = salvage(path)
    assert report.lost == []
    assert report.rescued["query_log"] == 300
    assert sorted(queries, key=lambda row: int(row.item)) == QUERIES
    assert [row.line for row in rejects] == [row.line for row in REJECTS]
    assert trainings[0]["loss"] == 0.1 + 0.2


def test_a_damaged_row_is_left_out(path):
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE query_log SET clicks = 9 WHERE query = 'mug 5'")
    connection.close()
    report, queries, _, _ = salvage(path)
    assert report.lost == ["1 rows of table query_log of the ledger are damaged"]
    assert len(queries) == 299
    assert "mug 5" not in {row.query for row in queries}


def test_rows_on_both_sides_of_a_damaged_page_are_rescued(path):
    data = bytearray(path.read_bytes())
    place = data.index(b"mug 150")
    page = place // 4096 * 4096
    data[page : page + 4096] = bytes(4096)
    path.write_bytes(data)
    report, queries, rejects, _ = salvage(path)
    numbers = {int(row.item) for row in queries}
    assert {0, 299} <= numbers
    assert 150 not in numbers
    assert len(numbers) > 150
    assert len(rejects) == 300
    assert report.lost == [
        f"{300 - len(numbers):,} rows of table query_log of the ledger are damaged"
    ]


def test_no_flipped_byte_ends_the_salvage(path):
    original = path.read_bytes()
    rng = random.Random(2)
    rescued = []
    for place in [*range(0, 100, 3), *(rng.randrange(len(original)) for _ in range(25))]:
        data = bytearray(original)
        data[place] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        report, queries, rejects, _ = salvage(path)
        rescued.append(len(queries) + len(rejects))
        assert report.lost or rescued[-1] == 600
    assert sum(rescued) / len(rescued) > 550


def test_a_file_of_nonsense_is_lost(path):
    path.write_bytes(b"nonsense" * 1000)
    report, queries, _, _ = salvage(path)
    assert queries == []
    assert report.lost
