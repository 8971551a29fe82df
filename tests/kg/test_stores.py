import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kg.store import SCHEMES, items_table, open_store, statements_table
from kg.stores.ladybug import LadybugStore
from schema.errors import QueryRefusedError, StoreDamagedError, StoreError, StoreLockedError, UsageError
from schema.terms import Item, Rank
from tests.contracts.store_contract import StoreContract, fact, facts


class TestMemory(StoreContract):
    scheme = "memory"

    @pytest.fixture
    def store(self):
        with open_store("memory:") as store:
            yield store


class TestRdf(StoreContract):
    scheme = "rdf"

    @pytest.fixture
    def store(self, tmp_path):
        with open_store(f"rdf:{tmp_path / 'graph'}") as store:
            yield store


class TestLadybug(StoreContract):
    scheme = "ladybug"

    @pytest.fixture
    def store(self, tmp_path):
        with open_store(f"ladybug:{tmp_path / 'graph'}") as store:
            yield store

    def test_everything_is_there_after_reopening(self, tmp_path):
        url = f"ladybug:{tmp_path / 'again'}"
        with open_store(url) as store:
            store.put(items_table([Item("a", "t")]), statements_table([fact()]))
            store.put(None, statements_table([fact("b", rank=Rank.PREDICTED)]))
            before = store.content_hash()
        with open_store(url, create=False) as store:
            assert store.content_hash() == before

    def test_cypher_answers_with_parameters(self, store):
        store.put(None, statements_table([fact(), fact("b", value="blue")]))
        text = "MATCH (i:Item)-[h:HAS {property: $p}]->(v:Value) RETURN i.id, v.text ORDER BY i.id"
        assert store.query(text, {"p": "colour"}).rows == [["a", "red"], ["b", "blue"]]

    def test_cypher_that_fails_is_one_line(self, store):
        with pytest.raises(StoreError, match="the query failed"):
            store.query("MATCH (i:Nothing) RETURN i")

    def test_cypher_that_writes_is_refused(self, store):
        store.put(None, statements_table([fact()]))
        with pytest.raises(QueryRefusedError, match="DETACH is not allowed"):
            store.query("MATCH (i) DETACH DELETE i")

    def test_a_second_writer_learns_who_has_it(self, store, tmp_path):
        with pytest.raises(StoreLockedError, match=str(os.getpid())):
            open_store(f"ladybug:{tmp_path / 'graph'}")

    def test_readers_share_a_graph_and_keep_writers_out(self, tmp_path):
        url = f"ladybug:{tmp_path / 'shared'}"
        with open_store(url) as store:
            store.put(None, statements_table([fact()]))
        reader = "import sys; from kg.store import open_store; print(open_store(sys.argv[1], read_only=True).counts().statements)"
        with open_store(url, read_only=True) as store:
            assert store.counts().statements == 1
            other = subprocess.run([sys.executable, "-c", reader, url], capture_output=True, text=True, check=True)
            assert other.stdout.strip() == "1"
            with pytest.raises(StoreLockedError):
                open_store(url)

    def test_a_lost_projection_is_remade(self, tmp_path):
        url = f"ladybug:{tmp_path / 'graph'}"
        with open_store(url) as store:
            store.put(None, statements_table([fact()]))
            before = store.content_hash()
        for path in (tmp_path / "graph").glob("graph.lbug*"):
            path.unlink()
        with open_store(url) as store:
            assert store.content_hash() == before

    def test_verify_finds_a_row_missing_and_rebuild_brings_it_back(self, store):
        store.put(None, statements_table([fact(), fact("b")]))
        assert store.verify() == []
        store._graph._execute("MATCH (i:Item {id: 'b'})-[h:HAS]->(v:Value) DELETE h")
        assert "catalograph rebuild" in store.verify()[0]
        assert store.rebuild().statements == 2
        assert store.verify() == []

    def test_a_flipped_byte_in_the_journal_is_found(self, store):
        store.put(None, statements_table([fact()]))
        (path,) = store.journal.folder.glob("*.parquet")
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        assert "damaged" in store.verify()[0]
        with pytest.raises(StoreDamagedError):
            list(store.journal.read())

    def test_an_altered_log_entry_breaks_the_chain(self, store):
        store.put(None, statements_table([fact()]))
        store.put(None, statements_table([fact("b")]))
        first = store.journal.log / f"{0:020d}.json"
        lines = [json.loads(line) for line in first.read_text().splitlines()]
        for line in lines:
            if "commitInfo" in line:
                line["commitInfo"]["catalograph.chain"] = "0" * 64
        first.write_text("\n".join(json.dumps(line) for line in lines))
        assert "does not follow" in store.verify()[0]

    def test_a_graph_that_was_never_made_is_said_so(self, tmp_path):
        with pytest.raises(StoreError, match="catalograph ingest"):
            open_store(f"ladybug:{tmp_path / 'none'}", create=False)


def test_every_scheme_is_in_the_suite():
    tested = {kind.scheme for kind in StoreContract.__subclasses__()}
    assert tested == {scheme.partition(":")[0] for scheme in SCHEMES}


def test_an_unknown_scheme_is_named():
    with pytest.raises(UsageError, match="'oracle:x'"):
        open_store("oracle:x")


def test_the_memory_store_has_no_cypher():
    with open_store("memory:") as store, pytest.raises(StoreError, match="ladybug"):
        store.query("MATCH (n) RETURN n")


CHILD = """
import sys
from kg.store import open_store, statements_table
from tests.contracts.store_contract import fact
with open_store(sys.argv[1]) as store:
    for number in range(1000):
        store.put(None, statements_table([fact(f"{number}-{part}") for part in range(20)]))
        print(number, flush=True)
"""


@pytest.mark.parametrize("acknowledged", [1, 4])
def test_a_killed_writer_loses_nothing_acknowledged(tmp_path, acknowledged):
    url = f"ladybug:{tmp_path / 'graph'}"
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(CHILD), url], stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    assert child.stdout is not None
    last = -1
    while last < acknowledged:
        last = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    child.wait()
    last = max([last, *map(int, child.stdout.read().split())])
    child.stdout.close()
    with LadybugStore(tmp_path / "graph") as store:
        assert {f"{n}-{p}" for n in range(last + 1) for p in range(20)} <= {row["item"] for row in facts(store)}
        assert store.verify() == []


names = st.sampled_from("abc")
rows = st.builds(fact, names, st.sampled_from(["p", "q"]), st.sampled_from(["x", "y"]), st.sampled_from(list(Rank)))


class BothStores(RuleBasedStateMachine):
    """Ladybug and the memory store, told the same, say the same."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.url = f"ladybug:{self.folder.name}/graph"
        self.ladybug, self.memory = open_store(self.url), open_store("memory:")

    def teardown(self):
        self.ladybug.close()
        self.folder.cleanup()

    @rule(rows=st.lists(rows, max_size=5), titles=st.lists(st.builds(Item, names, st.sampled_from([None, "t", "u"])), max_size=3))
    def put(self, rows, titles):
        reports = [store.put(items_table(titles), statements_table(rows)) for store in (self.ladybug, self.memory)]
        assert reports[0] == reports[1]

    @rule(rows=st.lists(rows, max_size=3))
    def retract(self, rows):
        assert self.ladybug.retract([r.id for r in rows]) == self.memory.retract([r.id for r in rows])

    @rule()
    def reopen(self):
        self.ladybug.close()
        self.ladybug = open_store(self.url)

    @invariant()
    def same(self):
        assert self.ladybug.content_hash() == self.memory.content_hash()


TestBothStores = BothStores.TestCase
TestBothStores.settings = settings(max_examples=6, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck))
