"""Message flows of cells from the training data's statements, each cell without its own property."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from kg.message_flow import MessageFlow
from training.data import TrainingData
from training.views import FlowSampler, first_random, rows_of


def flow_sampler(data: TrainingData, most: int) -> FlowSampler:
    """A sampler of at most ``most`` known statements a cell, each kept with the cell's own share."""

    def sample(
        index: NDArray[np.int64],
        cell_item: NDArray[np.int64],
        cell_property: NDArray[np.int64],
        share: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> MessageFlow:
        statement, cell = rows_of(data.indptr, index[cell_item])
        own = data.property[statement] == cell_property[cell]
        keep = ~own & (rng.random(len(cell)) < share[cell])
        statement, cell = statement[keep], cell[keep]
        few = first_random(cell, most, rng)
        statement, cell = statement[few], cell[few]
        arrays = (cell_item, cell_property, cell, data.property[statement], data.candidate[statement])
        return MessageFlow(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))

    return sample
