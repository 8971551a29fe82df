"""Images, titles and statements that are probably another item's.

One value that the image speaks against is a wrong value. An image that speaks against several, and
against what the title says, is another item's. What that looks like is learned from the catalogue
itself: items are paired with the image, the title or the statements of others, and a multinomial
logistic regression tells these from the items as they are, by

- log P(v | image) / P(v) and log P(v | title) / P(v) of each stored value v, and
- log sum_v P(v | image) P(v | title) / P(v), how far image and title agree.

The probabilities are left-out ones: none of them knows the item itself. A share ``PRIOR`` of the
items is taken to have an image, a title or statements of another.

Shapes: N items, P properties, V values of a property.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from schema.arrays import BoolArray, FloatArray, IntArray
from schema.frequencies import value_frequencies
from schema.modalities import Modality
from schema.ontology import Ontology
from serving.audit.findings import Finding, Kind, Proposed
from serving.audit.judging import Judged

PRIOR = 0.01
LEAST_ITEMS = 40
"""Items with an image and a title, from which on exchanged ones are looked for."""
MAX_LEARNED = 10_000
"""Items that are paired with others, so that memory stays flat."""
MAX_COMPARED = 2_000
"""Items with a suspicious image (title, statements) of which each is compared with each other, the
most suspicious first: the time to find out who has whose grows with their square."""
PAIRS_AT_ONCE = 250_000
"""Of these pairs, how many are compared at once."""
MAX_NUMBERS = 50_000_000
"""Probabilities that are kept at most: items times values; the smallest properties first."""
_CLIP = 6.0
_LEAST = 1e-6


class _Class(IntEnum):
    RIGHT = 0
    IMAGE = 1
    TITLE = 2
    STATEMENTS = 3


_KINDS = {
    _Class.IMAGE: Kind.IMAGE,
    _Class.TITLE: Kind.TITLE,
    _Class.STATEMENTS: Kind.STATEMENTS,
}


@dataclass(frozen=True)
class _Opinions:
    """What titles and images alone say of N items.

    ``stored`` [N, P] are the positions of the stored values, -1 for none; ``title`` and ``image``
    are the probabilities [N, V] of each property, NaN where there is none; ``priors`` are the
    values' frequencies [V].
    """

    stored: IntArray
    title: Sequence[FloatArray]
    image: Sequence[FloatArray]
    priors: Sequence[FloatArray]

    def features(self, values: IntArray, titles: IntArray, images: IntArray) -> FloatArray:
        """Return the features [B, 3 P] of B items with the values, titles and images of some."""
        columns = []
        for number, prior in enumerate(self.priors):
            stored = self.stored[values, number]
            title = self.title[number][titles]
            image = self.image[number][images]
            rows = np.arange(len(stored))
            for predicted in (image, title):
                own = predicted[rows, np.maximum(stored, 0)] / prior[np.maximum(stored, 0)]
                columns.append(np.where(stored >= 0, _logarithm(own), np.nan))
            columns.append(_logarithm((image * title / prior).sum(1)))
        # What is not known speaks neither for nor against.
        return np.nan_to_num(np.stack(columns, 1), nan=0.0)


def _logarithm(ratio: FloatArray) -> FloatArray:
    return np.clip(np.log(np.maximum(ratio, _LEAST)), -_CLIP, _CLIP)


class SwapFinder:
    """Gathers what titles and images say of a catalogue's items, then finds exchanged ones.

    Args:
        ontology: that of the model
        items: how many items there are
    """

    def __init__(self, ontology: Ontology, items: int) -> None:
        self._ontology = ontology
        by_size = sorted(
            (len(ontology[name].values), name)
            for name in ontology.learned()
            if len(ontology[name].values) > 1
        )
        self._names: list[str] = []
        total = 0
        for size, name in by_size:
            total += 2 * size * items
            if total <= MAX_NUMBERS:
                self._names.append(name)
        self._place = {name: place for place, name in enumerate(self._names)}
        self._row: dict[int, int] = {}
        self._stored = np.full((items, len(self._names)), -1, np.int64)
        self._said: dict[Modality, list[FloatArray]] = {
            part: [
                np.full((items, len(ontology[name].values)), np.nan, np.float32)
                for name in self._names
            ]
            for part in (Modality.TITLE, Modality.IMAGE)
        }

    def add(self, cells: Sequence[Judged]) -> None:
        """Take what titles and images alone say of judged cells."""
        for cell in cells:
            place = self._place.get(cell.property)
            if place is None:
                continue
            row = self._row.setdefault(cell.item, len(self._row))
            self._stored[row, place] = cell.stored[0]
            for part, said in self._said.items():
                if part in cell.alone:
                    said[place][row] = cell.alone[part]

    def find(self, ids: Callable[[int], str], seed: int = 0) -> list[Finding]:
        """Return findings about the images, titles and statements of the items."""
        whole = self._whole()
        if len(whole) < LEAST_ITEMS:
            return []
        opinions = _Opinions(
            self._stored,
            self._said[Modality.TITLE],
            self._said[Modality.IMAGE],
            [value_frequencies(self._ontology[name]) for name in self._names],
        )
        model = _fit(opinions, whole, np.random.default_rng(seed))
        probabilities = _posterior(model.predict_log_proba(opinions.features(whole, whole, whole)))
        items = {row: item for item, row in self._row.items()}
        suspicious: dict[int, _Class] = {}
        of_row: dict[int, FloatArray] = {}
        for row, own in zip(whole.tolist(), probabilities, strict=True):
            worst = _Class(int(own[1:].argmax()) + 1)
            if own[worst] > own[_Class.RIGHT]:
                suspicious[row] = worst
                of_row[row] = own
        compared = sorted(suspicious, key=lambda row: of_row[row][_Class.RIGHT])
        partners = _partners(model, opinions, {row: suspicious[row] for row in compared})
        return [
            self._finding(ids, items, row, worst, of_row[row], partners)
            for row, worst in suspicious.items()
        ]

    def _whole(self) -> IntArray:
        """Return the rows of the items with a stored value, a title and an image."""
        count = len(self._row)
        found = (self._stored[:count] >= 0).any(1)
        for said in self._said.values():
            has_part: BoolArray = np.zeros(count, bool)
            for each in said:
                has_part |= ~np.isnan(each[:count, 0])
            found &= has_part
        return np.flatnonzero(found)

    def _finding(
        self,
        ids: Callable[[int], str],
        items: Mapping[int, int],
        row: int,
        worst: _Class,
        own: FloatArray,
        partners: Mapping[int, tuple[int, float]],
    ) -> Finding:
        proposed: tuple[Proposed, ...] = ()
        if row in partners:
            other, probability = partners[row]
            proposed = (Proposed(ids(items[other]), probability),)
        right = float(own[_Class.RIGHT])
        return Finding(
            ids(items[row]),
            None,
            None,
            right,
            proposed,
            _KINDS[worst],
            float(own[worst]) - right,
            self._evidence(row, worst),
        )

    def _evidence(self, row: int, worst: _Class) -> list[dict[str, Any]]:
        """Return what title and image say where the suspicious one is at odds with the rest."""
        part = Modality.IMAGE if worst is _Class.IMAGE else Modality.TITLE
        evidence = []
        for place, name in enumerate(self._names):
            stored = int(self._stored[row, place])
            predicted = self._said[part][place][row]
            values = self._ontology[name].values
            if stored < 0 or np.isnan(predicted[0]) or int(predicted.argmax()) == stored:
                continue
            best = int(predicted.argmax())
            evidence.append(
                {
                    "part": part.value,
                    "property": name,
                    "value": values[stored],
                    "says": values[best],
                    "stored": round(float(predicted[stored]), 4),
                    "proposed": round(float(predicted[best]), 4),
                }
            )
        return sorted(evidence, key=lambda each: each["stored"] - each["proposed"])


def _fit(opinions: _Opinions, whole: IntArray, rng: np.random.Generator) -> Any:
    """Learn to tell items as they are from those with an image, title or statements of others."""
    from sklearn.linear_model import LogisticRegression

    chosen = rng.permutation(whole)[:MAX_LEARNED]
    # Each is paired with the next of a random circle: never with itself.
    others = np.roll(chosen, 1)
    features = [
        opinions.features(chosen, chosen, chosen),
        opinions.features(chosen, chosen, others),
        opinions.features(chosen, others, chosen),
        opinions.features(others, chosen, chosen),
    ]
    labels = np.repeat(np.arange(len(features)), len(chosen))
    model = LogisticRegression(C=1.0, max_iter=500)
    return model.fit(np.concatenate(features), labels)


def _posterior(log_likelihoods: FloatArray) -> FloatArray:
    """Return the probabilities [B, 4] of the classes, given that most items are right."""
    priors = np.log([1 - 3 * PRIOR, PRIOR, PRIOR, PRIOR])
    joint = log_likelihoods + priors
    joint -= joint.max(1, keepdims=True)
    every = np.exp(joint)
    return np.asarray(every / every.sum(1, keepdims=True))


def _partners(
    model: Any, opinions: _Opinions, suspicious: Mapping[int, _Class]
) -> dict[int, tuple[int, float]]:
    """Return with which other suspicious item each seems to be exchanged, and how probably.

    Both would be right with what the other has. Only the first ``MAX_COMPARED`` of a kind are
    compared.
    """
    partners: dict[int, tuple[int, float]] = {}
    for kind in _KINDS:
        rows = np.array([row for row, each in suspicious.items() if each is kind], np.int64)
        rows = np.sort(rows[:MAX_COMPARED])
        if len(rows) < 2:
            continue
        at_once = max(1, PAIRS_AT_ONCE // len(rows))
        parts = [
            _right_with(model, opinions, kind, rows[start : start + at_once], rows)
            for start in range(0, len(rows), at_once)
        ]
        right = np.concatenate(parts)
        both = right * right.T
        np.fill_diagonal(both, 0.0)
        best = both.argmax(1)
        for place, row in enumerate(rows.tolist()):
            choice = int(best[place])
            # The best of each other.
            if best[choice] == place and both[place, choice] > 1 / 2:
                partners[row] = int(rows[choice]), float(both[place, choice])
    return partners


def _right_with(
    model: Any, opinions: _Opinions, kind: _Class, rows: IntArray, others: IntArray
) -> FloatArray:
    """Return how probably each of A rows would be right with what each of B others has [A, B]."""
    one, other = (each.ravel() for each in np.meshgrid(rows, others, indexing="ij"))
    features = opinions.features(
        other if kind is _Class.STATEMENTS else one,
        other if kind is _Class.TITLE else one,
        other if kind is _Class.IMAGE else one,
    )
    right = _posterior(model.predict_log_proba(features))[:, _Class.RIGHT]
    return right.reshape(len(rows), len(others))
