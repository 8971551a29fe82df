"""A GPU's own measured rate, against which benchmarks compare."""

from __future__ import annotations

import time

import torch


def matrix_rate(device: torch.device, side: int = 8192) -> float:
    """Measure a GPU's rate of bf16 matrix products, in operations per second."""
    # Large enough that the products, and not their calls, take the time.
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    repeats = 50
    for _ in range(5):
        a @ a
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        a @ a
    torch.cuda.synchronize()
    return repeats * 2 * side**3 / (time.perf_counter() - start)
