"""Is there room on the disk? Asked before a write, since a store that runs out of it gives up."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from schema.errors import StoreUnavailableError

SPARE_BYTES = 1 << 20
"""Room to leave for what is written beside a graph: the ledger, the lock, entries of folders."""


def check_room(folder: Path, needed: int, largest_file: int = 0) -> None:
    """Raise StoreUnavailableError unless the disk has room for ``needed`` more bytes.

    ``largest_file`` is the size in bytes that a file will reach; the system may limit that, too.
    """
    free = free_bytes(folder)
    if free < needed + SPARE_BYTES:
        raise StoreUnavailableError(
            f"the disk of {folder} is full: this needs about {readable(needed + SPARE_BYTES)}, "
            f"{readable(free)} are free; make room, then try again: nothing that was stored is lost"
        )
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit != resource.RLIM_INFINITY and limit < largest_file:
        raise StoreUnavailableError(
            f"files may have at most {readable(limit)} here, and {folder} needs one of about "
            f"{readable(largest_file)}: raise the limit (`ulimit -f`), then try again"
        )


def free_bytes(folder: Path) -> int:
    """Return the bytes that may still be written to the disk of a folder."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def readable(size: int) -> str:
    """Return a number of bytes for people, such as ``3.2 MB``."""
    amount = float(size)
    units = ["bytes", "kB", "MB", "GB", "TB"]
    while amount >= 1000 and len(units) > 1:
        amount /= 1000
        del units[0]
    return f"{amount:.0f} bytes" if units[0] == "bytes" else f"{amount:.1f} {units[0]}"
