"""Open an Oxigraph store's files for reading, beside a writer that may be at work."""

from __future__ import annotations

import time

from pyoxigraph import Store

ATTEMPTS = 10
PAUSE_SECONDS = 0.05


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
