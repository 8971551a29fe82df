"""SDMI, self-distillation for modality imbalance (MBSD Eq. 6-10).

The weaker modality learns from the stronger one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from training.batches import StepBatch
from training.objectives.base import QUERY_VIEWS, Need, Objective, single_precision

if TYPE_CHECKING:
    from training.objectives.states import StepStates


@dataclass(frozen=True)
class ModalityReading:
    """N pairs of query and item in one modality: their ``state`` h [N, D] and ``logit`` z [N]."""

    state: Tensor
    logit: Tensor


@dataclass(frozen=True)
class Distillation:
    """SDMI's two losses, both scalars."""

    kl: Tensor
    rs: Tensor


def distillation_losses(
    title: ModalityReading,
    image: ModalityReading,
    label: Tensor,
) -> Distillation:
    """Return L_KL and L_RS of N query-item pairs, encoded with the title and with the image alone.

        L_KL = 1/N sum w_i KL(p_i^w || p_i^s),  L_RS = 1/N sum w_i / D |h_i^s - h_i^w|^2

    The stronger modality s is the one whose probability is closer to the label (Eq. 6). It teaches,
    and gets no gradient. The weight w is the difference of the two probabilities if s is right, or
    else 0 (Eq. 9); it has no gradient either. ``label`` [N] is 0 or 1.
    """
    title_logit = single_precision(title.logit)
    image_logit = single_precision(image.logit)
    positive = label > 0.5
    # Eq. 6. Logits are in the order of the probabilities, and do not round to 0 or 1.
    title_is_stronger = torch.where(positive, title_logit > image_logit, title_logit < image_logit)

    # To "transfer the knowledge" takes a teacher that does not move. In the released code RS moves
    # both sides, and reads the pooled [CLS].
    strong_logit = torch.where(title_is_stronger, title_logit, image_logit).detach()
    weak_logit = torch.where(title_is_stronger, image_logit, title_logit)
    strong_state = torch.where(title_is_stronger[:, None], title.state, image.state).detach()
    weak_state = torch.where(title_is_stronger[:, None], image.state, title.state)

    # Eq. 9.
    gap = (strong_logit.sigmoid() - weak_logit.sigmoid()).abs().detach()
    strong_is_right = torch.where(positive, strong_logit > 0, strong_logit < 0)
    weight = gap * strong_is_right
    distance = (single_precision(strong_state) - single_precision(weak_state)).square().mean(1)
    # Eq. 7, 8 and 10. The released code turns the divergence around, and divides by the number of
    # pairs that are taught instead of all N.
    return Distillation(
        kl=(weight * bernoulli_divergence(weak_logit, strong_logit)).mean(),
        rs=(weight * distance).mean(),
    )


def bernoulli_divergence(first: Tensor, second: Tensor) -> Tensor:
    """Return KL(p || q) of Bernoulli distributions given as logits [N].

    It is p (ln p - ln q) + (1 - p) (ln (1 - p) - ln (1 - q)), computed from the logits so that it
    cannot overflow.
    """
    p = first.sigmoid()
    if_true = F.logsigmoid(first) - F.logsigmoid(second)
    if_false = F.logsigmoid(-first) - F.logsigmoid(-second)
    return p * if_true + (1 - p) * if_false


def batch_losses(states: StepStates) -> Distillation | None:
    """Return both losses over N pairs; None if no item has both modalities."""
    pairs = states.batch.pairs
    views = states.query_views
    if pairs is None or views is None or states.pair_image is None:
        return None
    if not len(pairs.complete):
        return None
    head = states.model.match_head
    title = views.title.index_select(0, pairs.complete)
    image = views.image.index_select(0, pairs.complete)
    return distillation_losses(
        ModalityReading(title, head(title)),
        ModalityReading(image, head(image)),
        pairs.label.index_select(0, pairs.complete),
    )


class SelfDistillation(Objective):
    """Base class of both objectives, which count pairs whose item has a title and an image."""

    needs = frozenset((Need.QUERY_PAIRS,))
    reads = QUERY_VIEWS

    @staticmethod
    def count(batch: StepBatch) -> float:
        """Return the number of pairs whose item has a title and an image."""
        return 0.0 if batch.pairs is None else float(len(batch.pairs.complete))


class KnowledgeDistillation(SelfDistillation):
    """KL: draw the weaker modality's probability towards the stronger one's (Eq. 7)."""

    name = "kl"
    default_weight = 0.1

    def forward(self, states: StepStates) -> Tensor | None:
        """Return the loss over N pairs [N, D]."""
        losses = states.once(batch_losses)
        return None if losses is None else losses.kl


class RepresentationSimilarity(SelfDistillation):
    """RS: draw the weaker modality's state towards the stronger one's (Eq. 8)."""

    name = "rs"
    default_weight = 0.1

    def forward(self, states: StepStates) -> Tensor | None:
        """Return the loss over N pairs [N, D]."""
        losses = states.once(batch_losses)
        return None if losses is None else losses.rs
