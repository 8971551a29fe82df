"""Two streams that look at each other: K3M's interaction layer of titles and images (ViLBERT's co-attention)."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from encoders.layers import Attention, FeedForward, RowDropout, TransformerLayer
from encoders.packing import Packed, reading_attention
from encoders.tokens import ModalTokens


class CrossAttention(nn.Module):
    """One stream reads another: x' = LN(x + Attention(q = x, k = v = y)), x'' = LN(x' + FF(x')).

    Where an item's other stream has no token it adds nothing: a missing modality is no evidence.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention = Attention(dim, heads)
        self.norm_attention = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim)
        self.norm_feed_forward = nn.LayerNorm(dim)
        self.dropout = RowDropout(dropout)

    def forward(self, own: Packed, other: Packed | None) -> Packed:
        """``own`` tokens [T, D] read the ``other`` ones of their row: [T, D]."""
        x = own.x
        row = own.packing.row
        if other is not None:
            # What a token reads where there is nothing is dropped again.
            read: Tensor = (
                reading_attention(self.attention, own, other) * other.packing.some[row][:, None]
            )
            x = x + self.dropout(read, row)
        x = self.norm_attention(x)
        return Packed(
            self.norm_feed_forward(x + self.dropout(self.feed_forward(x), row)), own.packing
        )


class CoAttentionLayer(nn.Module):
    """Both streams read each other at once, then each reads itself."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.title_reads, self.image_reads = (CrossAttention(dim, heads, dropout) for _ in range(2))
        self.title, self.image = (
            nn.ModuleList([TransformerLayer(dim, heads, dropout, norm_first=False)])
            for _ in range(2)
        )

    def forward(self, title: Packed, image: Packed | None) -> tuple[Packed, Packed | None]:
        """``title`` [T, D] and ``image`` [T', D] to the same."""
        read: Packed = self.title_reads(title, image)
        seen: Packed | None = None if image is None else self.image_reads(image, title)
        return read.through(self.title), None if seen is None else seen.through(self.image)


class CoAttention(nn.Module):
    """A stack of co-attention layers over the streams, whose lengths stay as they are; only tokens that are there are worked on."""

    def __init__(self, dim: int, heads: int, layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CoAttentionLayer(dim, heads, dropout) for _ in range(layers))

    def forward(self, title: ModalTokens, image: ModalTokens) -> tuple[ModalTokens, ModalTokens]:
        """h^I of the title [B, L, D] and h^T of the image [B, L', D]: each after interaction with the other."""
        read = Packed.of(title)
        seen = Packed.of(image) if image.mask.shape[1] else None
        for layer in self.layers:
            read, seen = cast("tuple[Packed, Packed | None]", layer(read, seen))
        return ModalTokens(read.padded(), title.mask), image if seen is None else ModalTokens(
            seen.padded(), image.mask
        )
