from typing import Any

import torch
from torch.nn import functional as F

from encoders.tokens import ModalTokens
from fusion.fused import ItemStates
from fusion.heads import GlobalPredictor, Pooler, largest_cosine


def test_the_global_predictor_is_vtberts_equation_3():
    head: Any = GlobalPredictor(6, 10).double()
    node, positions = torch.randn(2, 4, 6, dtype=torch.float64).unbind(0)
    (first, _, _) = head.first
    (second, _, _) = head.second
    h_1 = F.layer_norm(F.gelu(torch.cat([node, positions], 1) @ first.weight.T + first.bias), (6,))
    expected = F.layer_norm(F.gelu(h_1 @ second.weight.T + second.bias), (10,))
    torch.testing.assert_close(head(node, positions), expected)


def test_the_pooler_is_berts():
    head: Any = Pooler(4)
    node = torch.randn(3, 4)
    torch.testing.assert_close(head(node), torch.tanh(node @ head[0].weight.T + head[0].bias))


def states(whole, text, image):
    empty = ModalTokens(torch.zeros(1, 0, 2), torch.zeros(1, 0, dtype=torch.bool))
    return ItemStates(whole, whole, whole, text, image, empty, None)


def test_the_largest_cosine_of_three_counts():
    query = states(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]), torch.zeros(1, 2))
    items = states(
        torch.tensor([[0.0, 1.0], [3.0, 0.0]]),
        torch.tensor([[3.0, 4.0], [-1.0, 0.0]]),
        torch.ones(2, 2),
    )
    torch.testing.assert_close(largest_cosine(query, items), torch.tensor([[0.8, 1.0]]))
