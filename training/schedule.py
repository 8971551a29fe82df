"""A run's schedule: which terms it trains by, one stage after another."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import accumulate

from schema.errors import TrainingError, UsageError

TERMS = (
    "lpm",
    "lpm_unseen",
    "mlm",
    "mpm",
    "mrfr",
    "mrc",
    "gmlm",
    "gmrfr",
    "vtm",
    "qi",
    "qt",
    "qv",
    "kl",
    "rs",
    "contrastive",
)
QUERIES = frozenset(("qi", "qt", "qv", "kl", "rs", "contrastive"))
SEEN = frozenset(("lpm", "mlm", "mpm", "mrfr", "mrc", "gmlm", "gmrfr", "vtm"))


@dataclass(frozen=True)
class Stage:
    """Terms by their weights, all above 0, over the part of the budget that ``begins`` and ``ends`` in [0, 1]."""

    weights: Mapping[str, float]
    begins: float = 0.0
    ends: float = 1.0

    def has(self, terms: Collection[str]) -> bool:
        """Whether it trains by any of ``terms``."""
        return any(term in self.weights for term in terms)

    @property
    def only_queries(self) -> bool:
        """Whether it trains by pairs of query and item alone."""
        return set(self.weights) <= QUERIES

    def used(self, used: float) -> float:
        """The share of the stage's own budget that is used where the run has ``used`` that share of its own."""
        return min(1.0, max(0.0, (used - self.begins) / (self.ends - self.begins)))


@dataclass(frozen=True)
class Schedule:
    """The stages of a run, in order, back to back from 0 to 1 of its budget."""

    stages: tuple[Stage, ...]

    def at(self, used: float) -> int:
        """The number of the stage that runs where ``used`` of the budget is."""
        return next(
            (number for number, stage in enumerate(self.stages) if used < stage.ends),
            len(self.stages) - 1,
        )


def parse_stages(text: str) -> list[tuple[tuple[str, ...], float]]:
    """Stages like ``mlm+mpm:0.6,qi+qt+qv:0.4``: terms and share; raises UsageError on an unknown term or a share that is not above 0."""
    stages = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        names, _, share = part.partition(":")
        terms = tuple(name.strip() for name in names.split("+"))
        wrong = next((term for term in terms if term not in TERMS), None)
        if wrong is not None:
            raise UsageError(
                f"stages={text!r} has an unknown term {wrong!r}: choose among {', '.join(TERMS)}"
            )
        try:
            stages.append((terms, float(share or "1")))
        except ValueError:
            raise UsageError(
                f"stages={text!r} has a share {share!r}: write stages like mlm+mpm:0.6,qi+qt+qv:0.4"
            ) from None
        if not 0 < stages[-1][1] < float("inf"):
            raise UsageError(f"stages={text!r} has a share {share}: give each stage one above 0")
    return stages


def make_schedule(weights: Mapping[str, float], stages: str, queries: bool) -> Schedule:
    """Stages over their shares of the budget, each of the weighed terms that it names; all of them at once where ``stages`` is empty.

    Without a query log (``queries``) its terms are left out, and the stages that have no others. Raises TrainingError where none is left.
    """
    live = live_terms(weights, queries)
    named = parse_stages(stages) or [(tuple(live), 1.0)]
    chosen = [
        ({term: live[term] for term in terms if term in live}, share)
        for terms, share in named
        if live.keys() & set(terms)
    ]
    if not chosen:
        asked = ", ".join(live_terms(weights, True)) or "none"
        mend = (
            "give one a loss_TERM above 0"
            if queries
            else "load a query log with `catalograph queries`"
        )
        raise TrainingError(f"nothing to train by, with the terms {asked}: {mend}")
    ends = list(accumulate(share for _, share in chosen))
    begins = [0.0, *(end / ends[-1] for end in ends)]
    return Schedule(
        tuple(
            Stage(own, begins[number], begins[number + 1]) for number, (own, _) in enumerate(chosen)
        )
    )


def live_terms(weights: Mapping[str, float], queries: bool) -> dict[str, float]:
    """The terms of a weight above 0; those of queries where there are some."""
    return {
        term: weight
        for term, weight in weights.items()
        if weight > 0 and (queries or term not in QUERIES)
    }
