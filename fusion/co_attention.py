"""Two streams that look at each other: K3M's interaction layer of titles and pictures (ViLBERT's co-attention)."""

from __future__ import annotations

from torch import Tensor, nn

from encoders.layers import Attention, FeedForward, RowDropout, TransformerLayer, readable
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

    def forward(self, hidden: Tensor, other: ModalTokens) -> Tensor:
        """``hidden`` [B, L, D] reads ``other`` [B, L', D] to [B, L, D]."""
        if not hidden.shape[1]:
            return hidden
        if other.mask.shape[1]:
            # What a token reads where there is nothing is dropped again.
            read = self.attention(hidden, other.hidden, readable(other.mask)) * other.mask.any(1)[:, None, None]
            hidden = hidden + self.dropout(read)
        hidden = self.norm_attention(hidden)
        return self.norm_feed_forward(hidden + self.dropout(self.feed_forward(hidden)))


class CoAttentionLayer(nn.Module):
    """Both streams read each other at once, then each reads itself."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.title_reads, self.image_reads = (CrossAttention(dim, heads, dropout) for _ in range(2))
        self.title, self.image = (TransformerLayer(dim, heads, dropout, norm_first=False) for _ in range(2))

    def forward(self, title: ModalTokens, image: ModalTokens) -> tuple[ModalTokens, ModalTokens]:
        """``title`` [B, L, D] and ``image`` [B, L', D] to the same."""
        title_hidden, image_hidden = self.title_reads(title.hidden, image), self.image_reads(image.hidden, title)
        return self._alone(self.title, title_hidden, title.mask), self._alone(self.image, image_hidden, image.mask)

    @staticmethod
    def _alone(layer: TransformerLayer, hidden: Tensor, mask: Tensor) -> ModalTokens:
        return ModalTokens(layer(hidden, readable(mask)) if mask.shape[1] else hidden, mask)


class CoAttention(nn.Module):
    """A stack of co-attention layers over the streams, whose lengths stay as they are."""

    def __init__(self, dim: int, heads: int, layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CoAttentionLayer(dim, heads, dropout) for _ in range(layers))

    def forward(self, title: ModalTokens, image: ModalTokens) -> tuple[ModalTokens, ModalTokens]:
        """h^I of the title [B, L, D] and h^T of the image [B, L', D]: each after interaction with the other."""
        for layer in self.layers:
            title, image = layer(title, image)
        return title, image
