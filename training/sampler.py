"""Which of N things are in which batch: a function of seed, epoch and step alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class StepSampler:
    """Shuffles anew each epoch; the last batch of an epoch is filled from its own beginning.

    A batch of ``batch_size`` is that of all ``world`` processes; each takes every ``world``-th of it.
    """

    def __init__(
        self, indices: Ints, batch_size: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        if len(indices) == 0:
            raise ValueError("nothing to sample from")
        self.indices = indices
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world = world
        self._epoch = -1
        self._order = indices

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch, the filled one included."""
        return -(-len(self.indices) // self.batch_size)

    def epoch(self, step: int) -> int:
        """The epoch that ``step`` belongs to, from 0."""
        return step // self.steps_per_epoch

    def shares(self, step: int) -> list[Ints]:
        """Each process's part of the batch at ``step``."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._order = np.random.default_rng([self.seed, epoch]).permutation(self.indices)
            self._epoch = epoch
        places = np.arange(position * self.batch_size, (position + 1) * self.batch_size) % len(
            self._order
        )
        whole = self._order[places]
        return [whole[rank :: self.world] for rank in range(self.world)]

    def batch(self, step: int) -> Ints:
        """This process's part [B] of the batch at ``step``."""
        return self.shares(step)[self.rank]
