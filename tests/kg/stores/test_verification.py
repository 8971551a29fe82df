"""Verification of an embedded store: whatever differs is found, and said in one line."""

import os
import shutil
import signal
import time
from pathlib import Path

import ladybug
import pytest

from kg.stores import fingerprints
from kg.stores.graph_scan import Content, GraphScan
from kg.stores.ladybug import LadybugStore
from kg.stores.ladybug_graph import FILE, LadybugGraph
from kg.stores.ladybug_scan import STATEMENTS_FROM_ITEMS, STATEMENTS_FROM_VALUES, LadybugScan
from kg.stores.scan_process import Limits
from kg.stores.tables import items_table, statements_table
from kg.stores.verification import StoreFiles, verify_store
from schema.errors import StoreUnavailableError
from schema.terms import Item, Rank
from tests.contracts.rows import statement

ITEMS = [
    Item("a", "a title", "c > d", ("1.jpg", "2.jpg")),
    Item("b", "another"),
    Item("lonely", images=("3.jpg",)),
]
STATEMENTS = [
    statement("a", "brand", "brand187", row=7, batch="b1", model="m", confidence=0.5),
    statement("b", "brand", "brand187", evidence="e", reviewer="mo", time="2026-01-01"),
    statement("b", "colour", "red", Rank.PREDICTED),
]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A closed store of a few versions, one of which retracts a statement."""
    folder = tmp_path_factory.mktemp("written") / "graph"
    with LadybugStore(folder) as store:
        store.put(items_table(ITEMS), statements_table(STATEMENTS[:2]))
        store.put(items_table([Item("a", "first title")]), None)
        store.put(items_table(ITEMS[:1]), statements_table([statement("a", "size", "gone")]))
        store.put(None, statements_table(STATEMENTS[2:]))
        store.retract([statement("a", "size", "gone").id])
    return folder


@pytest.fixture
def folder(written, tmp_path, scans_here):
    copy = tmp_path / "graph"
    shutil.copytree(written, copy)
    return copy


def verify(folder, **options):
    return verify_store(LadybugStore.store_files(folder), **options)


def change_graph(folder, *texts):
    """Change a graph behind its store's back."""
    graph = LadybugGraph(folder / FILE)
    connection = graph.connect()
    for text in texts:
        connection.execute(text)
    connection.close()
    graph.finish()


def problem(folder, *words):
    """Return the one problem of a store, which must contain these words."""
    report = verify(folder)
    (line,) = report.problems
    for word in words:
        assert word in line, line
    return line


def test_an_intact_store_has_no_problem(written):
    folder = written
    report = verify(folder)
    assert (report.problems, report.notes) == ([], [])
    assert (report.items, report.statements) == (3, 3)
    quick = verify(folder, quick=True)
    assert (quick.problems, quick.items, quick.statements) == ([], 3, 3)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("rank", "'accepted'"),
        ("source", "'t'"),
        ("batch", "'b2'"),
        ("row", "8"),
        ("model", "'n'"),
        ("confidence", "0.25"),
        ("evidence", "'f'"),
        ("reviewer", "'jo'"),
        ("time", "'2027'"),
    ],
)
def test_every_column_of_a_statement_is_compared(folder, column, value):
    change_graph(folder, f"MATCH (:Item {{id: 'a'}})-[h:HAS]->() SET h.{column} = {value}")
    report = verify(folder)
    id = STATEMENTS[0].id
    expected = f"differ from the journal in {column} (1) ({id}): run `catalograph rebuild`"
    assert [line for line in report.problems if expected in line] == report.problems
    # As it is read from the item, and from the value.
    assert len(report.problems) == 2


@pytest.mark.parametrize(
    ("column", "value"), [("title", "'other'"), ("category", "NULL"), ("images", "['1.jpg']")]
)
def test_every_column_of_an_item_is_compared(folder, column, value):
    change_graph(folder, f"MATCH (i:Item {{id: 'a'}}) SET i.{column} = {value}")
    problem(folder, f"1 items differ from the journal in {column} (1) (a)", "rebuild")


def test_the_main_image_is_compared_with_the_images(folder):
    change_graph(folder, "MATCH (i:Item {id: 'lonely'}) SET i.image = '2.jpg'")
    problem(folder, "1 items have another main image", "(lonely)")


def test_what_is_missing_and_what_is_too_much_is_named(folder):
    change_graph(
        folder,
        "MATCH (i:Item {id: 'lonely'}) DELETE i",
        "CREATE (:Item {id: 'stranger'})",
        "CREATE (:Value {text: 'nonsense'})",
    )
    assert verify(folder).problems == [
        "1 items of the journal are not in the graph (lonely): run `catalograph rebuild`, which "
        "makes the graph anew from the journal",
        "1 items of the graph are not in the journal (stranger): run `catalograph rebuild`, which "
        "makes the graph anew from the journal",
        "1 values of the graph are in no statement of the journal (nonsense): run `catalograph "
        "rebuild`, which makes the graph anew from the journal",
    ]


def test_a_statement_that_is_there_twice_is_found(folder):
    id = STATEMENTS[0].id
    change_graph(
        folder,
        "MATCH (i:Item {id: 'a'}) MATCH (v:Value {text: 'brand187'}) "
        f"CREATE (i)-[:HAS {{id: '{id}', property: 'brand', rank: 'asserted', source: 's'}}]->(v)",
    )
    assert any("are in the graph more than once" in line for line in verify(folder).problems)


def test_one_letter_of_a_value_is_found(written, tmp_path):
    folder = tmp_path / "graph"
    shutil.copytree(written, folder)
    path = folder / FILE
    data = path.read_bytes()
    assert b"brand187" in data
    path.write_bytes(data.replace(b"brand187", b"bsand187"))
    lines = verify(folder).problems
    assert any("statements differ from the journal in value (2)" in line for line in lines)
    assert any(
        "an id that is not that of their item, property, value and language" in line
        for line in lines
    )
    assert verify(folder, quick=True).problems == []


def test_letters_that_are_no_utf8_are_found(folder):
    path = folder / FILE
    path.write_bytes(path.read_bytes().replace(b"another", b"anot\xffer"))
    assert verify(folder).problems


def test_both_copies_of_a_statement_are_read(folder):
    scan = LadybugScan(folder / FILE)
    connection = scan._graph.connect()
    params = {"start": 0, "stop": 9}
    for text, more, direction in (
        (STATEMENTS_FROM_ITEMS, {}, "(i)-[h]->(v)"),
        (STATEMENTS_FROM_VALUES, {"first": 0, "last": 9}, "(v)<-[h]-(i)"),
    ):
        whole = f"EXPLAIN {text}{scan._graph.statement_columns}"
        (plan,) = connection.execute(whole, {**params, **more}).get_all()
        assert f"Direction: {direction}" in plan[0]
    connection.close()
    scan.close()


def test_parts_are_small_and_complete(folder, monkeypatch):
    monkeypatch.setattr("kg.stores.ladybug_scan.ROWS_AT_ONCE", 1)
    monkeypatch.setattr("kg.stores.ladybug_scan.NODES_AT_ONCE", 2)
    scan = LadybugScan(folder / FILE)
    rows = {
        content: [
            row
            for part in scan.parts(content)
            for table in scan.read(part)
            for row in table.to_pylist()
        ]
        for content in Content
    }
    assert [ids for _, ids in scan.inconsistencies() if ids] == []
    scan.close()
    assert len(rows[Content.ITEMS]) == 3
    assert {row["text"] for row in rows[Content.VALUES]} == {"brand187", "red", "gone"}
    expected = sorted(each.id for each in STATEMENTS)
    for content in (Content.STATEMENTS, Content.SECOND_COPY):
        assert sorted(row["id"] for row in rows[content]) == expected


def test_a_graph_that_is_behind_is_a_remark(folder, written):
    with LadybugStore(folder) as store:
        store.put(None, statements_table([statement("new")]))
    for path in folder.glob(f"{FILE}*"):
        path.unlink()
    shutil.copy(written / FILE, folder / FILE)
    report = verify(folder)
    assert report.problems == []
    assert "shows version 4 of its journal, which ends at 5" in report.notes[0]


def test_a_graph_that_is_ahead_is_a_problem_that_rebuild_does_not_solve(folder):
    files = LadybugStore.store_files(folder)
    files.journal.log.path(4).unlink()
    files.journal.log.head_path.unlink()
    line = problem(folder, "shows version 4", "ends at 3", "salvage")
    assert "rebuild" not in line


def test_a_lost_journal_never_leads_to_a_rebuild(folder):
    shutil.rmtree(folder / "journal")
    line = problem(folder, "shows version 4", "ends at -1", "salvage")
    assert "rebuild" not in line


def test_a_full_temporary_folder_is_no_damage(folder, no_room, monkeypatch):
    monkeypatch.setattr(fingerprints, "RECORDS_IN_MEMORY", 1)
    with pytest.raises(StoreUnavailableError, match="TMPDIR"):
        verify(folder)


def test_a_passing_failure_of_the_system_is_no_damage(folder, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("IO exception: Cannot open file graph: Too many open files")

    monkeypatch.setattr(ladybug, "Database", fail)
    with pytest.raises(StoreUnavailableError, match="ulimit -n"):
        verify(folder)


class Unstartable:
    """What ends the child process before it begins, as an import that fails does."""

    def __call__(self, path: Path) -> GraphScan:
        raise AssertionError

    def __reduce__(self):
        return os._exit, (7,)


def test_a_process_that_does_not_start_is_no_damage(written):
    journal = LadybugStore.store_files(written).journal
    files = StoreFiles(written, journal, written / FILE, Unstartable())
    with pytest.raises(StoreUnavailableError, match=r"cannot be started .*exit code 7"):
        verify_store(files)


def test_with_a_damaged_journal_the_graph_is_still_read(folder):
    path = next((folder / "journal").glob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    report = verify(folder)
    assert "is damaged" in report.problems[0]
    assert "salvage" in report.problems[0]
    assert report.notes == ["the graph can be read: it has 3 items and 3 statements"]


def test_a_missing_graph_is_a_remark_if_the_journal_can_make_it(folder):
    (folder / FILE).unlink()
    report = verify(folder)
    assert report.problems == []
    assert "has no graph: the next command makes it" in report.notes[0]
    with LadybugStore(folder, read_only=True) as store:
        assert store.counts().items == 3
    assert verify(folder).notes == []


def test_a_missing_graph_is_a_problem_if_the_journal_is_damaged(folder):
    (folder / FILE).unlink()
    path = next((folder / "journal").glob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert "has no graph: restore" in verify(folder).problems[-1]


def test_what_belongs_to_no_version_is_a_remark(folder):
    (folder / "journal" / ".left.parquet.x").write_bytes(b"1" * 2_000_000)
    report = verify(folder)
    assert report.problems == []
    assert "1 files" in report.notes[0]
    assert "2.0 MB" in report.notes[0]


def test_a_graph_file_of_nonsense_is_a_problem(written, tmp_path):
    folder = tmp_path / "graph"
    shutil.copytree(written, folder)
    (folder / FILE).write_bytes(b"nonsense" * 4096)
    problem(folder, "cannot be read", "rebuild")
    assert "cannot be read" in verify(folder, quick=True).problems[0]


class Failing(GraphScan):
    """A graph whose reading fails in some way; ``parts`` does it."""

    def __init__(self, path: Path) -> None:
        pass

    def version(self):
        return 4

    def counts(self):
        raise AssertionError

    def read(self, part):
        raise AssertionError

    def inconsistencies(self):
        raise AssertionError

    def close(self):
        pass


class Crashing(Failing):
    def parts(self, content):
        os.kill(os.getpid(), signal.SIGSEGV)


class Exiting(Failing):
    def parts(self, content):
        os._exit(7)


class Looping(Failing):
    def parts(self, content):
        time.sleep(60)


class Greedy(Failing):
    def parts(self, content):
        taken = []
        while True:
            taken.append(b"1" * 50_000_000)
            time.sleep(0.01)


class Raising(Failing):
    def parts(self, content):
        raise IndexError("vector::_M_range_check\nat 7")


@pytest.mark.parametrize(
    ("scan", "reason"),
    [
        (Crashing, "ended by SIGSEGV"),
        (Exiting, "exit code 7"),
        (Looping, "stood still for 4 s"),
        (Greedy, "needs more than 0.4 GB"),
        (Raising, "vector::_M_range_check at 7"),
    ],
)
def test_whatever_ends_the_reading_becomes_a_problem(written, scan, reason):
    journal = LadybugStore.store_files(written).journal
    files = StoreFiles(written, journal, written / FILE, scan)
    # On a busy machine, only what loops may be taken for what stands still.
    seconds = 4.0 if scan is Looping else 60.0
    report = verify_store(files, limits=Limits(memory=400_000_000, seconds=seconds))
    (line,) = report.problems
    assert reason in line
    assert "while items were counted" in line
    assert "rebuild" in line
