"""Message flows of cells from the training data's statements."""

from __future__ import annotations

import numpy as np

from kg.hetero import heterograph
from kg.sampling import CellSampler
from training.data import TrainingData


def flow_sampler(data: TrainingData, most: int) -> CellSampler:
    """A DGL sampler of at most ``most`` known statements a cell, each kept with the cell's own share."""
    item = np.repeat(np.arange(len(data.items)), np.diff(data.indptr))
    graph = heterograph(item, data.property, data.candidate, (len(data.items), int(data.ranges[-1])))
    return CellSampler(graph, most)
