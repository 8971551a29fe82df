"""The joint architecture: one transformer over [CLS], title, image and, for matching, the query.

Shapes: B items, L tokens of a title, P patches, G global image tokens, Q tokens of a query, W the
width of the n-gram bag and of the image descriptor, D the model's width.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.base import TitleEncoder
from encoders.batch import ItemBatch
from encoders.descriptors import ImageDescriptors
from encoders.layers import TransformerLayer, drop_tokens
from encoders.packing import PackedTokens
from encoders.text import NgramBag, TextEncoder
from encoders.tokenizer import CatalogTokenizer
from encoders.tokens import ModalTokens
from fusion.architectures.base import (
    ItemFusion,
    ModelParts,
    Reading,
    build_text_model,
    max_positions,
)
from fusion.config import ModelConfig
from fusion.fused import FusedItems, ImageFeatures
from fusion.images import build_image_reader

# Rows of the modality embedding.
TITLE, NGRAMS, IMAGE, DESCRIPTOR, QUERY = range(5)


class SingleStream(nn.Module):
    """Early fusion: tokens of all modalities, told apart by an embedding, attend to each other.

    The bag of n-grams and the image descriptor are one token each, and are passed on unchanged to
    the wide part of the model as well.

    Args:
        dim: the width D
        heads: attention heads of each layer
        layers: number of layers
        bag_width: the width W
        dropout: dropout rate of the layers
        token_rate: rate of hiding tokens of title, image and query during training
        wide_rate: rate of hiding the n-grams or the descriptor from the wide part during training
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        layers: int,
        bag_width: int,
        dropout: float = 0.0,
        token_rate: float = 0.1,
        wide_rate: float = 0.2,
    ) -> None:
        super().__init__()
        self.cls = nn.Parameter(torch.randn(dim) * 0.02)
        self.modality = nn.Embedding(5, dim)
        self.from_bag = nn.Linear(bag_width, dim)
        self.from_descriptor = nn.Linear(bag_width, dim)
        self.norm_embed = nn.LayerNorm(dim)
        self.layers = nn.ModuleList(TransformerLayer(dim, heads, dropout) for _ in range(layers))
        self.token_rate = token_rate
        self.wide_rate = wide_rate

    def forward(
        self,
        title: ModalTokens,
        bag: ModalTokens,
        image: ImageFeatures | None,
        query: ModalTokens | None,
    ) -> FusedItems:
        """Fuse ``title`` [B, L, D] and ``bag`` [B, 1, W] with ``image`` and ``query`` [B, Q, D].

        The image has tokens [B, G + P, D] and a descriptor [B, W]. A missing modality is masked, or
        None if no item has it.
        """
        has_bag = bag.mask[:, 0]
        ngrams = bag.hidden[:, 0] * has_bag[:, None]
        cls = ModalTokens.all_present(self.cls.expand(len(ngrams), 1, -1).float())
        modalities = [
            cls,
            self._marked(title, TITLE),
            self._single(self.from_bag(ngrams), has_bag, NGRAMS),
        ]
        descriptor = torch.zeros_like(ngrams)
        if image is not None:
            descriptor = image.descriptor * image.described[:, None]
            modalities += [
                self._marked(image.tokens, IMAGE),
                self._single(self.from_descriptor(descriptor), image.described, DESCRIPTOR),
            ]
        if query is not None:
            modalities.append(self._marked(query, QUERY))

        tokens = ModalTokens.concatenate(modalities)
        normed = ModalTokens(self.norm_embed(tokens.hidden), tokens.mask, tokens.limit)
        hidden = PackedTokens.of(normed).through(self.layers).padded()

        # The tokens of a modality keep the mask that they had before some were dropped.
        title_end = 1 + title.mask.shape[1]
        fused_title = ModalTokens(hidden[:, 1:title_end], title.mask)
        fused_image = None
        if image is not None:
            image_start = title_end + 1
            image_end = image_start + image.tokens.mask.shape[1]
            fused_image = ModalTokens(hidden[:, image_start:image_end], image.tokens.mask)
        return FusedItems(
            node=hidden[:, 0],
            memory=ModalTokens(hidden, tokens.mask),
            title=fused_title,
            image=fused_image,
            wide=self._wide(ngrams, descriptor),
            title_span=fused_title,
            image_span=fused_title.empty() if fused_image is None else fused_image,
        )

    def _wide(self, ngrams: Tensor, descriptor: Tensor) -> Tensor:
        """Join n-grams and descriptor [B, W] to the wide features [B, 2W]; training hides some."""
        wide = torch.cat([ngrams, descriptor], 1).float()
        if not self.training:
            return wide
        # Not scaled up like dropout: a missing modality is zero at inference, too.
        keep = torch.rand(len(wide), 2, device=wide.device) >= self.wide_rate
        return wide * keep.repeat_interleave(ngrams.shape[1], 1)

    def _single(self, vector: Tensor, present: Tensor, modality: int) -> ModalTokens:
        """Turn one vector per item [B, D] into a modality of a single token."""
        marked = vector + self.modality.weight[modality]
        return ModalTokens(marked[:, None].float(), present[:, None])

    def _marked(self, tokens: ModalTokens, modality: int) -> ModalTokens:
        """Add the embedding of a modality to its tokens; training drops some of them."""
        mask = drop_tokens(tokens.mask, self.token_rate) if self.training else tokens.mask
        marked = tokens.hidden + self.modality.weight[modality]
        return ModalTokens(marked.float(), mask, tokens.limit)


class JointFusion(ItemFusion):
    """The architecture of the joint preset: light text encoder, n-grams, one stream, a wide part.

    Args:
        text: encodes titles and queries, by our own layers or a pretrained text model
        ngrams: the bag of a title's n-grams
        stream: the transformer over all modalities
    """

    def __init__(self, text: TitleEncoder, ngrams: NgramBag, stream: SingleStream) -> None:
        super().__init__()
        self.text = text
        self.ngrams = ngrams
        self.stream = stream

    @property
    def piece_embedding(self) -> nn.Embedding:
        """The embeddings of word pieces."""
        return self.text.piece_embedding

    def forward(
        self, batch: ItemBatch, image: ImageFeatures | None, query: Tensor | None = None
    ) -> FusedItems:
        """Fuse titles [B, L] with image tokens [B, G + P, D] and ``query`` pieces [B, Q]."""
        return self._fuse(Reading(batch, image, query))

    def _fuse(self, reading: Reading) -> FusedItems:
        batch = reading.batch
        ngrams = self.ngrams(batch.ngrams, batch.ngram_offsets)
        bag = ModalTokens(ngrams[:, None], batch.has_ngrams[:, None])
        title = self.text(batch.pieces, batch.piece_limit)
        query = None
        if reading.query is not None:
            query = self.text(reading.query, reading.query_limit)
        fused: FusedItems = self.stream(title, bag, reading.image, query)
        return fused

    def fuse_all(self, readings: Sequence[Reading]) -> list[FusedItems]:
        """Fuse several readings of items in one pass over all their rows.

        A step of the joint preset has seven of them. One after another they are seven times as many
        kernels, and a GPU waits for their launches.
        """
        if len(readings) < 2:
            return super().fuse_all(readings)
        fused = self._fuse(_join_readings(readings))
        parts = []
        start = 0
        for reading in readings:
            end = start + len(reading.batch)
            parts.append(_rows_of(fused, slice(start, end), reading))
            start = end
        return parts

    def title_positions(self, index: Tensor) -> Tensor:
        """Return the position embeddings [M, D] of a title's pieces with numbers ``index`` [M]."""
        return self.text.position_vectors(index)


def _join_readings(readings: Sequence[Reading]) -> Reading:
    """Put the rows of all readings one below another; what a reading lacks is masked."""
    batches = [reading.batch for reading in readings]
    # The n-grams of a batch are numbered on from those of the batches before.
    first_ngrams = itertools.accumulate((len(batch.ngrams) for batch in batches), initial=0)
    batch = ItemBatch(
        pieces=_stack_padded([batch.pieces for batch in batches]),
        ngrams=torch.cat([batch.ngrams for batch in batches]),
        ngram_offsets=torch.cat(
            [
                batch.ngram_offsets + first
                for batch, first in zip(batches, first_ngrams, strict=False)
            ]
        ),
        # The images are encoded already.
        pixels=None,
        has_image=torch.cat([batch.has_image for batch in batches]),
        image_rows=batches[0].image_rows[:0],
        image_count=0,
        piece_limit=sum(batch.piece_limit for batch in batches),
    )
    query = None
    if any(reading.query is not None for reading in readings):
        no_pieces = [batch.pieces[:, :0] for batch in batches]
        query = _stack_padded(
            [
                empty if reading.query is None else reading.query
                for reading, empty in zip(readings, no_pieces, strict=True)
            ]
        )
    limit = sum(reading.most_query_pieces for reading in readings)
    return Reading(batch, _join_images(readings), query, limit)


def _join_images(readings: Sequence[Reading]) -> ImageFeatures | None:
    """Join the image features of all readings; None if none has any."""
    first = next((reading.image for reading in readings if reading.image is not None), None)
    if first is None:
        return None
    images = [
        first.absent(len(reading.batch)) if reading.image is None else reading.image
        for reading in readings
    ]
    return ImageFeatures(
        tokens=ModalTokens(
            hidden=torch.cat([image.tokens.hidden for image in images]),
            mask=torch.cat([image.tokens.mask for image in images]),
            limit=sum(image.tokens.most for image in images),
        ),
        descriptor=torch.cat([image.descriptor for image in images]),
        described=torch.cat([image.described for image in images]),
        global_tokens=first.global_tokens,
    )


def _stack_padded(parts: Sequence[Tensor]) -> Tensor:
    """Put pieces [B, L] of different lengths one below another, padded with 0."""
    longest = max(part.shape[1] for part in parts)
    return torch.cat([F.pad(part, (0, longest - part.shape[1])) for part in parts])


def _rows_of(fused: FusedItems, rows: slice, reading: Reading) -> FusedItems:
    """Return the rows of one reading, with as many title tokens as its own titles have."""
    length = reading.batch.pieces.shape[1]
    title = ModalTokens(fused.title.hidden[rows, :length], fused.title.mask[rows, :length])
    image = None
    if reading.image is not None and fused.image is not None:
        image = ModalTokens(fused.image.hidden[rows], fused.image.mask[rows])
    return FusedItems(
        node=fused.node[rows],
        memory=ModalTokens(fused.memory.hidden[rows], fused.memory.mask[rows]),
        title=title,
        image=image,
        wide=fused.wide[rows],
        title_span=title,
        image_span=title.empty() if image is None else image,
    )


def joint_parts(config: ModelConfig, tokenizer: CatalogTokenizer) -> ModelParts:
    """Build the joint architecture, with fixed image descriptors beside its image encoder."""
    text: TitleEncoder = build_text_model(config, tokenizer) or TextEncoder(
        vocab_size=tokenizer.vocab_size,
        dim=config.dim,
        heads=config.heads,
        layers=config.text_layers,
        max_length=max_positions(config),
        dropout=config.dropout,
    )
    # N-gram number 0 stands for none of them and has no weight.
    ngram_weights = torch.tensor([0.0, *tokenizer.ngram_weights.values()])
    ngrams = NgramBag(ngram_weights, config.bag_width)
    stream = SingleStream(
        dim=config.dim,
        heads=config.heads,
        layers=config.fusion_layers,
        bag_width=config.bag_width,
        dropout=config.dropout,
        token_rate=config.drop_tokens,
        wide_rate=config.drop_wide,
    )
    descriptors = ImageDescriptors(config.image_size, config.bag_width)
    return ModelParts(
        fusion=JointFusion(text, ngrams, stream),
        text=text,
        images=build_image_reader(config, descriptors),
    )
