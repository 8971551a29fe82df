"""Message flows of cells from the training data's statements."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kg.message_flow import MessageFlow
from kg.sampling.keyed_random import KeyedRandom
from training.data import TrainingData


class FlowSampler:
    """A DGL sampler of at most ``most`` known statements a cell, each kept with the cell's own share.

    It is made where it is first asked: DGL's graphs do not travel to other processes.
    """

    def __init__(self, data: TrainingData, most: int) -> None:
        self.data = data
        self.most = most
        self._sampler: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_sampler": None}

    def __call__(
        self,
        index: NDArray[np.int64],
        cell_item: NDArray[np.int64],
        cell_property: NDArray[np.int64],
        share: NDArray[np.float64],
        random: KeyedRandom,
    ) -> MessageFlow:
        """The flow of N cells over items ``index`` [B], as :class:`kg.sampling.sampler.CellSampler` gives it."""
        if self._sampler is None:
            from kg.sampling.hetero import heterograph
            from kg.sampling.sampler import CellSampler

            item = np.repeat(np.arange(len(self.data.items)), np.diff(self.data.indptr))
            sizes = (len(self.data.items), int(self.data.ranges[-1]))
            self._sampler = CellSampler(
                heterograph(item, self.data.property, self.data.candidate, sizes), self.most
            )
        flow: MessageFlow = self._sampler(index, cell_item, cell_property, share, random)
        return flow
