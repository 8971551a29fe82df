"""A summary of a model: its tensors with their shapes, and how many parameters each part has."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class TensorGroup:
    """Tensors of one shape that differ only in the number of their layer, which is a ``*`` here.

    ``parameters`` counts those of all ``times`` tensors together.
    """

    name: str
    times: int
    shape: tuple[int, ...]
    parameters: int

    @property
    def part(self) -> str:
        """The model's part that the tensors belong to: the first word of their name."""
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class ModelSummary:
    """A model's tensors, and the number of parameters of each part."""

    tensors: list[TensorGroup]
    parts: dict[str, int]

    @property
    def parameters(self) -> int:
        """The number of parameters of the whole model."""
        return sum(self.parts.values())


def summarize(model: nn.Module) -> ModelSummary:
    """Summarize a model; a tensor that two parts share is counted once, under the first of them."""
    times: dict[tuple[str, tuple[int, ...]], int] = {}
    parts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        group = re.sub(r"\.\d+(?=\.)", ".*", name, count=1), tuple(parameter.shape)
        times[group] = times.get(group, 0) + 1
        part = name.partition(".")[0]
        parts[part] = parts.get(part, 0) + parameter.numel()

    tensors = [
        TensorGroup(name, count, shape, count * math.prod(shape))
        for (name, shape), count in times.items()
    ]
    return ModelSummary(tensors, parts)
