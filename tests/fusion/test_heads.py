from typing import Any

import torch

from encoders.tokens import ModalTokens
from fusion.fused import ItemStates
from fusion.heads import Pooler, largest_cosine


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
