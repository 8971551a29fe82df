"""What the fusion hands on: image parts, fused items, knowledge vectors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from encoders.tokens import ModalTokens


@dataclass(frozen=True, slots=True)
class ImageParts:
    """What images give: ``tokens`` [B, G + P, D], G global ones before those of P patches; ``descriptor`` [B, W].

    ``described`` [B] says where the descriptor is there; ``global_tokens`` is G, none or one.
    """

    tokens: ModalTokens
    descriptor: Tensor
    described: Tensor
    global_tokens: int = 1

    def where(self, keep: Tensor) -> ImageParts:
        """The same with items outside ``keep`` [B] bool made absent."""
        tokens = ModalTokens(self.tokens.hidden, self.tokens.mask & keep[:, None])
        return replace(self, tokens=tokens, described=self.described & keep)

    def repeated(self) -> ImageParts:
        """Those of the same items two times over: [2B, ...]."""
        tokens = ModalTokens(torch.cat([self.tokens.hidden] * 2), torch.cat([self.tokens.mask] * 2))
        return replace(
            self,
            tokens=tokens,
            descriptor=torch.cat([self.descriptor] * 2),
            described=torch.cat([self.described] * 2),
        )

    def hide(self, patches: Tensor, vector: Tensor) -> ImageParts:
        """Replace patches [B, P] bool by the mask ``vector`` [D]; their items' global token and descriptor, which would tell, go."""
        rows = patches.any(1)
        first = self.global_tokens
        hidden = self.tokens.hidden
        mask = self.tokens.mask
        covered = torch.where(patches[..., None], vector.to(hidden.dtype), hidden[:, first:])
        mask = torch.cat([mask[:, :first] & ~rows[:, None], mask[:, first:]], 1)
        tokens = ModalTokens(torch.cat([hidden[:, :first], covered], 1), mask)
        return replace(self, tokens=tokens, described=self.described & ~rows)

    def patches(self, hidden: Tensor) -> Tensor:
        """The patches' part [B, P, D] of states ``hidden`` [B, G + P, D]."""
        return hidden[:, self.global_tokens :]


@dataclass(frozen=True, slots=True)
class FusedItems:
    """B fused items: ``node`` c [B, D]; ``memory`` all tokens [B, L, D]; ``title`` and ``image`` parts of them; ``wide`` [B, W'].

    ``wide`` are features that a linear expert reads, of no width where a model has none. The means of ``title_span`` and ``image_span``
    are the modalities' embeddings: their tokens, with a stream's [SEP].
    """

    node: Tensor
    memory: ModalTokens
    title: ModalTokens
    image: ModalTokens | None
    wide: Tensor
    title_span: ModalTokens
    image_span: ModalTokens


@dataclass(frozen=True, slots=True)
class ItemStates:
    """Everything that a model says of B items, by name.

    ``item`` c [B, D] before the structure aggregation and ``node`` c* [B, D] after it (K3M); VT-BERT's three embeddings
    ``global_embedding``, ``text_embedding``, ``image_embedding`` [B, D]; the states of the ``title``'s tokens [B, L, D] and the ``image``'s
    [B, P, D], None where no item has an image.
    """

    item: Tensor
    node: Tensor
    global_embedding: Tensor
    text_embedding: Tensor
    image_embedding: Tensor
    title: ModalTokens
    image: ModalTokens | None


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Vectors of all P properties [P, D] and of the C' candidates in play: ``ids`` [C'], ``values`` [C', D], ``local`` [C] (id to row)."""

    properties: Tensor
    ids: Tensor
    values: Tensor
    local: Tensor
