"""What the databases' own errors mean, as they were provoked with limits, full disks and flips."""

import errno
import os
import resource
from pathlib import Path

import pytest

from kg.stores import ladybug_database, oxigraph_database
from kg.stores.failures import store_error, unavailable
from kg.stores.ladybug_database import ladybug_errors
from kg.stores.oxigraph_database import check_memory, oxigraph_errors
from kg.stores.room import check_room, readable
from schema.errors import StoreDamagedError, StoreError, StoreUnavailableError

PASSING = [
    "IO exception: Cannot open file /x/graph.lbug: Too many open files",
    "IO exception: Cannot open file /x/graph.lbug: Permission denied",
    "IO exception: Cannot open file /x/graph.lbug: Read-only file system",
    "Buffer manager exception: Mmap for size 8796093022208 failed.",
    "Buffer manager exception: Unable to allocate memory! The buffer pool is full and no memory "
    "could be freed!",
    "std::bad_alloc",
    "IO exception: Cannot write to file. path: /x/graph.lbug.wal fileDescriptor: 4 "
    "offsetToWrite: 0 numBytesToWrite: 4096 numBytesWritten: -1. Error: No space left on device",
    "IO exception: Cannot write to file. path: /x/graph.lbug.wal fileDescriptor: 4 "
    "offsetToWrite: 0 numBytesToWrite: 4096 numBytesWritten: 1024. Error: Success",
    "IO exception: Could not set lock on file : /x/graph.lbug (Lock is held by PID 7)",
    "Oxigraph needs at least 96 file descriptors when reserving 48 descriptors for non-RocksDB "
    "usage, only 24 allowed. Run e.g. `ulimit -n 512` to allow 512 opened files",
    "IO error: While open a file for random read: /x/000018.sst: Permission denied",
    "IO error: While lock file: /x/LOCK: Resource temporarily unavailable",
    "Corruption: Corruption: IO error: Too many open files: While open a file: /x/000018.sst",
    "IO error: While pread offset 0 len 4096: /x/000018.sst: Input/output error",
]
LADYBUG_DAMAGE = [
    "Runtime exception: Unable to open database. The file is not a valid Lbug database file!",
    "Runtime exception: Reading past the end of the file /x with size 1 at offset 1",
    "Runtime exception: Cannot read checkpoint: catalog page range starts at 542 and spans 1 "
    "pages, outside the database file with 1 pages. The database may be checkpointing; please "
    "retry later.",
    "Runtime exception: Load table failed: table 12222009533392960153 doesn't exist in catalog.",
    "Storage exception: Checksum verification failed, the WAL file is corrupted.",
    "Binder exception: Table Applied does not exist.",
]
OXIGRAPH_DAMAGE = [
    "Corruption: CURRENT file corrupted",
    "Corruption: CURRENT file does not end with newline",
    "Corruption: block checksum mismatch: stored = 1, computed = 2, type = 4 in /x/000018.sst",
    "Corruption: Sst file size mismatch between expected 1 and file system 2 sstable: "
    "/x/000018.sst",
    "IO error: No such file or directory: While opening a file for sequentially reading: "
    "/x/CURRENT",
    "Corruption: IO error: No such file or directory: While open a file: /x/000018.sst",
]
PATH = Path("/x/graph")


@pytest.mark.parametrize("text", PASSING)
@pytest.mark.parametrize("damage", [ladybug_database.DAMAGE, oxigraph_database.DAMAGE])
def test_what_passes_is_never_damage(text, damage):
    error = store_error(RuntimeError(text), PATH, damage)
    assert isinstance(error, StoreUnavailableError)
    assert "nothing that was stored is lost" in str(error)


@pytest.mark.parametrize("text", LADYBUG_DAMAGE)
def test_damage_of_ladybug_is_proven(text):
    with pytest.raises(StoreDamagedError, match="catalograph rebuild"), ladybug_errors(PATH):
        raise RuntimeError(text)


@pytest.mark.parametrize("text", OXIGRAPH_DAMAGE)
def test_damage_of_oxigraph_is_proven(text):
    with pytest.raises(StoreDamagedError, match="catalograph rebuild"), oxigraph_errors(PATH):
        raise RuntimeError(text)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Binder exception: something new"),
        RuntimeError(
            "Trying to read a database file with a different version. Database file "
            "version: 50, Current build storage version: 49"
        ),
        RuntimeError(""),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        IndexError("vector::_M_range_check"),
        ValueError("basic_string::_M_create"),
    ],
)
def test_whatever_else_fails_is_neither(error):
    with pytest.raises(StoreError, match="catalograph rebuild") as raised, ladybug_errors(PATH):
        raise error
    assert type(raised.value) is StoreError
    assert "\n" not in str(raised.value)


def test_what_the_system_refuses_is_told_with_advice():
    with (
        pytest.raises(StoreUnavailableError, match=r"Disk quota exceeded.*quota"),
        unavailable(PATH),
    ):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))


def test_other_libraries_words_are_left_out():
    text = "Generic LocalFileSystem error\n \x1b[31m↳\x1b[0m No space left on device (os error 28)"
    with (
        pytest.raises(StoreUnavailableError, match=r"\(No space left on device\)"),
        unavailable(PATH),
    ):
        raise OSError(text)


def test_a_limit_on_files_is_noticed_before_the_write(tmp_path, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1_000_000, 1_000_000))
    check_room(tmp_path, 0, 1_000_000)
    with pytest.raises(StoreUnavailableError, match=r"1\.0 MB here.*2\.5 MB.*ulimit -f"):
        check_room(tmp_path, 0, 2_500_000)


def test_a_limit_on_memory_is_noticed_before_oxigraph_aborts(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (300 << 20, 300 << 20))
    with pytest.raises(StoreUnavailableError, match=r"1024 MB .*limit is 300 MB"):
        check_memory(PATH)


@pytest.mark.parametrize(
    ("limit", "size"),
    [(resource.RLIM_INFINITY, 1 << 43), (16 << 30, 1 << 32), (1 << 30, 1 << 30)],
)
def test_ladybug_reserves_what_a_limit_leaves(monkeypatch, limit, size):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limit, limit))
    assert ladybug_database._address_space() == size


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (3_240_000, "3.2 MB")]
)
def test_sizes_are_readable(size, text):
    assert readable(size) == text
