"""The base class of architectures: how a model joins the modalities of an item.

Shapes: B items, L tokens of a title, P patches, Q tokens of a query, D the model's width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from encoders.base import PieceEncoder
from encoders.batch import ItemBatch
from encoders.bert import BertText, bert_text
from encoders.text_model import PretrainedTextModel, TextModelSettings
from encoders.tokenizer import SPECIAL_TOKENS, CatalogTokenizer, SpecialPieces
from encoders.tokens import ModalTokens
from fusion.config import ModelConfig
from fusion.fused import FusedItems, ImageFeatures
from fusion.images import ImageReader
from schema.errors import UsageError

READ_MARKS = ("[PAD]", "[CLS]", "[SEP]")
"""What a BERT has embeddings of if a text model reads the words."""
MARK_PIECES = SpecialPieces(unk=0, cls=1, sep=2, mask=0)
"""Their numbers."""


@dataclass(frozen=True)
class Reading:
    """One way to read B items: with their titles [B, L], or with an image or a query [B, Q] too.

    ``query_limit`` is the number of pieces of the queries, or more; None if that is not known.
    """

    batch: ItemBatch
    image: ImageFeatures | None = None
    query: Tensor | None = None
    query_limit: int | None = None

    @property
    def most_query_pieces(self) -> int:
        """The largest number of pieces that the queries may have."""
        if self.query is None:
            return 0
        return self.query.numel() if self.query_limit is None else self.query_limit


class ItemFusion(nn.Module):
    """Base class: a module from titles, image features and optional queries to fused items."""

    @property
    def piece_embedding(self) -> nn.Embedding:
        """The embeddings of word pieces, which a masked-language-modelling head shares."""
        raise NotImplementedError

    def forward(
        self,
        batch: ItemBatch,
        image: ImageFeatures | None,
        query: Tensor | None = None,
    ) -> FusedItems:
        """Fuse the titles of ``batch`` [B, L] with images and, for matching, with queries.

        ``image`` has tokens [B, P, D], and ``query`` are word pieces [B, Q].
        """
        raise NotImplementedError

    def fuse_all(self, readings: Sequence[Reading]) -> list[FusedItems]:
        """Fuse several readings [B, ...] of items, each as :meth:`forward` does."""
        return [self(reading.batch, reading.image, reading.query) for reading in readings]

    def title_positions(self, index: Tensor) -> Tensor:
        """Return the position embeddings [M, D] of a title's pieces with numbers ``index`` [M].

        Raises TypeError if the model has no position embeddings of its own.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class ModelParts:
    """The modules that an architecture builds, from which :mod:`fusion.build` makes a model.

    Attributes:
        fusion: joins the modalities
        text: encodes the names of properties and values; part of ``fusion`` as well
        images: reads the images
        pooler: maps the item node c to the global embedding
    """

    fusion: ItemFusion
    text: PieceEncoder
    images: ImageReader
    pooler: nn.Module = field(default_factory=nn.Identity)


def fused_items(
    node: Tensor,
    *,
    memory: list[ModalTokens],
    title: ModalTokens,
    image: ModalTokens | None,
    title_span: ModalTokens,
    image_span: ModalTokens,
) -> FusedItems:
    """Assemble the fused items of a model without a wide part.

    The memory begins with the ``node`` [B, D], so that attention over it finds at least one token.
    """
    first = ModalTokens.all_present(node[:, None])
    return FusedItems(
        node=node,
        memory=ModalTokens.concatenate([first, *memory]),
        title=title,
        image=image,
        wide=node.new_zeros(len(node), 0, dtype=torch.float32),
        title_span=title_span,
        image_span=image_span,
    )


def build_bert(
    config: ModelConfig,
    tokenizer: CatalogTokenizer,
    layers: int,
    reader: PretrainedTextModel | None = None,
) -> BertText:
    """Build a BERT of the configuration's size with the given number of layers.

    With a ``reader`` of words it has embeddings of [CLS] and [SEP] alone, see ``READ_MARKS``.
    """
    text = bert_text(
        vocab_size=tokenizer.vocab_size if reader is None else len(READ_MARKS),
        dim=config.dim,
        heads=config.heads,
        layers=layers,
        max_length=max_positions(config),
        dropout=config.dropout,
        norm_eps=config.norm_eps,
        hidden_act=config.hidden_act,
        reader=reader,
    )
    return text.freeze() if config.frozen_text and reader is None else text


def build_text_model(
    config: ModelConfig, tokenizer: CatalogTokenizer
) -> PretrainedTextModel | None:
    """Build the text model that a configuration has, with random weights; None if it has none.

    Raises UsageError if the tokenizer is not its own.
    """
    if not config.text_model:
        return None
    settings = TextModelSettings.from_json(config.text_model)
    if tokenizer.vocab_size > settings.vocab_size and tokenizer.vocab_size > len(SPECIAL_TOKENS):
        raise UsageError(
            f"the text model has {settings.vocab_size:,} pieces, and the vocabulary "
            f"{tokenizer.vocab_size:,}: give the text model's own"
        )
    return PretrainedTextModel(
        settings,
        special=tokenizer.special,
        dim=config.dim,
        max_length=max_positions(config),
        frozen=config.frozen_text,
        dropout=config.dropout,
    )


def max_positions(config: ModelConfig) -> int:
    """Return how many positions the text encoder needs.

    Its longest input is [CLS] query [SEP] title [SEP], or the name of a property or value.
    """
    return max(3 + config.max_query + config.max_title, config.max_string)
