"""The ledger: what it keeps, and that its migrations are up to date."""

import pytest
import sqlalchemy as sa

from schema.errors import DataError, StoreError
from schema.ledger import FOLDER, HEAD, Ledger, QueryRow, metadata
from schema.rejects import RejectedRow


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'deep' / 'ledger?.sqlite'}"


@pytest.fixture
def ledger(url):
    with Ledger(url) as opened:
        yield opened


def test_the_migrations_make_the_tables_that_the_code_uses(ledger, tmp_path):
    found = sa.inspect(
        sa.create_engine(
            sa.URL.create("sqlite", database=str(tmp_path / "deep" / "ledger?.sqlite")),
            poolclass=sa.NullPool,
        )
    )
    for table in metadata.tables.values():
        assert {c["name"] for c in found.get_columns(table.name)} == set(table.columns.keys())
        assert {i["name"] for i in found.get_indexes(table.name)} == {i.name for i in table.indexes}


def test_the_head_is_the_newest_migration():
    assert max(path.name[:4] for path in (FOLDER / "versions").glob("0*.py")) == HEAD


def test_it_is_kept(url):
    with Ledger(url) as first:
        first.put_queries([QueryRow("mug", "1", 3, 2, 1)])
    with Ledger(url) as again:
        assert again.query_log() == [QueryRow("mug", "1", 3, 2, 1)]


def test_a_query_takes_its_new_counts(ledger):
    ledger.put_queries([QueryRow("mug", "1", 3), QueryRow("mug", "2", 3)])
    ledger.put_queries([QueryRow("mug", "1", 5, 1)])
    assert ledger.query_log() == [QueryRow("mug", "1", 5, 1), QueryRow("mug", "2", 3)]


def test_a_run_is_recorded_once(ledger):
    ledger.record_ingest("r", "running", ["a.csv"], {})
    ledger.record_ingest("r", "done", [], {"read": 3})
    (run,) = ledger.ingests()
    assert (run["status"], run["sources"], run["report"]) == ("done", ["a.csv"], {"read": 3})


def test_rejects_are_listed_by_run_and_cleared_by_file(ledger):
    ledger.add_rejects("r", [RejectedRow("a", 2, "bad", "x"), RejectedRow("b", 3, "bad", "y")])
    ledger.clear_rejects("a")
    assert ledger.rejects() == ledger.rejects("r") == [RejectedRow("b", 3, "bad", "y", "r")]
    assert ledger.rejects("other") == []


def test_training_and_completions_are_kept(ledger):
    ledger.record_training({"model": "models/a", "steps": 10})
    ledger.record_completions(
        [
            {
                "item": "1",
                "property": "p",
                "decision": "fill",
                "model": "a",
                "evidence": {"title": 0.3},
            }
        ]
    )
    assert ledger.trainings()[0]["steps"] == 10
    assert ledger.completions("fill")[0]["evidence"] == {"title": 0.3}
    assert ledger.completions("review") == []


def test_a_newer_layout_is_refused(url, ledger):
    with ledger._engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DataError, match="upgrade Catalograph"):
        Ledger(url)


def test_a_file_that_is_no_ledger_is_one_line(tmp_path):
    (tmp_path / "l.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match="cannot be opened") as caught:
        Ledger(f"sqlite:///{tmp_path / 'l.sqlite'}")
    assert "\n" not in str(caught.value)
