"""What differs between presets: how modalities meet, how strings are read, how pictures are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from encoders.bert import BertText, bert_text
from encoders.descriptors import ImageDescriptors
from encoders.image import ResidualStem
from encoders.knowledge import PieceEncoder
from encoders.layers import TransformerLayer
from encoders.packing import PackedTransformer
from encoders.patches import ConvPatches, CropPatches, GlobalOnly, LinearPatches
from encoders.regions import RegionEncoder
from encoders.text import NgramBag, TextEncoder
from encoders.tokenizer import CatalogTokenizer
from encoders.vit import vit_from_numbers
from fusion.bert_stream import TEXT, VISION, BertStream
from fusion.co_attention import CoAttention
from fusion.config import ModelConfig
from fusion.heads import Pooler
from fusion.initial_interactive import InitialInteractiveFusion
from fusion.item_fusion import BertFusion, ItemFusion, JointFusion, TwoStreamFusion
from fusion.pictures import NoPictures, PictureEncoder, PictureReader, Pictures, RegionPictures
from fusion.single_stream import SingleStream
from fusion.two_stream import TwoStream


@dataclass(frozen=True)
class Parts:
    """A model's own parts; ``text`` also reads properties and values, ``pooler`` makes the global embedding of c."""

    fusion: ItemFusion
    text: PieceEncoder
    pictures: PictureReader
    pooler: nn.Module = field(default_factory=nn.Identity)


def parts_of(config: ModelConfig, tokenizer: CatalogTokenizer) -> Parts:
    """The parts of a configuration."""
    match config.architecture:
        case "joint":
            return joint_parts(config, tokenizer)
        case "two-stream":
            return two_stream_parts(config, tokenizer)
        case "single-stream":
            return single_stream_parts(config, tokenizer)
        case _:
            from fusion.wrapped import wrapped_parts

            return wrapped_parts(config, tokenizer)


def joint_parts(config: ModelConfig, tokenizer: CatalogTokenizer) -> Parts:
    """The joint model's: a light text encoder, n-grams, a residual stem with descriptors, one stream."""
    text = TextEncoder(tokenizer.vocab_size, config.dim, config.heads, config.text_layers, longest(config), config.dropout)
    ngrams = NgramBag(torch.tensor([0.0, *tokenizer.weights.values()]), config.bag_width)
    stream = SingleStream(
        config.dim, config.heads, config.fusion_layers, config.bag_width, config.dropout, config.drop_tokens, config.drop_wide
    )
    return Parts(JointFusion(text, ngrams, stream), text, pictures_of(config, ImageDescriptors(config.image_size, config.bag_width)))


def single_stream_parts(config: ModelConfig, tokenizer: CatalogTokenizer) -> Parts:
    """One BERT, which also reads properties and values: MBSD's, VT-BERT's, and the baselines' of one stream."""
    text = text_of(config, tokenizer, config.fusion_layers)
    special = (tokenizer.special.cls, tokenizer.special.sep)
    stream = BertStream(text.embeddings, text.encoder, special, VISION if config.vision_cls else TEXT)
    return Parts(BertFusion(stream, config.reads_title), text, pictures_of(config), Pooler(config.dim))


def two_stream_parts(config: ModelConfig, tokenizer: CatalogTokenizer) -> Parts:
    """K3M's: a transformer a modality, the text's shared with the knowledge, and two streams."""
    text = text_of(config, tokenizer, config.text_layers)
    layers = nn.ModuleList(TransformerLayer(config.dim, config.heads, config.dropout, norm_first=False) for _ in range(config.image_layers))
    met = CoAttention(config.dim, config.heads, config.fusion_layers, config.dropout)
    streams = TwoStream(met, config.dim, initial_fusion(config), initial_fusion(config))
    return Parts(TwoStreamFusion(text, PackedTransformer(layers), streams), text, pictures_of(config))


def text_of(config: ModelConfig, tokenizer: CatalogTokenizer, layers: int) -> BertText:
    """A BERT of ``layers``, by the configuration's numbers."""
    shape = (tokenizer.vocab_size, config.dim, config.heads, layers, longest(config), config.dropout)
    text = bert_text(*shape, norm_eps=config.norm_eps, hidden_act=config.hidden_act)
    return text.freeze() if config.frozen_text else text


def initial_fusion(config: ModelConfig) -> InitialInteractiveFusion | None:
    """K3M's IIFM as the config has it, or none."""
    mode: Any = config.initial_fusion
    return None if mode == "none" else InitialInteractiveFusion(config.dim, mode)


def pictures_of(config: ModelConfig, descriptors: ImageDescriptors | None = None) -> PictureReader:
    """What reads pictures or a detector's regions, with the joint model's ``descriptors`` or without."""
    match config.picture:
        case "none":
            return NoPictures()
        case "regions":
            return RegionPictures(RegionEncoder(config.dim, config.region_width))
        case _:
            return Pictures(picture_encoder(config), descriptors)


def picture_encoder(config: ModelConfig) -> PictureEncoder:
    """A stem, patches (by as many convolutions as there are kernels: one is VT-BERT's linear map), crops, or a vision transformer."""
    size, kernels = config.image_size, config.patch_kernels
    match config.picture:
        case "stem":
            return ResidualStem(config.dim, size, config.stem_channels, config.image_grid)
        case "crops":
            network = GlobalOnly(ResidualStem(config.dim, size // config.image_grid, config.stem_channels, 1))
            return CropPatches(network, config.dim, size, config.image_grid)
        case "vit":
            return vit_from_numbers(
                (config.vit_dim, config.vit_layers, config.vit_heads), size, kernels[0], config.dim, config.frozen_image
            )
        case _ if len(kernels) == 1:
            return LinearPatches(config.dim, size, kernels[0])
        case _:
            return ConvPatches(config.dim, size, kernels, config.stem_channels)


def longest(config: ModelConfig) -> int:
    """Positions that a sequence may need: [CLS], query and title, each with its [SEP]; or a string of a property or value."""
    return max(3 + config.max_query + config.max_title, config.max_string)
