"""Readers of catalogue files: one module per format.

To support another format, add one module to this folder whose ``READER`` is an instance of
``kg.ingest.readers.base.Reader``. It is found by that name; there is no list to extend. Its tests
inherit ``tests/contracts/reader_contract.py``.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from kg.ingest.readers.base import Reader


@cache
def all_readers() -> tuple[Reader, ...]:
    """Return the reader of every module in this package, in the order of the modules' names."""
    readers = []
    for module in pkgutil.iter_modules(__path__):
        reader = vars(importlib.import_module(f"{__name__}.{module.name}")).get("READER")
        # The base class and helpers that readers share have no reader of their own.
        if isinstance(reader, Reader):
            readers.append(reader)
    return tuple(readers)


def reader_for(suffix: str) -> Reader | None:
    """Return the reader of the files with a suffix, or None if no reader takes them."""
    return next((reader for reader in all_readers() if suffix in reader.suffixes), None)


def supported_suffixes() -> tuple[str, ...]:
    """Return all file name suffixes that can be read."""
    return tuple(suffix for reader in all_readers() for suffix in reader.suffixes)
