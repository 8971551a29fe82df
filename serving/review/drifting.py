"""Hold back what would be filled where reviews show that a model promises too much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from serving.results import Completion


@dataclass(frozen=True)
class Drifting:
    """The properties that drift (:func:`serving.review.statistics.drifts`).

    ``thresholds`` are the probabilities from which on decisions prove what was promised, None where
    they prove it nowhere.
    """

    thresholds: Mapping[str, float | None]

    def held_back(self, completion: Completion) -> Completion:
        """Return a completion, for review in place of filled if its property drifts."""
        if completion.property not in self.thresholds or completion.decision != "fill":
            return completion
        threshold = self.thresholds[completion.property]
        probability = min(each.probability for each in completion.filled_values())
        if threshold is not None and probability >= threshold:
            return completion
        return replace(completion, decision="review")
