"""Hold back what would be filled where reviews show that a model promises too much."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from kg.home import Home
from schema.ledger_proposals import ProposalRecords
from schema.proposals import DECIDED, PREDICTIONS, ProposalFilter
from serving.results import Completion
from serving.review.statistics import Drift, drifts


@dataclass(frozen=True)
class Drifting:
    """The properties that drift (:func:`serving.review.statistics.drifts`).

    ``thresholds`` are the probabilities from which on decisions prove what was promised, None where
    they prove it nowhere.
    """

    thresholds: Mapping[str, float | None]

    @classmethod
    def of(cls, found: Iterable[Drift]) -> Drifting:
        """Return the properties of drifts."""
        return cls({drift.property: drift.threshold for drift in found})

    def held_back(self, completion: Completion) -> Completion:
        """Return a completion, for review in place of filled if its property drifts."""
        if completion.property not in self.thresholds or completion.decision != "fill":
            return completion
        threshold = self.thresholds[completion.property]
        probability = min(each.probability for each in completion.filled_values())
        if threshold is not None and probability >= threshold:
            return completion
        return replace(completion, decision="review")


def find_drifts(home: Home, model: str) -> list[Drift]:
    """Return which properties a model completes right less often than promised, by reviews."""
    with home.ledger() as ledger:
        decided = ProposalRecords(ledger).find(
            ProposalFilter(model=model, states=DECIDED, origins=PREDICTIONS)
        )
    return drifts(decided)
