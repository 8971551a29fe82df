"""A ledger on a PostgreSQL server: many writers, migrations up and down, damage, and its URL."""

import multiprocessing
import sqlite3
from concurrent.futures import ProcessPoolExecutor

import psycopg
import pytest
import sqlalchemy as sa

from kg.home import Home
from kg.home_verification import verify_home
from kg.ingest.pipeline import ingest
from schema.errors import DataError, HomeNotFoundError, StoreError, UsageError
from schema.ledger import HEAD_REVISION, Ledger, QueryRow, downgrade
from schema.ledger_urls import checked_ledger_url
from schema.ledger_verification import verify_ledger_server
from schema.rejects import RejectedRow

WRITERS = 20
ROUNDS = 5


@pytest.fixture
def url(postgres):
    return postgres.url


@pytest.fixture
def filled(url):
    with Ledger(url) as ledger:
        ledger.put_queries([QueryRow("mug", "1", 3)])
        ledger.add_rejects("r", [RejectedRow("a", 2, "bad", "a NUL: \0")])
        ledger.record_training({"name": "m", "steps": 10})
        yield ledger


def write(url, number):
    """Open the ledger, which may be new, and write some rows; called in a process of its own."""
    with Ledger(url) as ledger:
        for turn in range(ROUNDS):
            ledger.put_queries([QueryRow("shared", str(turn), number)])
            ledger.add_rejects(f"r{number}", [RejectedRow(f"f{number}", turn, "bad", "x")] * 2)


def test_many_processes_write_at_once(url):
    with ProcessPoolExecutor(WRITERS, multiprocessing.get_context("fork")) as pool:
        for done in [pool.submit(write, url, number) for number in range(WRITERS)]:
            done.result()
    with Ledger(url) as ledger:
        assert len(ledger.rejects()) == WRITERS * ROUNDS * 2
        assert len(ledger.query_log()) == ROUNDS
        assert verify_ledger_server(ledger) == []


def test_a_filled_ledger_goes_down_and_up_again(filled, url):
    before = filled.query_log(), filled.rejects(), filled.trainings()
    downgrade(url, "0001")
    assert not sa.inspect(filled._engine).has_table("tokens")
    with Ledger(url) as again:
        assert (again.query_log(), again.rejects(), again.trainings()) == before
        assert verify_ledger_server(again) == []
        downgrade(url, "base")
        assert sa.inspect(again._engine).get_table_names() == ["alembic_version"]
    with Ledger(url) as empty:
        assert not empty.has_rows()
    with pytest.raises(DataError, match="no revision '0999'"):
        downgrade(url, "0999")


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ('UPDATE training_runs SET report = \'{"name": "n"}\'', "1 rows of table training_runs"),
        ("DELETE FROM query_log", "has 0 rows, but 1 were written"),
        ("ALTER TABLE query_log DROP COLUMN clicks", "other columns"),
        ("UPDATE alembic_version SET version_num = '0000'", "schema version"),
    ],
)
def test_what_others_change_is_found(filled, url, statement, found):
    assert verify_ledger_server(filled) == []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)
    (problem,) = verify_ledger_server(filled)
    assert found in problem
    assert "restore the database" in problem


def test_a_text_with_a_nul_is_stored_with_its_symbol(filled):
    (row,) = filled.rejects()
    assert row.text == "a NUL: \N{SYMBOL FOR NULL}"


def test_a_server_that_is_gone_is_a_one_line_error():
    with pytest.raises(StoreError, match="check the server") as caught:
        Ledger("postgresql://catalograph@127.0.0.1:1/ledger")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://anna:secret@db/ledger", "PGPASSWORD"),
        ("postgresql://anna@db/ledger?password=secret", "PGPASSWORD"),
        ("postgresql://anna:secret@db:port/ledger", "none"),
        ("mysql://db/ledger", "mysql"),
        ("ledger.sqlite", "not supported"),
        ("postgresql://db", "no database"),
        ("postgresql://db/a b", "none"),
        ("postgresql://[db/ledger", "none"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url, said):
    with pytest.raises(UsageError, match=said) as caught:
        checked_ledger_url(url)
    assert "secret" not in str(caught.value)


def test_a_home_takes_its_records_to_a_server(tmp_path, url, postgres):
    (tmp_path / "items.csv").write_text("id,title,colour\n1,Mug,red\n,Cup,blue\n")
    home = Home.open(tmp_path / "home", create=True)
    ingest(home, [tmp_path / "items.csv"], max_rejects=1.0)
    with home.ledger() as ledger:
        rejects = ledger.rejects()
    assert rejects
    assert home.set_ledger(url) > 0
    home = Home.open(tmp_path / "home")
    assert home.ledger_url == url
    with home.ledger() as ledger:
        assert ledger.rejects() == rejects
        ledger.put_queries([QueryRow("mug", "1", 3)])
    assert verify_home(home).problems == []
    with sqlite3.connect(home.ledger_path) as file:
        assert file.execute("SELECT count(*) FROM query_log").fetchone() == (0,)

    other = Home.open(tmp_path / "other", create=True)
    with pytest.raises(UsageError, match="of its own for each home"):
        other.set_ledger(url)
    other.set_ledger(postgres.url)
    (tmp_path / "other" / "home.toml").write_text('format = 1\nledger = "postgresql://a:b@c/d"\n')
    with pytest.raises(UsageError, match="PGPASSWORD"):
        Home.open(tmp_path / "other")
    (tmp_path / "other" / "home.toml").write_text("format = 1\nledger = 1\n")
    with pytest.raises(HomeNotFoundError, match="remove the line"):
        Home.open(tmp_path / "other")


def test_the_head_is_the_same_on_both(filled):
    (row,) = filled.rows(sa.text("SELECT version_num FROM alembic_version"))
    assert row["version_num"] == HEAD_REVISION
