"""What encoders exchange: tokens of one modality with the mask that says which are there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class ModalTokens:
    """Tokens of one modality.

    Shapes (B items, L tokens, D dimensions): ``hidden`` [B, L, D]; ``mask`` [B, L], True where a token is present.
    A missing modality is a row of False, never a row of zeros passed off as content.
    """

    hidden: Tensor
    mask: Tensor

    @staticmethod
    def whole(hidden: Tensor) -> ModalTokens:
        """Tokens [B, L, D] that are all there."""
        return ModalTokens(
            hidden, torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
        )

    def mean(self) -> Tensor:
        """The mean over the tokens that are there [B, D]; zero where none is."""
        weight = self.mask.to(self.hidden.dtype)[..., None]
        return (self.hidden * weight).sum(1) / weight.sum(1).clamp(min=1)

    def none(self) -> ModalTokens:
        """No token of the same items: [B, 0, D]."""
        return ModalTokens(self.hidden[:, :0], self.mask[:, :0])

    @staticmethod
    def concatenate(parts: list[ModalTokens]) -> ModalTokens:
        """Join modalities along the token axis: [B, L1, D] and [B, L2, D] to [B, L1 + L2, D]."""
        return ModalTokens(
            torch.cat([p.hidden for p in parts], 1), torch.cat([p.mask for p in parts], 1)
        )
