"""Link prediction on c*: questions about cells to scores over the property's values."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusion.aggregation import StructureAggregation
from fusion.decoder import CellDecoder
from fusion.fused import FusedItems, Knowledge
from kg.message_flow import MessageFlow


class LinkHead(nn.Module):
    """Link prediction on c*: the item node asked for a property, its known triples aggregated, scored against the property's values.

    logit(v) = <W h, v> / sqrt(D) + <wide, u_v> + b_v, h the decoded cell, ``wide`` the item's n-grams and descriptors and the sum of its
    known candidates' own vectors: a factorised logistic regression beside the deep scores (Cheng et al., 2016, wide and deep).
    """

    candidate_property: Tensor

    def __init__(
        self, dim: int, heads: tuple[int, int], layers: int, widths: tuple[int, int], candidate_property: Tensor, dropout: float = 0.0
    ) -> None:
        super().__init__()
        item_width, known_width = widths
        candidates = candidate_property.shape[0]
        self.register_buffer("candidate_property", candidate_property, persistent=False)
        self.aggregate = StructureAggregation(dim, heads[1])
        self.decoder = CellDecoder(dim, heads[0], layers, dropout)
        self.output = nn.Linear(dim, dim)
        self.bias = nn.Parameter(torch.zeros(candidates))
        self.known = nn.Embedding(candidates, known_width) if known_width else None
        self.wide = nn.Embedding(candidates, item_width + known_width) if item_width + known_width else None

    def node(self, fused: FusedItems, flow: MessageFlow, knowledge: Knowledge, edge_value: Tensor) -> Tensor:
        """c* [N, D] of every cell: the structure aggregation over the flow's triples, the asked property added to c.

        ``edge_value`` [E] are the triples' values as rows of the candidates in play.
        """
        asked = fused.node.index_select(0, flow.cell_item) + knowledge.properties.index_select(0, flow.cell_property)
        return self.aggregate(asked, knowledge.properties, knowledge.values, (flow.edge_cell, flow.edge_property, edge_value))

    def forward(self, fused: FusedItems, flow: MessageFlow, knowledge: Knowledge) -> Tensor:
        """Logits [N, K] of the flow's N cells over the K candidates in play; -inf for another property's."""
        edge_value = knowledge.local[flow.edge_value]
        node = self.node(fused, flow, knowledge, edge_value)
        triples = knowledge.values + knowledge.properties.index_select(0, self.candidate_property[knowledge.ids])
        hidden = self.decoder(node, flow.cell_item, fused.memory, triples, (flow.edge_cell, edge_value))
        deep = self.output(hidden) @ knowledge.values.T.to(hidden.dtype) * hidden.shape[1] ** -0.5
        scores = deep.float() + self.bias.index_select(0, knowledge.ids) + self.wide_scores(fused.wide, flow, knowledge.ids)
        other = self.candidate_property[knowledge.ids][None, :] != flow.cell_property[:, None]
        return scores.masked_fill(other, -torch.inf)

    def wide_scores(self, wide: Tensor, flow: MessageFlow, ids: Tensor) -> Tensor:
        """The factorised logistic regression [N, K]: item part once an item, known part once a cell."""
        if self.wide is None:
            return wide.new_zeros(())
        item_width = wide.shape[1]
        table = self.wide.weight.index_select(0, ids)
        scores = (wide @ table[:, :item_width].T).index_select(0, flow.cell_item)
        if self.known is None:
            return scores
        known = self.known(flow.edge_value)
        known = known.new_zeros(flow.cell_item.shape[0], known.shape[1]).index_add(0, flow.edge_cell, known)
        return scores + known @ table[:, item_width:].T
