"""Build a product model from its configuration, for one ontology and one vocabulary."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from encoders.batch import padded_rows
from encoders.knowledge import KnowledgeEncoder
from encoders.layers import initialise
from encoders.tokenizer import CatalogTokenizer
from fusion.architectures.base import ModelParts
from fusion.architectures.bert_stream import single_stream_parts
from fusion.architectures.huggingface import wrapped_parts
from fusion.architectures.joint import joint_parts
from fusion.architectures.two_stream import two_stream_parts
from fusion.config import ModelConfig
from fusion.link_prediction.aggregation import StructureAggregation, ValueAggregation
from fusion.link_prediction.decoder import CellDecoder
from fusion.link_prediction.pykeen_interactions import InteractionHead, pykeen_interaction
from fusion.link_prediction.scorer import LinkHead
from fusion.model import ProductModel
from schema.ontology import Ontology


def candidates(ontology: Ontology) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the model's properties in order, and its candidates.

    The candidates are all (property, value) pairs of the ontology, property by property.
    """
    properties = list(ontology.properties)
    pairs = [(name, value) for name in properties for value in ontology.properties[name].values]
    return properties, pairs


def string_pieces(tokenizer: CatalogTokenizer, strings: Sequence[str], limit: int) -> Tensor:
    """Return the word pieces of S strings [S, limit], padded with 0."""
    pieces = [tokenizer.pieces(tokenizer.words(string), limit) for string in strings]
    return padded_rows(pieces, limit)


def build_model(
    config: ModelConfig,
    tokenizer: CatalogTokenizer,
    ontology: Ontology,
) -> ProductModel:
    """Build a freshly initialised model for one ontology and one vocabulary."""
    properties, pairs = candidates(ontology)
    number = {name: index for index, name in enumerate(properties)}
    values = [value for _, value in pairs]
    strings = string_pieces(tokenizer, properties + values, config.max_string)
    candidate_property = torch.tensor([number[name] for name, _ in pairs], dtype=torch.int64)
    parts = architecture_parts(config, tokenizer)
    model = ProductModel(
        fusion=parts.fusion,
        images=parts.images,
        knowledge=KnowledgeEncoder(
            parts.text,
            strings,
            len(properties),
            config.dim,
            own_vectors=config.string_embeddings,
        ),
        links=link_head(config, candidate_property),
        dim=config.dim,
        special=tokenizer.special,
        pooler=parts.pooler,
    )
    initialise(model)
    return model


def architecture_parts(config: ModelConfig, tokenizer: CatalogTokenizer) -> ModelParts:
    """Build the parts of the configuration's architecture."""
    match config.architecture:
        case "joint":
            return joint_parts(config, tokenizer)
        case "two-stream":
            return two_stream_parts(config, tokenizer)
        case "single-stream":
            return single_stream_parts(config, tokenizer)
        case _:
            return wrapped_parts(config, tokenizer)


def link_head(config: ModelConfig, candidate_property: Tensor) -> LinkHead | InteractionHead:
    """Build the structure aggregation and what scores its result.

    That is an Interaction of PyKEEN if the configuration names one, else a decoder with a wide
    part. ``candidate_property`` [C] is the property of each candidate.
    """
    first = StructureAggregation(config.dim, config.aggregation_heads)
    second = ValueAggregation(config.dim, config.aggregation_heads) if config.hops > 1 else None
    if config.interaction:
        interaction = pykeen_interaction(config.interaction, config.dim)
        return InteractionHead(
            aggregate=first,
            aggregate_values=second,
            interaction=interaction,
            candidate_property=candidate_property,
            dim=config.dim,
            reads_known=config.reads_known,
        )
    decoder = CellDecoder(config.dim, config.heads, config.decoder_layers, config.dropout)
    return LinkHead(
        aggregate=first,
        aggregate_values=second,
        decoder=decoder,
        candidate_property=candidate_property,
        dim=config.dim,
        item_width=2 * config.bag_width,
        known_width=config.known_width,
        reads_known=config.reads_known,
    )
