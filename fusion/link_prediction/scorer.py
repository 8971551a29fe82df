"""Link prediction on c*: questions about cells to scores over the property's values."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusion.fused import FusedItems, Knowledge
from fusion.link_prediction.aggregation import StructureAggregation, ValueAggregation
from fusion.link_prediction.decoder import CellDecoder
from kg.message_flow import MessageFlow


class LinkScorer(nn.Module):
    """Structure aggregation by one hop or two, over which questions are scored; ``hops`` are the first and the second or None.

    ``candidate_property`` [C] is each candidate's property; a model that does not read known statements drops a flow's.
    """

    candidate_property: Tensor

    def __init__(
        self,
        hops: tuple[StructureAggregation, ValueAggregation | None],
        candidate_property: Tensor,
        reads_known: bool = True,
    ) -> None:
        super().__init__()
        self.register_buffer("candidate_property", candidate_property, persistent=False)
        self.reads_known = reads_known
        self.aggregate, self.aggregate_values = hops

    def structure(
        self,
        nodes: Tensor,
        items: Tensor,
        knowledge: Knowledge,
        edges: tuple[Tensor, Tensor, Tensor, Tensor],
    ) -> Tensor:
        """c* [N, D] of ``nodes`` [N, D] over ``items`` c [B, D], by one hop or two.

        ``edges`` are E triples as numbers of node, item, property and value (a row of the candidates in play).
        """
        node, item, known, value = edges
        values = knowledge.values
        if self.aggregate_values is not None:
            values = self.aggregate_values(
                items, knowledge.properties, values, (item, known, value)
            )
        return self.aggregate(nodes, knowledge.properties, values, (node, known, value))

    def cells(
        self, nodes: Tensor, fused: FusedItems, flow: MessageFlow, knowledge: Knowledge
    ) -> Tensor:
        """c* [N, D] of the flow's N cells, whose nodes begin as ``nodes`` [N, D]."""
        edge_item = flow.cell_item.index_select(0, flow.edge_cell)
        return self.structure(
            nodes,
            fused.node,
            knowledge,
            (flow.edge_cell, edge_item, flow.edge_property, knowledge.local[flow.edge_value]),
        )

    def others(self, flow: MessageFlow, knowledge: Knowledge) -> Tensor:
        """Which of the K candidates in play are another property's than a cell asks: [N, K]."""
        return self.candidate_property[knowledge.ids][None, :] != flow.cell_property[:, None]


class LinkHead(LinkScorer):
    """Link prediction on c*: the item node asked for a property, its known triples aggregated, scored against the property's values.

    logit(v) = <W h, v> / sqrt(D) + <wide, u_v> + b_v, h the decoded cell, ``wide`` the item's n-grams and descriptors and the sum of its
    known candidates' own vectors: a factorised logistic regression beside the deep scores (Cheng et al., 2016, wide and deep).
    ``widths`` are the wide vectors' of item and known statements, 0 for none.
    """

    def __init__(
        self,
        hops: tuple[StructureAggregation, ValueAggregation | None],
        decoder: CellDecoder,
        candidate_property: Tensor,
        dim: int,
        widths: tuple[int, int],
        reads_known: bool = True,
    ) -> None:
        super().__init__(hops, candidate_property, reads_known)
        item_width, known_width = widths
        candidates = candidate_property.shape[0]
        self.decoder = decoder
        self.output = nn.Linear(dim, dim)
        self.bias = nn.Parameter(torch.zeros(candidates))
        self.known = nn.Embedding(candidates, known_width) if known_width else None
        self.wide = (
            nn.Embedding(candidates, item_width + known_width) if item_width + known_width else None
        )

    def forward(self, fused: FusedItems, flow: MessageFlow, knowledge: Knowledge) -> Tensor:
        """Logits [N, K] of the flow's N cells over the K candidates in play; -inf for another property's.

        A cell's node is c with the asked property added, then the structure aggregation over the cell's triples.
        """
        return self._scores(fused, flow, knowledge).masked_fill(
            self.others(flow, knowledge), -torch.inf
        )

    def pairs(
        self,
        fused: FusedItems,
        flow: MessageFlow,
        knowledge: Knowledge,
        pairs: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Logits [...] of pairs (cell [...], row of a candidate in play [...]), another property's candidates too."""
        return self._scores(fused, flow, knowledge)[pairs]

    def _scores(self, fused: FusedItems, flow: MessageFlow, knowledge: Knowledge) -> Tensor:
        flow = flow if self.reads_known else flow.without_triples()
        asked = fused.node.index_select(0, flow.cell_item) + knowledge.properties.index_select(
            0, flow.cell_property
        )
        node = self.cells(asked, fused, flow, knowledge)
        triples = knowledge.values + knowledge.properties.index_select(
            0, self.candidate_property[knowledge.ids]
        )
        hidden = self.decoder(
            node,
            flow.cell_item,
            fused.memory,
            triples,
            (flow.edge_cell, knowledge.local[flow.edge_value]),
        )
        deep = self.output(hidden) @ knowledge.values.T.to(hidden.dtype) * hidden.shape[1] ** -0.5
        return (
            deep.float()
            + self.bias.index_select(0, knowledge.ids)
            + self.wide_scores(fused.wide, flow, knowledge.ids)
        )

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
        known = known.new_zeros(flow.cell_item.shape[0], known.shape[1]).index_add(
            0, flow.edge_cell, known
        )
        return scores + known @ table[:, item_width:].T
