"""K3M's interaction layer: two streams by co-attention, fused with what they were before.

Shapes: B items, L tokens of a title, P patches or regions, Q tokens of a query, D the model's
width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from encoders.base import TitleEncoder
from encoders.batch import ItemBatch
from encoders.layers import TransformerLayer
from encoders.packing import PackedTransformer
from encoders.tokenizer import CatalogTokenizer
from encoders.tokens import ModalTokens
from fusion.architectures.base import (
    ItemFusion,
    ModelParts,
    build_bert,
    build_text_model,
    fused_items,
)
from fusion.architectures.co_attention import CoAttention
from fusion.architectures.iifm import FusionGates, FusionMode, InitialInteractiveFusion
from fusion.config import ModelConfig
from fusion.fused import FusedItems, ImageFeatures
from fusion.images import build_image_reader


@dataclass(frozen=True)
class TwoStreamStates:
    """The result of both streams.

    Attributes:
        node: c [B, D]
        title: h_t [B, L, D]
        image: h_i [B, P, D]
    """

    node: Tensor
    title: ModalTokens
    image: ModalTokens


class TwoStream(nn.Module):
    """K3M's image-text interaction.

        h_t = fusion(h_t^0, h_t^I)
        h_i = fusion(h_i^0, h_i^T)
        c   = mean(h_t1, ..., h_tM1, W0 h_i1, ..., W0 h_iM2)

    Args:
        co_attention: computes h_t^I and h_i^T
        dim: the width D
        fuse_title: the fusion of the title's tokens; None for K3M without its IIFM
        fuse_image: the fusion of the image's tokens; None likewise
    """

    def __init__(
        self,
        co_attention: CoAttention,
        dim: int,
        fuse_title: InitialInteractiveFusion | None,
        fuse_image: InitialInteractiveFusion | None,
    ) -> None:
        super().__init__()
        self.co_attention = co_attention
        self.fuse_title = fuse_title
        self.fuse_image = fuse_image
        self.image_to_node = nn.Linear(dim, dim, bias=False)

    def forward(self, title: ModalTokens, image: ModalTokens) -> TwoStreamStates:
        """Fuse ``title`` h_t^0 [B, L, D] and ``image`` h_i^0 [B, P, D].

        The node c of an item that has neither is zero.
        """
        new_title: ModalTokens
        new_image: ModalTokens
        new_title, new_image = self.co_attention(title, image)
        title_hidden = new_title.hidden
        image_hidden = new_image.hidden
        if self.fuse_title is not None:
            title_hidden = self.fuse_title(title.hidden, title_hidden)
        if self.fuse_image is not None:
            image_hidden = self.fuse_image(image.hidden, image_hidden)

        hidden = torch.cat([title_hidden, self.image_to_node(image_hidden)], 1)
        mask = torch.cat([title.mask, image.mask], 1)
        # The released code puts the mean of all regions before the regions. It is left out here,
        # because c is a mean already.
        return TwoStreamStates(
            node=ModalTokens(hidden, mask).mean(),
            title=ModalTokens(title_hidden, title.mask, title.limit),
            image=ModalTokens(image_hidden, image.mask, image.limit),
        )


class TwoStreamFusion(ItemFusion):
    """K3M's architecture: a transformer per modality, then two streams; the item is their mean.

    A query is put before the title in the text stream, as K3M does with its questions.

    Args:
        text: the transformer over the text, with word pieces and positions, or a pretrained model
        image: the transformer over the image's tokens
        streams: the interaction of both
    """

    def __init__(self, text: TitleEncoder, image: PackedTransformer, streams: TwoStream) -> None:
        super().__init__()
        self.text = text
        self.image = image
        self.streams = streams

    @property
    def piece_embedding(self) -> nn.Embedding:
        """The embeddings of word pieces."""
        return self.text.piece_embedding

    def forward(
        self, batch: ItemBatch, image: ImageFeatures | None, query: Tensor | None = None
    ) -> FusedItems:
        """Fuse titles [B, L] with image tokens [B, P, D] and ``query`` pieces [B, Q]."""
        pieces = batch.pieces
        limit = batch.piece_limit
        title_start = 0
        if query is not None:
            pieces = torch.cat([query, pieces], 1)
            limit += query.numel()
            title_start = query.shape[1]
        text: ModalTokens = self.text(pieces, limit)
        image_tokens: ModalTokens = text.empty() if image is None else self.image(image.tokens)
        states: TwoStreamStates = self.streams(text, image_tokens)
        title = ModalTokens(
            states.title.hidden[:, title_start:], states.title.mask[:, title_start:]
        )
        return fused_items(
            states.node,
            memory=[states.title, states.image],
            title=title,
            image=None if image is None else states.image,
            title_span=title,
            image_span=states.image,
        )

    def title_positions(self, index: Tensor) -> Tensor:
        """Return the position embeddings [M, D] of a title's pieces with numbers ``index`` [M]."""
        return self.text.position_vectors(index)


def two_stream_parts(config: ModelConfig, tokenizer: CatalogTokenizer) -> ModelParts:
    """Build K3M's architecture. Its text encoder also reads the properties and values."""
    text: TitleEncoder = build_text_model(config, tokenizer) or build_bert(
        config, tokenizer, config.text_layers
    )
    image_layers = nn.ModuleList(
        TransformerLayer(config.dim, config.heads, config.dropout, norm_first=False)
        for _ in range(config.image_layers)
    )
    streams = TwoStream(
        co_attention=CoAttention(
            config.dim,
            heads=config.heads,
            layers=config.fusion_layers,
            dropout=config.dropout,
        ),
        dim=config.dim,
        fuse_title=build_initial_fusion(config),
        fuse_image=build_initial_fusion(config),
    )
    return ModelParts(
        fusion=TwoStreamFusion(text, PackedTransformer(image_layers), streams),
        text=text,
        images=build_image_reader(config),
    )


def build_initial_fusion(config: ModelConfig) -> InitialInteractiveFusion | None:
    """Build the IIFM that the configuration names, or None for K3M without it."""
    if config.initial_fusion == "none":
        return None
    return InitialInteractiveFusion(
        config.dim,
        cast("FusionMode", config.initial_fusion),
        gates=cast("FusionGates", config.fusion_gates),
    )
