"""The base class of objectives: name, default weight, needs, head and loss in one place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from enum import Enum, auto
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor, nn

from fusion.config import ModelConfig
from fusion.model import ProductModel
from training.batches import StepBatch, TokenPlaces

if TYPE_CHECKING:
    from training.config import Recipe
    from training.objectives.states import StepStates


class Need(Enum):
    """A part of a step's batch that an objective needs; the collator makes no other parts."""

    ITEMS = auto()
    """Items with their titles and images."""
    HIDDEN_STATEMENTS = auto()
    """Hidden statements of these items, to be predicted."""
    MASKED_TITLES = auto()
    """Masked title pieces of these items."""
    MASKED_IMAGES = auto()
    """Masked patches or regions of these items, 15% of them, most of them covered (MRFR)."""
    COVERED_PATCHES = auto()
    """Half of the patches of these items, all of them covered, instead of 15% (MPM)."""
    SWAPPED_TITLES = auto()
    """Another item's title for half of these items."""
    ITEMS_WITHOUT_IMAGE = auto()
    """The same items without their images, with other hidden statements."""
    QUERY_PAIRS = auto()
    """Pairs of query and item, matching or not."""


class ItemReading(Enum):
    """A way in which a step's items are read; those of a step are read together."""

    ITEMS = auto()
    """Items with their titles and images, some of which are masked."""
    ITEMS_WITHOUT_IMAGE = auto()
    """The same items without their images."""
    QUERY_ITEM = auto()
    """The items of query pairs with the query, title and image (MBSD's h)."""
    QUERY_TITLE = auto()
    """The items of query pairs with the query and the title (MBSD's h^t)."""
    QUERY_IMAGE = auto()
    """The items of query pairs with the query and the image (MBSD's h^v)."""
    PAIR_ITEMS = auto()
    """The items of matching query pairs, without the query."""
    PAIR_QUERIES = auto()
    """The queries of matching query pairs alone."""


QUERY_VIEWS = frozenset((ItemReading.QUERY_ITEM, ItemReading.QUERY_TITLE, ItemReading.QUERY_IMAGE))
"""MBSD's three readings of query pairs (its Figure 4)."""


class Objective(nn.Module, ABC):
    """Base class of the objectives: a thin module around a pure loss function.

    An objective owns its prediction head, if it has one, but no encoder: all objectives read the
    states of the model's encoders.
    """

    name: ClassVar[str]
    """The term's name in settings (``loss_NAME``), stages and ``log.jsonl``."""
    default_weight: ClassVar[float] = 0.0
    """The weight in the sum of all losses unless a preset or a setting says otherwise."""
    needs: ClassVar[frozenset[Need]]
    reads: ClassVar[frozenset[ItemReading]] = frozenset()
    """The readings of items that it uses. One that is not listed here is computed on its own."""

    @classmethod
    def build(cls, model: ProductModel, config: ModelConfig, recipe: Recipe) -> Self | None:
        """Build the objective for a model; None if the model lacks what it needs."""
        return cls()

    @staticmethod
    @abstractmethod
    def count(batch: StepBatch) -> float:
        """Return the number of examples in ``batch`` that the loss is a mean over."""

    @abstractmethod
    def forward(self, states: StepStates) -> Tensor | None:
        """Return the loss, a scalar, over B items or pairs with states [B, L, D].

        Returns None if the batch contains no example.
        """


def needs_of(
    terms: Mapping[str, float], objectives: tuple[type[Objective], ...]
) -> frozenset[Need]:
    """Return everything that the objectives named by ``terms`` need."""
    return frozenset(
        need for objective in objectives if objective.name in terms for need in objective.needs
    )


def readings_of(terms: Collection[str], objectives: Iterable[Objective]) -> frozenset[ItemReading]:
    """Return all readings that those of the ``objectives`` use that ``terms`` name."""
    return frozenset(reading for each in objectives if each.name in terms for reading in each.reads)


def apply_at(head: nn.Module, hidden: Tensor, places: TokenPlaces) -> Tensor:
    """Apply ``head`` to the M tokens of ``hidden`` [B, L, D] at ``places``: [M, ...]."""
    predicted: Tensor = head(hidden.flatten(0, 1).index_select(0, places.padded))
    return predicted[: places.count]


def single_precision(values: Tensor) -> Tensor:
    """Return ``values`` in at least single precision: bf16 is too coarse for a loss."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()
