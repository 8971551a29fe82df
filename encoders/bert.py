"""BERT in our own modules, which can take the weights of a BERT of transformers.

Shapes: B texts, L word pieces, M masked pieces, D the model's width.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from encoders.base import TitleEncoder
from encoders.layers import RowDropout, TransformerLayer
from encoders.packing import PackedTransformer, reads_counts
from encoders.tokens import ModalTokens
from schema.errors import ModelError

if TYPE_CHECKING:
    from transformers import BertModel

BERT_NORM_EPS = 1e-12
"""Epsilon of the layer norms in the published BERTs.

Our own layers have 1e-5, PyTorch's default.
"""


class BertEmbeddings(nn.Module):
    """BERT's input: LayerNorm(word + position + segment), with dropout.

    Args:
        vocab_size: number of word pieces
        dim: the width D
        max_length: number of positions
        segments: number of segments; text and image have one each
        dropout: dropout rate
        norm_eps: epsilon of the layer norm
    """

    def __init__(
        self,
        vocab_size: int,
        dim: int,
        max_length: int = 512,
        segments: int = 2,
        dropout: float = 0.0,
        norm_eps: float = BERT_NORM_EPS,
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab_size, dim, padding_idx=0)
        self.positions = nn.Embedding(max_length, dim)
        self.segments = nn.Embedding(segments, dim)
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        self.dropout = RowDropout(dropout)

    def add_position_and_segment(
        self, words: Tensor, positions: Tensor, segment: int | Tensor
    ) -> Tensor:
        """Return word + position + segment [B, L, D] for embedded ``words`` [B, L, D].

        ``positions`` are [B, L] or [L]; ``segment`` is one number, or one per token [L]. Raises
        ValueError on a CPU if a position exceeds the last one.
        """
        last = self.positions.num_embeddings
        if reads_counts(positions) and positions.numel() and int(positions.max()) >= last:
            raise ValueError(
                f"position {int(positions.max())} is past the last of {last}: cut the text"
            )
        return words + self.positions(positions) + self.segments.weight[segment]

    def normalise(self, total: Tensor) -> Tensor:
        """Apply layer norm and dropout to summed embeddings [B, L, D] of any modality."""
        return self.dropout(self.norm(total))


class BertText(TitleEncoder):
    """A BERT that reads titles, and the names of properties and values.

    Args:
        embeddings: words, positions and segments
        layers: its layers
        reader: reads the words in place of their embeddings: a pretrained text model, whose tokens
            are the input of this BERT
    """

    def __init__(
        self,
        embeddings: BertEmbeddings,
        layers: nn.ModuleList,
        reader: TitleEncoder | None = None,
    ) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.reader = reader
        self.encoder = PackedTransformer(layers)
        self.frozen = False

    def freeze(self) -> BertText:
        """Stop training this encoder: no gradients, and evaluation mode from now on."""
        self.frozen = True
        return self.requires_grad_(False).eval()

    @property
    def piece_embedding(self) -> nn.Embedding:
        """The embeddings of word pieces, which a masked-language-modelling head shares."""
        return self.embeddings.words if self.reader is None else self.reader.piece_embedding

    def position_vectors(self, index: Tensor) -> Tensor:
        """Return the position embeddings [M, D] of the pieces with numbers ``index`` [M]."""
        return self.embeddings.positions(index)

    def read_words(self, pieces: Tensor, limit: int | None = None) -> Tensor:
        """Return what ``pieces`` [B, L] say, before positions and segments: [B, L, D]."""
        if self.reader is None:
            return self.embeddings.words(pieces)
        hidden: Tensor = self.reader(pieces, limit).hidden
        return hidden

    def forward(self, pieces: Tensor, limit: int | None = None) -> ModalTokens:
        """Encode ``pieces`` [B, L] (0 is padding) as tokens [B, L, D], zero for padding."""
        words = self.read_words(pieces, limit)
        positions = torch.arange(pieces.shape[1], device=pieces.device)
        total = self.embeddings.add_position_and_segment(words, positions, 0)
        return self.encoder(ModalTokens(self.embeddings.normalise(total), pieces != 0, limit))

    def train(self, mode: bool = True) -> BertText:
        """Set training mode, except that a frozen encoder stays in evaluation mode."""
        super().train(mode and not self.frozen)
        return self


def bert_text(
    vocab_size: int,
    dim: int,
    heads: int,
    layers: int,
    max_length: int = 512,
    dropout: float = 0.0,
    *,
    norm_eps: float = 1e-5,
    hidden_act: str = "gelu_new",
    reader: TitleEncoder | None = None,
) -> BertText:
    """Build a BERT with random weights.

    Args:
        vocab_size: number of word pieces
        dim: the width D
        heads: attention heads of each layer
        layers: number of layers
        max_length: number of positions
        dropout: dropout rate
        norm_eps: epsilon of the layer norms
        hidden_act: ``gelu``, or ``gelu_new`` for its tanh approximation, as transformers calls them
        reader: reads the words in place of their embeddings
    """
    approximation = "none" if hidden_act == "gelu" else "tanh"
    stack = []
    for _ in range(layers):
        layer = TransformerLayer(dim, heads, dropout, norm_first=False)
        layer.feed_forward[1] = nn.GELU(approximate=approximation)
        layer.norm_attention.eps = norm_eps
        layer.norm_feed_forward.eps = norm_eps
        stack.append(layer)
    embeddings = BertEmbeddings(
        vocab_size,
        dim,
        max_length=max_length,
        dropout=dropout,
        norm_eps=min(norm_eps, BERT_NORM_EPS),
    )
    return BertText(embeddings, nn.ModuleList(stack), reader)


def read_bert(name: str | Path) -> BertModel:
    """Load a BERT of transformers by its hub name or folder; raises ModelError if there is none."""
    from transformers import BertModel

    try:
        # Weights in a pickle are never read: a pickle is a program.
        return BertModel.from_pretrained(name, add_pooling_layer=False, use_safetensors=True)
    except Exception as error:  # transformers raises whatever a damaged file ends in
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise ModelError(
            f"no BERT at {name} ({reason}): name a hub model or a folder with its weights"
        ) from None


def gelu_variant(name: str) -> str:
    """Return ``gelu`` or ``gelu_new`` for a BERT's activation; raises ModelError on any other."""
    if name not in ("gelu", "gelu_new", "gelu_pytorch_tanh"):
        raise ModelError(f"this BERT's activation {name!r} is not a GELU: choose a BERT with GELU")
    return "gelu" if name == "gelu" else "gelu_new"


@torch.no_grad()
def copy_bert(target: BertText, source: BertModel) -> None:
    """Copy the weights of a BERT of transformers into ``target``.

    The target may have fewer positions and layers; it takes the first ones.
    """
    ours = target.embeddings
    theirs = source.embeddings
    ours.words.load_state_dict(theirs.word_embeddings.state_dict())
    ours.segments.load_state_dict(theirs.token_type_embeddings.state_dict())
    ours.norm.load_state_dict(theirs.LayerNorm.state_dict())
    positions = theirs.position_embeddings.weight
    ours.positions.weight.copy_(positions[: ours.positions.num_embeddings])

    layers = cast("list[TransformerLayer]", target.encoder.layers)
    for layer, source_layer in zip(layers, source.encoder.layer, strict=False):
        _copy_layer(layer, source_layer)


def _copy_layer(target: TransformerLayer, source: Any) -> None:
    attention = source.attention.self
    key_value = target.attention.key_value
    target.attention.query.load_state_dict(attention.query.state_dict())
    key_value.weight.copy_(torch.cat([attention.key.weight, attention.value.weight]))
    key_value.bias.copy_(torch.cat([attention.key.bias, attention.value.bias]))
    target.attention.output.load_state_dict(source.attention.output.dense.state_dict())
    target.norm_attention.load_state_dict(source.attention.output.LayerNorm.state_dict())

    target.feed_forward[0].load_state_dict(source.intermediate.dense.state_dict())
    target.feed_forward[2].load_state_dict(source.output.dense.state_dict())
    target.norm_feed_forward.load_state_dict(source.output.LayerNorm.state_dict())
