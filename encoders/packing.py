"""Transformer layers without work on padding: only tokens that are there go through the linear maps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.batch import few_sizes
from encoders.layers import Attention, TransformerLayer, attend, readable
from encoders.tokens import ModalTokens

TOKENS_STEP = 64


class Places:
    """Where T tokens lie in B rows of L: ``place`` [T] counts through the rows; ``row`` [T'] is each packed token's row.

    Zero rows make T' of them, a multiple of ``step`` where that is above 1.
    """

    def __init__(self, place: Tensor, shape: tuple[int, int], step: int = 1) -> None:
        self.shape = shape
        count = len(place)
        taken = F.pad(
            place,
            (0, (few_sizes(count, step) if step > 1 else count) - count),
            value=shape[0] * shape[1],
        )
        self.row = taken // shape[1]
        packed_at = place.new_full((shape[0] * shape[1],), len(taken))
        packed_at[place] = torch.arange(count, device=place.device)
        self._taken = _Rows.of(taken, shape[0] * shape[1])
        self._packed_at = _Rows.of(packed_at, len(taken))

    def pack(self, padded: Tensor) -> Tensor:
        """[B, L, D] to the tokens that are there [T', D]."""
        return cast(Tensor, _Gather.apply(padded.flatten(0, 1), self._taken, self._packed_at))  # type: ignore[no-untyped-call]

    def pad(self, packed: Tensor) -> Tensor:
        """[T', D] back to [B, L, D], zero where no token is."""
        rows = _Gather.apply(packed, self._packed_at, self._taken)  # type: ignore[no-untyped-call]
        return cast(Tensor, rows).view(*self.shape, -1)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Which rows of a table to take, [M], and which of the M are none of it, [A]."""

    index: Tensor
    absent: Tensor

    @staticmethod
    def of(index: Tensor, end: int) -> _Rows:
        """``index`` [M], ``end`` for none."""
        return _Rows(index.clamp(max=max(0, end - 1)), (index == end).nonzero()[:, 0])

    def take(self, table: Tensor) -> Tensor:
        """``table`` [N, D] to [M, D]."""
        if not len(table):
            return table.new_zeros(len(self.index), table.shape[1])
        return table.index_select(0, self.index).index_fill_(0, self.absent, 0)


class _Gather(torch.autograd.Function):
    """Takes rows of a table, each once at most; ``back`` takes them back.

    So its gradient is a gather as well, which spares an index_select's zeroed table and scattered addition.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, there: _Rows, back: _Rows) -> Tensor:
        """``table`` [N, D] to [M, D]."""
        ctx.back = back
        return there.take(table)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """The gradient [M, D] to the table's [N, D]."""
        return ctx.back.take(grads[0]), None, None


class Packing(Places):
    """The tokens that are there, and which of them see each other: those of a row with the same group.

    ``group`` [B, L] int: 0 where no token is. Two short sequences can so share a row and not know of each other. ``some`` [B + 1] says
    which rows have a token; the last stands for the zero rows.
    """

    def __init__(self, group: Tensor) -> None:
        # A CPU prepares its matrix products anew for each shape.
        super().__init__(
            group.flatten().nonzero()[:, 0], (group.shape[0], group.shape[1]), TOKENS_STEP
        )
        self.some = F.pad((group != 0).any(1), (0, 1))
        if int(group.max()) <= 1:
            # One group a row: a mask of keys alone, which broadcasts over queries.
            self.mask = readable(group != 0)[:, None, None, :]
        else:
            # An absent token has nothing to see; it sees itself, so that its softmax is a number. Nobody sees it.
            alike = (group[:, None, :] == group[:, :, None]) & (group != 0)[:, None, :]
            self.mask = (alike | torch.eye(group.shape[1], dtype=torch.bool, device=group.device))[
                :, None
            ]

    def mask_of(self, at: Tensor) -> Tensor:
        """What the tokens at places ``at`` [B, R] of their rows see: [B, 1, R, L], or [B, 1, 1, L] where all see the same."""
        if self.mask.shape[2] == 1:
            return self.mask
        return self.mask.gather(2, at[:, None, :, None].expand(-1, 1, -1, self.mask.shape[3]))


@dataclass(frozen=True)
class Packed:
    """Tokens that are there, one after another, ``x`` [T, D], and where they lie."""

    x: Tensor
    packing: Packing

    @staticmethod
    def of(tokens: ModalTokens, group: Tensor | None = None) -> Packed:
        """``tokens`` [B, L, D]; ``group`` [B, L] as in :class:`Packing`, one a row by default."""
        packing = Packing(tokens.mask.long() if group is None else group)
        return Packed(packing.pack(tokens.hidden), packing)

    def through(self, layers: nn.ModuleList) -> Packed:
        """What transformer ``layers`` make of them."""
        x = self.x
        for layer in cast("list[TransformerLayer]", layers):
            x = layer.step(
                x, partial(packed_attention, layer.attention, self.packing), self.packing.row
            )
        return Packed(x, self.packing)

    def padded(self) -> Tensor:
        """Back to [B, L, D], zero where no token is."""
        return self.packing.pad(self.x)


class PackedTransformer(nn.Module):
    """A stack of transformer layers over packed tokens: the same as the layers one after another, for the tokens that are there."""

    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, tokens: ModalTokens, group: Tensor | None = None) -> ModalTokens:
        """``tokens`` [B, L, D], ``group`` [B, L] (see :class:`Packing`; one group by default) to [B, L, D], zero where no token is."""
        return ModalTokens(Packed.of(tokens, group).through(self.layers).padded(), tokens.mask)

    def read(self, tokens: ModalTokens, at: Tensor, group: Tensor | None = None) -> Tensor:
        """The states of the tokens at places ``at`` [B, R] alone, R a row: [B, R, D].

        The last layer asks for these alone, so its feed-forward, most of its work, is done for R tokens a row instead of L.
        """
        before = Packed.of(tokens, group).through(self.layers[:-1])
        asked = before.padded().gather(1, at[..., None].expand(-1, -1, before.x.shape[1]))
        last = cast("TransformerLayer", self.layers[-1])
        told = Packed(last.before_attention(before.x), before.packing)
        return last.step(asked, lambda query: asking_attention(last.attention, query, at, told))


def packed_attention(attention: Attention, packing: Packing, x: Tensor) -> Tensor:
    """:class:`encoders.layers.Attention` of packed tokens ``x`` [T, D] over each other."""
    rows, length = packing.shape
    query = attention.query
    key_value = attention.key_value
    # One product instead of two: weights are smaller than what they make.
    joined = F.linear(
        x, torch.cat([query.weight, key_value.weight]), torch.cat([query.bias, key_value.bias])
    )
    q, k, v = packing.pad(joined).view(rows, length, 3, attention.heads, -1).permute(2, 0, 3, 1, 4)
    out = attend(q, k, v, packing.mask).transpose(1, 2).reshape(rows, length, -1)
    return attention.output(packing.pack(out))


def asking_attention(attention: Attention, query: Tensor, at: Tensor, told: Packed) -> Tensor:
    """Attention of ``query`` states [B, R, D] at places ``at`` [B, R] of their rows over the packed tokens: [B, R, D]."""
    return attention.output(
        _attended(attention, attention.query(query), told, told.packing.mask_of(at))
    )


def reading_attention(attention: Attention, own: Packed, other: Packed) -> Tensor:
    """Attention of ``own`` tokens over the ``other`` ones of their row: [T, D] of ``own``."""
    q = own.packing.pad(attention.query(own.x))
    return attention.output(own.packing.pack(_attended(attention, q, other, other.packing.mask)))


def _attended(attention: Attention, query: Tensor, told: Packed, mask: Tensor) -> Tensor:
    """Queries [B, R, D] over packed tokens, ``mask`` [B, 1, R or 1, L], to [B, R, D]."""
    rows, length = told.packing.shape
    q = query.view(rows, query.shape[1], attention.heads, -1).transpose(1, 2)
    k, v = (
        told.packing.pad(attention.key_value(told.x))
        .view(rows, length, 2, attention.heads, -1)
        .permute(2, 0, 3, 1, 4)
    )
    return attend(q, k, v, mask).transpose(1, 2).reshape(rows, query.shape[1], -1)
