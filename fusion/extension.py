"""Values added to a trained model: they are known by their text alone.

A value is encoded text plus a vector of its own (:mod:`encoders.knowledge`), and the wide part has
further vectors and a bias for it. An added value has the text's encoding; of what is learned for
single values it gets the mean over its property's values, and the lowest bias: that of the rarest.

Shapes: P properties, C candidates before, C' after, D the model's width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from encoders.tokenizer import CatalogTokenizer
from fusion.build import build_model
from fusion.config import ModelConfig
from fusion.model import ProductModel
from schema.ontology import Ontology

_OF_STRINGS = "knowledge.embedding.weight"
"""A row for each property, and then for each candidate [P + C, D]."""
_OF_CANDIDATES = ("links.known.weight", "links.wide.weight")
_BIAS = "links.bias"


def extended_ontology(ontology: Ontology, added: Mapping[str, Sequence[str]]) -> Ontology:
    """Return an ontology with further values behind those of a property, of which no item has any.

    A property that the ontology does not have is passed over, and so is a value that it has.
    """
    specs = []
    for name, spec in ontology.properties.items():
        new = [each for each in dict.fromkeys(added.get(name, ())) if spec.position(each) is None]
        specs.append(
            dataclasses.replace(
                spec, values=(*spec.values, *new), counts=(*spec.counts, *[0] * len(new))
            )
        )
    return Ontology(
        specs,
        categories=ontology.categories,
        described=ontology.described,
        threshold=ontology.threshold,
    )


def extend_model(
    model: ProductModel,
    config: ModelConfig,
    tokenizer: CatalogTokenizer,
    before: Ontology,
    after: Ontology,
) -> ProductModel:
    """Return a model of the values of ``after``, an :func:`extended_ontology` of ``before``.

    Raises UsageError if there is no room for it.
    """
    # The weights that are drawn here are replaced, and nothing else may depend on them.
    with torch.random.fork_rng(devices=[]):
        extended = build_model(config, tokenizer, after)
    sizes = [
        (len(spec.values), len(after[name].values) - len(spec.values))
        for name, spec in before.properties.items()
    ]
    properties = len(sizes)
    state = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
    if _OF_STRINGS in state:
        table = state[_OF_STRINGS]
        state[_OF_STRINGS] = torch.cat(
            [table[:properties], _extended(table[properties:], sizes, _mean)]
        )
    for name in _OF_CANDIDATES:
        if name in state:
            state[name] = _extended(state[name], sizes, _mean)
    # An interaction of PyKEEN has no biases.
    if _BIAS in state:
        state[_BIAS] = _extended(state[_BIAS], sizes, torch.amin)
    extended.load_state_dict(state)
    return extended.eval()


def _extended(
    table: Tensor, sizes: Sequence[tuple[int, int]], of_new: Callable[[Tensor, int], Tensor]
) -> Tensor:
    """Return a table [C', ...], given that of the candidates before [C, ...].

    ``sizes`` are the numbers of known and of new values of each property, ``of_new`` makes the row
    of a new value from those of the property's known values.
    """
    parts = []
    first = 0
    for known, new in sizes:
        own = table[first : first + known]
        first += known
        parts.append(own)
        if new:
            row = of_new(own, 0) if known else table.new_zeros(table.shape[1:])
            parts.append(row.expand(new, *table.shape[1:]))
    return torch.cat(parts) if parts else table


def _mean(rows: Tensor, axis: int) -> Tensor:
    return rows.mean(axis)
