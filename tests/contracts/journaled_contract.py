"""What a store in a folder, which projects a journal, must do besides; each kind inherits this suite."""

import json
import os
import shutil
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from kg.stores.open import open_store
from kg.stores.tables import statements_table
from schema.errors import StoreDamagedError, StoreError, StoreLockedError
from tests.contracts.store_contract import StoreContract, fact, facts

CHILD = """
import sys
from kg.stores.open import open_store
from kg.stores.tables import statements_table
from tests.contracts.store_contract import fact
with open_store(sys.argv[1]) as store:
    for number in range(1000):
        store.put(None, statements_table([fact(f"{number}-{part}") for part in range(20)]))
        print(number, flush=True)
"""


class JournaledContract(StoreContract):
    """Subclasses give ``files``, a pattern of their graph's files."""

    files = ""

    def harm(self, store):
        """Take the statement about item ``b`` out of the graph, past the store."""
        raise NotImplementedError

    @pytest.fixture
    def empty(self, tmp_path):
        numbers = count()
        return lambda: f"{self.scheme}:{tmp_path}/graph{next(numbers)}"

    def test_a_second_writer_learns_who_has_it(self, store):
        with pytest.raises(StoreLockedError, match=str(os.getpid())):
            open_store(store.url)

    def test_readers_share_a_graph_and_keep_writers_out(self, empty):
        url = empty()
        with open_store(url) as store:
            store.put(None, statements_table([fact()]))
        reader = "import sys; from kg.stores.open import open_store; print(open_store(sys.argv[1], read_only=True).counts().statements)"
        with open_store(url, read_only=True) as store:
            assert store.counts().statements == 1
            other = subprocess.run(
                [sys.executable, "-c", reader, url], capture_output=True, text=True, check=True
            )
            assert other.stdout.strip() == "1"
            with pytest.raises(StoreLockedError):
                open_store(url)

    def test_a_lost_projection_is_remade(self, empty):
        url = empty()
        with open_store(url) as store:
            store.put(None, statements_table([fact()]))
            before = store.content_hash()
        for path in Path(url.partition(":")[2]).glob(self.files):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        with open_store(url, read_only=True) as store:
            assert store.content_hash() == before

    def test_verify_finds_a_row_missing_and_rebuild_brings_it_back(self, store):
        store.put(None, statements_table([fact(), fact("b")]))
        assert store.verify() == []
        self.harm(store)
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

    def test_a_graph_that_was_never_made_is_said_so(self, empty):
        with pytest.raises(StoreError, match="catalograph ingest"):
            open_store(empty(), create=False)

    @pytest.mark.parametrize("acknowledged", [1, 4])
    def test_a_killed_writer_loses_nothing_acknowledged(self, empty, acknowledged):
        url = empty()
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, url], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
        )
        assert child.stdout is not None
        last = -1
        while last < acknowledged:
            last = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        child.wait()
        last = max([last, *map(int, child.stdout.read().split())])
        child.stdout.close()
        store: Any = open_store(url)
        with store:
            assert {f"{n}-{p}" for n in range(last + 1) for p in range(20)} <= {
                row["item"] for row in facts(store)
            }
            assert store.verify() == []
