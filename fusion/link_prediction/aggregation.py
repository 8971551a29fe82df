"""K3M's structure aggregation: what a cell's known triples add to the item node."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def segment_softmax(scores: Tensor, segment: Tensor, segments: int) -> Tensor:
    """Softmax of ``scores`` [E, H] within each segment: ``segment`` [E] in [0, segments)."""
    index = segment[:, None].expand_as(scores)
    peak = scores.new_full((segments, scores.shape[1]), -torch.inf).scatter_reduce(
        0, index, scores.detach(), "amax"
    )
    weight = (scores - peak.gather(0, index)).exp()
    total = scores.new_zeros(segments, scores.shape[1]).scatter_add(0, index, weight)
    return weight / total.gather(0, index)


class StructureAggregation(nn.Module):
    """K3M's equations for the item node c and its triples x = (p, v), M heads:

        t_x = W1 [c || p_x || v_x],  b_x = LeakyReLU(W2 t_x),  a = softmax(b) over the triples of the item,
        c* = W3 c + sigmoid(1/M sum_m sum_x a_x^m t_x^m)

    W1 is applied to c, p and v apart and the products added, which is the same, spares the wide concatenation, and does each distinct
    property and value once.
    A node without triples keeps W3 c alone: an empty sum is no evidence, and sigmoid(0) would pose as some.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.node = nn.Linear(dim, heads * dim, bias=False)
        self.property = nn.Linear(dim, heads * dim, bias=False)
        self.value = nn.Linear(dim, heads * dim, bias=False)
        self.attend = nn.Parameter(torch.randn(heads, dim) * 0.02)
        self.keep = nn.Linear(dim, dim, bias=False)

    def forward(
        self, node: Tensor, properties: Tensor, values: Tensor, edges: tuple[Tensor, Tensor, Tensor]
    ) -> Tensor:
        """``node`` [N, D], distinct ``properties`` [P, D] and ``values`` [C, D] to c* [N, D].

        ``edges`` are E triples as numbers of node, property and value, each [E].
        """
        edge_node, edge_property, edge_value = edges
        count, dim = node.shape
        kept = self.keep(node)
        if edge_node.numel() == 0:
            return kept
        triples = self.node(node).index_select(0, edge_node) + self.property(
            properties
        ).index_select(0, edge_property)
        triples = triples + self.value(values).index_select(0, edge_value)
        triples = triples.view(-1, self.heads, dim)
        scores = F.leaky_relu((triples * self.attend).sum(-1)).float()
        weight = segment_softmax(scores, edge_node, count).to(triples.dtype) / self.heads
        mixed = (triples * weight[..., None]).sum(1)
        summed = mixed.new_zeros(count, dim).index_add(0, edge_node, mixed)
        known = torch.zeros(count, 1, dtype=torch.bool, device=node.device).index_fill(
            0, edge_node, True
        )
        return kept + torch.sigmoid(summed) * known


class ValueAggregation(nn.Module):
    """The second hop, item <- value <- items, which is ours: a value v hears of the items s that have it, by the same equations.

        v* = W3 v + sigmoid(1/M sum_m sum_s a_s^m W1^m [v || p || c_s])

    The first hop then takes v* for v. c_s is title and image alone, so no statement reaches a question about itself on the way.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.aggregate = StructureAggregation(dim, heads)

    def forward(
        self,
        items: Tensor,
        properties: Tensor,
        values: Tensor,
        statements: tuple[Tensor, Tensor, Tensor],
    ) -> Tensor:
        """``items`` [B, D], ``properties`` [P, D], ``values`` [C, D] to v* [C, D].

        ``statements`` are numbers of item, property and value, each [E]; one that stands twice counts once.
        """
        item, known, value = (
            torch.stack(statements).unique(dim=1) if statements[0].numel() else statements
        )
        return self.aggregate(values, properties, items, (value, known, item))
