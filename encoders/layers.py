"""Transformer layers shared by the encoders and the fusion.

Shapes: B items, L tokens, Q queries, D the model's width, H heads, d = D / H.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Return softmax(q k' / sqrt(d)) v for ``q`` [B, H, Q, d] and ``k``, ``v`` [B, H, L, d].

    ``mask`` [B, 1, 1 or Q, L] is True where a query may attend.
    """
    # On a CPU the backward pass of the fused kernel is slow in bf16: an MBSD step of small size
    # takes 1.4 times as long. Training there computes the plain products instead.
    if q.device.type != "cpu" or q.dtype != torch.bfloat16 or not torch.is_grad_enabled():
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    # A row of -inf alone would be NaN: masks have to leave a token to each query, see
    # :func:`open_empty_rows`.
    return scores.masked_fill(~mask, -torch.inf).softmax(-1).to(v.dtype) @ v


class Attention(nn.Module):
    """Multi-head attention of queries over a memory.

    Raises ValueError if ``dim`` is not a multiple of ``heads``.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim {dim} is not a multiple of heads {heads}")
        self.heads = heads
        self.head_dim = dim // heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, query: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Attend from ``query`` [B, Q, D] to ``memory`` [B, L, D]: [B, Q, D].

        ``mask`` [B, L] is True for the tokens of the memory that may be attended to.
        """
        batch, queries, dim = query.shape
        q = self.query(query).view(batch, queries, self.heads, -1).transpose(1, 2)
        key_value = self.key_value(memory).view(batch, memory.shape[1], 2, self.heads, -1)
        k, v = key_value.permute(2, 0, 3, 1, 4)
        out = attend(q, k, v, mask[:, None, None, :])
        return self.output(out.transpose(1, 2).reshape(batch, queries, dim))


class FeedForward(nn.Sequential):
    """Linear, GELU, linear, with the usual expansion by a factor of four; [..., D] to [..., D]."""

    def __init__(self, dim: int, expansion: int = 4) -> None:
        super().__init__(
            nn.Linear(dim, expansion * dim),
            nn.GELU(approximate="tanh"),
            nn.Linear(expansion * dim, dim),
        )


@dataclass(frozen=True, slots=True)
class TokenRows:
    """The rows that T packed tokens belong to (see :mod:`encoders.packing`).

    Attributes:
        of_token: the row of each token [T]
        count: the number of rows, which is not read from ``of_token``: on a GPU that would wait
    """

    of_token: Tensor
    count: int


class RowDropout(nn.Module):
    """Dropout of whole features: the same features for all tokens of a row.

    This is the variational dropout of Gal and Ghahramani (2016). It needs few random numbers, which
    are expensive on a CPU: ordinary dropout, above all that of attention weights, makes a forward
    pass take nearly three times as long there.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, hidden: Tensor, rows: TokenRows | None = None) -> Tensor:
        """Drop features of ``hidden`` [B, L, D] or [N, D]; the identity outside training.

        Packed tokens [T, D] (see :mod:`encoders.packing`) come with their ``rows``.
        """
        if not self.training or self.rate == 0:
            return hidden
        count = hidden.shape[0] if rows is None else rows.count
        keep = 1 - self.rate
        scale = hidden.new_empty(count, hidden.shape[-1]).bernoulli_(keep).div_(keep)
        if rows is not None:
            return hidden * scale.index_select(0, rows.of_token)
        ones = [1] * (hidden.dim() - 2)
        return hidden * scale.view(count, *ones, -1)


class TransformerLayer(nn.Module):
    """A transformer layer with dropout on the output of its two sublayers.

    Args:
        dim: the width D
        heads: number of attention heads
        dropout: rate of :class:`RowDropout`
        norm_first: normalise before each sublayer (pre-norm); otherwise after the residual
            connection, as in BERT (post-norm)
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0, norm_first: bool = True) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.dropout = RowDropout(dropout)
        self.norm_attention = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.norm_feed_forward = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim)
        self._compiled: Callable[..., Tensor] | None = None

    def compile_sublayers(self) -> None:
        """Compile the layer from now on; layers of the same kind share one graph."""
        self._compiled = torch.compile(TransformerLayer._apply_around, dynamic=True)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Apply the layer to ``hidden`` [B, L, D] with ``mask`` [B, L], True for real tokens."""
        return self.apply_around(lambda x: self.attention(x, x, mask), hidden)

    def apply_around(
        self,
        self_attention: Callable[[Tensor], Tensor],
        hidden: Tensor,
        rows: TokenRows | None = None,
    ) -> Tensor:
        """Apply the layer to ``hidden`` [..., D] with a given implementation of self-attention.

        Everything else in the layer works on single tokens and accepts any layout. Packed tokens
        [T, D] come with their ``rows``, see :class:`RowDropout`.
        """
        if self._compiled is not None and not torch.compiler.is_compiling():
            return self._compiled(self, self_attention, hidden, rows)
        return self._apply_around(self_attention, hidden, rows)

    def _apply_around(
        self,
        self_attention: Callable[[Tensor], Tensor],
        hidden: Tensor,
        rows: TokenRows | None = None,
    ) -> Tensor:
        if self.norm_first:
            attended = self_attention(self.attention_input(hidden))
            hidden = hidden + self.dropout(attended, rows)
            return hidden + self.dropout(self.feed_forward(self.norm_feed_forward(hidden)), rows)
        # Autocast returns the norms in single precision. The sums between them are as precise as
        # the layer's input: see PackedTokens.through.
        attended = hidden + self.dropout(self_attention(hidden), rows)
        hidden = self.norm_attention(attended).to(hidden.dtype)
        mapped = hidden + self.dropout(self.feed_forward(hidden), rows)
        return self.norm_feed_forward(mapped).to(hidden.dtype)

    def attention_input(self, hidden: Tensor) -> Tensor:
        """Return the tensor [..., D] that the self-attention reads, given the layer's input."""
        return self.norm_attention(hidden) if self.norm_first else hidden


def open_empty_rows(mask: Tensor) -> Tensor:
    """Return ``mask`` [B, L] with the first token of every empty row set to True.

    The softmax over an empty set of tokens would be NaN.
    """
    opened = mask.clone()
    opened[:, 0] |= ~mask.any(1)
    return opened


def initialise(module: nn.Module) -> None:
    """Initialise all weights as BERT does: N(0, 0.02) and zero biases.

    Convolutions and layer norms keep the initialisation of PyTorch.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Embedding | nn.EmbeddingBag):
            nn.init.normal_(part.weight, std=0.02)


def drop_tokens(mask: Tensor, rate: float) -> Tensor:
    """Hide each token of ``mask`` [B, L] with probability ``rate``, as an augmentation.

    Hidden tokens are packed away like padding. On a CPU, where random numbers for single features
    are expensive, this regularises and saves time.
    """
    return mask & (torch.rand(mask.shape, device=mask.device) >= rate)
