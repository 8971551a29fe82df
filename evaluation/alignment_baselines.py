"""Baselines of alignment: TF-IDF with a tuned threshold, and the classical way of entity matching.

Shapes: M pairs, F features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from schema.arrays import FloatArray
from schema.wording import plain_words
from serving.alignment.corpus import Corpus
from serving.alignment.fitting import LabelledPairs, threshold_of_best_f1
from serving.alignment.records import Record

_GRAM = 3


class AlignmentBaseline(StrEnum):
    """What an alignment model can be compared with.

    ``TF_IDF`` is the cosine of all words of both items, a match from a threshold on.
    ``SIMILARITIES`` are gradient-boosted trees over similarities of each attribute, as in Magellan
    (Konda et al. 2016): Jaccard of words and of 3-grams, the share of the shorter one's words, edit
    similarity, equality, and the difference of numbers.
    """

    TF_IDF = "tf-idf"
    SIMILARITIES = "similarities"


def baseline_scores(
    baseline: AlignmentBaseline,
    corpus: Corpus,
    train: LabelledPairs,
    held_out: LabelledPairs,
    seed: int = 0,
) -> tuple[FloatArray, float]:
    """Return the scores [M] of held-out pairs, and the threshold that was tuned on ``train``."""
    if baseline is AlignmentBaseline.TF_IDF:
        threshold = threshold_of_best_f1(_cosines(corpus, train), train.label)
        return _cosines(corpus, held_out), threshold
    return _boosted(corpus, train, held_out, seed)


def _cosines(corpus: Corpus, pairs: LabelledPairs) -> FloatArray:
    weights = corpus.cosines["text words"]
    product = weights.of_rows(pairs.left).multiply(weights.of_rows(pairs.right))
    return np.asarray(product.sum(1), np.float64).ravel()


def _boosted(
    corpus: Corpus, train: LabelledPairs, held_out: LabelledPairs, seed: int
) -> tuple[FloatArray, float]:
    from sklearn.model_selection import cross_val_predict
    from xgboost import XGBClassifier

    properties = sorted({name for record in corpus.records for name in record.values})
    features = _similarities(corpus, train, properties)
    trees = XGBClassifier(n_estimators=200, learning_rate=0.1, random_state=seed % (1 << 31))
    left_out = cross_val_predict(trees, features, train.label, cv=5, method="predict_proba")
    trees.fit(features, train.label)
    scores = trees.predict_proba(_similarities(corpus, held_out, properties))[:, 1]
    return np.asarray(scores), threshold_of_best_f1(left_out[:, 1], train.label)


def _similarities(
    corpus: Corpus, pairs: LabelledPairs, properties: Sequence[str]
) -> NDArray[np.float32]:
    rows = []
    for one, other in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True):
        ours = _attributes(corpus.records[one], properties)
        theirs = _attributes(corpus.records[other], properties)
        rows.append([x for pair in zip(ours, theirs, strict=True) for x in _attribute(*pair)])
    return np.array(rows, np.float32)


def _attributes(record: Record, properties: Sequence[str]) -> list[str]:
    values = [" ".join(record.values.get(name, ())) for name in properties]
    return [text.casefold() for text in (record.title, record.description, *values)]


def _attribute(one: str, other: str) -> tuple[float, ...]:
    """Return the similarities of an attribute's two texts; NaN if one is missing."""
    if not one or not other:
        return (math.nan,) * 6
    our_words, their_words = set(plain_words(one)), set(plain_words(other))
    our_grams, their_grams = _grams(one), _grams(other)
    shared = len(our_words & their_words)
    return (
        _jaccard(our_words, their_words),
        _jaccard(our_grams, their_grams),
        shared / max(1, min(len(our_words), len(their_words))),
        _edit_similarity(one, other),
        float(one == other),
        _difference(one, other),
    )


def _grams(text: str) -> set[str]:
    padded = f"{' ' * (_GRAM - 1)}{text}{' ' * (_GRAM - 1)}"
    return {padded[at : at + _GRAM] for at in range(len(padded) - _GRAM + 1)}


def _jaccard(one: set[str], other: set[str]) -> float:
    every = len(one | other)
    return len(one & other) / every if every else math.nan


def _edit_similarity(one: str, other: str) -> float:
    from difflib import SequenceMatcher

    return SequenceMatcher(None, one, other, autojunk=False).ratio()


def _difference(one: str, other: str) -> float:
    try:
        ours, theirs = float(one), float(other)
    except ValueError:
        return math.nan
    return abs(ours - theirs) / max(abs(ours), abs(theirs), 1e-9)
