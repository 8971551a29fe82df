"""Build a product model from its configuration, for one ontology and one vocabulary.

A model is first built without memory, on PyTorch's meta device, so that one whose settings do not
fit together, or for which there is no room, is refused before anything is allocated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from encoders.batch import padded_rows
from encoders.knowledge import KnowledgeEncoder
from encoders.layers import initialise
from encoders.tokenizer import SPECIAL_TOKENS, CatalogTokenizer, wordpiece_tokenizer
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
from schema.errors import CatalographError, UsageError
from schema.memory import available_memory
from schema.ontology import Ontology

BYTES = 4
"""Bytes of a parameter, which is a number in single precision."""


def candidates(ontology: Ontology) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the model's properties in order, and its candidates.

    The candidates are all (property, value) pairs of the ontology, property by property.
    """
    properties = list(ontology.properties)
    pairs = [(name, value) for name in properties for value in ontology.properties[name].values]
    return properties, pairs


def first_candidates(ontology: Ontology) -> dict[str, int]:
    """Return the number of each property's first candidate."""
    firsts = {}
    number = 0
    for name, spec in ontology.properties.items():
        firsts[name] = number
        number += len(spec.values)
    return firsts


def string_pieces(tokenizer: CatalogTokenizer, strings: Sequence[str], limit: int) -> Tensor:
    """Return the word pieces of S strings [S, limit], padded with 0."""
    pieces = [tokenizer.pieces(tokenizer.words(string), limit) for string in strings]
    return padded_rows(pieces, limit)


@dataclass(frozen=True)
class Statements:
    """What the statements of an ontology are made of.

    Attributes:
        strings: word pieces of the P properties and then of the C candidates [P + C, L]
        properties: the number of properties P
        candidate_property: the property of each candidate [C]
    """

    strings: Tensor
    properties: int
    candidate_property: Tensor

    @classmethod
    def of(cls, config: ModelConfig, tokenizer: CatalogTokenizer, ontology: Ontology) -> Statements:
        """Return those of an ontology, with strings of as many pieces as the model reads."""
        properties, pairs = candidates(ontology)
        number = {name: index for index, name in enumerate(properties)}
        values = [value for _, value in pairs]
        return cls(
            strings=string_pieces(tokenizer, properties + values, config.max_string),
            properties=len(properties),
            candidate_property=torch.tensor([number[name] for name, _ in pairs], dtype=torch.int64),
        )


def build_model(
    config: ModelConfig,
    tokenizer: CatalogTokenizer,
    ontology: Ontology,
    copies: int = 1,
) -> ProductModel:
    """Build a freshly initialised model for one ontology and one vocabulary.

    There has to be room for so many ``copies`` of it: in training each parameter has a gradient,
    two moments and an average as well. Raises UsageError if the settings do not fit together, or if
    there is too little memory.
    """
    statements = Statements.of(config, tokenizer, ontology)
    check_memory(_count(config, tokenizer, statements), copies)
    model = _assemble(config, tokenizer, statements)
    initialise(model)
    return model


def count_parameters(config: ModelConfig, tokenizer: CatalogTokenizer, ontology: Ontology) -> int:
    """Return the number of a model's parameters, without memory for them.

    Raises UsageError if the settings do not fit together.
    """
    return _count(config, tokenizer, Statements.of(config, tokenizer, ontology))


def _count(config: ModelConfig, tokenizer: CatalogTokenizer, statements: Statements) -> int:
    try:
        # A module may draw random numbers on the CPU nevertheless; the weights of the model that is
        # built afterwards must not depend on that.
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            model = _assemble(config, tokenizer, statements)
    except CatalographError:
        raise
    except (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise UsageError(
            f"the model's settings do not fit together ({reason}): change them, or leave them out"
        ) from None
    return sum(parameter.numel() for parameter in model.parameters())


def least_parameters(config: ModelConfig) -> int:
    """Return how many parameters a model has at least, whatever the catalogue.

    Raises UsageError if the settings do not fit together.
    """
    tokenizer = CatalogTokenizer(wordpiece_tokenizer(SPECIAL_TOKENS), {})
    return count_parameters(config, tokenizer, Ontology())


def check_memory(parameters: int, copies: int = 1) -> None:
    """Raise UsageError if there is no room for so many ``copies`` of a model's parameters."""
    needed = BYTES * copies * parameters
    available = available_memory()
    if needed > available:
        use = " in training" if copies > 1 else ""
        raise UsageError(
            f"this model would have {parameters:,} parameters, which take {needed / 1e9:,.1f} GB"
            f"{use}, but {available / 1e9:,.1f} GB of memory are available: choose a smaller size, "
            "or lower dim, the numbers of layers, or vocab_size"
        )


def _assemble(
    config: ModelConfig, tokenizer: CatalogTokenizer, statements: Statements
) -> ProductModel:
    """Build the modules of a model, with PyTorch's own initial weights."""
    parts = architecture_parts(config, tokenizer)
    return ProductModel(
        fusion=parts.fusion,
        images=parts.images,
        knowledge=KnowledgeEncoder(
            parts.text,
            statements.strings,
            statements.properties,
            config.dim,
            own_vectors=config.string_embeddings,
        ),
        links=link_head(config, statements.candidate_property),
        dim=config.dim,
        special=tokenizer.special,
        pooler=parts.pooler,
    )


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
