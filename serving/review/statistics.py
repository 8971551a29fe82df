"""What people's decisions say of a model: its realised precision against what was promised.

A proposal that was accepted was right, one that was edited or rejected was wrong. Intervals are
Clopper and Pearson's, of 95%. People review what is uncertain first, so what is decided is no fair
sample of all that is filled: compare bands of probability, which hold the same kind of cells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import betaincinv

from schema.proposals import DECIDED, Proposal, ProposalState, ProposedDecision
from serving.proof import JudgedCells, Proven, prove

BANDS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
"""The limits of the bands of probability."""
CONFIDENCE = 0.95
MIN_DRIFT = 5
"""Decisions on filled cells of a property from which on a drift may be told."""


@dataclass(frozen=True)
class Realised:
    """How many of some decided proposals were right.

    ``promised`` is their mean probability, and ``low`` and ``high`` are the ends of the interval.
    """

    decided: int
    right: int
    promised: float

    @property
    def precision(self) -> float:
        """The share of right ones."""
        return self.right / self.decided

    @property
    def interval(self) -> tuple[float, float]:
        """The interval of the precision."""
        return interval(self.decided, self.right)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        low, high = self.interval
        return {
            "decided": self.decided,
            "right": self.right,
            "precision": round(self.precision, 4),
            "low": round(low, 4),
            "high": round(high, 4),
            "promised": round(self.promised, 4),
        }


def interval(count: int, right: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Clopper and Pearson's interval of a share, ``right`` of ``count``."""
    tail = (1 - confidence) / 2
    low = float(betaincinv(right, count - right + 1, tail)) if right else 0.0
    high = float(betaincinv(right + 1, count - right, 1 - tail)) if right < count else 1.0
    return low, high


def realised(proposals: Iterable[Proposal]) -> Realised | None:
    """Return how many of the decided ones among proposals were right; None if none is decided."""
    decided = [each for each in proposals if each.state in DECIDED]
    if not decided:
        return None
    right = sum(each.state is ProposalState.ACCEPTED for each in decided)
    promised = sum(each.probability for each in decided) / len(decided)
    return Realised(len(decided), right, promised)


def by_kind(proposals: Iterable[Proposal]) -> dict[str, dict[str, Realised]]:
    """Return what was realised by property, by model, by band of probability and by decision."""
    groups: dict[str, dict[str, list[Proposal]]] = {
        name: defaultdict(list) for name in ("property", "model", "probability", "decision")
    }
    for each in proposals:
        groups["property"][each.property].append(each)
        groups["model"][each.model or str(each.origin)].append(each)
        groups["probability"][band_of(each.probability)].append(each)
        groups["decision"][str(each.decision)].append(each)
    return {
        kind: {
            name: found for name in sorted(names) if (found := realised(names[name])) is not None
        }
        for kind, names in groups.items()
    }


def by_origin(proposals: Iterable[Proposal]) -> dict[str, Realised]:
    """Return what was realised by origin: the precision of findings is not that of predictions."""
    groups: dict[str, list[Proposal]] = defaultdict(list)
    for each in proposals:
        groups[str(each.origin)].append(each)
    return {name: found for name in sorted(groups) if (found := realised(groups[name])) is not None}


def band_of(probability: float) -> str:
    """Return the band of a probability, such as ``0.9-0.95``; its upper limit is in the next."""
    place = min(int(np.searchsorted(BANDS, probability, side="right")), len(BANDS) - 1)
    return f"{BANDS[place - 1]:g}-{BANDS[place]:g}"


def proven_by_decisions(proposals: Iterable[Proposal]) -> dict[str, list[Proven]]:
    """Return what decisions alone prove of each property, the highest precision first.

    Those of several values count once, with the probability that all are right.
    """
    groups: dict[str, list[Proposal]] = defaultdict(list)
    for each in proposals:
        if each.state in DECIDED:
            groups[each.property].append(each)
    numbers: dict[str, int] = {}
    cells = {name: _judged(group, numbers) for name, group in groups.items()}
    return prove(cells) if cells else {}


def _judged(proposals: Sequence[Proposal], numbers: dict[str, int]) -> JudgedCells:
    return JudgedCells(
        np.array([each.probability for each in proposals]),
        np.array([each.state is ProposalState.ACCEPTED for each in proposals]),
        np.array([numbers.setdefault(each.item, len(numbers)) for each in proposals]),
    )


@dataclass(frozen=True)
class Drift:
    """A property whose filled cells are less often right than was promised.

    From ``threshold`` on decisions themselves prove what is promised; None if nowhere.
    """

    property: str
    realised: Realised
    promised: float
    threshold: float | None

    def told(self) -> str:
        """Return a line for a person."""
        _, high = self.realised.interval
        rest = (
            "none is filled until decisions prove it"
            if self.threshold is None
            else f"only those of a probability of {self.threshold:.1%} are filled"
        )
        return (
            f"{self.property}: {self.realised.right:,} of {self.realised.decided:,} reviewed cells "
            f"that were filled are right (at most {high:.1%}), {self.promised:.1%} was promised: "
            f"{rest}"
        )


def drifts(proposals: Iterable[Proposal]) -> list[Drift]:
    """Return the properties in which the filled ones among a model's proposals fall short.

    That is where the interval of the realised precision ends below what was promised: the precision
    that was proven for these cells, or else their probability.
    """
    groups: dict[str, list[Proposal]] = defaultdict(list)
    every = [each for each in proposals if each.state in DECIDED]
    for each in every:
        if each.decision is ProposedDecision.FILL:
            groups[each.property].append(each)
    proven = proven_by_decisions(every)
    found = []
    for name, group in sorted(groups.items()):
        result = realised(group)
        if result is None or result.decided < MIN_DRIFT:
            continue
        promised = sum(each.proven or each.probability for each in group) / len(group)
        if result.interval[1] >= promised:
            continue
        steps = [step.probability for step in proven.get(name, []) if step.precision >= promised]
        found.append(Drift(name, result, promised, min(steps, default=None)))
    return found
