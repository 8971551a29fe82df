"""Transformer parts shared by the encoders and the fusion."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """softmax(q k' / sqrt(d)) v over [B, H, Q, d] and [B, H, L, d], ``mask`` [B, 1, 1, L].

    On a CPU the fused kernel's backward is slow in bf16 (1.4x an MBSD step of small size), so training there takes the plain products.
    """
    if q.device.type != "cpu" or q.dtype != torch.bfloat16 or not torch.is_grad_enabled():
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    return scores.masked_fill(~mask, -torch.inf).softmax(-1).to(v.dtype) @ v


class Attention(nn.Module):
    """Multi-head attention of queries over keys, through ``scaled_dot_product_attention``."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim {dim} is not a multiple of heads {heads}")
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, query: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """``query`` [B, Q, D], ``memory`` [B, L, D], ``mask`` [B, L] (True: attend) to [B, Q, D]; B items, Q queries, L tokens."""
        batch, queries, dim = query.shape
        q = self.query(query).view(batch, queries, self.heads, -1).transpose(1, 2)
        k, v = (
            self.key_value(memory)
            .view(batch, memory.shape[1], 2, self.heads, -1)
            .permute(2, 0, 3, 1, 4)
        )
        out = attend(q, k, v, mask[:, None, None, :])
        return self.output(out.transpose(1, 2).reshape(batch, queries, dim))


class FeedForward(nn.Sequential):
    """Linear, GELU, Linear, with the usual expansion of four."""

    def __init__(self, dim: int, expansion: int = 4) -> None:
        super().__init__(
            nn.Linear(dim, expansion * dim),
            nn.GELU(approximate="tanh"),
            nn.Linear(expansion * dim, dim),
        )


class RowDropout(nn.Module):
    """Dropout of whole features of a row, the same for all its tokens (Gal and Ghahramani, 2016): few random numbers, cheap on a CPU."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, hidden: Tensor, row: Tensor | None = None) -> Tensor:
        """``hidden`` [B, L, D] or [N, D] to the same; the identity outside training.

        Tokens [T, D] of rows that lie one after another come with the ``row`` [T] of each.
        """
        if not self.training or self.rate == 0:
            return hidden
        rows = hidden.shape[0] if row is None else int(row.max()) + 1 if row.numel() else 0
        kept = (
            hidden.new_empty(rows, hidden.shape[-1]).bernoulli_(1 - self.rate).div_(1 - self.rate)
        )
        return hidden * (
            kept.view(rows, *(1 for _ in hidden.shape[1:-1]), -1)
            if row is None
            else kept.index_select(0, row)
        )


class TransformerLayer(nn.Module):
    """A transformer layer with dropout on what each part adds; its norms come first, or as in BERT after each addition."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0, norm_first: bool = True) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.dropout = RowDropout(dropout)
        self.norm_attention = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.norm_feed_forward = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """``hidden`` [B, L, D], ``mask`` [B, L] to [B, L, D]."""
        return self.step(hidden, lambda x: self.attention(x, x, mask))

    def step(
        self, hidden: Tensor, read: Callable[[Tensor], Tensor], row: Tensor | None = None
    ) -> Tensor:
        """What the layer does around its self-attention ``read``, on tokens of any layout: ``hidden`` [..., D] to [..., D].

        ``row`` says whose the tokens [T, D] are where they lie one after another, see :class:`RowDropout`.
        """
        if self.norm_first:
            hidden = hidden + self.dropout(read(self.before_attention(hidden)), row)
            return hidden + self.dropout(self.feed_forward(self.norm_feed_forward(hidden)), row)
        hidden = self.norm_attention(hidden + self.dropout(read(hidden), row))
        return self.norm_feed_forward(hidden + self.dropout(self.feed_forward(hidden), row))

    def before_attention(self, hidden: Tensor) -> Tensor:
        """What the self-attention reads of ``hidden`` [..., D]."""
        return self.norm_attention(hidden) if self.norm_first else hidden


def readable(mask: Tensor) -> Tensor:
    """``mask`` [B, L] with the first token of empty rows opened: a softmax over nothing is no number."""
    opened = mask.clone()
    opened[:, 0] |= ~mask.any(1)
    return opened


def initialise(module: nn.Module) -> None:
    """BERT's initialisation: N(0, 0.02) weights, zero biases; convolutions keep their own."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Embedding | nn.EmbeddingBag):
            nn.init.normal_(part.weight, std=0.02)


def drop_tokens(mask: Tensor, rate: float) -> Tensor:
    """Training's token dropping: hide each token [B, L] with probability ``rate``."""
    return mask & (torch.rand(mask.shape, device=mask.device) >= rate)
