"""K3M's interaction layer: two streams by co-attention, each fused with what it was before, their mean the item."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from encoders.tokens import ModalTokens
from fusion.co_attention import CoAttention
from fusion.initial_interactive import InitialInteractiveFusion


@dataclass(frozen=True)
class TwoStreamStates:
    """What the two streams make of B items: ``node`` c [B, D], ``title`` tokens h_t [B, L, D], ``image`` tokens h_i [B, P, D]."""

    node: Tensor
    title: ModalTokens
    image: ModalTokens


class TwoStream(nn.Module):
    """h_t = fusion(h_t^0, h_t^I), h_i = fusion(h_i^0, h_i^T), c = mean(h_t1 ... h_tM1, W0 h_i1 ... W0 h_iM2).

    ``fuse_title`` and ``fuse_image`` None is K3M without its IIFM: the tokens after interaction alone.
    """

    def __init__(
        self, co_attention: CoAttention, dim: int, fuse_title: InitialInteractiveFusion | None, fuse_image: InitialInteractiveFusion | None
    ) -> None:
        super().__init__()
        self.co_attention, self.fuse_title, self.fuse_image = co_attention, fuse_title, fuse_image
        self.image_to_node = nn.Linear(dim, dim, bias=False)

    def forward(self, title: ModalTokens, image: ModalTokens) -> TwoStreamStates:
        """``title`` h_t^0 [B, L, D] and ``image`` h_i^0 [B, P, D] to the states; c is zero for an item that has neither."""
        title_after, image_after = self.co_attention(title, image)
        title_hidden = title_after.hidden if self.fuse_title is None else self.fuse_title(title.hidden, title_after.hidden)
        image_hidden = image_after.hidden if self.fuse_image is None else self.fuse_image(image.hidden, image_after.hidden)
        both = torch.cat([title_hidden, self.image_to_node(image_hidden)], 1)
        node = ModalTokens(both, torch.cat([title.mask, image.mask], 1)).mean()
        return TwoStreamStates(node, ModalTokens(title_hidden, title.mask), ModalTokens(image_hidden, image.mask))
