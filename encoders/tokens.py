"""The result of every encoder: the tokens of one modality and the mask of those present.

Shapes: B items, L tokens, D the model's width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class ModalTokens:
    """Tokens of one modality.

    A missing modality is a row of False in the mask. It is never a row of zeros that could be
    mistaken for content.

    Attributes:
        hidden: the tokens [B, L, D]
        mask: [B, L] bool, True for the tokens that are present
        limit: at most so many tokens are present; None if only the mask knows. The mask is on a
            GPU, which would have to be waited for, while the loader has counted the tokens anyway.
    """

    hidden: Tensor
    mask: Tensor
    limit: int | None = None

    @staticmethod
    def all_present(hidden: Tensor) -> ModalTokens:
        """Return ``hidden`` [B, L, D] with a mask that is True everywhere."""
        mask = torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
        return ModalTokens(hidden, mask)

    @property
    def most(self) -> int:
        """The largest number of tokens that may be present: ``limit``, or all B * L."""
        return self.mask.numel() if self.limit is None else self.limit

    def mean(self) -> Tensor:
        """Return the mean over the tokens present [B, D], zero for a row without any."""
        weight = self.mask.to(self.hidden.dtype)[..., None]
        return (self.hidden * weight).sum(1) / weight.sum(1).clamp(min=1)

    def empty(self) -> ModalTokens:
        """Return zero tokens for the same items: [B, 0, D]."""
        return ModalTokens(self.hidden[:, :0], self.mask[:, :0])

    @staticmethod
    def concatenate(modalities: list[ModalTokens]) -> ModalTokens:
        """Join modalities along the token axis: [B, L1, D] and [B, L2, D] to [B, L1 + L2, D]."""
        hidden = torch.cat([tokens.hidden for tokens in modalities], 1)
        mask = torch.cat([tokens.mask for tokens in modalities], 1)
        return ModalTokens(hidden, mask, sum(tokens.most for tokens in modalities))
