"""The journal's log: whatever happens to an entry or to the head is noticed."""

import json
import random

import pytest

from kg.stores import journal as journal_module
from kg.stores.journal import Journal, changes_table
from kg.stores.journal_log import CHAIN, HEAD, LOG, JournalLog
from kg.stores.merge import Changes
from kg.stores.tables import statements_table
from schema.errors import StoreDamagedError, StoreError
from tests.contracts.rows import statement

VERSIONS = 3


def append(journal, item):
    rows = statements_table([statement(item)]).to_pylist()
    return journal.append(changes_table(Changes(new_statements=rows)))


@pytest.fixture
def journal(tmp_path):
    made = Journal(tmp_path / "journal")
    for number in range(VERSIONS):
        append(made, str(number))
    return Journal(made.folder)


def flip(path, position, bit=0):
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(data)


def test_an_intact_log_has_no_problem(journal):
    check = journal.log.check()
    assert (check.problems, check.head_is_current, list(check.entries)) == ([], True, [0, 1, 2])
    assert check.entries[1].rows == 1
    assert [version for version, _ in journal.read()] == [0, 1, 2]


def test_every_flipped_bit_of_every_entry_and_of_the_head_is_found(journal):
    rng = random.Random(0)
    for path in (*journal.log.paths(), journal.log.head_path):
        original = path.read_bytes()
        for position in range(rng.randrange(7), len(original), 7):
            flip(path, position, rng.randrange(8))
            assert journal.log.check().problems, (path.name, position)
            path.write_bytes(original)
    assert journal.log.check().problems == []


@pytest.mark.parametrize("version", range(VERSIONS))
def test_a_lost_entry_is_found_and_not_read_over(journal, version):
    journal.log.path(version).unlink()
    assert f"lacks version {version}" in journal.log.check().problems[0]
    with pytest.raises(StoreDamagedError, match="salvage"):
        list(journal.read())


def test_a_damaged_log_is_not_extended(journal):
    flip(journal.log.path(0), 20)
    before = sorted(journal.folder.rglob("*"))
    with pytest.raises(StoreDamagedError, match="salvage"):
        append(Journal(journal.folder), "3")
    assert sorted(journal.folder.rglob("*")) == before


def test_a_writer_that_is_killed_before_the_head_leaves_no_problem(journal):
    head = journal.log.head_path.read_text()
    append(journal, "3")
    journal.log.head_path.write_text(head)
    check = JournalLog(journal.folder).check()
    assert (check.problems, check.head_is_current) == ([], False)
    JournalLog(journal.folder).update_head()
    assert JournalLog(journal.folder).check().head_is_current
    assert append(Journal(journal.folder), "4") == 4
    assert journal.log.check().problems == []


def test_an_old_head_is_found(journal):
    head = journal.log.head_path.read_text()
    append(journal, "3")
    append(journal, "4")
    journal.log.head_path.write_text(head)
    assert "ends at version 2, the log at 4" in journal.log.check().problems[0]


def as_earlier_version(journal):
    """Rewrite the log as it was before entries carried a log hash and there was a head."""
    for path in journal.log.paths():
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            line.get("commitInfo", {}).pop(LOG, None)
        path.write_text("\n".join(json.dumps(line) for line in lines))
    journal.log.head_path.unlink()


def test_entries_of_an_earlier_version_are_read_and_then_covered_by_the_next(journal):
    as_earlier_version(journal)
    journal = Journal(journal.folder)
    assert (journal.log.check().problems, journal.log.check().head_is_current) == ([], False)
    append(journal, "3")
    assert (journal.log.check().problems, journal.log.check().head_is_current) == ([], True)
    size = journal.log.path(1).stat().st_size
    for position in range(0, size, 11):
        original = journal.log.path(1).read_bytes()
        flip(journal.log.path(1), position)
        assert journal.log.check().problems, position
        journal.log.path(1).write_bytes(original)


def test_a_new_head_covers_the_entries_of_an_earlier_version(journal):
    as_earlier_version(journal)
    JournalLog(journal.folder).update_head()
    flip(journal.log.path(VERSIONS - 1), 30)
    assert journal.log.check().problems


def test_the_journal_is_still_a_delta_table(journal):
    from deltalake import DeltaTable

    table = DeltaTable(str(journal.folder))
    assert table.version() == VERSIONS - 1
    assert table.to_pyarrow_table().num_rows == VERSIONS
    assert all({CHAIN, LOG} <= set(entry) for entry in table.history())
    assert HEAD not in "".join(table.file_uris())


def test_an_error_of_delta_lake_is_one_of_ours(tmp_path, monkeypatch):
    from deltalake import exceptions

    def fail(*_, **__):
        raise exceptions.DeltaError("a\nb")

    monkeypatch.setattr("deltalake.transaction.create_table_with_add_actions", fail)
    journal = journal_module.Journal(tmp_path / "another")
    with pytest.raises(StoreError, match=r"version 0 cannot be added .*\(a b\).*verify"):
        append(journal, "0")
    assert journal_module.Journal(journal.folder).version == -1


def test_an_entry_is_never_written_over(journal, monkeypatch):
    there = journal.log.path(VERSIONS - 1)
    before = there.read_bytes()
    monkeypatch.setattr(type(journal), "version", VERSIONS - 2)
    monkeypatch.setattr(journal.log, "version", lambda: VERSIONS - 1)
    with pytest.raises(StoreError, match="is there already"):
        append(journal, "3")
    assert there.read_bytes() == before


def test_appending_does_not_read_the_log_again(journal, monkeypatch):
    append(journal, "3")

    def fail(*_, **__):
        raise AssertionError

    monkeypatch.setattr(journal.log, "check", fail)
    monkeypatch.setattr("deltalake.DeltaTable.__init__", fail)
    append(journal, "4")
    assert journal.version == VERSIONS + 1
