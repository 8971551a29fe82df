"""What a failure of an embedded database or of the disk means: it passes, or the graph is damaged.

Ladybug and Oxigraph report everything as text in exceptions of a few general classes. The phrases
here were provoked on purpose: limits on files, memory and their sizes, full and read-only disks,
missing permissions, locks, and graphs that were truncated or altered.
"""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from schema.errors import StoreDamagedError, StoreError, StoreUnavailableError

MAX_REASON = 200


@dataclass(frozen=True)
class _Passing:
    """A failure that says nothing about the graph: the phrase by which it is known, and what to do.

    ``reason`` says it in plainer words than the phrase.
    """

    phrase: str
    advice: str
    reason: str = ""


_MORE_FILES = "raise the limit on open files (`ulimit -n 1024`)"
_MORE_MEMORY = "free memory, or raise the limit on it (`ulimit -v`)"
_TOO_LITTLE = "too little memory"
_WAIT = "wait for the process that has it open to end"

_PASSING = (
    _Passing("No space left on device", "make room on the disk"),
    _Passing("Disk quota exceeded", "make room in your quota"),
    _Passing("File too large", "raise the limit on the size of files (`ulimit -f`)"),
    _Passing("Too many open files", _MORE_FILES),
    _Passing("needs at least 96 file descriptors", _MORE_FILES),
    _Passing("Read-only file system", "make the disk writable, or write to a copy of the store"),
    _Passing("Permission denied", "get permission, or use a copy of the store"),
    _Passing("Operation not permitted", "get permission, or use a copy of the store"),
    _Passing("Cannot allocate memory", _MORE_MEMORY, _TOO_LITTLE),
    _Passing("Mmap for size", _MORE_MEMORY, _TOO_LITTLE),
    _Passing("buffer pool is full", _MORE_MEMORY, _TOO_LITTLE),
    _Passing("bad_alloc", _MORE_MEMORY, _TOO_LITTLE),
    _Passing("malloc of size", _MORE_MEMORY, _TOO_LITTLE),
    _Passing("Resource temporarily unavailable", "wait for other processes to end"),
    _Passing("Could not set lock", _WAIT, "it is locked"),
    _Passing("lock hold by", _WAIT, "it is locked"),
    _Passing("Input/output error", "check the disk"),
    _Passing("Interrupted system call", "wait a moment"),
    _Passing("Device or resource busy", "wait for other processes to end"),
    _Passing("Stale file handle", "mount the disk again"),
    _Passing("Transport endpoint is not connected", "mount the disk again"),
    # Ladybug's words for a write that stored only a part, which the system calls no error.
    _Passing("Cannot write to file", "check the disk and its free space", "it cannot be written"),
)

_OTHER_VERSION = "different version"


def store_error(error: BaseException, path: Path, damage: Sequence[str]) -> StoreError:
    """Return the error to raise for one of a database at ``path``.

    ``damage`` are the phrases by which this database reports that its files are damaged.
    """
    text = " ".join(str(error).split())
    # Passing reasons first: a database that may not open a file may also call it corrupt.
    for passing in _PASSING:
        if passing.phrase in text:
            return _unavailable_error(path, passing.reason or passing.phrase, passing.advice)
    reason = text[:MAX_REASON] or type(error).__name__
    if any(phrase in text for phrase in damage):
        return StoreDamagedError(
            f"{path} is damaged ({reason}): run `catalograph rebuild`, which makes the graph anew "
            "from its journal"
        )
    if _OTHER_VERSION in text:
        return StoreError(
            f"{path} is of another version ({reason}): use the Catalograph that wrote it, or make "
            "the graph anew from its journal with `catalograph rebuild`"
        )
    return StoreError(
        f"{path} failed ({reason}): `catalograph verify` checks it, and `catalograph rebuild` "
        "makes the graph anew from its journal"
    )


@contextmanager
def unavailable(path: Path) -> Iterator[None]:
    """Raise what the system refuses in the block as StoreUnavailableError about ``path``."""
    try:
        yield
    except OSError as error:
        raise _refusal(error, path) from None


def temporary_files_error(reason: str) -> StoreUnavailableError:
    """Return the error to raise if temporary files cannot be written."""
    return StoreUnavailableError(
        f"temporary files in {tempfile.gettempdir()} cannot be written ({reason[:MAX_REASON]}): "
        "make room there, or set TMPDIR to a folder on another disk"
    )


@contextmanager
def temporary_files() -> Iterator[None]:
    """Raise what the system refuses in the block, which writes temporary files, as that error."""
    try:
        yield
    except OSError as error:
        raise temporary_files_error(error.strerror or " ".join(str(error).split())) from None


def _refusal(error: OSError, path: Path) -> StoreUnavailableError:
    # Libraries that are not written in Python give the system's words in the midst of their own.
    text = error.strerror or str(error)
    for passing in _PASSING:
        if passing.phrase in text:
            return _unavailable_error(path, passing.reason or passing.phrase, passing.advice)
    return _unavailable_error(path, " ".join(text.split())[:MAX_REASON], "check the disk")


def _unavailable_error(path: Path, reason: str, advice: str) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"{path} cannot be used now ({reason}): {advice}, then try again; nothing that was stored "
        "is lost"
    )


def forget_frames(error: BaseException | None) -> None:
    """Let go of all that the tracebacks of an error, and of those that led to it, hold on to.

    For errors that go to another thread: pyoxigraph has objects that may be released only in the
    thread that made them.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
