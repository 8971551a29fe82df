"""The records that pass between the stages of the model: images, fused items, knowledge vectors.

Shapes: B items, L tokens, P patches, G global image tokens (0 or 1), D the model's width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from encoders.tokens import ModalTokens


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """The encoded images of B items.

    Attributes:
        tokens: G global tokens followed by the tokens of P patches [B, G + P, D]
        descriptor: a descriptor of each whole image [B, W]; W is 0 if the model has none
        described: which items have a descriptor [B]
        global_tokens: G
    """

    tokens: ModalTokens
    descriptor: Tensor
    described: Tensor
    global_tokens: int = 1

    def repeated(self) -> ImageFeatures:
        """Return the features of the same items twice: [2B, ...]."""
        tokens = ModalTokens(
            hidden=torch.cat([self.tokens.hidden] * 2),
            mask=torch.cat([self.tokens.mask] * 2),
            limit=2 * self.tokens.most,
        )
        return replace(
            self,
            tokens=tokens,
            descriptor=torch.cat([self.descriptor] * 2),
            described=torch.cat([self.described] * 2),
        )

    def absent(self, rows: int) -> ImageFeatures:
        """Return features of the same shape for ``rows`` items without an image."""
        hidden = self.tokens.hidden
        mask = self.tokens.mask.new_zeros(rows, hidden.shape[1])
        return ImageFeatures(
            tokens=ModalTokens(hidden.new_zeros(rows, *hidden.shape[1:]), mask, 0),
            descriptor=self.descriptor.new_zeros(rows, self.descriptor.shape[1]),
            described=self.described.new_zeros(rows),
            global_tokens=self.global_tokens,
        )

    def hide(self, patches: Tensor, masked_tokens: Tensor) -> ImageFeatures:
        """Replace the marked ``patches`` [B, P] bool by ``masked_tokens`` [P, D] or [B, P, D].

        These keep position or box of what they replace (see
        :meth:`fusion.images.ImageReader.masked_tokens`). The items also lose their global token and
        their descriptor, which would give the content of the hidden patches away.
        """
        first = self.global_tokens
        hidden = self.tokens.hidden
        mask = self.tokens.mask
        touched = patches.any(1)
        covered = torch.where(patches[..., None], masked_tokens.to(hidden.dtype), hidden[:, first:])
        mask = torch.cat([mask[:, :first] & ~touched[:, None], mask[:, first:]], 1)
        tokens = ModalTokens(torch.cat([hidden[:, :first], covered], 1), mask, self.tokens.limit)
        return replace(self, tokens=tokens, described=self.described & ~touched)

    def patch_states(self, hidden: Tensor) -> Tensor:
        """Return the part of states ``hidden`` [B, G + P, D] that belongs to patches [B, P, D]."""
        return hidden[:, self.global_tokens :]


@dataclass(frozen=True, slots=True)
class FusedItems:
    """B items after the fusion of their modalities.

    Attributes:
        node: the item node c [B, D]
        memory: all tokens of each item, for attention over them [B, L, D]
        title: the title's tokens
        image: the image's tokens, or None if no item has an image
        wide: features for a linear model beside the deep one [B, W']; W' is 0 without such a model
        title_span: the tokens whose mean is the text embedding: the title's, and its [SEP]
        image_span: the tokens whose mean is the image embedding: the image's, and its [SEP]
    """

    node: Tensor
    memory: ModalTokens
    title: ModalTokens
    image: ModalTokens | None
    wide: Tensor
    title_span: ModalTokens
    image_span: ModalTokens


@dataclass(frozen=True, slots=True)
class QueryViews:
    """MBSD's three readings of N pairs of a query and an item (its Figure 4).

    Attributes:
        item: h, of the query with title and image [N, D]
        title: h^t, of the query with the title alone [N, D]
        image: h^v, of the query with the image alone [N, D]
    """

    item: Tensor
    title: Tensor
    image: Tensor


@dataclass(frozen=True, slots=True)
class ItemStates:
    """All representations of B items that the papers name.

    Attributes:
        item: c, before the structure aggregation (K3M) [B, D]
        node: c*, after the structure aggregation (K3M) [B, D]
        global_embedding: VT-BERT's e_g, the pooled [CLS] [B, D]
        text_embedding: VT-BERT's e_t, the mean over the title [B, D]
        image_embedding: VT-BERT's e_i, the mean over the image [B, D]
        title: the states of the title's tokens [B, L, D]
        image: the states of the image's tokens [B, P, D], or None if no item has an image
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
    """Vectors of all properties, and of the candidates in play.

    A candidate is a value of one particular property. Training encodes a subset of all C
    candidates in each step; inference encodes all of them once.

    Attributes:
        properties: vectors of all properties [P, D]
        ids: the candidates in play [C']
        values: their vectors [C', D]
        row_of: the row in ``ids`` and ``values`` of each candidate [C]; 0 if it is not in play
    """

    properties: Tensor
    ids: Tensor
    values: Tensor
    row_of: Tensor
