"""Values that no item has yet: how probable they are, and which words of the title they may be.

A *ranker* scores a title's spans (:mod:`experts.title_spans`): a conditional logit over the spans
and the possibility that the title does not say the value. A *gate* tells how probable it is that
the value is none of those that the model knows, a logistic regression on what the experts and the
ranker say:

    P(v) = (1 - g) p_v of known values,  P(span) = g r_span,  P(another value) = g r_unsaid

Both are learned from known values that are hidden in turn (:mod:`experts.hidden_values`). New
values are rarer than these examples, which are weighted accordingly (:func:`share_of_new_values`).
The share of values that only one item has estimates how often the next item has a value that none
had before (Good, 1953).

Shapes: N cells, V values, S spans, D features of a span, F features of the gate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from experts.said_values import SAID_FEATURES, SaidValues
from experts.situations import TitleState
from experts.title_spans import (
    FEATURES,
    Span,
    SpanStatistics,
    SpanVocabulary,
    features_of,
    spanned,
)
from schema.arrays import BoolArray, FloatArray
from schema.ontology import PropertySpec
from schema.wording import WORD, singular

SPAN_PENALTY = 0.01
OWN_SPAN_PENALTY = 0.05
GATE_PENALTY = 0.02
OWN_GATE_PENALTY = 0.02
LEAST_PROBABILITY = 1e-6
MOST_PROBABLE = 8.0
"""Log odds at which features of the gate are cut off."""
GATE_FEATURES = 4 + 2 * len(TitleState) + 2 * SAID_FEATURES
MAX_OFFERED = 5
"""Spans of a title that are offered at most."""
USUAL_CASE = 0.9
"""The share of items whose values have to be written by a rule of case for it to be one."""
LEAST_SHARE = 0.02
"""The least share of cells that is expected to have a value which no item has.

Cells are also empty because nobody had a value for them, so Good's estimate, which takes the empty
ones for a sample like the others, is too low: .001 for the colours of 5,214 fashion products. With
values of three properties hidden from all items, the first answer was right for .25 to .67 of those
whose title says the value by Good's estimate, for .66 to .85 if the odds were 7 times as high, and
for .71 to .93 if 20 times, at no loss on known values of two properties and .002 of the third.
"""
HIDDEN_LOGIT = -1e4
"""That of a value that is hidden: as good as impossible, and finite."""
_REMEMBERED = 65_536


@dataclass(frozen=True)
class RankedSpans:
    """The spans that may be an unknown value, the most probable first, and how probable they are.

    ``spans`` [S] are numbers among the title's spans; ``probabilities`` [S] are those of the value
    if it is unknown. They fall short of 1 by the probability that the title does not say it.
    ``evidence`` is the log odds that the title says it.
    """

    spans: NDArray[np.int64]
    probabilities: FloatArray
    evidence: float


@dataclass(frozen=True)
class SpanExample:
    """The features [S, D] of a title's spans, and which one is the hidden value; None if none."""

    features: FloatArray
    value: int | None


def rank_spans(weights: FloatArray, spans: NDArray[np.int64], features: FloatArray) -> RankedSpans:
    """Score the spans of a title by weights [D]."""
    if not len(spans):
        return RankedSpans(spans, np.zeros(0), -MOST_PROBABLE)
    scores = features @ weights
    # SciPy's softmax takes ten times as long for so few numbers.
    top = max(float(scores.max()), 0.0)
    every = np.exp(scores - top)
    total = float(every.sum())
    order = np.argsort(-scores, kind="stable")
    evidence = top + float(np.log(max(total, 1e-300)))
    return RankedSpans(
        spans[order],
        every[order] / (total + np.exp(-top)),
        min(max(evidence, -MOST_PROBABLE), MOST_PROBABLE),
    )


def fit_ranker(
    examples: Mapping[str, Sequence[SpanExample]],
) -> tuple[FloatArray, dict[str, FloatArray]]:
    """Fit the weights [D] that all properties share, and those of each property near them."""
    every = [each for own in examples.values() for each in own]
    shared = _fit_spans(every, np.zeros(len(FEATURES)), SPAN_PENALTY)
    own = {
        name: _fit_spans(each, shared, OWN_SPAN_PENALTY) for name, each in examples.items() if each
    }
    return shared, own


def _fit_spans(examples: Sequence[SpanExample], centre: FloatArray, penalty: float) -> FloatArray:
    """Maximise the mean log-likelihood of a conditional logit, with weights near a centre."""
    if not examples:
        return centre
    sizes = np.array([len(each.features) + 1 for each in examples])
    starts = np.append(0, sizes.cumsum()[:-1])
    number = np.repeat(np.arange(len(examples)), sizes)
    features = np.concatenate(
        [np.vstack([each.features, np.zeros((1, len(FEATURES)))]) for each in examples]
    )
    # The title's silence is the last one, whose features are zero.
    true = starts + [
        size - 1 if each.value is None else each.value
        for each, size in zip(examples, sizes.tolist(), strict=True)
    ]
    count = len(examples)

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        scores = features @ weights
        scores -= np.maximum.reduceat(scores, starts)[number]
        every = np.exp(scores)
        total = np.add.reduceat(every, starts)
        residual = every / total[number]
        residual[true] -= 1
        value = float((np.log(total) - scores[true]).sum()) / count
        value += penalty * float(np.square(weights - centre).sum())
        return value, features.T @ residual / count + 2 * penalty * (weights - centre)

    found = minimize(loss, centre, jac=True, method="L-BFGS-B", options={"maxiter": 100})
    return np.asarray(found.x)


def gate_features(
    logits: NDArray[np.floating], state: TitleState, evidence: FloatArray, said: FloatArray
) -> FloatArray:
    """Return what tells of an unknown value [N, F].

    Args:
        logits: those of the known values [N, V], whose exponentials sum to one
        state: what the titles tell of the property
        evidence: the log odds that the title says an unknown value [N]
        said: what it tells of the best known value [N, 4]
            (:meth:`experts.said_values.SaidValues.features`)
    """
    logits = np.asarray(logits, np.float64)
    best = np.clip(logits.max(1), -MOST_PROBABLE, -LEAST_PROBABILITY)
    rest = np.log(-np.expm1(best))
    odds = np.clip(best - rest, -MOST_PROBABLE, MOST_PROBABLE)
    # Over the values that are not hidden.
    possible = np.maximum((logits > HIDDEN_LOGIT).sum(1), 2)
    entropy = -(np.exp(logits) * logits).sum(1) / np.log(possible)
    of_state = np.tile([float(state is each) for each in TitleState], (len(logits), 1))
    return np.column_stack(
        [
            np.ones(len(logits)),
            odds,
            entropy,
            evidence,
            of_state,
            of_state * evidence[:, None],
            said,
            said * evidence[:, None],
        ]
    )


def add_unknown(
    gate: FloatArray,
    logits: NDArray[np.floating],
    state: TitleState,
    evidence: FloatArray,
    said: FloatArray,
) -> NDArray[np.float32]:
    """Return logits [N, V + 1]: those of known values, and that of an unknown one by a gate [F].

    The other arguments are those of :func:`gate_features`.
    """
    odds = gate_features(logits, state, evidence, said) @ gate
    known = logits + log_expit(-odds)[:, None]
    return np.column_stack([known, log_expit(odds)]).astype(np.float32)


@dataclass(frozen=True)
class GateExamples:
    """Features [N, F] of cells, whether their value is unknown [N], and their weights [N]."""

    features: FloatArray
    unknown: BoolArray
    weights: FloatArray


def fit_gate(examples: Mapping[str, GateExamples]) -> tuple[FloatArray, dict[str, FloatArray]]:
    """Fit the weights [F] that all properties share, and those of each property near them."""
    every = GateExamples(
        np.concatenate([each.features for each in examples.values()]),
        np.concatenate([each.unknown for each in examples.values()]),
        # Each property counts the same, however many cells it has.
        np.concatenate([each.weights / each.weights.sum() for each in examples.values()]),
    )
    start = np.zeros(GATE_FEATURES)
    shared = _fit_logistic(every, start, GATE_PENALTY)
    own = {name: _fit_logistic(each, shared, OWN_GATE_PENALTY) for name, each in examples.items()}
    return shared, own


def _fit_logistic(examples: GateExamples, centre: FloatArray, penalty: float) -> FloatArray:
    """Minimise the weighted log-loss, with weights near a centre.

    The penalty is relative to the weight of the rarer outcome, from which most is learned.
    """
    weights = examples.weights / examples.weights.sum()
    signs = np.where(examples.unknown, 1.0, -1.0)
    rarer = min(weights[examples.unknown].sum(), weights[~examples.unknown].sum())
    scale = penalty * max(rarer, LEAST_PROBABILITY)

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        margins = signs * (examples.features @ parameters)
        value = float(weights @ np.logaddexp(0, -margins))
        value += scale * float(np.square(parameters - centre).sum())
        slope = -weights * signs * expit(-margins)
        return value, examples.features.T @ slope + 2 * scale * (parameters - centre)

    found = minimize(
        loss,
        centre,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 500, "ftol": 1e-15, "gtol": 1e-10},
    )
    return np.asarray(found.x)


def share_of_new_values(counts: Iterable[int], beyond: float = 0.0) -> float:
    """Return how often an empty cell is expected to have a value that is not learned.

    By Good's estimate, and at least :data:`LEAST_SHARE`; ``counts`` say how many items have each
    learned value. A share of items is ``beyond`` them: of very many values, the rarest are not
    learned.
    """
    counts = list(counts)
    new = max((counts.count(1) + 0.5) / (sum(counts) + 1), LEAST_SHARE)
    return new + beyond * (1 - new)


_CASES: dict[str, Callable[[str], str]] = {
    "lower": str.lower,
    "upper": str.upper,
    "title": lambda text: " ".join(map(str.capitalize, text.split(" "))),
    "first": str.capitalize,
}


def checked_case(name: str) -> str:
    """Return the name of a rule of case; raises ValueError if there is none of this name."""
    if name and name not in _CASES:
        raise ValueError(f"no rule of case {name!r}")
    return name


@dataclass(frozen=True)
class Writing:
    """How a property writes its values, where titles write them in another way.

    Attributes:
        case: "lower", "upper", "title" (every word begins with a capital), "first" (the first one
            does), or "" if it has no rule
        adds_plural: whether "Shirt" in a title is the value "Shirts"
        drops_plural: whether "Shirts" in a title is the value "Shirt"
    """

    case: str = ""
    adds_plural: bool = False
    drops_plural: bool = False

    @classmethod
    def of(cls, spec: PropertySpec, pairs: Iterable[tuple[str, str]]) -> Writing:
        """Learn it from the values, and from ``pairs`` of a title's words and their value."""
        by_case = Counter[str]()
        total = 0
        for value, count in zip(spec.values, spec.counts, strict=True):
            total += count
            for name, write in _CASES.items():
                if write(value) == value and value.lower() != value.upper():
                    by_case[name] += count
        case, agreeing = max(by_case.items(), key=lambda each: each[1], default=("", 0))
        kept = Counter[tuple[bool, bool]]()
        written_alike = 0
        for text, value in pairs:
            kept[_is_plural(text), _is_plural(value)] += 1
            written_alike += text.removesuffix("s") == value.removesuffix("s")
        # Titles that write values as they are know better than a rule how a new one is written.
        has_rule = agreeing > USUAL_CASE * total and written_alike < USUAL_CASE * kept.total()
        return cls(
            case=case if has_rule else "",
            adds_plural=kept[False, True] > kept[False, False],
            drops_plural=kept[True, False] > kept[True, True],
        )

    def write(self, text: str) -> str:
        """Return a title's words as a value."""
        written = _CASES[self.case](text) if self.case else text
        if not written[-1:].isalpha():
            return written
        if self.drops_plural and _is_plural(written):
            return written[:-1]
        if self.adds_plural and not _is_plural(written) and not written.casefold().endswith("s"):
            return written + ("S" if written.isupper() and len(written) > 1 else "s")
        return written


def _is_plural(text: str) -> bool:
    words = WORD.findall(text.casefold())
    return bool(words) and singular(words[-1]) != words[-1]


@dataclass(frozen=True)
class OpenValue:
    """A value that the model does not know, as the property writes it.

    ``probability`` is that of the value if the model does not know it. It is said by the characters
    from ``start`` to ``end`` of the title.
    """

    value: str
    probability: float
    start: int
    end: int


@dataclass(frozen=True)
class OpenProperty:
    """What is known of a property's unknown values: the weights of ranker [D] and gate [F]."""

    statistics: SpanStatistics
    ranker: FloatArray
    gate: FloatArray
    writing: Writing
    said: SaidValues


class OpenValues:
    """Offers unknown values of properties, from an item's title."""

    def __init__(self, vocabulary: SpanVocabulary, properties: Mapping[str, OpenProperty]) -> None:
        self.vocabulary = vocabulary
        self.properties = dict(properties)
        self._ranked = lru_cache(maxsize=_REMEMBERED)(self._rank)

    def ranked(self, property: str, title: str | None) -> RankedSpans:
        """Rank the spans of a title that may be an unknown value of a property."""
        return self._ranked(property, title)

    def _rank(self, property: str, title: str | None) -> RankedSpans:
        own = self.properties[property]
        spans, features = features_of(self.vocabulary, own.statistics, spanned(title))
        return rank_spans(own.ranker, spans, features)

    def offers(self, property: str) -> bool:
        """Return whether unknown values of a property are reckoned with."""
        return property in self.properties

    def with_unknown(
        self,
        property: str,
        logits: NDArray[np.floating],
        state: TitleState,
        titles: Sequence[str | None],
    ) -> NDArray[np.float32]:
        """Return logits [N, V + 1] with that of an unknown value behind those of known ones.

        ``logits`` [N, V] are those of items with these ``titles`` [N], which all tell as much of
        the property.
        """
        evidence = np.array([self.ranked(property, title).evidence for title in titles])
        own = self.properties[property]
        said = own.said.features(logits.argmax(1), titles)
        return add_unknown(own.gate, logits, state, evidence, said)

    def candidates(self, property: str, title: str | None) -> list[OpenValue]:
        """Return the most probable unknown values that a title says, the best first."""
        own = self.properties[property]
        ranked = self.ranked(property, title)
        spans = spanned(title).spans
        found: dict[str, OpenValue] = {}
        for number, probability in zip(ranked.spans, ranked.probabilities, strict=True):
            span = spans[number]
            value = own.writing.write((title or "")[span.start : span.end])
            # A title may say it twice.
            before = found.get(value)
            if before is not None:
                probability += before.probability
                span = Span(span.words, before.start, before.end)
            elif len(found) == MAX_OFFERED:
                continue
            found[value] = OpenValue(value, float(probability), span.start, span.end)
        return sorted(found.values(), key=lambda each: -each.probability)
