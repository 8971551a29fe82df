import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import ladybug
import numpy as np
import pyarrow as pa
import pytest

from kg.stores import journaled, ladybug_database, ladybug_graph, ladybug_reading
from kg.stores.journal import changes_table
from kg.stores.ladybug import LadybugStore
from kg.stores.ladybug_graph import LadybugGraph
from kg.stores.ladybug_reading import with_empty_lists
from kg.stores.merge import Changes
from kg.stores.open import open_store
from kg.stores.protocol import Pattern
from kg.stores.tables import items_table, statements_table
from schema.errors import StoreError, StoreUnavailableError
from schema.terms import Item, Rank
from tests.contracts.cypher_contract import CypherContract
from tests.contracts.journaled_contract import (
    JournaledContract,
    JournaledProcessContract,
    fill,
)
from tests.contracts.rows import scan_rows, statement

WRITER_IN_PLACE = """
import os, sys
from pathlib import Path
from kg.stores.journal import Journal
from kg.stores.ladybug_graph import LadybugGraph
folder = Path(sys.argv[1])
graph = LadybugGraph(folder / "graph.lbug")
for version, changes in Journal(folder / "journal").read(since=graph.applied_version()):
    graph.apply(version, changes)
os._exit(9)
"""
WRITER_WITHOUT_ROOM = """
import resource, sys
from kg.stores import graph_files, journaled
from kg.stores.open import open_store
from kg.stores.tables import statements_table
from schema.errors import StoreUnavailableError
from tests.contracts.rows import statement
journaled.check_room = graph_files.check_room = lambda *_: None
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    with open_store(sys.argv[1]) as store:
        for part in range(100):
            rows = [statement(f"{part}-{number}") for number in range(200)]
            store.put(None, statements_table(rows))
except StoreUnavailableError as error:
    print(error)
"""


class LadybugContract(JournaledContract):
    """The tests of this store that depend on how a graph is read and loaded."""

    scheme = "ladybug"
    files = "graph.lbug*"
    store_class = LadybugStore

    def ruin_file(self, url):
        os.truncate(self.published(url), 4096)

    def fail_to_open(self, patch, reason):
        def fail(*arguments, **options):
            raise RuntimeError(reason)

        patch.setattr(ladybug, "Database", fail)

    def forget_new_columns(self, url):
        database = ladybug.Database(str(self.published(url)))
        connection = ladybug.Connection(database)
        for name in ("description", "source", "batch", "row", "evidence", "time", "references"):
            connection.execute(f"ALTER TABLE Item DROP {name}")
        for name in ("language", "references"):
            connection.execute(f"ALTER TABLE HAS DROP {name}")
        connection.execute("CHECKPOINT")
        connection.close()
        database.close()

    def damage_graph(self, store):
        store._begin()._execute("MATCH (i:Item {id: 'b'})-[h:HAS]->(v:Value) DELETE h")

    def test_empty_graph_file_is_damage(self, empty_url):
        url = empty_url()
        before = fill(url, "a")
        os.truncate(self.published(url), 0)
        with pytest.warns(UserWarning, match="renamed"), open_store(url) as store:
            assert store.content_hash() == before


class TestLadybug(LadybugContract, CypherContract, JournaledProcessContract):
    @pytest.mark.parametrize("read_only", [False, True])
    def test_what_a_killed_writer_left_in_place_is_finished(self, empty_url, read_only):
        url = empty_url()
        fill(url, "a")
        folder = Path(url.partition(":")[2])
        store: Any = open_store(url)
        items = items_table([Item("b")]).to_pylist()
        rows = statements_table([statement("b")]).to_pylist()
        with store:
            store.journal.append(changes_table(Changes(items, new_statements=rows)))
        killed = subprocess.run([sys.executable, "-c", WRITER_IN_PLACE, str(folder)])
        assert killed.returncode == 9
        assert (folder / "graph.lbug.wal").stat().st_size
        with open_store(url, read_only=read_only) as store:
            assert {row["item"] for row in scan_rows(store)} == {"a", "b"}
        assert [path.name for path in folder.glob("graph.*")] == ["graph.lbug"]

    def test_log_is_bounded_whatever_the_size_of_a_batch(self, empty_url, monkeypatch):
        monkeypatch.setattr(ladybug_graph, "MERGED_ROWS", 100)
        monkeypatch.setattr(ladybug_database, "LOG_LIMIT_BYTES", 50_000)
        url = empty_url()
        fill(url, "a")
        store: Any = open_store(url)
        with store:
            rows = [statement(f"{number}") for number in range(3000)]
            store.put(None, statements_table(rows))
            log = Path(f"{store._graph.path}.wal")
            # In one transaction it would have more than a million bytes.
            assert not log.exists() or log.stat().st_size < 200_000
            assert store.counts().statements == 3001

    @pytest.mark.parametrize("beyond", [1_000, 100_000, 1_000_000])
    def test_failing_write_never_aborts_the_process(self, empty_url, beyond):
        url = empty_url()
        fill(url, "a")
        graph = self.published(url)
        before = graph.read_bytes()
        limit = str(len(before) + beyond)
        writer = subprocess.run(
            [sys.executable, "-c", WRITER_WITHOUT_ROOM, url, limit], capture_output=True, text=True
        )
        assert (writer.returncode, writer.stderr) == (0, "")
        assert "nothing that was stored is lost" in writer.stdout
        assert graph.read_bytes() == before
        with open_store(url, read_only=True) as store:
            assert store.counts().statements % 200 == 1


def test_statements_are_found_by_their_ids(tmp_path):
    made = statement("a")
    with open_store(f"ladybug:{tmp_path}/g") as store:
        store.put(None, statements_table([made, statement("b")]))
        text = "MATCH (i:Item)-[h:HAS]->(v:Value) WHERE h.id = $id RETURN h.id, h, collect(h.id)"
        (row,) = store.query(text, {"id": made.id}).rows
        assert (row[0], row[1]["id"], row[2]) == (made.id, made.id, [made.id])
        assert [each["id"] for each in scan_rows(store)] == sorted([made.id, statement("b").id])
        assert store.retract(["no id", made.id]) == 1


def test_lists_that_are_all_empty_are_sound_whatever_ladybug_left_in_memory():
    # As Ladybug makes them: the offsets of the lists, but none of the texts, which are none.
    offsets = pa.py_buffer(np.zeros(4, np.int32))
    garbage = pa.py_buffer(np.array([-229_081_600], np.int32))
    texts = pa.StringArray.from_buffers(0, garbage, pa.py_buffer(b""))
    some = pa.py_buffer(bytes([0b101]))
    lists = pa.ListArray.from_buffers(pa.list_(pa.string()), 3, [some, offsets], children=[texts])
    table = pa.table({"id": ["a", "b", "c"], "images": lists})
    with pytest.raises(pa.ArrowInvalid, match="negative offset"):
        table.validate(full=True)
    sound = with_empty_lists(table)
    sound.validate(full=True)
    assert sound["images"].to_pylist() == [[], None, []]


def test_lists_that_have_something_stay_as_they_are():
    table = pa.table({"id": ["a", "b"], "images": pa.array([["x.jpg"], None])})
    assert with_empty_lists(table).equals(table)


class TestLargeLadybug(LadybugContract):
    """The same tests with so many items that they are read a range after the other."""

    @pytest.fixture(autouse=True)
    def few_at_once(self, monkeypatch):
        monkeypatch.setattr(ladybug_reading, "ITEMS_AT_ONCE", 2)
        monkeypatch.setattr(ladybug_reading, "STATEMENTS_AT_ONCE", 2)
        monkeypatch.setattr(ladybug_reading, "PLACES_AT_ONCE", 2)
        monkeypatch.setattr(ladybug_graph, "COPIED_BYTES", 0)


class TestLadybugLoads(LadybugContract):
    """The same tests with all new rows loaded by COPY, a few at a time, into any graph."""

    @pytest.fixture(autouse=True)
    def little_at_once(self, monkeypatch):
        monkeypatch.setattr(ladybug_graph, "COPIED_ROWS", 0)
        monkeypatch.setattr(ladybug_graph, "CREATED_ROWS", 0)
        monkeypatch.setattr(ladybug_graph, "COPIED_BYTES", 3_000)
        monkeypatch.setattr(ladybug_graph, "SMALL_COPY_BYTES", 1_000)
        monkeypatch.setattr(ladybug_graph, "MERGED_ROWS", 1)
        monkeypatch.setattr(journaled, "COMPARED_ROWS", 0)

    test_log_is_bounded_whatever_the_size_of_a_batch = (
        TestLadybug.test_log_is_bounded_whatever_the_size_of_a_batch
    )


def new_rows(first: int, items: int = 20) -> dict[str, pa.Table]:
    """Return some items from a number on, and two statements about each, as a put takes them."""
    numbers = range(first, first + items)
    rows = [
        # Columns in which all rows are alike take no time.
        statement(
            f"{number}",
            property=property,
            value=f"{property} {number % 7}",
            model=f"m{number % 3}",
            evidence=f"line {number} of a page",
        )
        for number in numbers
        for property in ("colour", "size")
    ]
    return {
        "items": items_table(Item(f"{number}", f"title {number}") for number in numbers),
        "statements": statements_table(rows),
    }


@pytest.fixture
def copies(monkeypatch):
    """Let all rows that have waited be loaded by COPY, however few they are."""
    monkeypatch.setattr(ladybug_graph, "CREATED_ROWS", 0)


@pytest.fixture
def loads(copies, monkeypatch):
    """Return the labels and the numbers of rows that are loaded by COPY, as all are."""
    loads = []
    really_copy = LadybugGraph._copy

    def copy(self, label, rows):
        loads.append((label, rows.num_rows))
        return really_copy(self, label, rows)

    monkeypatch.setattr(LadybugGraph, "_copy", copy)
    return loads


def test_new_rows_of_many_batches_are_loaded_together(tmp_path, loads):
    with open_store("memory:") as expected, open_store(f"ladybug:{tmp_path}/g") as store:
        for first in range(0, 100, 20):
            expected.put(**new_rows(first))
            report = store.put(**new_rows(first))
            assert (report.new_items, report.new_statements) == (20, 40)
        assert loads == []
        assert store.content_hash() == expected.content_hash()
        assert loads == [("Item", 100), ("Value", 14), ("HAS", 200)]


@pytest.mark.parametrize("items", [0, 1, 3, 20])
def test_few_rows_are_created_without_a_copy(tmp_path, loads, monkeypatch, items):
    monkeypatch.setattr(ladybug_graph, "CREATED_ROWS", 6)
    url = f"ladybug:{tmp_path}/g"
    german = statement("0", value="rot", language="de", source="t")
    with open_store("memory:") as expected:
        with open_store(url) as store:
            for each in (expected, store):
                each.put(**new_rows(0, items))
                each.put(items_table([Item("without")]), None)
            assert store.content_hash() == expected.content_hash()
        # Columns in which all rows were alike are not those of what comes later.
        with open_store(url) as again:
            for each in (expected, again):
                each.put(items_table([Item("0", images=("x.jpg",))]), statements_table([german]))
            assert again.content_hash() == expected.content_hash()
            journaled: Any = again
            assert journaled.verify() == []
    assert {label for label, _ in loads} == ({"Item", "Value", "HAS"} if items == 20 else set())


def test_few_long_rows_are_loaded_by_a_copy(tmp_path, loads, monkeypatch):
    monkeypatch.setattr(ladybug_graph, "CREATED_ROWS", 6)
    monkeypatch.setattr(ladybug_graph, "CREATED_BYTES", 10_000)
    with open_store(f"ladybug:{tmp_path}/g") as store:
        store.put(items_table([Item("1", description="x" * 20_000), Item("2")]), None)
        assert pa.Table.from_batches(store.items())["id"].to_pylist() == ["1", "2"]
    assert loads == [("Item", 2)]


@pytest.mark.usefixtures("copies")
@pytest.mark.parametrize("has_some", [False, True])
def test_waiting_rows_are_updated_and_retracted(tmp_path, monkeypatch, has_some):
    monkeypatch.setattr(ladybug_graph, "COPIED_ROWS", 0)
    with open_store("memory:") as expected, open_store(f"ladybug:{tmp_path}/g") as store:
        for each in (expected, store):
            if has_some:
                each.put(**new_rows(500))
                assert each.counts().items == 20
            each.put(**new_rows(0))
            # Half of these items wait, and half are new.
            each.put(**new_rows(10))
            each.put(items_table([Item("3", "another title")]), None)
            each.put(**new_rows(30))
            assert each.retract([statement("31", property="size", value="size 3").id]) == 1
        assert store.content_hash() == expected.content_hash()
        journaled: Any = store
        assert journaled.verify() == []
    with open_store(f"ladybug:{tmp_path}/g", read_only=True) as store:
        found = store.item("3")
        assert found is not None
        assert found[0].title == "another title"


def test_rows_are_loaded_in_parts_if_the_buffer_pool_is_too_small(tmp_path, monkeypatch, loads):
    monkeypatch.setattr(ladybug_graph, "MERGED_ROWS", 20)
    really_execute = ladybug.Connection.execute

    def execute(self, query, parameters=None):
        if query.startswith("COPY") and parameters["rows"].num_rows > 150:
            raise RuntimeError("Buffer manager exception: The buffer pool is full")
        return really_execute(self, query, parameters)

    monkeypatch.setattr(ladybug.Connection, "execute", execute)
    with open_store("memory:") as expected, open_store(f"ladybug:{tmp_path}/g") as store:
        for each in (expected, store):
            each.put(**new_rows(0, 250))
        store.close()
        with open_store(f"ladybug:{tmp_path}/g", read_only=True) as reader:
            assert reader.content_hash() == expected.content_hash()
    assert [rows for label, rows in loads if label == "HAS"] == [500, 250, 125, 125, 250, 125, 125]


@pytest.mark.parametrize("sizes", [(1, 0, 1), (0, 5), (0, 0), (3, 4), (2, 0, 0, 3000), ()])
def test_rows_behind_an_empty_chunk_are_read(tmp_path, sizes):
    chunks = [pa.array(["a"] * size, pa.string()) for size in sizes]
    rows = pa.table({"text": pa.chunked_array(chunks, pa.string())})
    graph = LadybugGraph(tmp_path / "graph.lbug")
    found = graph.rows("LOAD FROM $rows RETURN count(*) AS rows", {"rows": rows})
    graph.close()
    assert found == [{"rows": sum(sizes)}]


@pytest.mark.usefixtures("copies")
def test_batches_without_statements_lose_none_of_those_after_them(tmp_path):
    with open_store("memory:") as expected, open_store(f"ladybug:{tmp_path}/g") as store:
        for each in (expected, store):
            each.put(**new_rows(0))
            each.put(items_table([Item("none")]), None)
            each.put(**new_rows(20))
        assert store.content_hash() == expected.content_hash()


def test_nodes_are_never_more_than_doubled_by_one_load(tmp_path, monkeypatch, loads):
    monkeypatch.setattr(ladybug_graph, "COPIED_ROWS", 0)
    url = f"ladybug:{tmp_path}/g"
    with open_store("memory:") as expected:
        for first, items in ((0, 5), (5, 100)):
            with open_store(url) as store:
                for each in (expected, store):
                    each.put(**new_rows(first, items))
                assert store.content_hash() == expected.content_hash()
        assert [rows for label, rows in loads if label == "Item"] == [
            *(5, 2, 3, 5, 7, 11, 16, 24, 32)
        ]


@pytest.mark.usefixtures("copies")
def test_what_was_loaded_is_not_loaded_again_if_something_fails_afterwards(tmp_path, monkeypatch):
    store: Any = open_store(f"ladybug:{tmp_path}/g")
    store.put(**new_rows(0))
    really_execute = ladybug.Connection.execute

    def execute(self, query, *arguments):
        result = really_execute(self, query, *arguments)
        if query.startswith("COPY HAS"):
            raise RuntimeError(
                "Transaction committed successfully, but the post-commit checkpoint failed: Buffer "
                "manager exception: Unable to allocate memory! The buffer pool is full"
            )
        return result

    with monkeypatch.context() as patch:
        patch.setattr(ladybug.Connection, "execute", execute)
        with pytest.raises(StoreUnavailableError, match="too little memory"):
            store.counts()
    with pytest.raises(StoreError, match="open it again"):
        store.counts()
    store.close()
    with open_store(f"ladybug:{tmp_path}/g", read_only=True) as store:
        assert store.counts().statements == 40


def test_whole_is_read_from_memory_while_it_is_loaded(tmp_path, monkeypatch, loads):
    monkeypatch.setattr(ladybug_graph, "COPIED_BYTES", 20_000)
    may_load = threading.Event()
    really_load = LadybugGraph._load_waiting

    def load(self, waiting):
        assert may_load.wait(60)
        really_load(self, waiting)

    monkeypatch.setattr(LadybugGraph, "_load_waiting", load)
    with open_store("memory:") as expected, open_store(f"ladybug:{tmp_path}/g") as store:
        for each in (expected, store):
            each.put(**new_rows(0, 50))
        by_property = Pattern(property="size", ranks=(Rank.ASSERTED,))
        for read in (
            lambda each: each.categories(),
            lambda each: each.scan(by_property),
            lambda each: each.facts(),
            lambda each: each.triples([Rank.ASSERTED]),
            lambda each: each.triples([Rank.ACCEPTED]),
            lambda each: each.sourced_triples([Rank.ASSERTED]),
        ):
            assert sorted_rows(read(store)) == sorted_rows(read(expected))
        assert store.sources() == expected.sources()
        assert loads == []
        may_load.set()
        # What comes while the first rows are loaded waits; what changes them does not.
        for each in (expected, store):
            each.put(**new_rows(50, 20))
            each.put(items_table([Item("3", "another title")]), None)
        assert store.content_hash() == expected.content_hash()
        for each in (expected, store):
            each.put(**new_rows(100, 500))
            each.put(**new_rows(600, 500))
        assert sorted_rows(store.facts()) == sorted_rows(expected.facts())
        assert store.content_hash() == expected.content_hash()


def sorted_rows(batches):
    return sorted((row for batch in batches for row in batch.to_pylist()), key=str)


def test_failed_load_beside_the_next_rows_is_said_by_the_next_call(tmp_path, monkeypatch):
    def fail(self, waiting):
        raise StoreUnavailableError("no room")

    store: Any = open_store(f"ladybug:{tmp_path}/g")
    with monkeypatch.context() as patch:
        patch.setattr(LadybugGraph, "_load_waiting", fail)
        store.put(**new_rows(0))
        assert len(list(store.facts())) > 0
        with pytest.raises(StoreUnavailableError, match="no room"):
            store.counts()
    with pytest.raises(StoreError, match="open it again"):
        store.put(**new_rows(20))
    store.close()
    with open_store(f"ladybug:{tmp_path}/g") as store:
        assert store.counts().statements == 40


def test_publication_waits_until_loading_takes_little_of_the_time(tmp_path, monkeypatch):
    monkeypatch.setattr(journaled, "PUBLISH_SECONDS", 0)
    store: Any = open_store(f"ladybug:{tmp_path}/g")
    with store:
        store.put(**new_rows(0))
        store._next_publication = 0.0
        monkeypatch.setattr(LadybugGraph, "settling_seconds", lambda self: 1e9)
        store.put(**new_rows(20))
        assert store._files.published() is None
        monkeypatch.setattr(LadybugGraph, "settling_seconds", lambda self: 0.0)
        store.put(**new_rows(40))
        assert store._files.published() is not None
