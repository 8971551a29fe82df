"""The ledger's tables, and that its migrations match them."""

import pytest
import sqlalchemy as sa

from schema.errors import DataError, StoreError, UsageError
from schema.ledger import (
    HEAD_REVISION,
    MIGRATIONS,
    Ledger,
    QueryRow,
    ingest_runs,
    metadata,
)
from schema.ledger_verification import verify_ledger_server
from schema.rejects import RejectedRow


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "postgresql":
        return request.getfixturevalue("postgres").url
    return f"sqlite:///{tmp_path / 'deep' / 'ledger?.sqlite'}"


@pytest.fixture
def ledger(url):
    with Ledger(url) as opened:
        yield opened


def test_the_migrations_create_the_tables_that_the_code_uses(ledger):
    inspector = sa.inspect(ledger._engine)
    for table in metadata.tables.values():
        columns = {column["name"] for column in inspector.get_columns(table.name)}
        indexes = {index["name"] for index in inspector.get_indexes(table.name)}
        assert columns == set(table.columns.keys())
        assert indexes == {index.name for index in table.indexes}


def test_the_head_revision_is_the_newest_migration():
    revisions = [path.name[:4] for path in (MIGRATIONS / "versions").glob("0*.py")]
    assert max(revisions) == HEAD_REVISION


def test_a_closed_ledger_can_be_opened_again(url):
    with Ledger(url) as first:
        first.put_queries([QueryRow("mug", "1", 3, 2, 1)])
    with Ledger(url) as again:
        assert again.query_log() == [QueryRow("mug", "1", 3, 2, 1)]


def test_new_counts_replace_those_of_the_same_query_and_item(ledger):
    ledger.put_queries([QueryRow("mug", "1", 3), QueryRow("mug", "2", 3)])
    ledger.put_queries([QueryRow("mug", "1", 5, 1)])
    assert ledger.query_log() == [QueryRow("mug", "1", 5, 1), QueryRow("mug", "2", 3)]


def test_an_ingest_run_is_recorded_once(ledger):
    ledger.record_ingest("r", "running", ["a.csv"], {})
    ledger.record_ingest("r", "done", [], {"read": 3})
    with ledger._engine.connect() as connection:
        (run,) = connection.execute(sa.select(ingest_runs)).all()
    assert (run.status, run.sources, run.report) == ("done", ["a.csv"], {"read": 3})


def test_rejects_are_listed_by_run_and_cleared_by_file(ledger):
    ledger.add_rejects("r", [RejectedRow("a", 2, "bad", "x"), RejectedRow("b", 3, "bad", "y")])
    ledger.clear_rejects("a")
    assert ledger.rejects() == ledger.rejects("r") == [RejectedRow("b", 3, "bad", "y", "r")]
    assert ledger.rejects("other") == []


def test_training_runs_are_kept_with_their_reports(ledger):
    ledger.record_training({"model": "models/a", "steps": 10})
    assert ledger.trainings()[0]["steps"] == 10


def test_a_ledger_of_a_newer_version_is_refused(url, ledger):
    with ledger._engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DataError, match="upgrade Catalograph"):
        Ledger(url)


def test_a_ledger_is_copied_whole_into_an_empty_one(ledger, postgres):
    ledger.put_queries([QueryRow("Mug", "1", 3), QueryRow("mug", "2", 4)])
    ledger.record_ingest("r", "done", ["a.csv"], {"read": 3, "rate": 0.1, "name": "Größe \u0000"})
    ledger.add_rejects("r", [RejectedRow("a", 2, "bad", "x")])
    url = postgres.url
    with Ledger(url) as target:
        assert ledger.copy_to(target) == 4
        assert target.query_log() == ledger.query_log()
        assert target.rejects() == ledger.rejects()
        assert verify_ledger_server(target) == []
        with pytest.raises(UsageError, match="of its own for each home"):
            ledger.copy_to(target)
    with Ledger(url) as again:
        again.record_ingest("r", "undone", [], {"read": 3})
        assert again.undone_runs() == {"r"}
        assert verify_ledger_server(again) == []


def test_a_file_that_is_not_a_ledger_is_a_one_line_error(tmp_path):
    (tmp_path / "l.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match="cannot be opened") as caught:
        Ledger(f"sqlite:///{tmp_path / 'l.sqlite'}")
    assert "\n" not in str(caught.value)
