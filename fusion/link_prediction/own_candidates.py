"""Which candidates each cell is scored against: those of its own property.

A catalogue may have hundreds of properties with thousands of values each. The scores of all cells
for all of them would nearly all be scores of values that a cell does not ask for. So cells are
grouped by their property, and properties of similar size into blocks, each of which is one batched
matrix product. The blocks are planned on the CPU, where the sizes are known: nothing has to be read
back from a GPU.

Shapes: N cells, K candidates in play, W the most candidates that a cell has; a block has Q
properties, at most n cells each, and at most k candidates each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from schema.arrays import IntArray

BLOCK_COST = 1 << 14
"""Scores that are computed in the time that one more block takes: padding up to this is free."""

MAX_PADDING = 0.25
"""The padding of a large block, as a share of its scores."""

MAX_BLOCK_ROWS = 1 << 16
"""The most candidate vectors that a block of several properties gathers, which bounds memory."""


@dataclass(frozen=True, slots=True)
class Block:
    """The cells and candidates of Q properties, each padded to the same size by repetition.

    Attributes:
        property: [Q]
        cells: cells of each property [Q, n]
        rows: its candidates, as rows of those in play [Q, k]
    """

    property: Tensor
    cells: Tensor
    rows: Tensor

    def to(self, device: torch.device) -> Block:
        """Return the same block on another device."""
        return Block(
            self.property.to(device, non_blocking=True),
            self.cells.to(device, non_blocking=True),
            self.rows.to(device, non_blocking=True),
        )


@dataclass(frozen=True, slots=True)
class OwnCandidates:
    """The candidates in play that belong to the property of each of N cells.

    Scores over them are [N, W]: column j of a cell is the j-th candidate in play of its property.

    Attributes:
        first: the row of each cell's first candidate among those in play [N]
        count: the number of its candidates [N]
        place: the place of each cell among those of all blocks, which are laid end to end [N]
        width: W
        blocks: every property that is asked for is in one of them
    """

    first: Tensor
    count: Tensor
    place: Tensor
    width: int
    blocks: tuple[Block, ...]

    def to(self, device: torch.device) -> OwnCandidates:
        """Return the same candidates on another device."""
        return OwnCandidates(
            first=self.first.to(device, non_blocking=True),
            count=self.count.to(device, non_blocking=True),
            place=self.place.to(device, non_blocking=True),
            width=self.width,
            blocks=tuple(block.to(device) for block in self.blocks),
        )

    def scores(self, score: Callable[[Block], Tensor]) -> Tensor:
        """Return scores [N, W] of all cells; those past a cell's last candidate are -inf.

        ``score`` returns those of a block [Q, n, k].
        """
        parts = [
            F.pad(part, (0, self.width - part.shape[2])).flatten(0, 1)
            for part in map(score, self.blocks)
        ]
        joined = parts[0] if len(parts) == 1 else torch.cat(parts)
        return self.masked(joined.index_select(0, self.place), -torch.inf)

    def masked(self, scores: Tensor, value: float) -> Tensor:
        """Replace the scores [N, W] past each cell's last candidate by ``value``."""
        column = torch.arange(self.width, device=scores.device)
        return scores.masked_fill(column[None, :] >= self.count[:, None], value)

    def spread(self, scores: Tensor, candidates: int) -> Tensor:
        """Return scores [N, W] over all K ``candidates`` in play [N, K]; the others are -inf."""
        column = torch.arange(candidates, device=scores.device) - self.first[:, None]
        is_own = (column >= 0) & (column < self.count[:, None])
        own = scores.gather(1, column.clamp(0, self.width - 1))
        return own.masked_fill(~is_own, -torch.inf)

    def gather(self, values: Tensor) -> Tensor:
        """Return the ``values`` [K] of candidates in play as [N, W]; 0 past a cell's last one."""
        column = torch.arange(self.width, device=values.device)
        # Past the last candidate of the last property there is no row.
        row = (self.first[:, None] + column[None, :]).clamp(max=max(0, len(values) - 1))
        return self.masked(values.index_select(0, row.flatten()).view(row.shape), 0.0)


def own_candidates(cell_property: IntArray, ids: IntArray, ranges: IntArray) -> OwnCandidates:
    """Plan the blocks of N cells.

    Args:
        cell_property: the property that each cell asks for [N]
        ids: the candidates in play, ascending [K]
        ranges: the candidates of property p are ``ranges[p]`` to ``ranges[p + 1] - 1`` [P + 1]
    """
    properties, number, cells = np.unique(cell_property, return_inverse=True, return_counts=True)
    first = np.searchsorted(ids, ranges[properties])
    count = np.searchsorted(ids, ranges[properties + 1]) - first
    # The cells in the order of their properties, and where those of each property begin.
    order = np.argsort(number, kind="stable")
    begins = cells.cumsum() - cells

    place = np.zeros(len(cell_property), dtype=np.int64)
    blocks = []
    placed = 0
    for members, height, width in _similar_sizes(cells, count):
        column = np.minimum(np.arange(height), cells[members, None] - 1)
        in_block = order[begins[members, None] + column]
        positions = placed + np.arange(in_block.size).reshape(in_block.shape)
        real = np.arange(height) < cells[members, None]
        place[in_block[real]] = positions[real]
        placed += in_block.size
        # A property may have no candidate in play; its scores are masked, whatever they are.
        column = np.minimum(np.arange(width), np.maximum(count[members, None] - 1, 0))
        rows = np.minimum(first[members, None] + column, max(0, len(ids) - 1))
        arrays = (properties[members], in_block, rows)
        blocks.append(Block(*(torch.from_numpy(np.ascontiguousarray(each)) for each in arrays)))
    return OwnCandidates(
        first=torch.from_numpy(first[number].astype(np.int64)),
        count=torch.from_numpy(count[number].astype(np.int64)),
        place=torch.from_numpy(place),
        width=max(1, int(count.max(initial=1))),
        blocks=tuple(blocks),
    )


def _similar_sizes(cells: IntArray, count: IntArray) -> Iterator[tuple[IntArray, int, int]]:
    """Divide properties with ``cells`` [P] and ``count`` [P] candidates into blocks.

    Yields the properties of each block, and the cells and candidates that they are padded to. From
    the largest to the smallest, a property joins the block before unless that needs too much
    padding.
    """
    # On a CPU, oneDNN prepares its matrix products again for every new shape. With powers of two
    # there are few.
    heights = 1 << np.ceil(np.log2(np.maximum(1, cells))).astype(np.int64)
    widths = np.maximum(1, count)
    order = np.lexsort((-heights, -widths))
    members: list[int] = []
    height = 0
    width = 0
    scores = 0
    for index in order.tolist():
        taller = max(height, int(heights[index]))
        wider = max(width, int(widths[index]))
        own_scores = int(heights[index] * widths[index])
        size = len(members) + 1
        padding = size * taller * wider - scores - own_scores
        too_padded = padding > max(BLOCK_COST, (scores + own_scores) * MAX_PADDING)
        if members and (too_padded or size * wider > MAX_BLOCK_ROWS):
            yield np.array(members), height, width
            members = []
            scores = 0
            taller = int(heights[index])
            wider = int(widths[index])
        members.append(index)
        scores += own_scores
        height = taller
        width = wider
    if members:
        yield np.array(members), height, width
