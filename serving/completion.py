"""Completing cells: rank a property's values, decide by a target precision, say what moved the first of them.

Decisions, in this order:

- ``fill``: the best value's probability reaches the threshold that proves the target precision (see :mod:`serving.calibration`).
- ``abstain``: its probability is under 0.2, or the distribution lies within 0.05 nats of the property's frequencies: then nothing about
  this item speaks, and a reviewer would be shown the base rate.
- ``review``: all else.

Evidence is found by leaving out: the title, the image, each known statement alone. An effect is the best value's probability with
everything, less its probability without that part, each calibrated for what is then left.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from schema.ontology import Ontology
from serving.calibration import TARGET_PRECISION, Calibration
from serving.cells import CellQuery, ItemInput, Scorer, probabilities, score_in_chunks, situation_of
from serving.items import Cell

LEAST_PROBABILITY = 0.2
LEAST_INFORMATION = 0.05
"""Nats between the answer and the property's frequencies, under which nothing about the item speaks."""
_ITEMS_AT_ONCE = 42  # with the views without title and without image 126: one batch of the scorer

Decision = Literal["fill", "review", "abstain"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """A value and its calibrated probability."""

    value: str
    probability: float


@dataclass(frozen=True)
class Effect:
    """How far a known statement raised the best value's probability."""

    property: str
    value: str
    effect: float


@dataclass(frozen=True)
class Evidence:
    """How far each part raised the best value's probability; None for a part that the item lacks. The strongest statement comes first."""

    title: float | None = None
    image: float | None = None
    known: tuple[Effect, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        known = [
            {"property": each.property, "value": each.value, "effect": _rounded(each.effect)}
            for each in self.known
        ]
        parts = {"title": self.title, "image": self.image}
        return {
            **{
                name: None if effect is None else _rounded(effect) for name, effect in parts.items()
            },
            "known": known,
        }


@dataclass(frozen=True)
class Completion:
    """The answer for one cell; no candidates where the model does not know the property."""

    item: str
    property: str
    candidates: tuple[Candidate, ...]
    decision: Decision
    evidence: Evidence

    def as_dict(self) -> dict[str, Any]:
        """The line that ``catalograph complete`` writes."""
        candidates = [
            {"value": each.value, "probability": round(each.probability, 6)}
            for each in self.candidates
        ]
        return {
            "item": self.item,
            "property": self.property,
            "candidates": candidates,
            "decision": self.decision,
            "evidence": self.evidence.as_dict(),
        }


def decide(answer: Floats, prior: Floats, threshold: float | None) -> Decision:
    """The decision on probabilities ``answer`` [V], given the values' frequencies ``prior`` [V] and the proven threshold."""
    best = float(answer.max())
    if threshold is not None and best >= threshold:
        return "fill"
    there = answer > 0
    information = float((answer[there] * np.log(answer[there] / prior[there])).sum())
    return "abstain" if best < LEAST_PROBABILITY or information < LEAST_INFORMATION else "review"


def complete(
    scorer: Scorer,
    items: Sequence[ItemInput],
    cells: Iterable[Cell],
    *,
    top_k: int = 5,
    target_precision: float = TARGET_PRECISION,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Completion]:
    """Answer every cell (index into ``items``, property), all of an item's together, a few dozen items in memory at a time.

    A cell's own statements are not given to the model. ``progress`` is told (items done, items in all).
    """
    asked: dict[int, list[str]] = defaultdict(list)
    for item, name in dict.fromkeys(cells):
        asked[item].append(name)
    completer = _Completer(scorer, top_k, target_precision)
    chosen = list(asked)
    for start in range(0, len(chosen), _ITEMS_AT_ONCE):
        part = chosen[start : start + _ITEMS_AT_ONCE]
        yield from completer.answer([(items[item], asked[item]) for item in part])
        if progress is not None:
            progress(start + len(part), len(chosen))


@dataclass(frozen=True)
class _Question:
    """A cell and the rows of its scores: ``base``, then one for each of ``without``, what was left out (a part or a statement)."""

    item: ItemInput
    property: str
    base: int
    without: tuple[str | tuple[str, str], ...]


class _Completer:
    """One run's settings and what is worked out once: readable statements, priors, calibration."""

    def __init__(self, scorer: Scorer, top_k: int, target: float) -> None:
        self.scorer = scorer
        self.top_k = top_k
        self.target = target
        self.calibration = Calibration(scorer.calibration)
        specs = [spec for spec in scorer.ontology.properties.values() if spec.values]
        self.readable = {(spec.name, value) for spec in specs for value in spec.values}
        self.priors = {spec.name: _prior(scorer.ontology, spec.name) for spec in specs}

    def answer(self, asked: Sequence[tuple[ItemInput, Sequence[str]]]) -> Iterator[Completion]:
        """Encode the items and their views without a part in one go, then score all their cells in one go."""
        views: list[ItemInput] = []
        queries: list[CellQuery] = []
        situations: list[str] = []
        questions: list[tuple[ItemInput, str, _Question | None]] = []
        for item, names in asked:
            parts = _views(item)
            for name in names:
                question = None
                if name in self.priors:
                    question = self._ask(item, name, parts, (len(views), queries, situations))
                questions.append((item, name, question))
            views += parts.values()
        encoded = self.scorer.encode(views) if queries else None
        scores = score_in_chunks(self.scorer, encoded, queries)
        for item, name, question in questions:
            yield (
                self._answer(question, scores, situations)
                if question
                else Completion(item.id, name, (), "abstain", Evidence())
            )

    def _ask(
        self,
        item: ItemInput,
        name: str,
        parts: dict[str, ItemInput],
        to: tuple[int, list[CellQuery], list[str]],
    ) -> _Question:
        """Append the cell's queries, whole first, and the situation of each."""
        first, queries, situations = to
        known = tuple(
            pair for pair in dict.fromkeys(item.known) if pair[0] != name and pair in self.readable
        )
        question = _Question(item, name, len(queries), (*list(parts)[1:], *known))
        asked = [(place, view, known) for place, view in enumerate(parts.values())]
        whole = asked[0][1]
        asked += [(0, whole, tuple(other for other in known if other != pair)) for pair in known]
        for place, view, given in asked:
            queries.append(CellQuery(first + place, name, given))
            situations.append(situation_of(view.title, view.image, bool(given)))
        return question

    def _answer(
        self, question: _Question, scores: Sequence[NDArray[np.float32]], situations: Sequence[str]
    ) -> Completion:
        name = question.property
        base = question.base
        rows = [
            probabilities(scores[row], self.calibration.temperature(situations[row], name))
            for row in range(base, base + 1 + len(question.without))
        ]
        answer = rows[0]
        order = np.argsort(-answer, kind="stable")[: self.top_k]
        values = self.scorer.ontology.values_of(name)
        candidates = tuple(Candidate(values[place], float(answer[place])) for place in order)
        decision = decide(
            answer,
            self.priors[name],
            self.calibration.threshold(situations[base], name, self.target),
        )
        best = int(answer.argmax())
        effects = {
            part: float(answer[best] - row[best])
            for part, row in zip(question.without, rows[1:], strict=True)
        }
        return Completion(question.item.id, name, candidates, decision, _evidence(effects))


def _views(item: ItemInput) -> dict[str, ItemInput]:
    """The item whole, and without each part that it has."""
    views = {"": item}
    if item.title is not None:
        views["title"] = replace(item, title=None)
    if item.image is not None:
        views["image"] = replace(item, image=None)
    return views


def _evidence(effects: dict[str | tuple[str, str], float]) -> Evidence:
    known = [Effect(*part, effect) for part, effect in effects.items() if isinstance(part, tuple)]
    known.sort(key=lambda each: -abs(each.effect))
    return Evidence(effects.get("title"), effects.get("image"), tuple(known))


def _rounded(effect: float) -> float:
    return round(effect, 4) + 0.0  # no minus before a nought


def _prior(ontology: Ontology, property: str) -> Floats:
    """The values' frequencies [V], every value counting once more than it was seen."""
    counts: Floats = np.asarray(ontology[property].counts, dtype=np.float64) + 1
    return np.asarray(counts / counts.sum())
