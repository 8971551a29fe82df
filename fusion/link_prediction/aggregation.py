"""K3M's structure aggregation: what the known triples of an item add to its node.

Shapes: N nodes, B items, P properties, C values, E triples, H heads, D the model's width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class Triples:
    """E triples (node, property, value), as row numbers of three tables of vectors.

    Attributes:
        node: the node that a triple belongs to: an item, or one of its cells [E]
        property: [E]
        value: [E]
        counts: False for a triple that is to be ignored [E]; None if all count
    """

    node: Tensor
    property: Tensor
    value: Tensor
    counts: Tensor | None = None

    def distinct(self) -> Triples:
        """Return the triples in order, of which each counts once."""
        # Not by ``unique``: how many there are would have to be read from a GPU.
        order = self.value.argsort(stable=True)
        order = order[self.property[order].argsort(stable=True)]
        order = order[self.node[order].argsort(stable=True)]
        columns = torch.stack([self.node, self.property, self.value])[:, order]
        is_new = (columns[:, 1:] != columns[:, :-1]).any(0)
        node, property, value = columns
        return Triples(
            node, property, value, counts=torch.cat([is_new.new_ones(len(order[:1])), is_new])
        )


def segment_softmax(scores: Tensor, segment: Tensor, segments: int) -> Tensor:
    """Return the softmax of ``scores`` [E, H] within each of the ``segments``.

    ``segment`` [E] is the number of each row's segment.
    """
    index = segment[:, None].expand_as(scores)
    # The segment's largest score is subtracted, so that exp() cannot overflow. The result does not
    # depend on it, so it needs no gradient.
    lowest = scores.new_full((segments, scores.shape[1]), -torch.inf)
    peak = lowest.scatter_reduce(0, index, scores.detach(), "amax")
    weight = (scores - peak.gather(0, index)).exp()
    total = scores.new_zeros(segments, scores.shape[1]).scatter_add(0, index, weight)
    return weight / total.gather(0, index)


class StructureAggregation(nn.Module):
    """K3M's equations for a node c and its triples x = (p, v), with M heads.

        t_x = W1 [c || p_x || v_x]
        b_x = LeakyReLU(W2 t_x)
        a   = softmax(b) over the triples of the node
        c*  = W3 c + sigmoid(1/M sum_m sum_x a_x^m t_x^m)

    W1 is applied to c, p and v separately, and the products are added. This is the same as applying
    it to their concatenation, but computes each distinct property and value only once.

    A node without triples keeps W3 c alone: an empty sum is no evidence, while sigmoid(0) would add
    half a unit in every dimension.

    Args:
        dim: the width D
        heads: the number of heads M
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
        self, nodes: Tensor, properties: Tensor, values: Tensor, triples: Triples
    ) -> Tensor:
        """Aggregate ``triples`` into ``nodes`` [N, D]: c* [N, D].

        ``properties`` [P, D] and ``values`` [C, D] are distinct; the triples refer to their rows.
        """
        count, dim = nodes.shape
        kept = self.keep(nodes)
        if not len(triples.node):
            return kept
        # index_select rather than brackets: its backward pass adds rows, while the one of brackets
        # sorts them first.
        of_node = self.node(nodes).index_select(0, triples.node)
        of_property = self.property(properties).index_select(0, triples.property)
        of_value = self.value(values).index_select(0, triples.value)
        t = (of_node + of_property + of_value).view(-1, self.heads, dim)
        b = F.leaky_relu((t * self.attend).sum(-1)).float()
        if triples.counts is not None:
            b = b.masked_fill(~triples.counts[:, None], -torch.inf)
        a = segment_softmax(b, triples.node, count).to(t.dtype)

        mean_over_heads = (t * (a / self.heads)[..., None]).sum(1)
        total = mean_over_heads.new_zeros(count, dim).index_add(0, triples.node, mean_over_heads)
        has_triples = torch.zeros(count, 1, dtype=torch.bool, device=nodes.device)
        has_triples = has_triples.index_fill(0, triples.node, True)
        return kept + torch.sigmoid(total) * has_triples


class ValueAggregation(nn.Module):
    """The optional second hop, item <- value <- items, which is not in K3M.

    A value v first aggregates the items s that have it, by the equations of the first hop with the
    roles of item and value exchanged:

        v* = W3 v + sigmoid(1/M sum_m sum_s a_s^m W1^m [v || p || c_s])

    The first hop then takes v* in place of v. c_s consists of title and image alone, so no
    statement leaks into a question about itself on this way.

    Args:
        dim: the width D
        heads: the number of heads M
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.aggregate = StructureAggregation(dim, heads)

    def forward(
        self, items: Tensor, properties: Tensor, values: Tensor, triples: Triples
    ) -> Tensor:
        """Aggregate ``items`` [B, D] into ``values`` [C, D]: v* [C, D].

        ``properties`` are [P, D]. A triple counts once, even if several cells of an item know it.
        """
        distinct = triples.distinct()
        exchanged = Triples(
            node=distinct.value,
            property=distinct.property,
            value=distinct.node,
            counts=distinct.counts,
        )
        return self.aggregate(values, properties, items, exchanged)
