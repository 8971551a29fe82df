"""The product graph: stores, ingest, export, snapshots, sampling and quality checks."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from kg.home import Home
    from kg.snapshot import GraphSnapshot, read_snapshot
    from kg.stats import read_stats

__all__ = [
    "GraphSnapshot",
    "Home",
    "read_snapshot",
    "read_stats",
]

# Names are imported when they are first used: most commands need few of these modules.
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "home": ["Home"],
        "snapshot": ["GraphSnapshot", "read_snapshot"],
        "stats": ["read_stats"],
    },
)
