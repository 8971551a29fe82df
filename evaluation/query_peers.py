"""What a matching model is compared with: the text of a query against an item's title.

Scores are no probabilities, but areas under curves need none. Shapes: I items, N pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from schema.arrays import FloatArray, IntArray
from schema.errors import DataError

BM25 = "bm25"
TF_IDF = "tf-idf"
SATURATION = 1.2
LENGTH_SHARE = 0.75
"""Okapi BM25's k1 and b, as SQLite's full-text search and others have them."""

# The default pattern would drop words of one character, such as the sizes S, M and L.
_WORDS = r"\w+"


class TextPeer:
    """Scores a query by the words that it shares with a title.

    Args:
        name: :data:`BM25` or :data:`TF_IDF`
        titles: those of all I items

    Raises DataError if no title has a word.
    """

    def __init__(self, name: str, titles: Sequence[str | None]) -> None:
        from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

        self.name = name
        kind = CountVectorizer if name == BM25 else TfidfVectorizer
        options = {} if name == BM25 else {"sublinear_tf": True, "ngram_range": (1, 2)}
        self._vectorizer = kind(token_pattern=_WORDS, dtype=np.float64, **options)
        try:
            found = self._vectorizer.fit_transform([title or "" for title in titles]).tocsr()
        except ValueError:
            raise DataError(
                f"none of the {len(titles):,} items has a title with words for {name} to search: "
                "measure without --against"
            ) from None
        self._titles = okapi_weights(found) if name == BM25 else found

    def score(self, queries: Sequence[str], items: IntArray) -> FloatArray:
        """Return the score [N] of N queries, each with one of the I items."""
        words = self._vectorizer.transform(queries)
        return np.asarray(words.multiply(self._titles[items]).sum(1)).ravel()


def okapi_weights(counts: Any) -> Any:
    """Return BM25's weight of each word in each text, for sparse ``counts`` [I, words].

    idf * n * (k1 + 1) / (n + k1 * (1 - b + b * length / mean length)), with the idf that is never
    negative, log(1 + (I - texts + 0.5) / (texts + 0.5)).
    """
    weights = counts.tocsr(copy=True).astype(np.float64)
    texts = np.bincount(weights.indices, minlength=weights.shape[1])
    idf = np.log1p((weights.shape[0] - texts + 0.5) / (texts + 0.5))
    lengths = np.asarray(weights.sum(1)).ravel()
    share = 1 - LENGTH_SHARE + LENGTH_SHARE * lengths / lengths.mean()
    norm = np.repeat(SATURATION * share, np.diff(weights.indptr))
    weights.data *= idf[weights.indices] * (SATURATION + 1) / (weights.data + norm)
    return weights
