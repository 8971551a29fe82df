"""Open an Oxigraph store's files, and turn its errors into Catalograph's."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyoxigraph import Store

from kg.stores.failures import store_error
from schema.errors import StoreUnavailableError

ATTEMPTS = 10
PAUSE_SECONDS = 0.05

LEAST_MEMORY = 1 << 30
"""Address space in which Oxigraph can start its threads."""

DAMAGE = ("Corruption", "No such file or directory")
"""Phrases by which Oxigraph reports damaged or missing files, when nobody else is writing them."""


def open_for_reading(folder: str) -> Store:
    """Open the quads in ``folder`` read-only, as they are at this moment.

    Raises RuntimeError or OSError if the files cannot be opened.
    """
    # RocksDB reads the list of its files first and the files then. A writer in another process, or
    # in this one, may compact files in between and delete those that were listed; the error calls
    # the store corrupt, and the next attempt finds the new list.
    for _ in range(ATTEMPTS - 1):
        try:
            return Store.read_only(folder)
        except RuntimeError as error:
            if "No such file" not in str(error):
                raise
            time.sleep(PAUSE_SECONDS)
    return Store.read_only(folder)


@contextmanager
def oxigraph_errors(folder: Path) -> Iterator[None]:
    """Raise Oxigraph's errors in the block as StoreError about the quads in ``folder``."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, MemoryError) as error:
        raise store_error(error, folder, DAMAGE) from None


def check_memory(folder: Path) -> None:
    """Raise StoreUnavailableError if a limit leaves Oxigraph too little address space.

    It would otherwise end the process, which cannot be caught.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < LEAST_MEMORY:
        raise StoreUnavailableError(
            f"{folder} needs {LEAST_MEMORY >> 20} MB of memory to be opened, the limit is "
            f"{limit >> 20} MB: raise it (`ulimit -v`), then try again"
        )
