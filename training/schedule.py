"""The stages of a run: the objectives that each one trains by, and its share of the budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from schema.errors import TrainingError, UsageError
from training.objectives import OBJECTIVES, TERMS, Need
from training.objectives.base import needs_of

QUERY_TERMS = frozenset(
    objective.name for objective in OBJECTIVES if Need.QUERY_PAIRS in objective.needs
)
LINK_TERMS = frozenset(
    objective.name
    for objective in OBJECTIVES
    if objective.needs & {Need.HIDDEN_STATEMENTS, Need.ITEMS_WITHOUT_IMAGE}
)


@dataclass(frozen=True)
class Stage:
    """A stage: its objectives by name, with their weights, all above 0.

    It covers the part of the run's budget between ``begins`` and ``ends``, both in [0, 1].
    """

    weights: Mapping[str, float]
    begins: float = 0.0
    ends: float = 1.0

    @cached_property
    def needs(self) -> frozenset[Need]:
        """Everything that its objectives need in a batch."""
        return needs_of(self.weights, OBJECTIVES)

    @property
    def only_queries(self) -> bool:
        """Whether its batches contain only pairs of query and item."""
        return self.needs <= {Need.QUERY_PAIRS}

    def used(self, used: float) -> float:
        """Return the share of the stage's own budget that is used up, given that of the run's."""
        return min(1.0, max(0.0, (used - self.begins) / (self.ends - self.begins)))


@dataclass(frozen=True)
class Schedule:
    """The stages of a run in order; together they cover its whole budget, from 0 to 1."""

    stages: tuple[Stage, ...]

    def at(self, used: float) -> int:
        """Return the number of the stage at which the share ``used`` of the budget is used up."""
        for number, stage in enumerate(self.stages):
            if used < stage.ends:
                return number
        return len(self.stages) - 1


def parse_stages(text: str) -> list[tuple[tuple[str, ...], float]]:
    """Read stages like ``mlm+mpm:0.6,qi+qt+qv:0.4`` as (terms, share).

    Raises UsageError if a term is unknown or a share is not above 0.
    """
    stages = []
    for part in text.split(","):
        if not part.strip():
            continue
        names, _, share_text = part.strip().partition(":")
        terms = tuple(name.strip() for name in names.split("+"))
        for term in terms:
            if term not in TERMS:
                known = ", ".join(TERMS)
                raise UsageError(
                    f"stages={text!r} has an unknown term {term!r}: choose from {known}"
                )
        try:
            share = float(share_text or "1")
        except ValueError:
            raise UsageError(
                f"stages={text!r} has a share {share_text!r}: "
                "write stages like mlm+mpm:0.6,qi+qt+qv:0.4"
            ) from None
        if not 0 < share < float("inf"):
            raise UsageError(f"stages={text!r} has a share {share}: give each stage one above 0")
        stages.append((terms, share))
    return stages


def make_schedule(weights: Mapping[str, float], stages: str, queries: bool) -> Schedule:
    """Divide the budget among ``stages``; if the text is empty, one stage has all terms.

    In each stage, only the terms with a weight above 0 are trained. Without a query log
    (``queries`` is False) the terms of queries are left out, and with them any stage that has no
    others.

    Raises:
        TrainingError: no term is left to train.
    """
    live = live_terms(weights, queries)
    named = parse_stages(stages) or [(tuple(live), 1.0)]
    chosen = []
    for terms, share in named:
        own = {term: live[term] for term in terms if term in live}
        if own:
            chosen.append((own, share))
    if not chosen:
        wanted = ", ".join(live_terms(weights, True)) or "none"
        if queries:
            remedy = "set a weight loss_TERM above 0"
        else:
            remedy = "load a query log with `catalograph queries`"
        raise TrainingError(f"no loss term is left to train (wanted: {wanted}): {remedy}")
    ends = list(accumulate(share for _, share in chosen))
    borders = [0.0, *(end / ends[-1] for end in ends)]
    return Schedule(
        tuple(
            Stage(own, begins, ends)
            for (own, _), begins, ends in zip(chosen, borders[:-1], borders[1:], strict=True)
        )
    )


def live_terms(weights: Mapping[str, float], queries: bool) -> dict[str, float]:
    """Return the terms whose weight is above 0; those of queries only if there is a query log."""
    return {
        term: weight
        for term, weight in weights.items()
        if weight > 0 and (queries or term not in QUERY_TERMS)
    }
