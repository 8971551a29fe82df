"""The tests that every store with a journal must pass; each such store inherits this suite."""

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
from kg.stores.protocol import Rebuildable, Verifiable
from kg.stores.tables import statements_table
from schema.errors import StoreDamagedError, StoreError, StoreLockedError
from tests.contracts.store_contract import StoreContract, scan_rows, statement

WRITER = """
import sys
from kg.stores.open import open_store
from kg.stores.tables import statements_table
from tests.contracts.store_contract import statement
with open_store(sys.argv[1]) as store:
    for number in range(1000):
        rows = [statement(f"{number}-{part}") for part in range(20)]
        store.put(None, statements_table(rows))
        print(number, flush=True)
"""
READER = """
import sys
from kg.stores.open import open_store
print(open_store(sys.argv[1], read_only=True).counts().statements)
"""


class JournaledContract(StoreContract):
    """Subclasses give ``files``, a glob pattern of the files of their graph."""

    files = ""

    def damage_graph(self, store):
        """Delete the statement about item ``b`` from the graph, behind the store's back."""
        raise NotImplementedError

    @pytest.fixture
    def empty_url(self, tmp_path):
        numbers = count()
        return lambda: f"{self.scheme}:{tmp_path}/graph{next(numbers)}"

    def test_second_writer_is_told_the_owners_process(self, store):
        with pytest.raises(StoreLockedError, match=str(os.getpid())):
            open_store(store.url)

    def test_readers_share_a_graph_and_keep_writers_out(self, empty_url):
        url = empty_url()
        with open_store(url) as store:
            store.put(None, statements_table([statement()]))
        with open_store(url, read_only=True) as store:
            assert store.counts().statements == 1
            other = subprocess.run(
                [sys.executable, "-c", READER, url], capture_output=True, text=True, check=True
            )
            assert other.stdout.strip() == "1"
            with pytest.raises(StoreLockedError):
                open_store(url)

    def test_deleted_graph_is_restored_from_the_journal(self, empty_url):
        url = empty_url()
        with open_store(url) as store:
            store.put(None, statements_table([statement()]))
            before = store.content_hash()
        for path in Path(url.partition(":")[2]).glob(self.files):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        with open_store(url, read_only=True) as store:
            assert store.content_hash() == before

    def test_has_the_optional_protocols(self, store):
        assert isinstance(store, Verifiable)
        assert isinstance(store, Rebuildable)

    def test_verify_finds_a_lost_row_and_rebuild_restores_it(self, store):
        store.put(None, statements_table([statement(), statement("b")]))
        assert store.verify() == []
        self.damage_graph(store)
        assert "catalograph rebuild" in store.verify()[0]
        store.rebuild()
        assert store.counts().statements == 2
        assert store.verify() == []

    def test_flipped_bit_in_the_journal_is_found(self, store):
        store.put(None, statements_table([statement()]))
        (path,) = store.journal.folder.glob("*.parquet")
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        assert "damaged" in store.verify()[0]
        with pytest.raises(StoreDamagedError):
            list(store.journal.read())

    def test_altered_log_entry_breaks_the_chain(self, store):
        store.put(None, statements_table([statement()]))
        store.put(None, statements_table([statement("b")]))
        first = store.journal.log / f"{0:020d}.json"
        lines = [json.loads(line) for line in first.read_text().splitlines()]
        for line in lines:
            if "commitInfo" in line:
                line["commitInfo"]["catalograph.chain"] = "0" * 64
        first.write_text("\n".join(json.dumps(line) for line in lines))
        assert "does not follow" in store.verify()[0]

    def test_missing_graph_is_reported(self, empty_url):
        with pytest.raises(StoreError, match="catalograph ingest"):
            open_store(empty_url(), create=False)

    @pytest.mark.parametrize("acknowledged", [1, 4])
    def test_killed_writer_loses_no_acknowledged_batch(self, empty_url, acknowledged):
        url = empty_url()
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
        )
        assert writer.stdout is not None
        last = -1
        while last < acknowledged:
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        last = max([last, *map(int, writer.stdout.read().split())])
        writer.stdout.close()
        expected = {f"{number}-{part}" for number in range(last + 1) for part in range(20)}
        store: Any = open_store(url)
        with store:
            assert expected <= {row["item"] for row in scan_rows(store)}
            assert store.verify() == []
