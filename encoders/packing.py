"""Transformer layers without work on padding: only tokens that are there go through the linear maps."""

from __future__ import annotations

from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from encoders.layers import Attention, TransformerLayer, attend, readable
from encoders.tokens import ModalTokens


class Places:
    """Where T tokens lie in B rows of L: ``place`` [T] counts through the rows."""

    def __init__(self, place: Tensor, shape: tuple[int, int]) -> None:
        self.place, self.shape = place, shape

    def pack(self, padded: Tensor) -> Tensor:
        """[B, L, D] to the T tokens that are there [T, D]."""
        return padded.flatten(0, 1).index_select(0, self.place)

    def pad(self, packed: Tensor) -> Tensor:
        """[T, D] back to [B, L, D], zero where no token is."""
        rows, length = self.shape
        padded = packed.new_zeros(rows * length, packed.shape[1]).index_copy(0, self.place, packed)
        return padded.view(rows, length, -1)


class Packing(Places):
    """The tokens that are there, and which of them see each other: those of a row with the same group.

    ``group`` [B, L] int: 0 where no token is. Two short sequences can so share a row and not know of each other.
    """

    def __init__(self, group: Tensor) -> None:
        super().__init__(group.flatten().nonzero()[:, 0], (group.shape[0], group.shape[1]))
        if int(group.max()) <= 1 and len(self.place):
            # One group a row: a mask of keys alone, which broadcasts over queries.
            self.mask = readable(group != 0)[:, None, None, :]
        else:
            # An absent token has nothing to see; it sees itself, so that its softmax is a number. Nobody sees it.
            alike = (group[:, None, :] == group[:, :, None]) & (group != 0)[:, None, :]
            self.mask = (alike | torch.eye(group.shape[1], dtype=torch.bool, device=group.device))[:, None]


class PackedTransformer(nn.Module):
    """A stack of transformer layers over packed tokens: the same as the layers one after another, for the tokens that are there."""

    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, tokens: ModalTokens, group: Tensor | None = None) -> ModalTokens:
        """``tokens`` [B, L, D], ``group`` [B, L] (see :class:`Packing`; one group by default) to [B, L, D], zero where no token is."""
        packing = Packing(tokens.mask.long() if group is None else group)
        x = packing.pack(tokens.hidden)
        for layer in cast("list[TransformerLayer]", self.layers):
            x = layer.step(x, partial(packed_attention, layer.attention, packing))
        return ModalTokens(packing.pad(x), tokens.mask)


def packed_attention(attention: Attention, packing: Packing, x: Tensor) -> Tensor:
    """:class:`encoders.layers.Attention` of packed tokens ``x`` [T, D] over each other."""
    rows, length = packing.shape
    joined = packing.pad(torch.cat([attention.query(x), attention.key_value(x)], -1))
    q, k, v = joined.view(rows, length, 3, attention.heads, -1).permute(2, 0, 3, 1, 4)
    out = attend(q, k, v, packing.mask).transpose(1, 2).reshape(rows, length, -1)
    return attention.output(packing.pack(out))
