"""Small heads that read the fused tokens: masked pieces, masked patches, what [CLS] alone knows of them, matching."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion.fused import ItemStates

GREY = 0.5
PIXEL_SPREAD = 0.25


class PieceHead(nn.Module):
    """BERT's masked-language head: dense, GELU, norm, then the piece embeddings themselves as output weights."""

    def __init__(self, embedding: nn.Embedding, dim: int) -> None:
        super().__init__()
        width = embedding.embedding_dim
        self.transform = nn.Sequential(nn.Linear(dim, width), nn.GELU(), nn.LayerNorm(width))
        self.weight = embedding.weight
        self.bias = nn.Parameter(torch.zeros(embedding.num_embeddings))

    def forward(self, hidden: Tensor) -> Tensor:
        """``hidden`` [M, D] of M masked tokens to logits [M, V]."""
        return F.linear(self.transform(hidden), self.weight, self.bias)


class PatchHead(nn.Linear):
    """MBSD's affine map from a patch's token to its raw pixels in [0, 1]: [M, D] to [M, 3 * p * p], p pixels a side."""

    def __init__(self, dim: int, patch: int) -> None:
        super().__init__(dim, 3 * patch * patch)


class RegionHead(nn.Module):
    """What a masked region was: its F features, and the detector's C classes where the model tells them."""

    def __init__(self, dim: int, features: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Linear(dim, features)
        self.classes = nn.Linear(dim, classes) if classes else None

    def forward(self, hidden: Tensor) -> Tensor:
        """``hidden`` [M, D] of M masked regions to features [M, F]."""
        return cast(Tensor, self.features(hidden))


class MatchHead(nn.Module):
    """Query matching: a logit from the joint [CLS], and a shared space for queries and items."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.classify = nn.Linear(dim, 1)
        self.project = nn.Linear(dim, dim)
        self.log_scale = nn.Parameter(torch.tensor(2.7))

    def forward(self, joint: Tensor) -> Tensor:
        """``joint`` [B, D] to match logits [B]."""
        return self.classify(joint)[:, 0]

    def embed(self, node: Tensor) -> Tensor:
        """``node`` [B, D] to unit vectors [B, D]."""
        return F.normalize(self.project(node).float(), dim=-1)


class GlobalPredictor(nn.Module):
    """VT-BERT's Eq. 3 and 4: what [CLS] and a masked token's position alone say of the token.

        h_0 = [h([CLS]); p],  h_1 = LayerNorm(GeLU(W_0 h_0)),  y = LayerNorm(GeLU(W_1 h_1))

    Of a title token, y goes through the piece embeddings (GMLM); of a patch, y is the patch itself (GMRFR).
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(2 * dim, dim), nn.GELU(), nn.LayerNorm(dim))
        self.second = nn.Sequential(nn.Linear(dim, width), nn.GELU(), nn.LayerNorm(width))

    def forward(self, node: Tensor, positions: Tensor) -> Tensor:
        """``node`` h([CLS]) [M, D] of M masked tokens, their ``positions`` [M, D] to [M, W]."""
        return self.second(self.first(torch.cat([node, positions], -1)))


def largest_cosine(queries: ItemStates, items: ItemStates) -> Tensor:
    """VT-BERT's Eq. 8 and 9: the largest cosine of the global, text and image embeddings, [Q, B] of Q queries and B items."""
    pairs = (
        (queries.global_embedding, items.global_embedding),
        (queries.text_embedding, items.text_embedding),
        (queries.image_embedding, items.image_embedding),
    )
    return torch.stack(
        [F.normalize(one, dim=1) @ F.normalize(other, dim=1).T for one, other in pairs]
    ).amax(0)


class GlobalHeads(nn.Module):
    """VT-BERT's heads of [CLS]: a masked piece through the word-piece table, a masked patch of F features as it is, VTM's logit."""

    def __init__(self, embedding: nn.Embedding, dim: int, features: int) -> None:
        super().__init__()
        self.piece = GlobalPredictor(dim, embedding.embedding_dim)
        self.patch = GlobalPredictor(dim, features)
        self.weight = embedding.weight
        self.match = nn.Linear(dim, 1)
        self.begin()

    def begin(self) -> None:
        """Patches begin at grey, give or take as much as pixels in [0, 1] do: a norm's own scale of 1 would drown the other objectives."""
        norm = cast(nn.LayerNorm, self.patch.second[2])
        nn.init.constant_(norm.weight, PIXEL_SPREAD)
        nn.init.constant_(norm.bias, GREY)

    def pieces(self, node: Tensor, positions: Tensor) -> Tensor:
        """``node`` h([CLS]) and ``positions`` [M, D] of M masked pieces to logits [M, V]."""
        return F.linear(self.piece(node, positions), self.weight)

    def patches(self, node: Tensor, positions: Tensor) -> Tensor:
        """``node`` h([CLS]) and ``positions`` [M, D] of M masked patches to what they were [M, F]."""
        return cast(Tensor, self.patch(node, positions))

    def matches(self, pooled: Tensor) -> Tensor:
        """Global embeddings [B, D] to logits [B] of title and image belonging together."""
        return cast(Tensor, self.match(pooled))[:, 0]


class Pooler(nn.Sequential):
    """BERT's pooled output, VT-BERT's global embedding e_g: tanh(W h([CLS])), [B, D] to [B, D]."""

    def __init__(self, dim: int) -> None:
        super().__init__(nn.Linear(dim, dim), nn.Tanh())
