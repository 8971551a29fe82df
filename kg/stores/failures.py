"""What a failure of an embedded database or of the disk means: it passes, or the graph is damaged.

Ladybug and Oxigraph report everything as text in exceptions of a few general classes. The phrases
here were provoked on purpose: limits on files, memory and their sizes, full and read-only disks,
missing permissions, locks, and graphs that were truncated or altered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from schema.errors import StoreDamagedError, StoreError, StoreUnavailableError

MAX_REASON = 200

_PASSING = (
    ("No space left on device", "make room on the disk"),
    ("Disk quota exceeded", "make room in your quota"),
    ("File too large", "raise the limit on the size of files (`ulimit -f`)"),
    ("Too many open files", "raise the limit on open files (`ulimit -n 1024`)"),
    ("needs at least 96 file descriptors", "raise the limit on open files (`ulimit -n 1024`)"),
    ("Read-only file system", "make the disk writable, or write to a copy of the store"),
    ("Permission denied", "get permission, or use a copy of the store"),
    ("Operation not permitted", "get permission, or use a copy of the store"),
    ("Cannot allocate memory", "free memory, or raise the limit on it (`ulimit -v`)"),
    ("Mmap for size", "raise the limit on memory (`ulimit -v`)"),
    ("buffer pool is full", "free memory, or ask for less at once"),
    ("bad_alloc", "free memory, or raise the limit on it (`ulimit -v`)"),
    ("malloc of size", "free memory, or raise the limit on it (`ulimit -v`)"),
    ("Resource temporarily unavailable", "wait for other processes to end"),
    ("Could not set lock", "wait for the process that has it open to end"),
    ("lock hold by", "wait for the process that has it open to end"),
    ("Input/output error", "check the disk and its cables"),
    ("Interrupted system call", "wait a moment"),
    ("Device or resource busy", "wait for other processes to end"),
    ("Stale file handle", "mount the disk again"),
    ("Transport endpoint is not connected", "mount the disk again"),
    ("Cannot write to file", "check the disk and its free space"),
)
"""Phrases of failures that say nothing about the graph, and what the user can do about each."""

_OTHER_VERSION = "different version"


def store_error(error: BaseException, path: Path, damage: Sequence[str]) -> StoreError:
    """Return the error to raise for one of a database at ``path``.

    ``damage`` are the phrases by which this database reports that its files are damaged.
    """
    text = " ".join(str(error).split())
    # Passing reasons first: a database that may not open a file may also call it corrupt.
    for phrase, advice in _PASSING:
        if phrase in text:
            return StoreUnavailableError(
                f"{path} cannot be used now ({phrase}): {advice}, then try again; nothing that was "
                "stored is lost"
            )
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
        reason = error.strerror or str(error)
        advice = "check the disk"
        for phrase, way_on in _PASSING:
            if phrase in reason:
                advice = way_on
        raise StoreUnavailableError(
            f"{path} cannot be written ({reason}): {advice}, then try again; nothing that was "
            "stored is lost"
        ) from None
