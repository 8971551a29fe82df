"""What PyKEEN needs to learn completion: values compete with those of the same property.

PyKEEN's own samplers corrupt a statement by any entity, most of which are items, or by one that
occurs with the property, most of which are items on the other side; and its evaluators rank all
entities. Both would waste on other questions what is asked here.

Shapes: B statements, K corrupted ones of each, E entities, P properties.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from optuna import TrialPruned
from pykeen.evaluation import RankBasedEvaluator
from pykeen.models import ComplEx, RotatE, TransE
from pykeen.sampling import NegativeSampler
from pykeen.training.callbacks import TrainingCallback
from pykeen.typing import LABEL_TAIL, Target
from torch import Tensor


class PlainComplEx(ComplEx):  # type: ignore[no-untyped-call]
    """ComplEx without PyKEEN's penalty on long vectors.

    A fold-in could not repeat the penalty: in training it depends on how often an item is drawn.
    Early stopping does its work.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(regularizer=None, **options)


def model_class(interaction: str) -> Any:
    """Return PyKEEN's model of an interaction, by its name in options."""
    return {"transe": TransE, "rotate": RotatE, "complex": PlainComplEx}[interaction]


class OwnValuesSampler(NegativeSampler):
    """Corrupts values by other values of the same property.

    Args:
        mapped_triples: the positive statements
        starts: the first value of each property, and behind the last one of all [P + 1]
    """

    hpo_default: ClassVar[Mapping[str, Any]] = {
        "num_negs_per_pos": {"type": int, "low": 4, "high": 32, "log": True}
    }

    def __init__(self, *, mapped_triples: Tensor, starts: tuple[int, ...], **options: Any) -> None:
        super().__init__(mapped_triples=mapped_triples, **options)
        self.starts = torch.tensor(starts)

    def corrupt_batch(self, positive_batch: Tensor) -> Tensor:
        """Return K corruptions [B, K, 3] of each of B statements [B, 3]."""
        corrupted = positive_batch[:, None].repeat(1, self.num_negs_per_pos, 1)
        start = self.starts[positive_batch[:, 1:2]]
        count = self.starts[positive_batch[:, 1:2] + 1] - start
        # A step of 1 to count - 1 around the property's values never ends at the true one.
        step = 1 + (torch.rand(corrupted.shape[:2]) * (count - 1)).long()
        corrupted[:, :, 2] = start + (positive_batch[:, 2:] - start + step) % count
        return corrupted


class OwnValuesEvaluator(RankBasedEvaluator):
    """Ranks a value among those of its property.

    Args:
        starts: the first value of each property, and behind the last one of all [P + 1]
    """

    def __init__(self, starts: tuple[int, ...], **options: Any) -> None:
        super().__init__(**options)
        self.starts = torch.tensor(starts)

    def evaluate(self, *arguments: Any, **options: Any) -> Any:
        """Rank values only; PyKEEN's early stopping would rank items, too."""
        return super().evaluate(*arguments, **{**options, "targets": (LABEL_TAIL,)})

    def process_scores_(
        self,
        hrt_batch: Tensor,
        target: Target,
        scores: Tensor,
        true_scores: Tensor | None = None,
        dense_positive_mask: Tensor | None = None,
    ) -> None:
        """Count the ranks of B statements by their scores [B, E]; NaN is none, as in PyKEEN.

        Raises TrialPruned if a score is no number.
        """
        # A model that has diverged would be given rank 0.
        if true_scores is None or not torch.isfinite(true_scores).all():
            raise TrialPruned
        entity = torch.arange(scores.shape[1])
        property = hrt_batch[:, 1:2].cpu()
        others = (entity < self.starts[property]) | (entity >= self.starts[property + 1])
        scores = scores.masked_fill(others.to(scores.device), torch.nan)
        super().process_scores_(hrt_batch, target, scores, true_scores, dense_positive_mask)


class Deadline(TrainingCallback):
    """Ends a trial that is still running at a time of the monotonic clock.

    Not before ``epochs``, after which it has been evaluated once.
    """

    def __init__(self, at: float, epochs: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.at = at
        self.epochs = epochs

    def post_batch(self, epoch: int, batch: Any, **_: Any) -> None:
        """Raise TrialPruned if the time is over."""
        if epoch > self.epochs and time.monotonic() >= self.at:
            raise TrialPruned
