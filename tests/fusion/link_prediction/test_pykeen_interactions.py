import pytest
import torch

from fusion.fused import Knowledge
from fusion.link_prediction.aggregation import StructureAggregation
from fusion.link_prediction.pykeen_interactions import InteractionHead, pykeen_interaction
from kg.message_flow import MessageFlow
from schema.errors import UsageError

DIM = 8
PROPERTY = torch.tensor([0, 0, 1, 1, 1])


class Fused:
    """Three items' nodes."""

    node = torch.arange(24.0).view(3, DIM) / 24


@pytest.fixture
def asked():
    """Cells (item 0, property 0), (item 1, property 1), (item 2, property 1), of which the first knows a value."""
    number = torch.tensor
    flow = MessageFlow(number([0, 1, 2]), number([0, 1, 1]), number([0]), number([1]), number([3]))
    torch.manual_seed(0)
    return flow, Knowledge(
        torch.randn(2, DIM), torch.arange(5), torch.randn(5, DIM), torch.arange(5)
    )


def head(name):
    torch.manual_seed(1)
    return InteractionHead(
        (StructureAggregation(DIM, 2), None), pykeen_interaction(name, DIM), PROPERTY, DIM
    ).eval()


def test_transe_is_k3ms_distance(asked):
    flow, knowledge = asked
    made = head("TransE")
    distance = (
        made.nodes(Fused, flow, knowledge)[1] + knowledge.properties[1] - knowledge.values[4]
    ).norm()
    torch.testing.assert_close(made(Fused, flow, knowledge)[1, 4], -distance)


@pytest.mark.parametrize(
    "name", ["TransE", "DistMult", "ComplEx", "RotatE", "SimplE", "TransR", "CrossE", "ConvKB"]
)
def test_pairs_are_scored_as_cells_are(name, asked):
    flow, knowledge = asked
    made = head(name)
    logits = made(Fused, flow, knowledge)
    assert logits.isfinite().tolist() == [
        [True, True, False, False, False],
        *[[False, False, True, True, True]] * 2,
    ]
    cell = torch.tensor([[0, 0], [2, 1]])
    value = torch.tensor([[0, 1], [4, 2]])
    torch.testing.assert_close(
        made.pairs(Fused, flow, knowledge, (cell, value)), logits[cell, value], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("name", ["TransE", "DistMult"])
def test_by_products_is_pykeens_score(name):
    made = head(name)
    heads = torch.randn(3, DIM)
    relations = torch.randn(3, DIM)
    tails = torch.randn(5, DIM)
    theirs = made.interaction(heads[:, None], relations[:, None], tails[None])
    torch.testing.assert_close(
        made.by_products(heads, relations, tails), theirs, rtol=1e-4, atol=1e-4
    )


def test_a_pair_may_be_of_another_propertys_value(asked):
    assert (
        head("TransE").pairs(Fused, *asked, (torch.tensor([0]), torch.tensor([4]))).isfinite().all()
    )


@pytest.mark.parametrize("name", ["NoSuch", "AutoSF"])
def test_what_pykeen_cannot_make_is_said(name):
    with pytest.raises(UsageError, match="interaction="):
        pykeen_interaction(name, DIM)
