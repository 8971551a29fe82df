"""The version of the code that turns the rows of sources into items and statements.

What an earlier version made of a row may not be what this one makes of it, so nothing is kept from
one version to another. Nobody has to raise a number: the version is a hash of the code itself.
"""

from __future__ import annotations

import hashlib
import sys
import unicodedata
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

import kg.ingest
import kg.stores
import schema

_PARTS = ((kg.ingest, "**/*.py"), (schema, "**/*.py"), (kg.stores, "*.py"))


@cache
def reading_version() -> str:
    """Return a text that is another one whenever the code, or what it builds upon, has changed.

    It is empty where the code cannot be read, so that nothing may be kept.
    """
    digest = hashlib.sha256()
    for package, pattern in _PARTS:
        folder = Path(package.__path__[0])
        paths = sorted(folder.glob(pattern))
        if not paths:
            return ""
        for path in paths:
            digest.update(str(path.relative_to(folder)).encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    for text in (sys.version, np.__version__, pa.__version__, unicodedata.unidata_version):
        digest.update(text.encode() + b"\n")
    return digest.hexdigest()
