"""Pickle memory-mapped arrays as references to their files.

By default numpy pickles their content, so each data-loading process would get its own copy.
"""

from __future__ import annotations

import copyreg
import mmap
from collections.abc import Callable
from typing import Any

import numpy as np


def pickle_memmaps_by_path() -> None:
    """Make this process pickle memory-mapped arrays as the paths of their files."""
    copyreg.pickle(np.memmap, _reduce)


def _reduce(array: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    # A slice of a mapped array has the file's name too, but not its own offset in the file, so it
    # is pickled with its content. Its base is another array instead of the mmap.
    is_whole_file = isinstance(array.base, mmap.mmap) and array.flags.c_contiguous
    if is_whole_file and array.filename is not None:
        return _map_file, (str(array.filename), array.dtype.str, array.offset, array.shape)
    return np.asarray, (np.array(array),)


def _map_file(name: str, dtype: str, offset: int, shape: tuple[int, ...]) -> Any:
    return np.memmap(name, dtype=dtype, mode="r", offset=offset, shape=shape)
