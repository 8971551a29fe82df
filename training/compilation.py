"""Compiling a step with torch.compile: as a whole, or the transformer layers alone.

A step on a GPU is thousands of small kernels. At small batches launching them takes longer than
their arithmetic, and at large ones they read and write every intermediate result. A compiled step
fuses them. No operation of a step depends on values that only the GPU has, so that a step can be
traced as one graph.
"""

from __future__ import annotations

import os
import shutil

import torch
from torch import nn
from torch.utils._triton import has_triton

from encoders.layers import TransformerLayer


def compile_objective(objective: nn.Module, mode: str, device: torch.device) -> None:
    """Compile ``objective`` in place.

    Args:
        objective: a model with its objectives
        mode: ``step`` traces the whole step as one graph, forward and backward, which takes
            minutes when it first runs; ``layers`` compiles only the transformer layers, which takes
            seconds, since layers of a kind share a graph; ``never``; or ``auto``: ``layers`` on a
            GPU if Triton and a C compiler are installed
        device: where the step will run
    """
    if mode == "auto":
        mode = "layers" if device.type == "cuda" and can_compile() else "never"
    if mode == "never":
        return
    # Two sizes that happen to be equal in the first batch would otherwise have to stay equal.
    torch.fx.experimental._config.use_duck_shape = False
    if mode == "step":
        # This analysis asserts that sizes which are equal in fact are equal in its eyes, and fails
        # for some of the sums of sizes of a whole step (PyTorch 2.11).
        torch._inductor.config.triton.coalesce_tiling_analysis = False
        # Nor can one kernel for reductions along rows and along columns split such sums.
        torch._inductor.config.triton.mix_order_reduction = False
        objective.compile(dynamic=True)
        return
    for module in objective.modules():
        if isinstance(module, TransformerLayer):
            module.compile_sublayers()


def can_compile() -> bool:
    """Return whether there is Triton, and the C compiler that it needs for every kernel."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    return has_triton() and compiler is not None
