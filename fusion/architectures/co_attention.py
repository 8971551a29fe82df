"""Co-attention between the streams of title and image: K3M's interaction layer, as in ViLBERT.

Shapes: B items, L and L' tokens of title and image, T and T' packed tokens (see
:mod:`encoders.packing`), D the model's width.
"""

from __future__ import annotations

from torch import Tensor, nn

from encoders.layers import Attention, FeedForward, RowDropout, TransformerLayer
from encoders.packing import PackedTokens, cross_attention
from encoders.tokens import ModalTokens


class CrossAttention(nn.Module):
    """One stream attends to the other.

        x'  = LayerNorm(x + Attention(q = x, k = v = y))
        x'' = LayerNorm(x' + FeedForward(x'))

    If an item lacks the other modality, the attention adds nothing: a missing modality is no
    evidence.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention = Attention(dim, heads)
        self.norm_attention = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim)
        self.norm_feed_forward = nn.LayerNorm(dim)
        self.dropout = RowDropout(dropout)

    def forward(self, stream: PackedTokens, other: PackedTokens | None) -> PackedTokens:
        """Let the tokens of ``stream`` [T, D] attend to those of ``other`` [T', D]: [T, D]."""
        x = stream.hidden
        rows = stream.layout.token_rows
        if other is not None:
            attended: Tensor = cross_attention(self.attention, stream, other)
            # Attention over an empty row reads an arbitrary token, which is cancelled here.
            has_other = other.layout.row_has_tokens.index_select(0, rows.of_token)[:, None]
            x = x + self.dropout(attended * has_other, rows)
        x = self.norm_attention(x)
        x = self.norm_feed_forward(x + self.dropout(self.feed_forward(x), rows))
        return PackedTokens(x, stream.layout)


class CoAttentionLayer(nn.Module):
    """Both streams attend to each other at the same time, and then each to itself."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.title_reads = CrossAttention(dim, heads, dropout)
        self.image_reads = CrossAttention(dim, heads, dropout)
        self.title = _one_layer(dim, heads, dropout)
        self.image = _one_layer(dim, heads, dropout)

    def forward(
        self, title: PackedTokens, image: PackedTokens | None
    ) -> tuple[PackedTokens, PackedTokens | None]:
        """Apply the layer to ``title`` [T, D] and ``image`` [T', D]."""
        new_title: PackedTokens = self.title_reads(title, image)
        if image is None:
            return new_title.through(self.title), None
        new_image: PackedTokens = self.image_reads(image, title)
        return new_title.through(self.title), new_image.through(self.image)


def _one_layer(dim: int, heads: int, dropout: float) -> nn.ModuleList:
    return nn.ModuleList([TransformerLayer(dim, heads, dropout, norm_first=False)])


class CoAttention(nn.Module):
    """A stack of co-attention layers.

    Args:
        dim: the width D
        heads: attention heads of each layer
        layers: number of layers
        dropout: dropout rate
    """

    def __init__(self, dim: int, heads: int, layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CoAttentionLayer(dim, heads, dropout) for _ in range(layers))

    def forward(self, title: ModalTokens, image: ModalTokens) -> tuple[ModalTokens, ModalTokens]:
        """Return h^I of the title [B, L, D] and h^T of the image [B, L', D], after interaction."""
        packed_title = PackedTokens.of(title)
        packed_image = PackedTokens.of(image) if image.mask.shape[1] else None
        for layer in self.layers:
            packed_title, packed_image = layer(packed_title, packed_image)
        new_title = ModalTokens(packed_title.padded(), title.mask, title.limit)
        if packed_image is None:
            return new_title, image
        return new_title, ModalTokens(packed_image.padded(), image.mask, image.limit)
