"""Query matching: does the query match the item, its title, its image (MBSD Eq. 3-5)?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from training.batches import StepBatch
from training.objectives.base import QUERY_VIEWS, Need, Objective, single_precision

if TYPE_CHECKING:
    from training.objectives.states import StepStates


def match_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Return the binary cross-entropy of match logits [N] for labels [N] in {0, 1}."""
    logits = single_precision(logits)
    return F.binary_cross_entropy_with_logits(logits, label.to(logits.dtype))


def count_pairs(batch: StepBatch) -> float:
    """Return the number of pairs of query and item, matching or not."""
    return 0.0 if batch.pairs is None else float(len(batch.pairs.label))


class QueryMatching(Objective):
    """Base class of the three objectives: the model's match head over one reading of the pairs."""

    needs = frozenset((Need.QUERY_PAIRS,))
    reads = QUERY_VIEWS

    @staticmethod
    def count(batch: StepBatch) -> float:
        """Return the number of pairs of query and item."""
        return count_pairs(batch)

    def loss(self, states: StepStates, node: Tensor) -> Tensor | None:
        """Return the loss of ``node`` [N, D], one encoding of N pairs."""
        if states.batch.pairs is None:
            return None
        return match_loss(states.model.match_head(node), states.batch.pairs.label)


class ItemMatching(QueryMatching):
    """QI (Eq. 3): match the query with title and image together."""

    name = "qi"
    default_weight = 0.2

    def forward(self, states: StepStates) -> Tensor | None:
        """Return the loss over N pairs [N, D]."""
        views = states.query_views
        return None if views is None else self.loss(states, views.item)


class TitleMatching(QueryMatching):
    """QT (Eq. 4): match the query with the title alone."""

    name = "qt"
    default_weight = 0.1

    def forward(self, states: StepStates) -> Tensor | None:
        """Return the loss over N pairs [N, D]."""
        views = states.query_views
        return None if views is None else self.loss(states, views.title)


class ImageMatching(QueryMatching):
    """QV (Eq. 5): match the query with the image alone."""

    name = "qv"
    default_weight = 0.1

    @staticmethod
    def count(batch: StepBatch) -> float:
        """Return the number of pairs whose item has an image."""
        return 0.0 if batch.pairs is None else 2 * float(batch.pairs.items.has_image.sum())

    def forward(self, states: StepStates) -> Tensor | None:
        """Return the loss over those of N pairs [N, D] whose item has an image."""
        pairs = states.batch.pairs
        views = states.query_views
        if pairs is None or views is None or states.pair_image is None:
            return None
        # The N matching pairs and the N others have the same items. The query alone, which is all
        # that is left without an image, does not tell whether they match.
        rows = pairs.items.image_rows[: pairs.items.image_count]
        seen = torch.cat([rows, rows + len(pairs.items)])
        logits = states.model.match_head(views.image)
        return match_loss(logits.index_select(0, seen), pairs.label.index_select(0, seen))
