"""Cell decoder: each question (item, property) reads the item's tokens and its own known triples."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.layers import Attention, FeedForward, RowDropout
from encoders.packing import Places
from encoders.tokens import ModalTokens
from fusion.link_prediction.aggregation import segment_softmax


class TripleAttention(nn.Module):
    """Multi-head attention of cells over the triples that reach them, on a flat edge list."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.output = nn.Linear(dim, dim)

    def forward(
        self, cells: Tensor, triples: Tensor, edge_cell: Tensor, edge_triple: Tensor
    ) -> Tensor:
        """``cells`` [N, D], ``triples`` [T, D] (distinct ones), ``edge_cell`` [E], ``edge_triple`` [E] in [0, T) to [N, D]."""
        count, dim = cells.shape
        q = self.query(cells).view(count, self.heads, -1)
        k, v = self.key_value(triples).view(-1, 2, self.heads, dim // self.heads).unbind(1)
        # index_select, not brackets: its backward adds rows, where a bracket's sorts them.
        scores = (q.index_select(0, edge_cell) * k.index_select(0, edge_triple)).sum(-1).float() * (
            dim // self.heads
        ) ** -0.5
        weight = segment_softmax(scores, edge_cell, count).to(v.dtype)
        mixed = (v.index_select(0, edge_triple) * weight[..., None]).flatten(1)
        return self.output(mixed.new_zeros(count, dim).index_add(0, edge_cell, mixed))


class DecoderLayer(nn.Module):
    """Attention over the item's tokens, attention over the known triples, feed-forward; pre-norm. Cells do not see each other."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.dropout = RowDropout(dropout)
        self.norm_tokens = nn.LayerNorm(dim)
        self.tokens = Attention(dim, heads)
        self.norm_triples = nn.LayerNorm(dim)
        self.triples = TripleAttention(dim, heads)
        self.norm_feed_forward = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim)

    def forward(
        self,
        cells: Tensor,
        places: Places,
        memory: ModalTokens,
        triples: Tensor,
        edges: tuple[Tensor, Tensor],
    ) -> Tensor:
        """``cells`` [N, D], ``memory`` [B, L, D], ``triples`` [T, D], ``edges`` (cell [E], triple [E]) to [N, D]."""
        read = self.tokens(places.pad(self.norm_tokens(cells)), memory.hidden, memory.mask)
        cells = cells + self.dropout(places.pack(read))
        if edges[0].numel():
            cells = cells + self.dropout(self.triples(self.norm_triples(cells), triples, *edges))
        return cells + self.dropout(self.feed_forward(self.norm_feed_forward(cells)))


def cell_places(cell_item: Tensor, batch: int) -> Places:
    """Where each of N cells lies when they are padded to [B, Q] by item; ``cell_item`` [N] ascends."""
    per_item = torch.bincount(cell_item, minlength=batch)
    slot = (
        torch.arange(cell_item.shape[0], device=cell_item.device)
        - (per_item.cumsum(0) - per_item)[cell_item]
    )
    width = int(per_item.max())
    return Places(cell_item * width + slot, (batch, width))


class CellDecoder(nn.Module):
    """A stack of decoder layers over cells that are padded by item."""

    def __init__(self, dim: int, heads: int, layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm_memory = nn.LayerNorm(dim)
        self.layers = nn.ModuleList(DecoderLayer(dim, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(
        self,
        cells: Tensor,
        cell_item: Tensor,
        memory: ModalTokens,
        triples: Tensor,
        edges: tuple[Tensor, Tensor],
    ) -> Tensor:
        """N cells over B items, T distinct triples.

        ``cells`` [N, D], ``cell_item`` [N] ascending, ``memory`` [B, L, D], ``triples`` [T, D], ``edges`` (cell [E], triple [E]) to [N, D].
        """
        places = cell_places(cell_item, memory.hidden.shape[0])
        normed = ModalTokens(self.norm_memory(memory.hidden), memory.mask)
        for layer in self.layers:
            cells = layer(cells, places, normed, triples, edges)
        return self.norm(cells)
