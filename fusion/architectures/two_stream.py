"""K3M's interaction layer: two streams by co-attention, each fused with what it was before, their mean the item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from encoders.batch import ItemBatch
from encoders.bert import BertText
from encoders.layers import TransformerLayer
from encoders.packing import PackedTransformer
from encoders.tokenizer import CatalogTokenizer
from encoders.tokens import ModalTokens
from fusion.architectures.base import ItemFusion, ModelParts, bert_of, fused_items
from fusion.architectures.co_attention import CoAttention
from fusion.architectures.iifm import InitialInteractiveFusion
from fusion.config import ModelConfig
from fusion.fused import FusedItems, ImageParts
from fusion.images import image_reader


@dataclass(frozen=True)
class TwoStreamStates:
    """What the two streams make of B items: ``node`` c [B, D], ``title`` tokens h_t [B, L, D], ``image`` tokens h_i [B, P, D]."""

    node: Tensor
    title: ModalTokens
    image: ModalTokens


class TwoStream(nn.Module):
    """h_t = fusion(h_t^0, h_t^I), h_i = fusion(h_i^0, h_i^T), c = mean(h_t1 ... h_tM1, W0 h_i1 ... W0 h_iM2).

    ``fuse_title`` and ``fuse_image`` None is K3M without its IIFM: the tokens after interaction alone.
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
        """``title`` h_t^0 [B, L, D] and ``image`` h_i^0 [B, P, D] to the states; c is zero for an item that has neither."""
        title_after, image_after = self.co_attention(title, image)
        title_hidden = (
            title_after.hidden
            if self.fuse_title is None
            else self.fuse_title(title.hidden, title_after.hidden)
        )
        image_hidden = (
            image_after.hidden
            if self.fuse_image is None
            else self.fuse_image(image.hidden, image_after.hidden)
        )
        both = torch.cat([title_hidden, self.image_to_node(image_hidden)], 1)
        node = ModalTokens(both, torch.cat([title.mask, image.mask], 1)).mean()
        return TwoStreamStates(
            node, ModalTokens(title_hidden, title.mask), ModalTokens(image_hidden, image.mask)
        )


class TwoStreamFusion(ItemFusion):
    """K3M: title and image apart, then together, then beside what they were; the item is the mean of its tokens.

    A query goes before the title in the text stream, as K3M asks its questions.
    """

    def __init__(self, text: BertText, image: PackedTransformer, streams: TwoStream) -> None:
        super().__init__()
        self.text = text
        self.image = image
        self.streams = streams

    @property
    def pieces(self) -> nn.Embedding:
        """The word pieces' embeddings."""
        return self.text.pieces

    def forward(
        self, batch: ItemBatch, image: ImageParts | None, query: Tensor | None = None
    ) -> FusedItems:
        """Titles [B, L], image tokens [B, P, D], ``query`` pieces [B, Q] to fused items [B, D]."""
        asked = 0 if query is None else query.shape[1]
        text = self.text(batch.pieces if query is None else torch.cat([query, batch.pieces], 1))
        images = text.none() if image is None else self.image(image.tokens)
        states = self.streams(text, images)
        title = ModalTokens(states.title.hidden[:, asked:], states.title.mask[:, asked:])
        spans = title, states.image
        return fused_items(
            states.node,
            [states.title, states.image],
            title,
            None if image is None else states.image,
            spans,
        )

    def title_positions(self, place: Tensor) -> Tensor:
        """The position embeddings [M, D] of a title's pieces at ``place`` [M]."""
        return self.text.embeddings.positions(place)


def two_stream_parts(config: ModelConfig, tokenizer: CatalogTokenizer) -> ModelParts:
    """K3M's: a transformer a modality, the text's shared with the knowledge, and two streams."""
    text = bert_of(config, tokenizer, config.text_layers)
    layers = nn.ModuleList(
        TransformerLayer(config.dim, config.heads, config.dropout, norm_first=False)
        for _ in range(config.image_layers)
    )
    met = CoAttention(config.dim, config.heads, config.fusion_layers, config.dropout)
    streams = TwoStream(met, config.dim, initial_fusion(config), initial_fusion(config))
    return ModelParts(
        TwoStreamFusion(text, PackedTransformer(layers), streams), text, image_reader(config)
    )


def initial_fusion(config: ModelConfig) -> InitialInteractiveFusion | None:
    """K3M's IIFM as the config has it, or none."""
    mode: Any = config.initial_fusion
    return None if mode == "none" else InitialInteractiveFusion(config.dim, mode)
