"""The known triples around cells, sampled by DGL on the CPU without the cells' own properties."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kg.message_flow import MessageFlow
from kg.sampling.dgl_compat import dgl
from kg.sampling.hetero import OF
from kg.sampling.keyed_random import KeyedRandom
from kg.sampling.ragged import find_in_sorted, sample_per_row
from schema.arrays import BoolArray, FloatArray, IntArray


class CellSampler:
    """Samples message flows from a graph of :mod:`kg.sampling.hetero`.

    The statement that a cell asks for is never in its flow, and neither are its duplicates: every
    edge with the cell's own property is dropped, and of edges with the same (property, value) one
    is kept. At most ``max_edges`` edges reach a cell.
    """

    def __init__(self, graph: Any, max_edges: int) -> None:
        # Sampling a graph of one edge type is 8 times as fast as that type in the whole graph.
        self.graph = graph[OF]
        self.max_edges = max_edges

    def __call__(
        self,
        index: IntArray,
        cell_item: IntArray,
        cell_property: IntArray,
        share: FloatArray,
        random: KeyedRandom,
    ) -> MessageFlow:
        """Sample the flow of N cells about the items ``index`` [B].

        ``cell_item`` [N] are positions in ``index``, ascending; ``cell_property`` [N] are the
        cells' properties; ``share`` [N] is the share of the item's other statements that each cell
        gets.
        """
        edges = self._edges_of(index)
        # Each cell with each edge of its item.
        cell, position = find_in_sorted(index[cell_item], edges.item)
        edge_property = edges.property[position]
        edge_value = edges.value[position]

        keys = (index[cell_item[cell]], cell_property[cell], edge_value)
        is_shown = random.uniform("known", *keys) < share[cell]
        keep = np.flatnonzero((edge_property != cell_property[cell]) & is_shown)
        within_limit = sample_per_row(
            cell[keep], self.max_edges, random.uniform("few", *(key[keep] for key in keys))
        )
        keep = keep[within_limit]
        return MessageFlow.of(
            cell_item=_tensor(cell_item),
            cell_property=_tensor(cell_property),
            edge_cell=_tensor(cell[keep]),
            edge_property=_tensor(edge_property[keep]),
            edge_value=_tensor(edge_value[keep]),
        )

    def _edges_of(self, index: IntArray) -> Edges:
        """Return the distinct edges of the items ``index`` [B], ordered by item."""
        # DGL's frontier has each item's in-edges once; cells of the same item then share them.
        seeds = {"item": torch.from_numpy(np.unique(index))}
        # All edges (-1): the limit holds for each cell, after the edges of its own property are
        # left out.
        frontier = dgl.sampling.sample_neighbors(self.graph, seeds, -1, copy_ndata=False)
        # From here on the arrays are small, and numpy is several times as fast as torch on them.
        value, item = (ends.numpy() for ends in frontier.edges())
        property = frontier.edata["property"].numpy().astype(np.int64)
        return Edges(item, property, value).distinct()


@dataclass(frozen=True)
class Edges:
    """E edges: their ``item`` [E], ``property`` [E] and ``value`` [E]."""

    item: IntArray
    property: IntArray
    value: IntArray

    def distinct(self) -> Edges:
        """Return the edges without duplicates, ordered by item, property and value."""
        order = np.lexsort((self.value, self.property, self.item))
        item = self.item[order]
        property = self.property[order]
        value = self.value[order]
        is_first: BoolArray = np.ones(len(item), dtype=bool)
        is_first[1:] = (np.diff(item) != 0) | (np.diff(property) != 0) | (np.diff(value) != 0)
        return Edges(item[is_first], property[is_first], value[is_first])


def _tensor(array: IntArray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
