"""How the process takes memory from the system."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3


def keep_freed_memory() -> bool:
    """Have glibc keep what is freed instead of giving it back; True where that could be set.

    A training step frees and takes the same hundreds of megabytes again; by default glibc maps and unmaps them each time, and the
    kernel's clearing of fresh pages then takes half of both cores (measured: 22 against 115 items/s).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, 1 << 30) and mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1))
