"""What can be told of a pair of query and item from the query alone.

A figure of query matching means little without it: if some queries are positives more often than
others, a model can score well without reading the item. The opposite baseline, which sees only the
item, has a ROC-AUC of .5 by construction, since every negative has the item of a positive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from fusion.inference.metrics import roc_auc
from kg.sampling.keyed_random import KeyedRandom
from schema.arrays import FloatArray, IntArray
from schema.wording import plain_words
from training.queries import QueryPairBuilder

NEGATIVES_PER_PAIR = 4
"""So many negatives of each train pair are counted, each as a fraction of one."""
MAX_TRAIN_PAIRS = 50_000
PRIOR_COUNT = 4.0
"""The prediction from a query's words weighs as much as so many of its pairs."""
SEED = 1
"""The negatives to learn from are others than those of validation and evaluation (seed 0)."""


class QueryBaseline:
    """Predicts whether a pair matches from the query's text alone.

    The prediction is the smoothed log-odds of the text among the train pairs, positives against
    negatives. The prior, which is all there is for an unseen text, is scikit-learn's logistic
    regression on the text's words and pairs of words.
    """

    def __init__(self, texts: Sequence[str], positive: FloatArray, negative: FloatArray) -> None:
        """Learn from distinct ``texts`` [Q], each with its ``positive`` and ``negative`` counts."""
        self._counts = {
            text: (float(matches), float(others))
            for text, matches, others in zip(texts, positive, negative, strict=True)
        }
        self._vectorizer: Any = None
        self._regression: Any = None
        if positive.any() and negative.any():
            self._fit_words(texts, positive, negative)

    def _fit_words(self, texts: Sequence[str], positive: FloatArray, negative: FloatArray) -> None:
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression

        if not any(plain_words(text) for text in texts):
            return
        self._vectorizer = CountVectorizer(analyzer=_words_and_pairs, binary=True, dtype=np.float64)
        matrix = self._vectorizer.fit_transform(texts)
        count = matrix.shape[0]
        # Each text is one example of a match and one of the opposite, weighted by their counts.
        rows = np.tile(np.arange(count), 2)
        label = np.repeat([1, 0], count)
        weight = np.concatenate([positive, negative])
        self._regression = LogisticRegression(max_iter=1000)
        self._regression.fit(matrix[rows], label, sample_weight=weight)

    @classmethod
    def train(cls, pair_builder: QueryPairBuilder) -> QueryBaseline:
        """Learn from the pairs of a builder, which should be those of the train split."""
        pairs = pair_builder.among
        if len(pairs) > MAX_TRAIN_PAIRS:
            chosen = np.argsort(KeyedRandom(SEED).uniform("baseline", pairs))[:MAX_TRAIN_PAIRS]
            pairs = pairs[np.sort(chosen)]
        log = pair_builder.log
        positive: Counter[str] = Counter(log.texts[number] for number in log.query[pairs].tolist())
        negative: Counter[str] = Counter()
        for step in range(NEGATIVES_PER_PAIR):
            negative.update(pair_builder.negatives(pairs, KeyedRandom(SEED, step)))
        texts = sorted(positive | negative)
        return cls(
            texts,
            np.array([positive[text] for text in texts], np.float64),
            np.array([negative[text] / NEGATIVES_PER_PAIR for text in texts], np.float64),
        )

    def score(self, texts: Sequence[str]) -> FloatArray:
        """Return the log-odds [N] that a pair of each query matches."""
        prior = np.full(len(texts), 0.5)
        if self._regression is not None and len(texts):
            prior = self._regression.predict_proba(self._vectorizer.transform(texts))[:, 1]
        counts = np.array([self._counts.get(text, (0.0, 0.0)) for text in texts]).reshape(-1, 2)
        matches = counts[:, 0] + PRIOR_COUNT * prior
        others = counts[:, 1] + PRIOR_COUNT * (1 - prior)
        # The logarithm of 0 where the regression is certain.
        tiny = np.finfo(np.float64).tiny
        return np.asarray(np.log(np.maximum(matches, tiny)) - np.log(np.maximum(others, tiny)))


def _words_and_pairs(text: str) -> list[str]:
    words = plain_words(text)
    return [*words, *(" ".join(pair) for pair in pairwise(words))]


def query_only_roc_auc(
    baseline: QueryBaseline,
    pair_builder: QueryPairBuilder,
    pairs: IntArray,
    random: KeyedRandom,
) -> float:
    """Return the ROC-AUC of the baseline on the batches of ``pairs`` [N] drawn with ``random``.

    .5 if no pair of the other kind is left to tell apart.
    """
    queries = pair_builder.labelled_queries(pairs, random)
    area = roc_auc(baseline.score(queries.texts), queries.label)
    return 0.5 if np.isnan(area) else area
