"""One transformer over all tokens of an item: [CLS], title, image and, for matching, the query."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.batch import ItemBatch
from encoders.descriptors import ImageDescriptors
from encoders.layers import TransformerLayer, drop_tokens
from encoders.packing import Packed
from encoders.text import NgramBag, TextEncoder
from encoders.tokenizer import CatalogTokenizer
from encoders.tokens import ModalTokens
from fusion.architectures.base import ItemFusion, ModelParts, max_positions
from fusion.config import ModelConfig
from fusion.fused import FusedItems, ImageParts
from fusion.images import image_reader

TITLE, NGRAMS, IMAGE, DESCRIPTOR, QUERY = range(5)


class SingleStream(nn.Module):
    """Fuses modalities early: tokens of every modality, marked by a modality embedding, attend to each other.

    ``drop`` is the share of title and image tokens hidden at random in training; the wide vectors drop with probability ``drop_wide``.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        layers: int,
        bag_width: int,
        dropout: float = 0.0,
        drop: float = 0.1,
        drop_wide: float = 0.2,
    ) -> None:
        super().__init__()
        self.cls = nn.Parameter(torch.randn(dim) * 0.02)
        self.modality = nn.Embedding(5, dim)
        self.from_bag = nn.Linear(bag_width, dim)
        self.from_descriptor = nn.Linear(bag_width, dim)
        self.norm_embed = nn.LayerNorm(dim)
        self.layers = nn.ModuleList(TransformerLayer(dim, heads, dropout) for _ in range(layers))
        self.drop = drop
        self.drop_wide = drop_wide

    def forward(
        self,
        title: ModalTokens,
        bag: ModalTokens,
        image: ImageParts | None,
        query: ModalTokens | None,
    ) -> FusedItems:
        """``title`` [B, L, D], ``bag`` [B, 1, W], ``image`` tokens and descriptor, ``query`` [B, L', D] to fused items."""
        has_bag = bag.mask[:, 0]
        grams = bag.hidden[:, 0] * has_bag[:, None]
        parts = [self._single(self.cls.expand(grams.shape[0], -1), torch.ones_like(has_bag), None)]
        parts += [self._marked(title, TITLE), self._single(self.from_bag(grams), has_bag, NGRAMS)]
        described = torch.zeros_like(grams)
        if image is not None:
            present = image.described
            described = image.descriptor * present[:, None]
            parts += [
                self._marked(image.tokens, IMAGE),
                self._single(self.from_descriptor(described), present, DESCRIPTOR),
            ]
        if query is not None:
            parts.append(self._marked(query, QUERY))
        tokens = ModalTokens.concatenate(parts)
        hidden = (
            Packed.of(ModalTokens(self.norm_embed(tokens.hidden), tokens.mask))
            .through(self.layers)
            .padded()
        )
        end = 1 + title.mask.shape[1]
        fused_image = None
        if image is not None:
            fused_image = ModalTokens(
                hidden[:, end + 1 : end + 1 + image.tokens.mask.shape[1]], image.tokens.mask
            )
        wide = torch.cat([grams, described], 1).float()
        if self.training:
            wide = wide * (
                torch.rand(wide.shape[0], 2, device=wide.device) >= self.drop_wide
            ).repeat_interleave(grams.shape[1], 1)
        fused_title = ModalTokens(hidden[:, 1:end], title.mask)
        spans = fused_title, fused_title.none() if fused_image is None else fused_image
        return FusedItems(
            hidden[:, 0], ModalTokens(hidden, tokens.mask), fused_title, fused_image, wide, *spans
        )

    def _single(self, vector: Tensor, present: Tensor, modality: int | None) -> ModalTokens:
        marked = vector if modality is None else vector + self.modality.weight[modality]
        return ModalTokens(marked[:, None].float(), present[:, None])

    def _marked(self, tokens: ModalTokens, modality: int) -> ModalTokens:
        mask = drop_tokens(tokens.mask, self.drop) if self.training else tokens.mask
        return ModalTokens((tokens.hidden + self.modality.weight[modality]).float(), mask)


class JointFusion(ItemFusion):
    """The joint preset: a light text encoder, a bag of n-grams and image descriptors beside the tokens, one stream, a wide part."""

    def __init__(self, text: TextEncoder, ngrams: NgramBag, stream: SingleStream) -> None:
        super().__init__()
        self.text = text
        self.ngrams = ngrams
        self.stream = stream

    @property
    def pieces(self) -> nn.Embedding:
        """The word pieces' embeddings."""
        return self.text.pieces

    def forward(
        self, batch: ItemBatch, image: ImageParts | None, query: Tensor | None = None
    ) -> FusedItems:
        """Titles [B, L], image tokens [B, P, D], ``query`` pieces [B, Q] to fused items [B, D]."""
        grams = self.ngrams(batch.ngrams, batch.ngram_offsets)
        bag = ModalTokens(grams[:, None], batch.has_ngrams[:, None])
        return self.stream(
            self.text(batch.pieces), bag, image, None if query is None else self.text(query)
        )

    def title_positions(self, place: Tensor) -> Tensor:
        """The position embeddings [M, D] of a title's pieces at ``place`` [M]."""
        return self.text.positions(place)


def joint_parts(config: ModelConfig, tokenizer: CatalogTokenizer) -> ModelParts:
    """The joint model's: a light text encoder, n-grams, a residual stem with descriptors, one stream."""
    text = TextEncoder(
        tokenizer.vocab_size,
        config.dim,
        config.heads,
        config.text_layers,
        max_positions(config),
        config.dropout,
    )
    ngrams = NgramBag(torch.tensor([0.0, *tokenizer.weights.values()]), config.bag_width)
    stream = SingleStream(
        config.dim,
        config.heads,
        config.fusion_layers,
        config.bag_width,
        config.dropout,
        config.drop_tokens,
        config.drop_wide,
    )
    return ModelParts(
        JointFusion(text, ngrams, stream),
        text,
        image_reader(config, ImageDescriptors(config.image_size, config.bag_width)),
    )
