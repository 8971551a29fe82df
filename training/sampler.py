"""The choice of a batch's examples, as a function of seed, epoch and step alone."""

from __future__ import annotations

import bisect
import math

import numpy as np

from schema.arrays import IntArray

SHARDS_TOGETHER = 8
"""So many shards are shuffled together, so that a batch is not of neighbours in the catalogue."""

MAX_SHARDS = 10_000

MEMORY_SHARE = 0.5
"""Arrays that take more than this share of the available memory are read in shards."""

SHARDS_SHARE = 0.25
"""The share of the available memory that the shards which are read at a time are to take."""


class StepSampler:
    """Shuffles ``indices`` in every epoch and cuts them into batches of ``batch_size``.

    The last batch of an epoch is filled up with examples from the beginning of the epoch. A batch
    is to be divided among ``world`` processes, of which this one has the number ``rank``.

    With ``shards``, an epoch visits them in a random order, ``SHARDS_TOGETHER`` at a time, whose
    examples are shuffled together: what is read in files of the examples then lies in a part of
    them. Shard s are the examples ``shards[s]`` to ``shards[s + 1]`` of ``indices``. One shard, or
    none given, is a shuffle of all.
    """

    def __init__(
        self,
        indices: IntArray,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        shards: IntArray | None = None,
    ) -> None:
        if len(indices) == 0:
            raise ValueError("nothing to sample from")
        self.indices = indices
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world = world
        self.shards = np.array([0, len(indices)]) if shards is None else shards
        self._epoch = -1
        self._order = np.zeros(0, np.int64)
        self._starts = np.zeros(1, np.int64)
        self._shuffled: dict[int, IntArray] = {}

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
            self._begin(epoch)
        first = position * self.batch_size
        places = np.arange(first, first + self.batch_size) % len(self.indices)
        batch = np.empty(len(places), np.int64)
        group = np.searchsorted(self._starts, places, side="right") - 1
        for number in np.unique(group).tolist():
            own = group == number
            batch[own] = self._group(number)[places[own] - self._starts[number]]
        return batch

    def _begin(self, epoch: int) -> None:
        """Choose the order of the shards in an epoch, and where each group of them begins."""
        sizes = np.diff(self.shards)
        self._order = np.arange(1)
        if len(sizes) > 1:
            self._order = np.random.default_rng([self.seed, epoch]).permutation(len(sizes))
        in_groups = np.add.reduceat(
            sizes[self._order], np.arange(0, len(self._order), SHARDS_TOGETHER)
        )
        self._starts = np.concatenate([[0], in_groups[:-1].cumsum()])
        self._shuffled = {}
        self._epoch = epoch

    def _group(self, number: int) -> IntArray:
        """Return the examples of a group of shards in the order of the epoch."""
        found = self._shuffled.get(number)
        if found is None:
            first = number * SHARDS_TOGETHER
            shards = np.sort(self._order[first : first + SHARDS_TOGETHER])
            parts = [self.indices[self.shards[s] : self.shards[s + 1]] for s in shards]
            key = [self.seed, self._epoch]
            if len(self.shards) > 2:
                # By seed and epoch alone the shards are ordered. 0 would give the same numbers.
                key.append(number + 1)
            own = parts[0] if len(parts) == 1 else np.concatenate(parts)
            found = np.random.default_rng(key).permutation(own)
            # A batch may lie in two groups; the last one of an epoch also takes from the first.
            self._shuffled = {
                other: examples for other, examples in self._shuffled.items() if other == number - 1
            }
            self._shuffled[number] = found
        return found


def shard_bounds(indptr: IntArray, indices: IntArray, count: int) -> IntArray:
    """Cut items into ``count`` shards of about as many statements each.

    ``indptr`` [I + 1] are where each item's statements begin; ``indices`` [N] are the items to
    sample from, ascending. Returns where each shard begins among these, [``count`` + 1].
    """
    every = range(len(indptr))
    # An item without statements has a title all the same. Searched, since a sum would be as long.
    total = int(indptr[-1]) + len(indptr) - 1
    marks = [number * total / count for number in range(1, count)]
    items = [bisect.bisect_left(every, mark, key=lambda i: int(indptr[i]) + i) for mark in marks]
    return np.concatenate([[0], np.searchsorted(indices, items), [len(indices)]]).astype(np.int64)


def choose_shards(size: int, memory: int) -> int:
    """Return into how many shards arrays of ``size`` bytes are cut with so much ``memory`` left.

    It is one if they fit, because a shuffle of all is the best.
    """
    if size <= MEMORY_SHARE * memory:
        return 1
    return min(MAX_SHARDS, math.ceil(SHARDS_TOGETHER * size / max(1.0, SHARDS_SHARE * memory)))
