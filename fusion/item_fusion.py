"""How a model joins an item's modalities: one face, an implementation a family of models."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from encoders.batch import ItemBatch
from encoders.bert import BertText
from encoders.packing import PackedTransformer
from encoders.text import NgramBag, TextEncoder
from encoders.tokens import ModalTokens
from fusion.bert_stream import BertStream
from fusion.fused import FusedItems, ImageParts
from fusion.single_stream import SingleStream
from fusion.two_stream import TwoStream


class ItemFusion(Protocol):
    """A module from titles, pictures and perhaps queries to fused items; ``pieces`` is its table of word pieces."""

    @property
    def pieces(self) -> nn.Embedding:
        """The word pieces' embeddings, which a masked-language head shares."""

    def __call__(self, batch: ItemBatch, image: ImageParts | None, query: Tensor | None = None) -> FusedItems:
        """B items, their picture parts, query pieces [B, Q] to fused items."""

    def title_positions(self, place: Tensor) -> Tensor:
        """The position embeddings [M, D] of a title's pieces at ``place`` [M]."""


class JointFusion(nn.Module):
    """The joint preset: a light text encoder, a bag of n-grams and picture descriptors beside the tokens, one stream, a wide part."""

    def __init__(self, text: TextEncoder, ngrams: NgramBag, stream: SingleStream) -> None:
        super().__init__()
        self.text, self.ngrams, self.stream = text, ngrams, stream

    @property
    def pieces(self) -> nn.Embedding:
        """The word pieces' embeddings."""
        return self.text.pieces

    def forward(self, batch: ItemBatch, image: ImageParts | None, query: Tensor | None = None) -> FusedItems:
        """Titles [B, L], picture tokens [B, P, D], ``query`` pieces [B, Q] to fused items [B, D]."""
        grams = self.ngrams(batch.ngrams, batch.ngram_offsets)
        bag = ModalTokens(grams[:, None], batch.has_ngrams[:, None])
        return self.stream(self.text(batch.pieces), bag, image, None if query is None else self.text(query))

    def title_positions(self, place: Tensor) -> Tensor:
        """The position embeddings [M, D] of a title's pieces at ``place`` [M]."""
        return self.text.positions(place)


class BertFusion(nn.Module):
    """One BERT over query, title and picture; the item is h([CLS]). One that reads no titles sees pictures alone (ViT)."""

    def __init__(self, stream: BertStream, reads_title: bool = True) -> None:
        super().__init__()
        self.stream, self.reads_title = stream, reads_title

    @property
    def pieces(self) -> nn.Embedding:
        """The word pieces' embeddings."""
        return self.stream.embeddings.words

    def forward(self, batch: ItemBatch, image: ImageParts | None, query: Tensor | None = None) -> FusedItems:
        """Titles [B, L], picture tokens [B, P, D], ``query`` pieces [B, Q] to fused items [B, D]."""
        title = batch.pieces if self.reads_title else torch.zeros_like(batch.pieces)
        states = self.stream(title, None if image is None else image.tokens, query)
        spans = states.title_span, states.image_span
        return fused_items(states.node, [states.title, states.image], states.title, None if image is None else states.image, spans)

    def title_positions(self, place: Tensor) -> Tensor:
        """The position embeddings [M, D] of a title's pieces at ``place`` [M]; [CLS] has the first."""
        return self.stream.embeddings.positions(place + 1)

    def three(self, batch: ItemBatch, image: ImageParts, query: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """MBSD's h, h^t and h^v [B, D] of ``query`` [B, Q] with title and picture, title alone and picture alone, in one pass."""
        return self.stream.three(query, batch.pieces, image.tokens)


class TwoStreamFusion(nn.Module):
    """K3M: title and picture apart, then together, then beside what they were; the item is the mean of its tokens.

    A query goes before the title in the text stream, as K3M asks its questions.
    """

    def __init__(self, text: BertText, image: PackedTransformer, streams: TwoStream) -> None:
        super().__init__()
        self.text, self.image, self.streams = text, image, streams

    @property
    def pieces(self) -> nn.Embedding:
        """The word pieces' embeddings."""
        return self.text.pieces

    def forward(self, batch: ItemBatch, image: ImageParts | None, query: Tensor | None = None) -> FusedItems:
        """Titles [B, L], picture tokens [B, P, D], ``query`` pieces [B, Q] to fused items [B, D]."""
        asked = 0 if query is None else query.shape[1]
        text = self.text(batch.pieces if query is None else torch.cat([query, batch.pieces], 1))
        pictures = text.none() if image is None else self.image(image.tokens)
        states = self.streams(text, pictures)
        title = ModalTokens(states.title.hidden[:, asked:], states.title.mask[:, asked:])
        spans = title, states.image
        return fused_items(states.node, [states.title, states.image], title, None if image is None else states.image, spans)

    def title_positions(self, place: Tensor) -> Tensor:
        """The position embeddings [M, D] of a title's pieces at ``place`` [M]."""
        return self.text.embeddings.positions(place)


def fused_items(
    node: Tensor, parts: list[ModalTokens], title: ModalTokens, image: ModalTokens | None, spans: tuple[ModalTokens, ModalTokens]
) -> FusedItems:
    """Fused items of a model without a wide part; the memory begins with the node [B, D], so that nobody reads nothing.

    ``spans`` are the title's and the picture's, whose means are their embeddings [B, D].
    """
    first = ModalTokens.whole(node[:, None])
    wide = node.new_zeros(len(node), 0, dtype=torch.float32)
    return FusedItems(node, ModalTokens.concatenate([first, *parts]), title, image, wide, *spans)
