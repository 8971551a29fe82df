"""Transformer layers that do no work on padding.

About a third of a batch of titles is padding. The linear maps, which are most of a layer's work,
therefore run over the packed tokens alone, one after another in a tensor [T, D]. Only the attention
itself needs the padded layout [B, L, D], and the tokens are scattered to it and gathered back.
Measured on the joint training loop on two cores: 146 items/s instead of 135 in bf16, and 85 instead
of 69 in fp32.

Shapes: B rows (items), L tokens per padded row, T packed tokens, H heads, D the model's width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.batch import bucket_size
from encoders.layers import Attention, TransformerLayer, attend, open_empty_rows
from encoders.tokens import ModalTokens

PACKED_STEP = 64
"""T is a multiple of it: a CPU prepares its matrix products again for every new shape."""


class TokenLayout:
    """The positions of T tokens in B padded rows of length L, and the ways between both layouts.

    Args:
        position: the position of each token among all B * L, row after row [T]
        rows: the number of rows B
        length: the length of a row L
        step: zero tokens are appended so that their number is a multiple of this

    Attributes:
        row: the row of each packed token [T]; B for the appended ones
    """

    def __init__(self, position: Tensor, rows: int, length: int, step: int = 1) -> None:
        self.rows = rows
        self.length = length
        count = len(position)
        padded_count = bucket_size(count, step) if step > 1 else count
        position_of_packed = F.pad(position, (0, padded_count - count), value=rows * length)
        self.row = position_of_packed // length
        # The inverse index: packing gathers by one and padding by the other, and the gradient of
        # each is the other gather.
        packed_of_position = position.new_full((rows * length,), padded_count)
        packed_of_position[position] = torch.arange(count, device=position.device)
        self._packed = _RowIndex.of(position_of_packed, rows * length)
        self._padded = _RowIndex.of(packed_of_position, padded_count)

    def pack(self, padded: Tensor) -> Tensor:
        """Gather the tokens that are present: [B, L, D] to [T, D]."""
        return _gather_rows(padded.flatten(0, 1), self._packed, self._padded)

    def pad(self, packed: Tensor) -> Tensor:
        """Return the tokens to their rows: [T, D] to [B, L, D], zero where there is no token."""
        padded = _gather_rows(packed, self._padded, self._packed)
        return padded.view(self.rows, self.length, -1)


@dataclass(frozen=True, slots=True)
class _RowIndex:
    """Rows to gather from a table, some of which do not exist and are gathered as zeros.

    Attributes:
        index: the row of the table for each row of the result [M]; any valid row where it is absent
        absent: the rows of the result that are zero [A]
    """

    index: Tensor
    absent: Tensor

    @staticmethod
    def of(index: Tensor, size: int) -> _RowIndex:
        """Return the index of a table of ``size`` rows; ``size`` itself in ``index`` is absent."""
        return _RowIndex(index.clamp(max=max(0, size - 1)), (index == size).nonzero()[:, 0])

    def gather(self, table: Tensor) -> Tensor:
        """Gather rows from ``table`` [N, D]: [M, D]."""
        # A batch may have no token at all, and then no row to gather in place of absent ones.
        if not len(table):
            return table.new_zeros(len(self.index), table.shape[1])
        return table.index_select(0, self.index).index_fill_(0, self.absent, 0)


class _GatherRows(torch.autograd.Function):
    """Gather of table rows of which each is taken at most once.

    Its gradient is therefore a gather as well, by the ``inverse`` index. Autograd's own gradient of
    index_select would fill a table with zeros and scatter into it, which is slower.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: _RowIndex, inverse: _RowIndex) -> Tensor:
        """Gather from ``table`` [N, D]: [M, D]."""
        ctx.inverse = inverse
        return index.gather(table)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Gather the table's gradient [N, D] from the result's [M, D]."""
        return ctx.inverse.gather(gradients[0]), None, None


def _gather_rows(table: Tensor, index: _RowIndex, inverse: _RowIndex) -> Tensor:
    return _GatherRows.apply(table, index, inverse)  # type: ignore[no-untyped-call]


class AttentionLayout(TokenLayout):
    """The layout of a batch of sequences, and which of their tokens may attend to each other.

    Tokens of the same row attend to each other if they have the same group. Two short sequences can
    thus share a row without seeing each other.

    Args:
        group: the group of each token, from 1 on; 0 is padding [B, L]

    Attributes:
        mask: which tokens attend to which [B, 1, 1 or L, L]
        row_has_tokens: [B + 1]; the last entry belongs to the appended tokens
    """

    def __init__(self, group: Tensor) -> None:
        rows, length = group.shape
        super().__init__(group.flatten().nonzero()[:, 0], rows, length, PACKED_STEP)
        self.row_has_tokens = F.pad((group != 0).any(1), (0, 1))
        if int(group.max()) <= 1:
            # With a single group a mask over keys suffices, which broadcasts over the queries.
            self.mask = open_empty_rows(group != 0)[:, None, None, :]
        else:
            # Padding attends to itself, so that its softmax is not NaN. No token attends to it.
            same_group = (group[:, None, :] == group[:, :, None]) & (group != 0)[:, None, :]
            itself = torch.eye(length, dtype=torch.bool, device=group.device)
            self.mask = (same_group | itself)[:, None]

    def mask_of(self, positions: Tensor) -> Tensor:
        """Return the mask [B, 1, 1 or R, L] of the tokens at ``positions`` [B, R] of their rows."""
        if self.mask.shape[2] == 1:
            return self.mask
        index = positions[:, None, :, None].expand(-1, 1, -1, self.mask.shape[3])
        return self.mask.gather(2, index)


@dataclass(frozen=True)
class PackedTokens:
    """The tokens of a batch without padding, ``hidden`` [T, D], and their ``layout``."""

    hidden: Tensor
    layout: AttentionLayout

    @staticmethod
    def of(tokens: ModalTokens, group: Tensor | None = None) -> PackedTokens:
        """Pack ``tokens`` [B, L, D]; ``group`` [B, L] as in :class:`AttentionLayout`.

        By default the tokens of a row are one group.
        """
        layout = AttentionLayout(tokens.mask.long() if group is None else group)
        return PackedTokens(layout.pack(tokens.hidden), layout)

    def through(self, layers: nn.ModuleList) -> PackedTokens:
        """Apply transformer ``layers`` one after another."""
        hidden = self.hidden
        for layer in cast("list[TransformerLayer]", layers):
            self_attention = partial(packed_self_attention, layer.attention, self.layout)
            hidden = layer.apply_around(self_attention, hidden, self.layout.row)
        return PackedTokens(hidden, self.layout)

    def padded(self) -> Tensor:
        """Return the tokens to their rows [B, L, D], zero where there is no token."""
        return self.layout.pad(self.hidden)


class PackedTransformer(nn.Module):
    """A stack of transformer layers over packed tokens.

    For the tokens that are present, the result equals that of the layers one after another.
    """

    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, tokens: ModalTokens, group: Tensor | None = None) -> ModalTokens:
        """Apply all layers to ``tokens`` [B, L, D]: [B, L, D], zero where there is no token.

        ``group`` [B, L] as in :class:`AttentionLayout`; by default a row is one group.
        """
        packed = PackedTokens.of(tokens, group).through(self.layers)
        return ModalTokens(packed.padded(), tokens.mask)

    def states_at(
        self, tokens: ModalTokens, positions: Tensor, group: Tensor | None = None
    ) -> Tensor:
        """Return the final states [B, R, D] of the tokens at ``positions`` [B, R] of their rows.

        The last layer is computed for these alone. Its feed-forward network, which is most of its
        work, then runs over R tokens per row instead of L.
        """
        memory = PackedTokens.of(tokens, group).through(self.layers[:-1])
        index = positions[..., None].expand(-1, -1, memory.hidden.shape[1])
        hidden = memory.padded().gather(1, index)
        last = cast("TransformerLayer", self.layers[-1])
        attention_input = PackedTokens(last.attention_input(memory.hidden), memory.layout)

        def self_attention(query: Tensor) -> Tensor:
            """Attend from ``query`` [B, R, D] to all tokens of the same row: [B, R, D]."""
            return attention_at(last.attention, query, positions, attention_input)

        return last.apply_around(self_attention, hidden)


def packed_self_attention(attention: Attention, layout: AttentionLayout, hidden: Tensor) -> Tensor:
    """Apply :class:`encoders.layers.Attention` to packed tokens ``hidden`` [T, D]: [T, D]."""
    query = attention.query
    key_value = attention.key_value
    # One matrix product instead of two: concatenating the weights is cheaper than a second product.
    weight = torch.cat([query.weight, key_value.weight])
    bias = torch.cat([query.bias, key_value.bias])
    joined = layout.pad(F.linear(hidden, weight, bias))
    heads = joined.view(layout.rows, layout.length, 3, attention.heads, -1)
    q, k, v = heads.permute(2, 0, 3, 1, 4)
    out = attend(q, k, v, layout.mask).transpose(1, 2).reshape(layout.rows, layout.length, -1)
    return attention.output(layout.pack(out))


def attention_at(
    attention: Attention, query: Tensor, positions: Tensor, memory: PackedTokens
) -> Tensor:
    """Attend from ``query`` [B, R, D], at ``positions`` [B, R] of their rows, to packed tokens.

    Returns [B, R, D].
    """
    mask = memory.layout.mask_of(positions)
    return attention.output(_attend_to(attention, attention.query(query), memory, mask))


def cross_attention(attention: Attention, queries: PackedTokens, memory: PackedTokens) -> Tensor:
    """Attend from the tokens of ``queries`` to the tokens of ``memory`` in the same row: [T, D]."""
    q = queries.layout.pad(attention.query(queries.hidden))
    out = _attend_to(attention, q, memory, memory.layout.mask)
    return attention.output(queries.layout.pack(out))


def _attend_to(attention: Attention, query: Tensor, memory: PackedTokens, mask: Tensor) -> Tensor:
    """Attend from projected queries [B, Q, D] to packed tokens, ``mask`` [B, 1, 1 or Q, L]."""
    layout = memory.layout
    rows, queries, _ = query.shape
    q = query.view(rows, queries, attention.heads, -1).transpose(1, 2)
    key_value = layout.pad(attention.key_value(memory.hidden))
    heads = key_value.view(layout.rows, layout.length, 2, attention.heads, -1)
    k, v = heads.permute(2, 0, 3, 1, 4)
    return attend(q, k, v, mask).transpose(1, 2).reshape(rows, queries, -1)
