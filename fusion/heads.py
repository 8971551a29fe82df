"""The model's own heads: query matching, the global embedding, and similarity of embeddings.

Heads that only an objective uses belong to it: see :mod:`training.objectives`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion.fused import ItemStates


class MatchHead(nn.Module):
    """Query matching: a logit from the joint [CLS], and a shared space for queries and items.

    ``log_scale`` is the logarithm of the contrast's inverse temperature, which is learned.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.classify = nn.Linear(dim, 1)
        self.project = nn.Linear(dim, dim)
        self.log_scale = nn.Parameter(torch.tensor(2.7))

    def forward(self, joint: Tensor) -> Tensor:
        """Map ``joint`` [B, D] to match logits [B]."""
        return self.classify(joint)[:, 0]

    def embed(self, node: Tensor) -> Tensor:
        """Map ``node`` [B, D] to unit vectors [B, D]."""
        return F.normalize(self.project(node).float(), dim=-1)


def largest_cosine(queries: ItemStates, items: ItemStates) -> Tensor:
    """The largest cosine of the global, text and image embeddings (VT-BERT Eq. 8, 9).

    Of Q queries and B items: [Q, B].
    """
    pairs = (
        (queries.global_embedding, items.global_embedding),
        (queries.text_embedding, items.text_embedding),
        (queries.image_embedding, items.image_embedding),
    )
    return torch.stack(
        [F.normalize(one, dim=1) @ F.normalize(other, dim=1).T for one, other in pairs]
    ).amax(0)


class Pooler(nn.Sequential):
    """BERT's pooled output, VT-BERT's global embedding e_g: tanh(W h([CLS])), [B, D] to [B, D]."""

    def __init__(self, dim: int) -> None:
        super().__init__(nn.Linear(dim, dim), nn.Tanh())
