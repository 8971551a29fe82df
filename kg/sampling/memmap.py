"""Memory-mapped arrays that another process maps again, where numpy would send their bytes."""

from __future__ import annotations

import copyreg
import mmap
from collections.abc import Callable
from typing import Any

import numpy as np


def _mapped_again(name: str, dtype: str, offset: int, shape: tuple[int, ...]) -> Any:
    return np.memmap(name, dtype=dtype, mode="r", offset=offset, shape=shape)


def _reduced(array: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A whole mapped file goes by its name; a part of one, whose place numpy does not know, by its bytes."""
    if (
        isinstance(array.base, mmap.mmap)
        and array.filename is not None
        and array.flags.c_contiguous
    ):
        return _mapped_again, (str(array.filename), array.dtype.str, array.offset, array.shape)
    plain = np.array(array)
    return np.asarray, (plain,)


def send_by_name() -> None:
    """From now on pickles of memory-mapped arrays hold the files' names."""
    copyreg.pickle(np.memmap, _reduced)
