"""Numbers to modules: plain functions that build a product model and its presets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from encoders.descriptors import ImageDescriptors
from encoders.image import ResidualStem
from encoders.knowledge import KnowledgeEncoder
from encoders.layers import initialise
from encoders.text import NgramBag, TextEncoder
from encoders.tokenizer import CatalogTokenizer
from fusion.config import ModelConfig
from fusion.links import LinkHead
from fusion.model import ProductModel
from fusion.single_stream import SingleStream
from schema.errors import UsageError
from schema.ontology import Ontology


def joint(size: str) -> ModelConfig:
    """The joint preset at one of its sizes; raises UsageError on another name."""
    sizes = {
        "tiny": ModelConfig(
            dim=64,
            heads=2,
            fusion_layers=1,
            decoder_layers=1,
            vocab_size=2000,
            max_ngrams=4096,
            bag_width=32,
            known_width=16,
            dropout=0.0,
            drop_wide=0.2,
            image_size=64,
            stem_channels=(16, 32, 64, 64),
        ),
        "small": ModelConfig(),
    }
    if size not in sizes:
        raise UsageError(f"no size {size!r} of preset 'joint': choose one of {', '.join(sizes)}")
    return sizes[size]


def preset(name: str, size: str) -> ModelConfig:
    """A preset by its name; raises UsageError on another name."""
    if name != "joint":
        raise UsageError(f"no preset {name!r}: choose one of joint")
    return joint(size)


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


def build_model(config: ModelConfig, tokenizer: CatalogTokenizer, ontology: Ontology) -> ProductModel:
    """A freshly initialised model for one ontology and one vocabulary."""
    properties, pairs = candidates(ontology)
    number = {name: index for index, name in enumerate(properties)}
    strings = string_pieces(tokenizer, properties + [value for _, value in pairs], config.max_string)
    longest = max(config.max_title, config.max_string, config.max_query)
    text = TextEncoder(tokenizer.vocab_size, config.dim, config.heads, config.text_layers, longest, config.dropout)
    model = ProductModel(
        text=text,
        ngrams=NgramBag(torch.tensor([0.0, *tokenizer.weights.values()]), config.bag_width),
        stem=ResidualStem(config.dim, config.image_size, config.stem_channels, config.image_grid),
        descriptors=ImageDescriptors(config.image_size, config.bag_width),
        knowledge=KnowledgeEncoder(text, strings, len(properties), config.dim),
        stream=SingleStream(
            config.dim, config.heads, config.fusion_layers, config.bag_width, config.dropout, config.drop_tokens, config.drop_wide
        ),
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
