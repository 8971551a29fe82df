import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import ladybug
import numpy as np
import pyarrow as pa
import pytest

from kg.stores import ladybug_database, ladybug_graph, ladybug_reading
from kg.stores.journal import changes_table
from kg.stores.ladybug import LadybugStore
from kg.stores.ladybug_reading import with_empty_lists
from kg.stores.merge import Changes
from kg.stores.open import open_store
from kg.stores.tables import items_table, statements_table
from schema.terms import Item
from tests.contracts.cypher_contract import CypherContract
from tests.contracts.journaled_contract import JournaledContract, fill
from tests.contracts.store_contract import scan_rows, statement

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
from tests.contracts.store_contract import statement
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


class TestLadybug(CypherContract, JournaledContract):
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


class TestLargeLadybug(TestLadybug):
    """The same tests with so many items that they are read a range after the other."""

    @pytest.fixture(autouse=True)
    def few_at_once(self, monkeypatch):
        monkeypatch.setattr(ladybug_reading, "ITEMS_AT_ONCE", 2)
        monkeypatch.setattr(ladybug_reading, "STATEMENTS_AT_ONCE", 2)
        monkeypatch.setattr(ladybug_reading, "PLACES_AT_ONCE", 2)
        monkeypatch.setattr(ladybug_graph, "COPIED_BYTES", 0)
