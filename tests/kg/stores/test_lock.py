"""The writers' lock: who holds it, waiting for it, and disks that refuse it."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from itertools import count

import pytest

from kg.stores import lock
from kg.stores.lock import StoreLock, holder_of
from schema.errors import CatalographWarning, StoreLockedError, StoreUnavailableError

HOLDER = """
import sys
from pathlib import Path
from kg.stores.lock import StoreLock
store_lock = StoreLock(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "graph" / "lock"


@pytest.fixture
def holder(path):
    """A process that holds the lock until its input is closed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_the_holder_is_named(path, holder):
    with pytest.raises(StoreLockedError, match=f"process {holder.pid}: wait"):
        StoreLock(path, wait=0)


def test_a_dead_writer_is_never_named(path, holder):
    # What a writer that was killed has left, as readers could once find it.
    path.write_text("999999999")
    with pytest.raises(StoreLockedError, match=f"process {holder.pid}"):
        StoreLock(path, wait=0)


@pytest.mark.parametrize("left", ["999999999", "0", "-1", "nonsense", ""])
def test_an_unknown_holder_is_another_process(path, holder, left, monkeypatch, tmp_path):
    path.write_text(left)
    monkeypatch.setattr(lock, "_LOCKS", tmp_path / "missing")
    with pytest.raises(StoreLockedError, match="in use by another process"):
        StoreLock(path, wait=0)


def test_without_a_list_of_locks_a_living_writer_is_named(path, holder, monkeypatch, tmp_path):
    monkeypatch.setattr(lock, "_LOCKS", tmp_path / "missing")
    assert holder_of(path) == holder.pid


def test_nobody_holds_a_lock_that_was_released(path):
    StoreLock(path).release()
    assert path.read_text() == str(os.getpid())
    assert holder_of(path) is None


def test_a_writer_waits_for_another_one_and_says_so(path, holder, monkeypatch):
    monkeypatch.setattr(lock, "SAY_AFTER_SECONDS", 0.0)

    has_said_so = threading.Event()
    attempts = count()
    try_to_lock = lock._try_to_lock

    def noted(*given):
        is_locked = try_to_lock(*given)
        if not is_locked and next(attempts):
            has_said_so.set()
        return is_locked

    def end_then():
        has_said_so.wait(30)
        holder.kill()

    monkeypatch.setattr(lock, "_try_to_lock", noted)
    threading.Thread(target=end_then).start()
    with pytest.warns(CatalographWarning, match=f"process {holder.pid}: waiting") as told:
        StoreLock(path, wait=60).release()
    assert len(told) == 1


def test_a_process_does_not_wait_for_itself(path):
    held = StoreLock(path)
    began = time.monotonic()
    with pytest.raises(StoreLockedError, match=str(os.getpid())):
        StoreLock(path, wait=60)
    assert time.monotonic() - began < 30
    held.release()


def test_a_disk_without_room_for_the_pid_is_locked_all_the_same(path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", refuse)
    held = StoreLock(path)
    with pytest.raises(StoreLockedError):
        StoreLock(path, wait=0)
    held.release()


@pytest.mark.parametrize("name", ["EROFS", "EACCES", "ENOSPC", "EMFILE"])
def test_a_file_that_cannot_be_written_is_no_lock_of_others(path, monkeypatch, name):
    number = getattr(errno, name)

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    path.parent.mkdir()
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StoreUnavailableError, match=os.strerror(number)):
        StoreLock(path, wait=0)


def test_a_file_system_without_locks_is_named(path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreUnavailableError, match="that has locks"):
        StoreLock(path, wait=0)
