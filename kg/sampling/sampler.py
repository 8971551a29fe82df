"""Known triples around cells, sampled by DGL on the CPU, the cell's own property left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kg.message_flow import MessageFlow
from kg.sampling.dgl_compat import dgl
from kg.sampling.hetero import OF
from kg.sampling.keyed_random import KeyedRandom
from kg.sampling.ragged import Ints, first_random, join


class CellSampler:
    """Samples message flows from a heterograph of :func:`kg.sampling.hetero.heterograph`.

    The statement that a cell asks for is out of its flow, and so are its duplicates: every edge of the cell's own property is dropped,
    and of edges that say the same (property, value) of the item one is kept.
    """

    def __init__(self, graph: Any, most: int) -> None:
        # One edge type alone is sampled 8 times as fast as the same type within the whole graph.
        self.graph = graph[OF]
        self.most = most

    def __call__(
        self,
        index: NDArray[np.int64],
        cell_item: NDArray[np.int64],
        cell_property: NDArray[np.int64],
        share: NDArray[np.float64],
        random: KeyedRandom,
    ) -> MessageFlow:
        """The flow of N cells over items ``index`` [B].

        ``cell_item`` [N] ascending in [0, B), ``cell_property`` [N], ``share`` [N] of the other statements that a cell may know.
        """
        # DGL's frontier gives each item's in-edges once; cells of the same item then share them.
        seeds = {"item": torch.from_numpy(np.unique(index))}
        frontier = dgl.sampling.sample_neighbors(self.graph, seeds, -1, copy_ndata=False)
        value, item = (ends.numpy() for ends in frontier.edges())
        item, known, value = _distinct(item, frontier.edata["property"].numpy(), value)
        # Small arrays from here on, on which numpy is several times as fast as torch.
        cell, place = join(index[cell_item], item)
        known = known[place]
        value = value[place]
        about = index[cell_item[cell]], cell_property[cell], value
        keep = (known != cell_property[cell]) & (random.uniform("known", *about) < share[cell])
        cell = cell[keep]
        known = known[keep]
        value = value[keep]
        few = first_random(cell, self.most, random.uniform("few", *(key[keep] for key in about)))
        arrays = (cell_item, cell_property, cell[few], known[few], value[few])
        return MessageFlow(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))


def _distinct(item: Ints, known: Ints, value: Ints) -> tuple[Ints, Ints, Ints]:
    """Distinct (item, property, value), ordered by item."""
    order = np.lexsort((value, known, item))
    item = item[order]
    known = known[order]
    value = value[order]
    fresh = np.ones(len(item), dtype=bool)
    fresh[1:] = (np.diff(item) != 0) | (np.diff(known) != 0) | (np.diff(value) != 0)
    return item[fresh], known[fresh], value[fresh]
