"""What the fusion hands on: picture parts, fused items, knowledge vectors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from encoders.tokens import ModalTokens


@dataclass(frozen=True, slots=True)
class ImageParts:
    """What pictures give: ``tokens`` [B, L, D], the global one first; ``descriptor`` [B, W], there where ``described`` [B] says so."""

    tokens: ModalTokens
    descriptor: Tensor
    described: Tensor

    def where(self, keep: Tensor) -> ImageParts:
        """The same with items outside ``keep`` [B] bool made absent."""
        tokens = ModalTokens(self.tokens.hidden, self.tokens.mask & keep[:, None])
        return ImageParts(tokens, self.descriptor, self.described & keep)

    def first(self, count: int) -> ImageParts:
        """Those of the first ``count`` items."""
        tokens = ModalTokens(self.tokens.hidden[:count], self.tokens.mask[:count])
        return ImageParts(tokens, self.descriptor[:count], self.described[:count])

    def hide(self, patches: Tensor, vector: Tensor) -> ImageParts:
        """Replace patches [B, L - 1] bool by the mask ``vector`` [D]; their items' global token and descriptor, which would tell, go."""
        rows = patches.any(1)
        hidden = self.tokens.hidden
        covered = torch.where(patches[..., None], vector.to(hidden.dtype), hidden[:, 1:])
        mask = torch.cat([self.tokens.mask[:, :1] & ~rows[:, None], self.tokens.mask[:, 1:]], 1)
        return ImageParts(ModalTokens(torch.cat([hidden[:, :1], covered], 1), mask), self.descriptor, self.described & ~rows)


@dataclass(frozen=True, slots=True)
class FusedItems:
    """B fused items: ``node`` c [B, D]; ``memory`` all tokens [B, L, D]; ``title`` and ``image`` parts of them; ``wide`` [B, W']."""

    node: Tensor
    memory: ModalTokens
    title: ModalTokens
    image: ModalTokens | None
    wide: Tensor


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Vectors of all P properties [P, D] and of the C' candidates in play: ``ids`` [C'], ``values`` [C', D], ``local`` [C] (id to row)."""

    properties: Tensor
    ids: Tensor
    values: Tensor
    local: Tensor
