"""How a model joins an item's modalities: the base class, and the parts that each architecture builds."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from encoders.batch import ItemBatch
from encoders.bert import BertText, bert_text
from encoders.knowledge import PieceEncoder
from encoders.tokenizer import CatalogTokenizer
from encoders.tokens import ModalTokens
from fusion.config import ModelConfig
from fusion.fused import FusedItems, ImageParts
from fusion.images import ImageReader


class ItemFusion(nn.Module):
    """Base class: a module from titles, images and perhaps queries to fused items."""

    @property
    def pieces(self) -> nn.Embedding:
        """The embedding table of word pieces, which a masked-language head shares."""
        raise NotImplementedError

    def forward(
        self,
        batch: ItemBatch,
        image: ImageParts | None,
        query: Tensor | None = None,
    ) -> FusedItems:
        """Fuse B items with their image parts and, for matching, query pieces [B, Q]."""
        raise NotImplementedError

    def title_positions(self, place: Tensor) -> Tensor:
        """Position embeddings [M, D] of title pieces at ``place`` [M]."""
        raise NotImplementedError


@dataclass(frozen=True)
class ModelParts:
    """What an architecture builds; ``text`` also reads properties and values, ``pooler`` makes the
    global embedding of the item node c."""

    fusion: ItemFusion
    text: PieceEncoder
    images: ImageReader
    pooler: nn.Module = field(default_factory=nn.Identity)


def fused_items(
    node: Tensor,
    parts: list[ModalTokens],
    title: ModalTokens,
    image: ModalTokens | None,
    spans: tuple[ModalTokens, ModalTokens],
) -> FusedItems:
    """Fused items of a model without a wide part; the memory begins with the node [B, D], so that nobody reads nothing.

    ``spans`` are the title's and the image's, whose means are their embeddings [B, D].
    """
    first = ModalTokens.whole(node[:, None])
    wide = node.new_zeros(len(node), 0, dtype=torch.float32)
    return FusedItems(node, ModalTokens.concatenate([first, *parts]), title, image, wide, *spans)


def bert_of(config: ModelConfig, tokenizer: CatalogTokenizer, layers: int) -> BertText:
    """A BERT of ``layers``, by the configuration's numbers."""
    shape = (
        tokenizer.vocab_size,
        config.dim,
        config.heads,
        layers,
        max_positions(config),
        config.dropout,
    )
    text = bert_text(*shape, norm_eps=config.norm_eps, hidden_act=config.hidden_act)
    return text.freeze() if config.frozen_text else text


def max_positions(config: ModelConfig) -> int:
    """Positions that a sequence may need: [CLS], query and title, each with its [SEP]; or a string of a property or value."""
    return max(3 + config.max_query + config.max_title, config.max_string)
