"""How the workers of a completion on a Ray cluster share its GPUs."""

from __future__ import annotations

import os
from dataclasses import dataclass

VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"
"""The environment variable that says which GPUs a process sees; empty for none. Ray sets it."""
PARTS = 10_000
"""The parts of a GPU in which Ray counts."""


@dataclass(frozen=True)
class GpuShares:
    """What each of several workers asks for of the GPUs of a cluster.

    Attributes:
        workers: how many there are
        gpus: how many GPUs they may use; 0 if they compute on processors alone
    """

    workers: int
    gpus: int

    @property
    def on_each(self) -> int:
        """How many workers share a GPU."""
        return -(-self.workers // self.gpus) if self.gpus else 0

    @property
    def share(self) -> float:
        """What a worker asks Ray for: a GPU, or the part of one that so many leave it."""
        return PARTS // self.on_each / PARTS if self.gpus else 0.0

    def needed(self, workers: int) -> int:
        """Return how many GPUs hold some of the workers."""
        return -(-workers // self.on_each) if self.gpus else 0

    def note(self, *, is_default: bool) -> str | None:
        """Return what to tell a user, who may have named the number of workers."""
        if not self.gpus:
            return None
        if self.on_each > 1:
            gpus = "a GPU" if self.gpus == 1 else f"{self.gpus} GPUs"
            return (
                f"{self.workers} workers share {gpus}, up to {self.on_each} on each, whose memory "
                "has to hold what they compute"
            )
        if is_default:
            return (
                f"scoring with a worker for each GPU, {self.workers} in all: --workers changes it"
            )
        return None


def are_gpus_hidden() -> bool:
    """Return whether the user has chosen the CPU, by hiding all GPUs from this process."""
    return os.environ.get(VISIBLE_GPUS, "0").strip() in ("", "-1")
