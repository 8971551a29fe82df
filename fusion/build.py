"""Numbers to modules: plain functions that build a product model of each preset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from encoders.bert import bert_text
from encoders.descriptors import ImageDescriptors
from encoders.image import ResidualStem
from encoders.knowledge import KnowledgeEncoder, PieceEncoder
from encoders.layers import TransformerLayer, initialise
from encoders.packing import PackedTransformer
from encoders.patches import ConvPatches, LinearPatches, PatchTokens
from encoders.text import NgramBag, TextEncoder
from encoders.tokenizer import CLS, SEP, CatalogTokenizer
from fusion.bert_stream import TEXT, VISION, BertStream
from fusion.co_attention import CoAttention
from fusion.config import ModelConfig
from fusion.initial_interactive import InitialInteractiveFusion
from fusion.item_fusion import BertFusion, ItemFusion, JointFusion, TwoStreamFusion
from fusion.links import LinkHead
from fusion.model import ProductModel
from fusion.pictures import Pictures
from fusion.presets import PRESETS
from fusion.single_stream import SingleStream
from fusion.two_stream import TwoStream
from schema.errors import UsageError
from schema.ontology import Ontology


def candidates(ontology: Ontology) -> tuple[list[str], list[tuple[str, str]]]:
    """The model's properties in order, and its candidates: every (property, value) of the ontology, property by property."""
    properties = list(ontology.properties)
    return properties, [(name, value) for name in properties for value in ontology.properties[name].values]


def string_pieces(tokenizer: CatalogTokenizer, strings: Sequence[str], limit: int) -> Tensor:
    """Word pieces of S strings [S, limit], 0 where there is none."""
    out = np.zeros((len(strings), limit), dtype=np.int64)
    for row, string in enumerate(strings):
        ids = tokenizer.pieces(tokenizer.words(string), limit)
        out[row, : len(ids)] = ids
    return torch.from_numpy(out)


@dataclass(frozen=True)
class Parts:
    """What differs between presets: how modalities are joined, how strings are read, how pictures are."""

    fusion: ItemFusion
    text: PieceEncoder
    pictures: Pictures


def build_model(config: ModelConfig, tokenizer: CatalogTokenizer, ontology: Ontology) -> ProductModel:
    """A freshly initialised model for one ontology and one vocabulary."""
    properties, pairs = candidates(ontology)
    number = {name: index for index, name in enumerate(properties)}
    strings = string_pieces(tokenizer, properties + [value for _, value in pairs], config.max_string)
    parts = parts_of(config, tokenizer)
    model = ProductModel(
        fusion=parts.fusion,
        pictures=parts.pictures,
        knowledge=KnowledgeEncoder(parts.text, strings, len(properties), config.dim),
        links=LinkHead(
            config.dim,
            (config.heads, config.aggregation_heads),
            config.decoder_layers,
            (2 * config.bag_width, config.known_width),
            torch.tensor([number[name] for name, _ in pairs], dtype=torch.int64),
            config.dropout,
        ),
    )
    initialise(model)
    return model


def parts_of(config: ModelConfig, tokenizer: CatalogTokenizer) -> Parts:
    """A preset's own parts; raises UsageError on a preset that there is not."""
    match config.preset:
        case "joint":
            return joint_parts(config, tokenizer)
        case "k3m":
            return k3m_parts(config, tokenizer)
        case "mbsd" | "vtbert":
            return stream_parts(config, tokenizer)
    raise UsageError(f"no preset {config.preset!r}: choose one of {', '.join(PRESETS)}")


def joint_parts(config: ModelConfig, tokenizer: CatalogTokenizer) -> Parts:
    """The joint model's: a light text encoder, n-grams, a residual stem with descriptors, one stream."""
    text = TextEncoder(tokenizer.vocab_size, config.dim, config.heads, config.text_layers, longest(config), config.dropout)
    ngrams = NgramBag(torch.tensor([0.0, *tokenizer.weights.values()]), config.bag_width)
    stream = SingleStream(
        config.dim, config.heads, config.fusion_layers, config.bag_width, config.dropout, config.drop_tokens, config.drop_wide
    )
    stem = ResidualStem(config.dim, config.image_size, config.stem_channels, config.image_grid)
    return Parts(JointFusion(text, ngrams, stream), text, Pictures(stem, ImageDescriptors(config.image_size, config.bag_width)))


def stream_parts(config: ModelConfig, tokenizer: CatalogTokenizer) -> Parts:
    """MBSD's and VT-BERT's: one BERT, which also reads properties and values; patches by MBSD's cascade or VT-BERT's one map."""
    segment = VISION if config.preset == "vtbert" else TEXT
    text = bert_text(tokenizer.vocab_size, config.dim, config.heads, config.fusion_layers, longest(config), config.dropout)
    stream = BertStream(text.embeddings, text.encoder, (CLS, SEP), segment)
    return Parts(BertFusion(stream), text, Pictures(patches(config)))


def k3m_parts(config: ModelConfig, tokenizer: CatalogTokenizer) -> Parts:
    """K3M's: a transformer a modality, the text's shared with the knowledge, and two streams."""
    text = bert_text(tokenizer.vocab_size, config.dim, config.heads, config.text_layers, longest(config), config.dropout)
    layers = nn.ModuleList(TransformerLayer(config.dim, config.heads, config.dropout, norm_first=False) for _ in range(config.image_layers))
    met = CoAttention(config.dim, config.heads, config.fusion_layers, config.dropout)
    streams = TwoStream(met, config.dim, initial_fusion(config), initial_fusion(config))
    return Parts(TwoStreamFusion(text, PackedTransformer(layers), streams), text, Pictures(patches(config)))


def initial_fusion(config: ModelConfig) -> InitialInteractiveFusion | None:
    """K3M's IIFM as the config has it, or none."""
    match config.initial_fusion:
        case "none":
            return None
        case "mean" | "soft-spl" | "hard-spl" as mode:
            return InitialInteractiveFusion(config.dim, mode)
    raise UsageError(f"initial_fusion={config.initial_fusion!r} is unknown: set it to mean, soft-spl, hard-spl or none")


def patches(config: ModelConfig) -> PatchTokens:
    """Patches by as many convolutions as there are kernels: one is VT-BERT's linear map."""
    if len(config.patch_kernels) == 1:
        return LinearPatches(config.dim, config.image_size, config.patch_kernels[0])
    return ConvPatches(config.dim, config.image_size, config.patch_kernels, config.stem_channels)


def longest(config: ModelConfig) -> int:
    """Positions that a sequence may need: [CLS], query and title, each with its [SEP]; or a string of a property or value."""
    return max(3 + config.max_query + config.max_title, config.max_string)
