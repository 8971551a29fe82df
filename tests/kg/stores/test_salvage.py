"""Salvage: whatever the journal or the graph still hold is rescued, and what is lost is said."""

import json
import os
import shutil

import pytest

from kg.stores.graph_remains import graph_remains
from kg.stores.graph_scan import Content
from kg.stores.journal_remains import journal_remains
from kg.stores.ladybug import LadybugStore
from kg.stores.ladybug_graph import FILE, LadybugGraph
from kg.stores.ladybug_scan import LadybugScan
from kg.stores.memory import MemoryStore
from kg.stores.salvage import Choice, Rescued, Versions, salvage_store
from kg.stores.tables import items_table, statements_table
from schema.errors import StoreUnavailableError
from schema.terms import Item, Rank
from tests.contracts.rows import scan_rows, statement

BATCHES = [
    (
        [Item("a", "a title", "c > d", ("1.jpg",)), Item("b", "b title")],
        [statement("a", "p", "x1")],
    ),
    ([Item("a", "newer title")], [statement("b", "p", "x2", time="2026-01-01", batch="r2")]),
    ([], [statement("a", "size", "gone")]),
    ([], [statement("a", "p", "x1", Rank.DEPRECATED, time="2026-01-03", batch="r3")]),
    ([Item("c", "last")], [statement("c", "brand", "brand187")]),
]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written") / "graph"
    with LadybugStore(folder) as store:
        for number, (items, statements) in enumerate(BATCHES):
            store.put(items_table(items), statements_table(statements))
            if number == 2:
                store.retract([statement("a", "size", "gone").id])
    return folder


@pytest.fixture(scope="module")
def content(written):
    with LadybugStore(written, read_only=True) as store:
        return store.content_hash()


@pytest.fixture
def folder(written, tmp_path, scans_here):
    shutil.copytree(written, tmp_path / "graph")
    return tmp_path / "graph"


def salvage(folder):
    """Salvage a store; return the rescued one, and the report. The source must stay untouched."""
    before = snapshot(folder)
    target = MemoryStore()
    report = salvage_store(LadybugStore.store_files(folder), target)
    assert snapshot(folder) == before
    assert report.items.total == target.counts().items
    assert report.statements.total == target.counts().statements
    return target, report


def snapshot(folder):
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def parquet_of(folder, version):
    files = {
        entry.version: entry.files
        for entry in LadybugStore.store_files(folder).journal.log.entries()
    }
    return folder / "journal" / files[version][0]


def damage(path):
    path.write_bytes(path.read_bytes()[:-3] + b"xyz")


def test_an_intact_store_is_rescued_whole(written, content):
    target, report = salvage(written)
    assert target.content_hash() == content
    assert (report.lost, report.notes) == ([], [])
    assert (report.items, report.statements) == (Rescued(both=3), Rescued(both=3))


def test_a_lost_journal_is_made_up_for_by_the_graph(folder, content):
    shutil.rmtree(folder / "journal")
    target, report = salvage(folder)
    assert target.content_hash() == content
    assert report.lost == []
    assert report.statements == Rescued(graph=3)
    assert "versions 0 to 5 of the journal have no trace" in report.notes[0]


@pytest.mark.parametrize("version", range(6))
@pytest.mark.parametrize("keep_head", [True, False])
def test_the_file_of_a_lost_log_entry_finds_its_place(folder, content, version, keep_head):
    journal = LadybugStore.store_files(folder).journal
    journal.log.path(version).unlink()
    if not keep_head:
        journal.log.head_path.unlink()
    (folder / FILE).unlink()
    target, report = salvage(folder)
    assert target.content_hash() == content
    assert report.lost == []


def test_several_lost_entries_are_put_in_order_by_the_chain(folder):
    journal = LadybugStore.store_files(folder).journal
    expected = journal_remains(journal).batches
    for version in (1, 2, 3, 5):
        journal.log.path(version).unlink()
    for path in journal.folder.glob("*.parquet"):
        os.utime(path, (1, 1))
    remains = journal_remains(journal)
    assert [batch.file for batch in remains.batches] == [batch.file for batch in expected]
    assert [batch.version for batch in remains.batches] == [0, 1, 2, 3, 4, 5]
    assert (remains.lost, remains.notes) == ([], [])


@pytest.mark.parametrize("keep_head", [True, False])
def test_a_lost_log_is_made_up_for_by_the_head_or_the_times_of_files(folder, content, keep_head):
    shutil.rmtree(folder / "journal" / "_delta_log")
    (folder / FILE).unlink()
    if not keep_head:
        LadybugStore.store_files(folder).journal.log.head_path.unlink()
    target, report = salvage(folder)
    assert target.content_hash() == content
    guesses = [note for note in report.notes if "were put in order by the times" in note]
    assert len(guesses) == (not keep_head)


def test_a_file_of_no_version_of_a_whole_log_does_not_count(folder, content):
    journal = LadybugStore.store_files(folder).journal
    other = folder.parent / "other"
    with LadybugStore(other) as store:
        store.put(None, statements_table([statement("never acknowledged")]))
    for path in (other / "journal").glob("*.parquet"):
        shutil.copy(path, journal.folder)
    target, report = salvage(folder)
    assert target.content_hash() == content
    assert report.lost == []


@pytest.mark.parametrize("version", [1, 4])
def test_a_damaged_file_is_made_up_for_by_the_graph(folder, content, version):
    damage(parquet_of(folder, version))
    target, report = salvage(folder)
    assert target.content_hash() == content
    assert report.lost == []
    assert any(f"version {version} of the journal" in note for note in report.notes)


def test_what_neither_has_is_lost_and_said(folder):
    damage(parquet_of(folder, 5))
    (folder / FILE).write_bytes(b"nonsense" * 1000)
    target, report = salvage(folder)
    assert {row["item"] for row in scan_rows(target)} == {"a", "b"}
    assert "version 5 of the journal" in report.lost[0]
    assert "about 2 rows" in report.lost[0]
    assert "the graph cannot be read" in report.lost[1]


def test_an_unreadable_graph_is_no_loss_if_the_journal_is_whole(folder, content):
    (folder / FILE).write_bytes(b"nonsense" * 1000)
    target, report = salvage(folder)
    assert target.content_hash() == content
    assert report.lost == []
    assert "the graph cannot be read" in report.notes[0]


def flip_value(folder):
    path = folder / FILE
    path.write_bytes(path.read_bytes().replace(b"brand187", b"bsand187"))


def test_of_a_damaged_row_that_of_the_journal_counts(folder, content):
    flip_value(folder)
    target, report = salvage(folder)
    assert target.content_hash() == content
    assert report.statements == Rescued(both=2, differing_journal=1)


def test_a_damaged_row_of_the_graph_alone_is_lost(folder):
    flip_value(folder)
    shutil.rmtree(folder / "journal")
    target, report = salvage(folder)
    assert {row["item"] for row in scan_rows(target)} == {"a", "b"}
    assert report.statements == Rescued(graph=2, damaged=1)
    assert report.lost == ["1 damaged statements of the graph"]


def test_what_the_whole_journal_does_not_know_is_left_out(folder, content):
    graph = LadybugGraph(folder / FILE)
    connection = graph.connect()
    connection.execute("CREATE (:Item {id: 'stranger'})")
    connection.close()
    graph.finish()
    target, report = salvage(folder)
    assert target.content_hash() == content
    assert report.items == Rescued(both=3, unknown=1)


def row(**changes):
    (made,) = statements_table([statement("a", time="t1", batch="b1")]).to_pylist()
    return {**made, **changes}


NEWER = row(rank="accepted", time="t2", batch="b2")
SAME_WRITE = row(rank="accepted")
DAMAGED = row(value="rad")


@pytest.mark.parametrize(
    ("journal", "is_retracted", "graph", "is_newer", "expected", "count"),
    [
        (row(), False, [row()], True, row(), {"both": 1}),
        (row(), False, [NEWER], True, NEWER, {"differing_graph": 1}),
        (row(), False, [NEWER], False, row(), {"differing_journal": 1}),
        (row(), False, [SAME_WRITE], True, row(), {"differing_journal": 1}),
        (row(), False, [DAMAGED], True, row(), {"differing_journal": 1}),
        (row(), False, [DAMAGED, row()], True, row(), {"both": 1}),
        (row(), False, [], True, row(), {"journal": 1, "uncertain": 1}),
        (row(), False, [], False, row(), {"journal": 1}),
        (None, True, [row()], False, None, {}),
        (None, True, [NEWER], True, NEWER, {"graph": 1, "uncertain": 1}),
        (None, True, [DAMAGED], True, None, {}),
        (None, False, [row()], True, row(), {"graph": 1}),
        (None, False, [row()], False, None, {"unknown": 1}),
        (None, False, [DAMAGED], True, None, {"damaged": 1}),
        (None, False, [row(rank="assorted")], True, None, {"damaged": 1}),
        (None, False, [row(source="\udc80")], True, None, {"damaged": 1}),
    ],
)
def test_which_row_counts(journal, is_retracted, graph, is_newer, expected, count):
    rescued = Rescued()
    choice = Choice(is_newer=is_newer, graph_is_whole=True)
    versions = Versions(journal, is_retracted, graph)
    assert choice._statement(versions, rescued) == expected
    assert rescued == Rescued(**count)


def test_one_other_byte_of_an_item_is_damage_and_more_are_a_newer_version():
    (before, byte, newer) = items_table(
        [Item("a", "title"), Item("a", "tatle"), Item("a", "newer title")]
    ).to_pylist()
    choice = Choice(is_newer=True, graph_is_whole=True)
    assert choice._item(Versions(before, False, [byte]), Rescued()) == before
    assert choice._item(Versions(before, False, [newer]), Rescued()) == newer


class Fragile(LadybugScan):
    """Ends the process over one item, and raises an error over another."""

    def read(self, part):
        if part.content is Content.STATEMENTS and part.start <= 1 < part.stop:
            os._exit(9)
        if part.content is Content.ITEMS and part.start <= 2 < part.stop:
            raise IndexError("out of range")
        yield from super().read(part)


def test_all_but_the_part_that_cannot_be_read_is_read(written, tmp_path):
    (tmp_path / "read").mkdir()
    remains = graph_remains(Fragile, written / FILE, tmp_path / "read")
    assert remains.version == 5
    lost = {(part.content, part.start, part.stop): why for part, why in remains.lost.items()}
    assert lost == {
        (Content.ITEMS, 2, 3): "out of range",
        (Content.STATEMENTS, 1, 2): "the database ended with exit code 9",
    }
    ids = [row["id"] for table in remains.tables(Content.ITEMS) for row in table.to_pylist()]
    assert sorted(ids) == ["a", "b"]
    rows = [row for table in remains.tables(Content.STATEMENTS) for row in table.to_pylist()]
    assert sorted(row["item"] for row in rows) == ["a", "c"]
    again = [row for table in remains.tables(Content.SECOND_COPY) for row in table.to_pylist()]
    assert sorted(row["item"] for row in again) == ["a", "b", "c"]


class Uncountable(LadybugScan):
    """Cannot say how many statements its items have."""

    def parts(self, content):
        if content is Content.STATEMENTS:
            raise RuntimeError("no")
        return super().parts(content)


class Closed(LadybugScan):
    """Cannot be opened."""

    def __init__(self, path):
        raise RuntimeError("not a database")


def test_a_graph_that_cannot_count_is_read_by_its_nodes(written, tmp_path, scans_here):
    remains = graph_remains(Uncountable, written / FILE, tmp_path)
    assert remains.is_whole
    assert sum(table.num_rows for table in remains.tables(Content.STATEMENTS)) == 3
    remains = graph_remains(Closed, written / FILE, tmp_path)
    assert (remains.is_whole, remains.version) == (False, None)
    assert "not a database" in remains.unreadable


def test_a_log_entry_that_names_another_file_is_not_followed(folder, content):
    path = LadybugStore.store_files(folder).journal.log.path(1)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if "add" in line:
            line["add"]["path"] = "../../etc/passwd"
    path.write_text("\n".join(map(json.dumps, lines)))
    (folder / FILE).unlink()
    target, report = salvage(folder)
    assert target.content_hash() == content
    assert report.lost == []


def test_nothing_counts_as_lost_because_the_temporary_folder_is_full(folder, no_room):
    with pytest.raises(StoreUnavailableError, match="TMPDIR"):
        salvage_store(LadybugStore.store_files(folder), MemoryStore())
