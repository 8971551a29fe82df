"""Which items a step sees: a pure function of (seed, epoch, step), so that a resumed run goes on where it stopped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class StepSampler:
    """Shuffles ``indices`` anew each epoch and cuts them into batches; the last batch of an epoch is filled from its own beginning.

    With ``world`` processes each takes its slice of the same global batch.
    """

    def __init__(self, indices: NDArray[np.int64], batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        if len(indices) == 0:
            raise ValueError("no item to sample from")
        self.indices, self.batch_size, self.seed = indices, batch_size * world, seed
        self.rank, self.world = rank, world
        self._epoch = -1
        self._order = indices

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch, the filled one included."""
        return -(-len(self.indices) // self.batch_size)

    def epoch(self, step: int) -> int:
        """The epoch that ``step`` belongs to, from 0."""
        return step // self.steps_per_epoch

    def batch(self, step: int) -> NDArray[np.int64]:
        """Items [B] of this process at ``step``."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._order = np.random.default_rng([self.seed, epoch]).permutation(self.indices)
            self._epoch = epoch
        places = np.arange(position * self.batch_size, (position + 1) * self.batch_size) % len(self._order)
        return self._order[places][self.rank :: self.world]
