"""BERT as our own modules: built from numbers, or from transformers' weights (a hub name or a folder)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from encoders.layers import RowDropout, TransformerLayer
from encoders.packing import PackedTransformer
from encoders.tokens import ModalTokens
from schema.errors import ModelError

if TYPE_CHECKING:
    from transformers import BertModel


class BertEmbeddings(nn.Module):
    """Word pieces as LayerNorm(word + position + segment)."""

    def __init__(
        self,
        vocab_size: int,
        dim: int,
        max_length: int = 512,
        segments: int = 2,
        dropout: float = 0.0,
        norm_eps: float = 1e-12,
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab_size, dim, padding_idx=0)
        self.positions = nn.Embedding(max_length, dim)
        self.segments = nn.Embedding(segments, dim)
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        self.dropout = RowDropout(dropout)

    def placed(self, words: Tensor, positions: Tensor, segment: int | Tensor) -> Tensor:
        """``words`` [B, L, D] at ``positions`` [B, L] (or [L]) to word + position + segment [B, L, D]; ``segment`` is one or [L].

        Raises ValueError where a position is past the last.
        """
        if positions.numel() and int(positions.max()) >= self.positions.num_embeddings:
            raise ValueError(
                f"position {int(positions.max())} is past the last of {self.positions.num_embeddings}: cut the text"
            )
        return words + self.positions(positions) + self.segments.weight[segment]

    def finish(self, raw: Tensor) -> Tensor:
        """What follows the sum: norm and dropout, of any modality's tokens [B, L, D]."""
        return self.dropout(self.norm(raw))


class BertText(nn.Module):
    """Titles through BERT."""

    def __init__(self, embeddings: BertEmbeddings, layers: nn.ModuleList) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.encoder = PackedTransformer(layers)
        self.frozen = False

    def freeze(self) -> BertText:
        """From now on it has no gradient and stays in evaluation mode."""
        self.frozen = True
        return self.requires_grad_(False).eval()

    @property
    def pieces(self) -> nn.Embedding:
        """The word-piece table, which a masked-language head shares."""
        return self.embeddings.words

    def forward(self, pieces: Tensor) -> ModalTokens:
        """``pieces`` [B, L] (0 pads) to tokens [B, L, D], zero where none is."""
        own = self.embeddings
        places = torch.arange(pieces.shape[1], device=pieces.device)
        hidden = own.finish(own.placed(own.words(pieces), places, 0))
        return self.encoder(ModalTokens(hidden, pieces != 0))

    def train(self, mode: bool = True) -> BertText:
        """As ever, but a frozen one does not train."""
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
) -> BertText:
    """A BERT from scratch; ``hidden_act`` is gelu, or gelu_new for its tanh approximation."""
    stack = nn.ModuleList(
        TransformerLayer(dim, heads, dropout, norm_first=False) for _ in range(layers)
    )
    for layer in cast("list[TransformerLayer]", stack):
        layer.feed_forward[1] = nn.GELU(approximate="none" if hidden_act == "gelu" else "tanh")
        layer.norm_attention.eps = layer.norm_feed_forward.eps = norm_eps
    return BertText(
        BertEmbeddings(vocab_size, dim, max_length, dropout=dropout, norm_eps=min(norm_eps, 1e-12)),
        stack,
    )


def pretrained_text(name: str | Path, frozen: bool = False) -> BertText:
    """A BERT with the weights of a hub name or a folder; raises ModelError where they cannot be had."""
    return from_transformers(read_bert(name), frozen)


def read_bert(name: str | Path) -> BertModel:
    """Transformers' own BERT of a hub name or a folder; raises ModelError where it cannot be had."""
    from transformers import BertModel

    try:
        return BertModel.from_pretrained(name, add_pooling_layer=False)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"no BERT at {name} ({str(error).splitlines()[0][:100]}): name a hub model or a folder with its weights"
        ) from None


def from_transformers(bert: BertModel, frozen: bool = False) -> BertText:
    """The same function as transformers' BertModel without its pooler, outside training; raises ModelError where it is no GELU."""
    config = bert.config
    shape = (
        config.hidden_size,
        config.num_attention_heads,
        config.num_hidden_layers,
        config.max_position_embeddings,
    )
    act = activation(config.hidden_act)
    text = bert_text(config.vocab_size, *shape, norm_eps=config.layer_norm_eps, hidden_act=act)
    copy_bert(text, bert)
    return text.freeze() if frozen else text


def activation(name: str) -> str:
    """gelu or gelu_new for a BERT's activation; raises ModelError on another."""
    if name not in ("gelu", "gelu_new", "gelu_pytorch_tanh"):
        raise ModelError(f"this BERT's activation {name!r} is not GELU: give one that is")
    return "gelu" if name == "gelu" else "gelu_new"


@torch.no_grad()
def copy_bert(text: BertText, bert: BertModel) -> None:
    """Transformers' weights into ``text``, which may have fewer positions and layers: it takes the first."""
    source = bert.embeddings
    target = text.embeddings
    target.words.load_state_dict(source.word_embeddings.state_dict())
    target.segments.load_state_dict(source.token_type_embeddings.state_dict())
    target.norm.load_state_dict(source.LayerNorm.state_dict())
    target.positions.weight.copy_(
        source.position_embeddings.weight[: target.positions.num_embeddings]
    )
    for layer, other in zip(text.encoder.layers, bert.encoder.layer, strict=False):
        _copy_layer(layer, other)


def _copy_layer(mine: Any, theirs: Any) -> None:
    own = theirs.attention.self
    mine.attention.query.load_state_dict(own.query.state_dict())
    mine.attention.key_value.weight.copy_(torch.cat([own.key.weight, own.value.weight]))
    mine.attention.key_value.bias.copy_(torch.cat([own.key.bias, own.value.bias]))
    mine.attention.output.load_state_dict(theirs.attention.output.dense.state_dict())
    mine.feed_forward[0].load_state_dict(theirs.intermediate.dense.state_dict())
    mine.feed_forward[2].load_state_dict(theirs.output.dense.state_dict())
    for norm, other in (
        (mine.norm_attention, theirs.attention.output.LayerNorm),
        (mine.norm_feed_forward, theirs.output.LayerNorm),
    ):
        norm.load_state_dict(other.state_dict())
