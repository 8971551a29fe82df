"""Ledgers that tests make quickly are the ledgers that the migrations make."""

import sqlite3

from schema import ledger
from schema.ledger import Ledger
from tests.conftest import MIGRATIONS


def dump(path):
    """The statements that make the database again, in the order of the alphabet: SQLAlchemy keeps
    the indexes of a table in a set, so that a migration creates them in no order of its own."""
    with sqlite3.connect(path) as database:
        found = sorted(database.iterdump())
    database.close()
    return found


def test_a_ledger_of_remembered_migrations_is_as_one_that_was_migrated(tmp_path, monkeypatch):
    for name in ("first", "second"):
        Ledger(f"sqlite:///{tmp_path / name}").close()
    monkeypatch.setattr(ledger, "_run_migrations", MIGRATIONS._migrate)
    Ledger(f"sqlite:///{tmp_path / 'migrated'}").close()
    migrated = dump(tmp_path / "migrated")
    assert len(migrated) > 20
    assert dump(tmp_path / "first") == dump(tmp_path / "second") == migrated
