"""A step's batch: what each pass over the model reads and what its terms ask."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from encoders.batch import ItemBatch
from training.objectives.link import LinkTargets


@dataclass(frozen=True)
class ItemView:
    """One reading of B items and the statements that it asks for, none where no term does."""

    items: ItemBatch
    links: LinkTargets | None


@dataclass(frozen=True)
class MaskedTokens:
    """What a view hides of its items and asks back.

    ``pieces`` [B, L] as they were, of which the ``chosen`` [B, L] are asked; ``patches`` [B, P] are asked, of which the ``covered`` ones
    are hidden.
    """

    pieces: Tensor
    chosen: Tensor
    patches: Tensor
    covered: Tensor


@dataclass(frozen=True)
class MatchBatch:
    """N positive (query, item) pairs, then N negative ones: the same items with other queries.

    ``query`` pieces [2N, L], ``items`` of the N, ``label`` [2N]; ``same`` says which of the G pairs' items each query matches and which
    of their queries each item, [2, N, G], over the pairs of all processes, of which one's own begin at ``first``.
    """

    query: Tensor
    items: ItemBatch
    label: Tensor
    same: Tensor
    first: int

    @property
    def both(self) -> Tensor:
        """Which of the N items have a title and an image: [N]."""
        return self.items.has_image & (self.items.pieces != 0).any(1)


@dataclass(frozen=True)
class StepBatch:
    """A step's inputs; a pass that no term of the stage needs is None.

    ``seen`` are items with title and image, ``masked`` what is hidden there, ``own`` [2, B] which of them have both, and which of those
    have the title that is their own (VTM); ``unseen`` items without image; ``candidates`` [C'] the values in play; ``match`` pairs of
    query and item. ``counts`` says over how many things each term is a mean.
    """

    seen: ItemView | None
    masked: MaskedTokens | None
    own: Tensor | None
    unseen: ItemView | None
    candidates: Tensor | None
    match: MatchBatch | None
    counts: dict[str, float]


def with_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same record, tuple or tensor with every tensor in it changed."""
    if isinstance(value, Tensor):
        return change(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        made = {
            field.name: with_tensors(getattr(value, field.name), change)
            for field in dataclasses.fields(value)
        }
        return dataclasses.replace(value, **made)
    return (
        tuple(with_tensors(part, change) for part in value) if isinstance(value, tuple) else value
    )


def move(batch: StepBatch, device: torch.device) -> StepBatch:
    """The step's batch on another device."""
    moved: StepBatch = (
        batch
        if device.type == "cpu"
        else with_tensors(batch, lambda part: part.to(device, non_blocking=True))
    )
    return moved


def pinned(batch: StepBatch) -> StepBatch:
    """The step's batch in page-locked memory, from which a GPU copies while it computes."""
    locked: StepBatch = with_tensors(batch, Tensor.pin_memory)
    return locked
