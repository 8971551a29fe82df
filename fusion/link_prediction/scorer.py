"""Link prediction on c*: cells (item, property) to scores over the property's values.

A candidate is a value of one particular property; the candidates in play are those that a batch has
encoded (see :class:`fusion.fused.Knowledge`).

Shapes: N cells, B items, E known triples, P properties, C candidates, K candidates in play, W the
most candidates in play that a cell's property has, D the model's width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusion.fused import FusedItems, Knowledge
from fusion.link_prediction.aggregation import StructureAggregation, Triples, ValueAggregation
from fusion.link_prediction.decoder import CellDecoder, KnownTriples, cell_layout
from fusion.link_prediction.own_candidates import Block, OwnCandidates
from kg.message_flow import MessageFlow

PRODUCT_ADVANTAGE = 64
"""Scores that a matrix product computes in the time of gathering the vectors of one pair."""


class LinkScorer(nn.Module):
    """Base class: the structure aggregation by one hop or two, on which cells are scored.

    Args:
        aggregate: the first hop
        aggregate_values: the second hop, or None
        candidate_property: the property of each candidate [C]
        reads_known: False for a model that ignores the known triples of a flow
    """

    candidate_property: Tensor

    def __init__(
        self,
        aggregate: StructureAggregation,
        aggregate_values: ValueAggregation | None,
        candidate_property: Tensor,
        reads_known: bool = True,
    ) -> None:
        super().__init__()
        self.register_buffer("candidate_property", candidate_property, persistent=False)
        self.reads_known = reads_known
        self.aggregate = aggregate
        self.aggregate_values = aggregate_values

    def forward(
        self, fused: FusedItems, flow: MessageFlow, knowledge: Knowledge, own: OwnCandidates
    ) -> Tensor:
        """Return logits [N, W] of the flow's N cells over the candidates of their own property.

        Those past a cell's last candidate are -inf.
        """
        raise NotImplementedError

    def score_pairs(
        self,
        fused: FusedItems,
        flow: MessageFlow,
        knowledge: Knowledge,
        cell: Tensor,
        candidate_row: Tensor,
    ) -> Tensor:
        """Return logits [...] of pairs of a cell and a candidate, of any property.

        ``cell`` [...] is the number of a cell of the flow, ``candidate_row`` [...] a row of the
        candidates in play.
        """
        raise NotImplementedError

    def aggregate_triples(
        self,
        nodes: Tensor,
        items: Tensor,
        knowledge: Knowledge,
        triples: Triples,
        triple_item: Tensor,
    ) -> Tensor:
        """Return c* [N, D] of ``nodes`` [N, D], by one hop or two.

        ``items`` are the item nodes c [B, D], and ``triple_item`` [E] is the item of each triple.
        The values of the triples are rows of the candidates in play.
        """
        values = knowledge.values
        if self.aggregate_values is not None:
            of_items = Triples(triple_item, triples.property, triples.value)
            values = self.aggregate_values(items, knowledge.properties, values, of_items)
        return self.aggregate(nodes, knowledge.properties, values, triples)

    def aggregate_cells(
        self, nodes: Tensor, fused: FusedItems, flow: MessageFlow, knowledge: Knowledge
    ) -> Tensor:
        """Return c* [N, D] of the flow's cells, whose nodes are ``nodes`` [N, D] before."""
        triples = Triples(
            node=flow.edge_cell,
            property=flow.edge_property,
            value=knowledge.row_of[flow.edge_value],
        )
        triple_item = flow.cell_item.index_select(0, flow.edge_cell)
        return self.aggregate_triples(nodes, fused.node, knowledge, triples, triple_item)


class LinkHead(LinkScorer):
    """Link prediction of the joint model: aggregation, decoder, and a wide part beside them.

        logit(v) = <W h, v> / sqrt(D) + <wide, u_v> + b_v

    h is the decoded cell. ``wide`` joins the item's n-grams and descriptors with the sum of vectors
    of its known candidates, which makes the second term a factorised logistic regression (Cheng et
    al., 2016, "Wide & Deep").

    Args:
        aggregate: the first hop of the structure aggregation
        aggregate_values: the second hop, or None
        decoder: decodes the aggregated cells
        candidate_property: the property of each candidate [C]
        dim: the width D
        item_width: width of an item's wide features; 0 for none
        known_width: width of the vectors of known candidates in the wide part; 0 for none
        reads_known: False for a model that ignores the known triples of a flow
    """

    def __init__(
        self,
        aggregate: StructureAggregation,
        aggregate_values: ValueAggregation | None,
        decoder: CellDecoder,
        candidate_property: Tensor,
        dim: int,
        item_width: int,
        known_width: int,
        reads_known: bool = True,
    ) -> None:
        super().__init__(aggregate, aggregate_values, candidate_property, reads_known)
        candidates = candidate_property.shape[0]
        wide_width = item_width + known_width
        self.decoder = decoder
        self.output = nn.Linear(dim, dim)
        self.bias = nn.Parameter(torch.zeros(candidates))
        self.known = nn.Embedding(candidates, known_width) if known_width else None
        self.wide = nn.Embedding(candidates, wide_width) if wide_width else None

    def forward(
        self, fused: FusedItems, flow: MessageFlow, knowledge: Knowledge, own: OwnCandidates
    ) -> Tensor:
        """Return logits [N, W] of the flow's N cells over the candidates of their own property.

        Those past a cell's last candidate are -inf.
        """
        cells = self._cells(fused, flow, knowledge)
        bias = rows_in_play(self.bias, knowledge)
        tables = [knowledge.values]
        if self.wide is not None:
            tables.append(rows_in_play(self.wide.weight, knowledge))

        def score(block: Block) -> Tensor:
            rows = block.rows.flatten()
            left = cells.index_select(0, block.cells.flatten()).view(*block.cells.shape, -1)
            right = torch.cat([table.index_select(0, rows) for table in tables], 1)
            right = right.view(*block.rows.shape, -1).to(left.dtype)
            products = torch.bmm(left, right.transpose(1, 2))
            return products.float() + bias.index_select(0, rows).view(-1, 1, block.rows.shape[1])

        return own.scores(score)

    def score_pairs(
        self,
        fused: FusedItems,
        flow: MessageFlow,
        knowledge: Knowledge,
        cell: Tensor,
        candidate_row: Tensor,
    ) -> Tensor:
        """Return logits [...] of pairs of a cell and a candidate, of any property."""
        cells = self._cells(fused, flow, knowledge)
        candidates = knowledge.values
        if self.wide is not None:
            candidates = torch.cat([candidates, rows_in_play(self.wide.weight, knowledge)], 1)
        rows = candidate_row.flatten()
        bias = rows_in_play(self.bias, knowledge).index_select(0, rows)
        if len(cells) * len(candidates) <= PRODUCT_ADVANTAGE * len(rows):
            # By a flat index, whose backward pass is one addition per pair: the one of two indices
            # sorts them first.
            index = cell.flatten() * len(candidates) + rows
            every_pair = cells @ candidates.T.to(cells.dtype)
            products = every_pair.flatten().index_select(0, index).float()
        else:
            left = cells.index_select(0, cell.flatten()).float()
            products = (left * candidates.index_select(0, rows)).sum(1)
        return (products + bias).view(candidate_row.shape)

    def _cells(self, fused: FusedItems, flow: MessageFlow, knowledge: Knowledge) -> Tensor:
        """Return [W h / sqrt(D) || wide] of the flow's cells [N, D + W']."""
        flow = flow if self.reads_known else flow.without_triples()
        # The node of a cell is c plus the property that is asked for.
        item = fused.node.index_select(0, flow.cell_item)
        nodes = item + knowledge.properties.index_select(0, flow.cell_property)
        nodes = self.aggregate_cells(nodes, fused, flow, knowledge)

        property_of_row = self.candidate_property[knowledge.ids]
        known = KnownTriples(
            vectors=knowledge.values + knowledge.properties.index_select(0, property_of_row),
            cell=flow.edge_cell,
            triple=knowledge.row_of[flow.edge_value],
        )
        layout = cell_layout(flow, len(fused.node))
        hidden = self.decoder(nodes, layout, fused.memory, known)
        deep = self.output(hidden) * hidden.shape[1] ** -0.5
        if self.wide is None:
            return deep
        parts = [deep, fused.wide.index_select(0, flow.cell_item).to(deep.dtype)]
        if self.known is not None:
            vectors = self.known(flow.edge_value)
            cells = vectors.new_zeros(flow.cell_item.shape[0], vectors.shape[1])
            parts.append(cells.index_add(0, flow.edge_cell, vectors).to(deep.dtype))
        return torch.cat(parts, 1)


def rows_in_play(table: Tensor, knowledge: Knowledge) -> Tensor:
    """Return the rows of a ``table`` of all candidates [C, ...] that are in play [K, ...]."""
    # All of them, as in inference: a copy of a large table would cost more than the scores.
    if len(knowledge.ids) == len(table):
        return table
    return table.index_select(0, knowledge.ids)
