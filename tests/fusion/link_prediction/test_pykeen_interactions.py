from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fusion.fused import Knowledge
from fusion.link_prediction.aggregation import StructureAggregation
from fusion.link_prediction.own_candidates import own_candidates
from fusion.link_prediction.pykeen_interactions import InteractionHead, pykeen_interaction
from kg.message_flow import MessageFlow
from schema.errors import UsageError

DIM = 8
PROPERTY_OF_CANDIDATE = torch.tensor([0, 0, 1, 1, 1])

# The nodes of three items; the head reads nothing else of them.
ITEMS: Any = SimpleNamespace(node=torch.arange(24.0).view(3, DIM) / 24)


@pytest.fixture
def flow():
    """Cells (item 0, property 0), (item 1, property 1), (item 2, property 1); one known value."""
    return MessageFlow.of(
        cell_item=torch.tensor([0, 1, 2]),
        cell_property=torch.tensor([0, 1, 1]),
        edge_cell=torch.tensor([0]),
        edge_property=torch.tensor([1]),
        edge_value=torch.tensor([3]),
    )


@pytest.fixture
def knowledge():
    torch.manual_seed(0)
    return Knowledge(
        properties=torch.randn(2, DIM),
        ids=torch.arange(5),
        values=torch.randn(5, DIM),
        row_of=torch.arange(5),
    )


def head(name):
    torch.manual_seed(1)
    return InteractionHead(
        StructureAggregation(DIM, 2),
        None,
        pykeen_interaction(name, DIM),
        PROPERTY_OF_CANDIDATE,
        DIM,
    ).eval()


def every_score(links, flow, knowledge):
    """Scores [3, 5] of the cells' own candidates; the others are -inf."""
    ranges = np.array([0, 2, 5])
    own = own_candidates(flow.cell_property.numpy(), np.arange(5), ranges)
    return own.spread(links(ITEMS, flow, knowledge, own), 5)


def test_transe_is_the_distance_of_k3m(flow, knowledge):
    transe = head("TransE")
    node = transe.nodes(ITEMS, flow, knowledge)[1]
    distance = (node + knowledge.properties[1] - knowledge.values[4]).norm()
    torch.testing.assert_close(every_score(transe, flow, knowledge)[1, 4], -distance)


@pytest.mark.parametrize(
    "name", ["TransE", "DistMult", "ComplEx", "RotatE", "SimplE", "TransR", "CrossE", "ConvKB"]
)
def test_pairs_score_as_cells_do(name, flow, knowledge):
    links = head(name)
    logits = every_score(links, flow, knowledge)
    assert logits.isfinite().tolist() == [
        [True, True, False, False, False],
        *[[False, False, True, True, True]] * 2,
    ]
    cell = torch.tensor([[0, 0], [2, 1]])
    row = torch.tensor([[0, 1], [4, 2]])
    scores = links.score_pairs(ITEMS, flow, knowledge, cell, row)
    torch.testing.assert_close(scores, logits[cell, row], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["TransE", "DistMult"])
def test_the_matrix_product_equals_pykeens_score(name):
    links = head(name)
    heads = torch.randn(3, DIM)
    relations = torch.randn(3, DIM)
    tails = torch.randn(5, DIM)
    expected = links.interaction(heads[:, None], relations[:, None], tails[None])
    actual = links.product_score(heads, relations, tails)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_a_pair_may_have_the_value_of_another_property(flow, knowledge):
    cell = torch.tensor([0])
    row = torch.tensor([4])
    assert head("TransE").score_pairs(ITEMS, flow, knowledge, cell, row).isfinite().all()


@pytest.mark.parametrize("name", ["NoSuch", "AutoSF"])
def test_interactions_that_cannot_be_made_are_refused(name):
    with pytest.raises(UsageError, match="interaction="):
        pykeen_interaction(name, DIM)
