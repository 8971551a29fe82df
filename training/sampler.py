"""The choice of a batch's examples, as a function of seed, epoch and step alone."""

from __future__ import annotations

import numpy as np

from schema.arrays import IntArray


class StepSampler:
    """Shuffles ``indices`` in every epoch and cuts them into batches of ``batch_size``.

    The last batch of an epoch is filled up with examples from the beginning of the epoch. A batch
    is to be divided among ``world`` processes, of which this one has the number ``rank``.
    """

    def __init__(
        self,
        indices: IntArray,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
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
        """The number of batches in an epoch, including the one that is filled up."""
        return -(-len(self.indices) // self.batch_size)

    def epoch(self, step: int) -> int:
        """Return the epoch that ``step`` belongs to, from 0."""
        return step // self.steps_per_epoch

    def whole(self, step: int) -> IntArray:
        """Return the batch at ``step``, of all processes together."""
        epoch, position = divmod(step, self.steps_per_epoch)
        # The order depends on seed and epoch alone: a resumed run goes on where it stopped.
        if epoch != self._epoch:
            self._order = np.random.default_rng([self.seed, epoch]).permutation(self.indices)
            self._epoch = epoch
        first = position * self.batch_size
        places = np.arange(first, first + self.batch_size) % len(self._order)
        return self._order[places]
