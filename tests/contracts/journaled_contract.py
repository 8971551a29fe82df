"""The tests that every store with a journal must pass; each such store inherits this suite."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from kg.stores import journal, journaled, room
from kg.stores.graph_scan import GraphScan
from kg.stores.journal import changes_table
from kg.stores.merge import Changes
from kg.stores.open import open_store
from kg.stores.protocol import Rebuildable, Verifiable
from kg.stores.tables import items_table, statements_table
from schema.errors import (
    CatalographWarning,
    StoreDamagedError,
    StoreError,
    StoreLockedError,
    StoreUnavailableError,
)
from schema.terms import Item, Rank
from tests.contracts.rows import scan_rows, statement
from tests.contracts.store_contract import StoreContract

NEW_COLUMNS = ("description", "language", "references", "run", "at")
"""Columns of the journal that earlier versions did not know."""
WRITER = """
import sys
from kg.stores.open import open_store
from kg.stores.tables import statements_table
from tests.contracts.rows import statement
with open_store(sys.argv[1]) as store:
    for number in range(1000):
        rows = [statement(f"{number}-{part}") for part in range(20)]
        store.put(None, statements_table(rows))
        print(number, flush=True)
"""
REBUILDER = """
import sys
from kg.stores import ladybug_graph
from kg.stores.open import open_store
# As many rows would be: by a COPY, which is killed, too.
ladybug_graph.CREATED_ROWS = 0
with open_store(sys.argv[1]) as store:
    print("begins", flush=True)
    store.rebuild()
"""


def opened(url: str, **options: Any) -> Any:
    """Open a store that has a journal."""
    return open_store(url, **options)


def files_of(url):
    """Return the files of a store's folder with their contents, all but the lock."""
    folder = Path(url.partition(":")[2])
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def fill(url: str, *items: str) -> str:
    """Put a statement about each item into a store, a batch each, and close it."""
    with open_store(url) as store:
        for item in items:
            store.put(None, statements_table([statement(item)]))
        return store.content_hash()


def dying_scan(path: Path) -> GraphScan:
    """Open a graph that ends the process that opens it, as damage can."""
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError


def refused_scan(path: Path) -> GraphScan:
    """Fail to open a graph, for a reason that passes."""
    raise StoreUnavailableError("Too many open files")


class JournaledContract(StoreContract):
    """Subclasses give ``files``, a glob pattern of the files of their graph.

    A store inherits :class:`JournaledProcessContract`; its variants may do with this.
    """

    files = ""
    """A pattern of the files of the store's graph."""
    store_class: Any = None

    def open_published(self, url):
        """Open a store's published graph, without the store."""
        return self.store_class.open_graph(self.published(url), read_only=True)

    def published(self, url: str) -> Path:
        """Return the path of a store's published graph."""
        (path,) = Path(url.partition(":")[2]).glob(self.files)
        return path

    def delete_published(self, url):
        """Delete a store's graph."""
        path = self.published(url)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    def ruin_file(self, url):
        """Damage the files of a store's graph, so that it does not open."""
        raise NotImplementedError

    def fail_to_open(self, patch, reason):
        """Let the database fail with an error of its own when it opens a graph."""
        raise NotImplementedError

    def damage_graph(self, store):
        """Delete the statement about item ``b`` from the graph, behind the store's back."""
        raise NotImplementedError

    @pytest.fixture
    def empty_url(self, tmp_path):
        numbers = count()
        return lambda: f"{self.scheme}:{tmp_path}/graph{next(numbers)}"

    def test_second_writer_is_told_the_owners_process(self, store):
        with pytest.raises(StoreLockedError, match=str(os.getpid())):
            opened(store.url)

    def test_readers_read_the_last_publication_beside_a_writer(self, empty_url):
        url = empty_url()
        fill(url, "a")
        before = opened(url, read_only=True)
        writer = opened(url)
        writer.put(None, statements_table([statement("b")]))
        assert writer.counts().statements == 2
        with pytest.warns(CatalographWarning, match=r"version 0, as published, of 1 .*in use"):
            beside = opened(url, read_only=True)
        assert (before.counts().statements, beside.counts().statements) == (1, 1)
        writer.close()
        with opened(url, read_only=True) as after:
            assert after.counts().statements == 2
        # Neither the publication nor its readers disturb those who still read the one before.
        for reader in (before, beside):
            assert [row["item"] for row in scan_rows(reader)] == ["a"]
            reader.close()

    def test_long_writer_publishes_what_it_has_committed(self, empty_url, monkeypatch):
        monkeypatch.setattr(journaled, "PUBLISH_SECONDS", 0)
        monkeypatch.setattr(journaled, "PUBLISH_RATIO", 0)
        url = empty_url()
        with opened(url) as writer:
            for number in range(3):
                writer.put(None, statements_table([statement(f"{number}")]))
                with opened(url, read_only=True) as reader:
                    assert reader.counts().statements == number + 1
            expected = writer.content_hash()
        with opened(url, read_only=True) as reader:
            assert reader.content_hash() == expected

    def test_reader_cannot_write(self, empty_url):
        url = empty_url()
        fill(url, "a")
        with opened(url, read_only=True) as reader:
            with pytest.raises(StoreError, match="open for reading"):
                reader.put(None, statements_table([statement("b")]))
            with pytest.raises(StoreError, match="open for reading"):
                reader.rebuild()

    def test_writer_that_changes_nothing_leaves_all_files_as_they_are(self, empty_url):
        url = empty_url()
        fill(url, "a")
        before = files_of(url)
        fill(url, "a")
        assert files_of(url) == before

    def test_writer_makes_up_for_a_head_that_a_killed_one_left_behind(self, empty_url):
        url = empty_url()
        fill(url, "a")
        head = Path(url.partition(":")[2]) / "journal" / "_head.json"
        before = head.read_text()
        fill(url, "b")
        after = head.read_text()
        head.write_text(before)
        with opened(url) as store:
            store.counts()
        assert head.read_text() == after

    def test_deleted_graph_is_restored_from_the_journal(self, empty_url):
        url = empty_url()
        before = fill(url, "a")
        self.delete_published(url)
        with opened(url, read_only=True) as store:
            assert store.content_hash() == before

    # Damage

    def test_reader_changes_nothing_in_a_damaged_graph(self, empty_url):
        url = empty_url()
        fill(url, "a")
        self.ruin_file(url)
        before = files_of(url)
        with pytest.raises(StoreDamagedError, match="catalograph rebuild"):
            opened(url, read_only=True)
        assert files_of(url) == before

    def test_writer_sets_a_damaged_graph_aside(self, empty_url):
        url = empty_url()
        before = fill(url, "a")
        self.ruin_file(url)
        ruined = files_of(url)
        with (
            opened(url) as store,
            pytest.warns(CatalographWarning, match=r"renamed to .*\.damaged-"),
        ):
            assert store.content_hash() == before
        kept = {path: content for path, content in files_of(url).items() if ".damaged-" in path}
        # Whatever was there is kept, and nothing has to be set aside again.
        assert set(kept.values()) >= {
            content for path, content in ruined.items() if path.startswith("graph.")
        }
        with opened(url) as store:
            assert store.content_hash() == before

    def test_damaged_graph_stays_if_the_journal_cannot_replace_it(self, empty_url):
        url = empty_url()
        fill(url, "a")
        self.ruin_file(url)
        for path in Path(url.partition(":")[2]).glob("journal/*.parquet"):
            path.write_bytes(b"")
        before = files_of(url)
        with opened(url) as store, pytest.raises(StoreDamagedError):
            store.counts()
        assert files_of(url) == before

    @pytest.mark.parametrize(
        "reason",
        [
            "IO exception: Cannot open file graph: Too many open files",
            "Buffer manager exception: Mmap for size 8796093022208 failed.",
            "IO error: Corruption: While open a file: Permission denied",
            "a reason that nobody has seen before",
        ],
    )
    @pytest.mark.parametrize("read_only", [False, True])
    def test_passing_failure_changes_no_file(self, empty_url, monkeypatch, reason, read_only):
        url = empty_url()
        before = fill(url, "a")
        files = files_of(url)
        with monkeypatch.context() as patch:
            self.fail_to_open(patch, reason)
            with pytest.raises(StoreError, match=r"graph\.(lbug|oxigraph)"):
                opened(url, read_only=read_only).counts()
        assert files_of(url) == files
        with opened(url, read_only=True) as store:
            assert store.content_hash() == before

    # Rebuilding

    def test_rebuild_makes_the_same_graph(self, empty_url):
        url = empty_url()
        fill(url, "a", "b")
        with opened(url) as store:
            store.retract([statement("a").id])
            before = store.content_hash()
            store.rebuild()
            assert store.content_hash() == before
        assert len(list(Path(url.partition(":")[2]).glob("graph.*"))) == 1

    def test_rebuild_keeps_a_graph_that_it_could_not_read(self, empty_url):
        url = empty_url()
        before = fill(url, "a")
        self.ruin_file(url)
        with opened(url) as store:
            with pytest.warns(CatalographWarning, match=r"renamed to .*\.damaged-"):
                store.rebuild()
            assert store.content_hash() == before

    def test_rebuild_survives_a_graph_that_ends_whoever_opens_it(self, empty_url, monkeypatch):
        url = empty_url()
        before = fill(url, "a")
        monkeypatch.setattr(self.store_class, "open_scan", staticmethod(dying_scan))
        with opened(url) as store:
            with pytest.warns(CatalographWarning, match=r"renamed to .*\.damaged-"):
                store.rebuild()
            assert store.content_hash() == before

    def test_rebuild_changes_nothing_for_a_passing_reason(self, empty_url, monkeypatch):
        url = empty_url()
        fill(url, "a")
        monkeypatch.setattr(self.store_class, "open_scan", staticmethod(refused_scan))
        before = files_of(url)
        with opened(url) as store, pytest.raises(StoreUnavailableError, match="Too many open"):
            store.rebuild()
        assert files_of(url) == before

    def test_rebuild_refuses_a_damaged_journal(self, empty_url):
        url = empty_url()
        before = fill(url, "a", "b")
        path = next(Path(url.partition(":")[2]).glob("journal/*.parquet"))
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        self.assert_rebuild_refuses(url, before, "nothing was rebuilt: .*damaged")

    def test_rebuild_refuses_a_journal_that_lost_its_newest_version(self, empty_url):
        url = empty_url()
        before = fill(url, "a", "b")
        (Path(url.partition(":")[2]) / "journal" / "_delta_log" / f"{1:020d}.json").unlink()
        self.assert_rebuild_refuses(url, before, "version 1.*salvage")

    def test_rebuild_refuses_without_a_journal(self, empty_url):
        url = empty_url()
        before = fill(url, "a")
        shutil.rmtree(Path(url.partition(":")[2]) / "journal")
        self.assert_rebuild_refuses(url, before, "is empty, .*salvage")

    def test_rebuild_refuses_a_damaged_graph_without_a_journal(self, empty_url):
        url = empty_url()
        fill(url, "a")
        shutil.rmtree(Path(url.partition(":")[2]) / "journal")
        self.ruin_file(url)
        before = files_of(url)
        with opened(url) as store, pytest.raises(StoreDamagedError, match="is empty"):
            store.rebuild()
        assert files_of(url) == before

    def assert_rebuild_refuses(self, url, content_hash, message):
        """Check that nothing is rebuilt, and that the graph can still be read."""
        before = files_of(url)
        with opened(url) as store, pytest.raises(StoreDamagedError, match=message):
            store.rebuild()
        assert files_of(url) == before
        graph = self.open_published(url)
        assert graph.applied_version() >= 0
        graph.close()

    @pytest.mark.filterwarnings("ignore::schema.errors.CatalographWarning")
    def test_graph_ahead_of_its_journal_is_read_but_not_written(self, empty_url):
        url = empty_url()
        before = fill(url, "a", "b")
        shutil.rmtree(Path(url.partition(":")[2]) / "journal")
        with opened(url, read_only=True) as store:
            assert store.content_hash() == before
        with opened(url) as store, pytest.raises(StoreDamagedError, match="salvage"):
            store.put(None, statements_table([statement("c")]))
        assert not (Path(url.partition(":")[2]) / "journal").exists()

    # Disks

    def test_full_disk_is_noticed_before_anything_is_written(self, empty_url, monkeypatch):
        url = empty_url()
        before = fill(url, "a")
        files = files_of(url)
        with monkeypatch.context() as patch:
            patch.setattr(room, "free_bytes", lambda folder: 1000)
            with (
                opened(url) as store,
                pytest.raises(StoreUnavailableError, match=r"about .* MB, 1\.0 kB are free"),
            ):
                store.put(None, statements_table([statement("b")]))
        assert files_of(url) == files
        with opened(url, read_only=True) as store:
            assert store.content_hash() == before

    def test_write_that_fails_halfway_is_finished_by_the_next_one(self, empty_url, monkeypatch):
        url = empty_url()
        fill(url, "a")
        store = opened(url)
        store.put(None, statements_table([statement("b")]))
        graph: Any = store._graph
        with monkeypatch.context() as patch:
            patch.setattr(graph, "apply", self.failing_apply)
            with pytest.raises(OSError, match="full"):
                store.put(None, statements_table([statement("c")]))
        with pytest.raises(StoreError, match="open it again"):
            store.put(None, statements_table([statement("d")]))
        store.close()
        with opened(url, read_only=True) as store:
            assert {row["item"] for row in scan_rows(store)} == {"a", "b", "c"}

    @staticmethod
    def failing_apply(version, changes):
        """Fail as on a full disk."""
        raise OSError("the disk is full")

    def test_read_only_disk_is_read(self, empty_url, monkeypatch):
        url = empty_url()
        before = fill(url, "a")
        self.forbid_writing(monkeypatch)
        with opened(url, create=False, read_only=True) as store:
            assert store.content_hash() == before
        with pytest.raises(StoreUnavailableError, match="Read-only file system"):
            opened(url)

    def test_graph_behind_its_journal_is_read_from_a_read_only_disk(self, empty_url, monkeypatch):
        url = empty_url()
        fill(url, "a")
        with opened(url) as store:
            rows = statements_table([statement("b")]).to_pylist()
            store.journal.append(changes_table(Changes(new_statements=rows)))
        self.forbid_writing(monkeypatch)
        with (
            pytest.warns(CatalographWarning, match=r"version 0, as published, of 1 .*Read-only"),
            opened(url, create=False, read_only=True) as store,
        ):
            assert store.counts().statements == 1

    @staticmethod
    def forbid_writing(monkeypatch):
        """Let the lock file fail to open for writing, as it does on a read-only disk."""
        really_open = os.open

        def open_file(path, flags, *arguments, **options):
            if flags & (os.O_RDWR | os.O_WRONLY):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return really_open(path, flags, *arguments, **options)

        monkeypatch.setattr(os, "open", open_file)

    def test_store_of_an_earlier_version_is_brought_up_to_date(self, empty_url, monkeypatch):
        url = empty_url()
        folder = Path(url.partition(":")[2])
        with monkeypatch.context() as patch:
            schema = journal.JOURNAL_SCHEMA
            known = [each for each in schema if each.name not in NEW_COLUMNS]
            patch.setattr(journal, "JOURNAL_SCHEMA", pa.schema(known))
            items = items_table([Item("a", "t")]).to_pylist()
            statements = statements_table([statement()]).to_pylist()
            changes = changes_table(Changes(items, new_statements=statements))
            journal.Journal(folder / "journal").append(changes)
        # A reader brings the graph up to date.
        open_store(url, read_only=True).close()
        self.forget_new_columns(url)
        with open_store(url, read_only=True) as store:
            entry = store.item("a")
            assert entry is not None
            item, facts = entry
            assert (item.description, facts[0].language) == (None, None)
            assert sum(batch.num_rows for batch in store.triples([Rank.ASSERTED])) == 1
        with opened(url) as store:
            assert store.verify() == []

        german = statement(property="title", value="Becher", language="de")
        with opened(url) as store:
            store.put(items_table([Item("a", description="d")]), statements_table([german]))
            before = store.content_hash()
        with opened(url) as store:
            assert store.item("a")[0] == Item("a", "t", description="d")
            assert store.verify() == []
            store.rebuild()
            assert store.content_hash() == before
        table = DeltaTable(str(folder / "journal"))
        names = [each.name for each in table.schema().fields]
        assert sorted(names[-len(NEW_COLUMNS) :]) == sorted(NEW_COLUMNS)

    def forget_new_columns(self, url):
        """Make the published graph what an earlier version would have made of its content."""

    def test_has_the_optional_protocols(self, store):
        assert isinstance(store, Verifiable)
        assert isinstance(store, Rebuildable)

    def test_verify_finds_a_lost_row_and_rebuild_restores_it(self, store):
        store.put(None, statements_table([statement(), statement("b")]))
        assert store.verify() == []
        self.damage_graph(store)
        store._has_unpublished = True
        assert "catalograph rebuild" in store.verify()[0]
        store.rebuild()
        assert store.counts().statements == 2
        assert store.verify() == []

    def test_missing_graph_is_reported(self, empty_url):
        with pytest.raises(StoreError, match="catalograph ingest"):
            opened(empty_url(), create=False)


class JournaledProcessContract(JournaledContract):
    """The suite with the tests of other processes that write, and of the journal's own files.

    They need to run once for each store, however its graph is read and loaded in this process.
    """

    @pytest.mark.parametrize("delay", [0.0, 0.05, 0.2])
    def test_killed_rebuild_leaves_a_whole_graph(self, empty_url, delay):
        url = empty_url()
        before = fill(url, *(f"{number}" for number in range(40)))
        rebuilder = subprocess.Popen(
            [sys.executable, "-c", REBUILDER, url], stdout=subprocess.PIPE, text=True
        )
        assert rebuilder.stdout is not None
        rebuilder.stdout.readline()
        time.sleep(delay)
        rebuilder.kill()
        rebuilder.wait()
        rebuilder.stdout.close()
        graph = self.open_published(url)
        assert (graph.applied_version(), graph.counts().statements) == (39, 40)
        graph.close()
        with opened(url) as store:
            assert store.content_hash() == before
        assert not list(Path(url.partition(":")[2]).glob("*.writing*"))

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
        first = store.journal.log.path(0)
        lines = [json.loads(line) for line in first.read_text().splitlines()]
        for line in lines:
            if "commitInfo" in line:
                line["commitInfo"]["catalograph.chain"] = "0" * 64
        first.write_text("\n".join(json.dumps(line) for line in lines))
        assert "does not follow" in store.verify()[0]

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
        store = opened(url)
        with store:
            assert expected <= {row["item"] for row in scan_rows(store)}
            assert store.verify() == []
