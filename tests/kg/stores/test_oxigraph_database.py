"""Opening an RDF store's files while a writer compacts them."""

from typing import Any

import pytest
from pyoxigraph import Store

from kg.stores import oxigraph_database
from kg.stores.oxigraph_database import ATTEMPTS, open_for_reading

COMPACTED = "Corruption: IO error: No such file or directory: While open a file: 000009.sst"


class Failing:
    """Stands in for pyoxigraph's Store; fails a number of times before it opens."""

    def __init__(self, failures, message):
        self.failures = failures
        self.message = message
        self.calls = 0

    def read_only(self, folder):
        self.calls += 1
        if self.calls <= self.failures:
            raise RuntimeError(self.message)
        return "opened"


@pytest.fixture
def failing(monkeypatch):
    def install(failures, message=COMPACTED):
        store = Failing(failures, message)
        monkeypatch.setattr(oxigraph_database, "Store", store)
        monkeypatch.setattr(oxigraph_database, "PAUSE_SECONDS", 0)
        return store

    return install


def test_files_that_vanish_while_it_opens_are_looked_up_again(failing):
    failing(3)
    opened: Any = open_for_reading("folder")
    assert opened == "opened"


def test_it_gives_up_after_some_attempts(failing):
    store = failing(ATTEMPTS)
    with pytest.raises(RuntimeError, match="No such file"):
        open_for_reading("folder")
    assert store.calls == ATTEMPTS


def test_another_error_is_raised_at_once(failing):
    store = failing(1, "Corruption: bad block")
    with pytest.raises(RuntimeError, match="bad block"):
        open_for_reading("folder")
    assert store.calls == 1


def test_a_store_is_opened(tmp_path):
    Store(str(tmp_path / "quads"))
    assert len(open_for_reading(str(tmp_path / "quads"))) == 0
