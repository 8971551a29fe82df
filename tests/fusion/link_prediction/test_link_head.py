"""The joint model's scores, by its equation and by each way to compute them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from encoders.tokens import ModalTokens
from fusion.fused import Knowledge
from fusion.link_prediction import scorer
from fusion.link_prediction.aggregation import StructureAggregation
from fusion.link_prediction.decoder import CellDecoder
from fusion.link_prediction.own_candidates import own_candidates
from fusion.link_prediction.scorer import LinkHead
from kg.message_flow import MessageFlow

DIM, ITEM_WIDTH, KNOWN_WIDTH = 8, 6, 4
SIZES = (3, 1, 12, 5)
RANGES = np.cumsum([0, *SIZES])


@pytest.fixture(params=[(ITEM_WIDTH, KNOWN_WIDTH), (ITEM_WIDTH, 0), (0, 0)])
def head(request):
    torch.manual_seed(0)
    item_width, known_width = request.param
    links = LinkHead(
        aggregate=StructureAggregation(DIM, 2),
        aggregate_values=None,
        decoder=CellDecoder(DIM, 2, 1),
        candidate_property=torch.from_numpy(np.repeat(np.arange(4), SIZES)),
        dim=DIM,
        item_width=item_width,
        known_width=known_width,
    )
    torch.nn.init.normal_(links.bias)
    return links.double().eval()


@pytest.fixture
def fused(head: LinkHead) -> Any:
    torch.manual_seed(1)
    has_width = 0 if head.wide is None else ITEM_WIDTH
    memory = ModalTokens(torch.randn(5, 7, DIM).double(), torch.ones(5, 7, dtype=torch.bool))
    wide = torch.randn(5, has_width).double()
    return SimpleNamespace(node=torch.randn(5, DIM).double(), memory=memory, wide=wide)


@pytest.fixture
def flow():
    return MessageFlow.of(
        cell_item=torch.tensor([0, 0, 1, 2, 3, 4, 4]),
        cell_property=torch.tensor([2, 0, 3, 2, 1, 3, 0]),
        edge_cell=torch.tensor([0, 2, 2]),
        edge_property=torch.tensor([0, 0, 2]),
        edge_value=torch.tensor([1, 0, 5]),
    )


def knowledge_of(ids):
    torch.manual_seed(2)
    values = torch.randn(21, DIM).double()[ids]
    row_of = torch.zeros(21, dtype=torch.int64).index_copy(0, ids, torch.arange(len(ids)))
    return Knowledge(torch.randn(4, DIM).double(), ids, values, row_of)


@pytest.mark.parametrize("ids", [np.arange(21), np.array([0, 1, 3, 5, 6, 9, 14, 17, 18])])
def test_own_scores_pairs_and_the_equation_agree(head, fused, flow, ids, monkeypatch):
    know = knowledge_of(torch.from_numpy(ids))
    hidden = []
    head.decoder.register_forward_hook(lambda module, given, result: hidden.append(result))
    own = own_candidates(flow.cell_property.numpy(), ids, RANGES)
    every_own = own.spread(head(fused, flow, know, own), len(ids))

    cell, row = torch.meshgrid(torch.arange(7), torch.arange(len(ids)), indexing="ij")
    products = head.score_pairs(fused, flow, know, cell, row)
    monkeypatch.setattr(scorer, "PRODUCT_ADVANTAGE", 0)
    gathered = head.score_pairs(fused, flow, know, cell, row)

    for n in range(7):
        for k, candidate in enumerate(ids.tolist()):
            logit = (head.output(hidden[0][n]) @ know.values[k]) / DIM**0.5 + head.bias[candidate]
            if head.wide is not None:
                wide = fused.wide[flow.cell_item[n]]
                if head.known is not None:
                    known = flow.edge_value[flow.edge_cell == n]
                    wide = torch.cat([wide, head.known(known).sum(0)])
                logit = logit + wide @ head.wide.weight[candidate]
            for pairs in (products, gathered):
                torch.testing.assert_close(pairs[n, k].double(), logit, rtol=1e-5, atol=1e-5)
            is_own = RANGES[flow.cell_property[n]] <= candidate < RANGES[flow.cell_property[n] + 1]
            expected = logit if is_own else torch.tensor(-torch.inf).double()
            torch.testing.assert_close(every_own[n, k].double(), expected, rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_the_pairs(head, fused, flow):
    ids = np.arange(21)
    know = knowledge_of(torch.from_numpy(ids))
    own = own_candidates(flow.cell_property.numpy(), ids, RANGES)
    property_of = torch.from_numpy(np.repeat(np.arange(4), SIZES))
    cell, row = (property_of[None, :] == flow.cell_property[:, None]).nonzero(as_tuple=True)
    gradients = []
    for scores in (
        own.spread(head(fused, flow, know, own), 21)[cell, row],
        head.score_pairs(fused, flow, know, cell, row),
    ):
        head.zero_grad()
        scores.sigmoid().sum().backward()
        gradients.append({name: each.grad.clone() for name, each in head.named_parameters()})
    for name, one in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], one, rtol=1e-5, atol=1e-6)
