"""The cell decoder: each cell (item, property) attends to the item's tokens and known triples.

Shapes: N cells, B items, L tokens of an item, T distinct triples, E known triples of all cells,
H heads, D the model's width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from encoders.layers import Attention, FeedForward, RowDropout
from encoders.packing import TokenLayout
from encoders.tokens import ModalTokens
from fusion.link_prediction.aggregation import segment_softmax
from kg.message_flow import MessageFlow


@dataclass(frozen=True, slots=True)
class KnownTriples:
    """The known triples of N cells.

    Attributes:
        vectors: vectors of the distinct triples [T, D]
        cell: the cell that knows a triple [E]
        triple: the triple's row in ``vectors`` [E]
    """

    vectors: Tensor
    cell: Tensor
    triple: Tensor


class TripleAttention(nn.Module):
    """Multi-head attention of cells over their known triples, on a flat list of edges."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, cells: Tensor, known: KnownTriples) -> Tensor:
        """Attend from ``cells`` [N, D] to the triples that each of them knows: [N, D]."""
        count, dim = cells.shape
        head_dim = dim // self.heads
        q = self.query(cells).view(count, self.heads, -1)
        k, v = self.key_value(known.vectors).view(-1, 2, self.heads, head_dim).unbind(1)
        # index_select rather than brackets: its backward pass adds rows, while the one of brackets
        # sorts them first.
        products = q.index_select(0, known.cell) * k.index_select(0, known.triple)
        scores = products.sum(-1).float() * head_dim**-0.5
        weight = segment_softmax(scores, known.cell, count).to(v.dtype)
        mixed = (v.index_select(0, known.triple) * weight[..., None]).flatten(1)
        return self.output(mixed.new_zeros(count, dim).index_add(0, known.cell, mixed))


class DecoderLayer(nn.Module):
    """Attention over the item's tokens, attention over the known triples, feed-forward; pre-norm.

    Cells do not see each other, so a cell's answer does not depend on which others are asked.
    """

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
        self, cells: Tensor, layout: TokenLayout, memory: ModalTokens, known: KnownTriples
    ) -> Tensor:
        """Apply the layer to ``cells`` [N, D], with their items' tokens ``memory`` [B, L, D].

        ``layout`` pads the cells by item.
        """
        # Padded by item, so that an item's keys and values are computed once for all of its cells.
        queries = layout.pad(self.norm_tokens(cells))
        read = self.tokens(queries, memory.hidden, memory.mask)
        cells = cells + self.dropout(layout.pack(read))
        if known.cell.numel():
            cells = cells + self.dropout(self.triples(self.norm_triples(cells), known))
        return cells + self.dropout(self.feed_forward(self.norm_feed_forward(cells)))


class CellDecoder(nn.Module):
    """A stack of decoder layers.

    Args:
        dim: the width D
        heads: attention heads of each layer
        layers: number of layers
        dropout: dropout rate
    """

    def __init__(self, dim: int, heads: int, layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm_memory = nn.LayerNorm(dim)
        self.layers = nn.ModuleList(DecoderLayer(dim, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, cells: Tensor, layout: TokenLayout, memory: ModalTokens, known: KnownTriples
    ) -> Tensor:
        """Decode ``cells`` [N, D]: [N, D].

        ``layout`` pads the cells by item, ``memory`` are the items' tokens [B, L, D].
        """
        normed = ModalTokens(self.norm_memory(memory.hidden), memory.mask)
        for layer in self.layers:
            cells = layer(cells, layout, normed, known)
        return self.norm(cells)


def cell_layout(flow: MessageFlow, items: int) -> TokenLayout:
    """Return where the N cells of a flow lie when they are padded by item, of ``items`` items."""
    cell_item = flow.cell_item
    first_of_item = torch.searchsorted(cell_item, cell_item)
    column = torch.arange(cell_item.shape[0], device=cell_item.device) - first_of_item
    length = flow.most_cells
    return TokenLayout.of_positions(cell_item * length + column, rows=items, length=length)
