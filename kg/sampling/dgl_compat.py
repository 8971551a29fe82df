"""The only module that imports dgl.

DGL's graphbolt needs a compiled library that fits no current torch, and nothing here uses it, so an
empty module takes its place.
"""

from __future__ import annotations

import os
import sys
import types
import warnings
from typing import Any

# Otherwise DGL prints a line on stderr and writes its choice to the user's home directory.
os.environ.setdefault("DGLBACKEND", "pytorch")
sys.modules.setdefault("dgl.graphbolt", types.ModuleType("dgl.graphbolt"))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import dgl as _dgl

dgl: Any = _dgl
"""The dgl package."""
