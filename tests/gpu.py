"""What tests of a real GPU share; they are skipped where there is none."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@contextmanager
def waiting_is_an_error() -> Iterator[None]:
    """Raise RuntimeError if the program waits for the GPU inside the ``with`` block."""
    with warnings.catch_warnings():
        # That the mode is a prototype.
        warnings.simplefilter("ignore", UserWarning)
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
