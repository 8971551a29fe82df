"""The texts of items as sparse matrices, in which many pairs are compared at once.

Shapes: N items, F features of one kind, K neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from schema.arrays import IntArray
from serving.alignment.records import Records, Side

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

COMPOUND = re.compile(r"\w+(?:[.\-/]\w+)*")
"""A word, or several that are joined as in "wfw-9200" and "13.5"."""
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?!\w)")
_NOT_ALPHANUMERIC = re.compile(r"[\W_]")
MIN_CODE = 3
"""Characters from which on a word with digits counts as the code of a model or a part."""
NEIGHBOURS = 10
"""The nearest other items that are known of each item."""
MAX_DOCUMENT_SHARE = 0.05
MIN_FREQUENT = 2000
"""N-grams of more items than both of these are left out of the search for neighbours.

They say little, and are most of its cost: it grows with the square of how often one occurs.
"""


def compounds(text: str) -> list[str]:
    """Return the words of a casefolded text, those joined by a point, hyphen or slash as one."""
    return COMPOUND.findall(text)


def codes(text: str) -> list[str]:
    """Return the words of a text that may be codes of a model or a part, without punctuation.

    These have digits and letters ("wfw9200swh", "108r00645"), or at least four digits.
    """
    found = []
    for word in compounds(text):
        code = flat(word)
        digits = sum(character.isdigit() for character in code)
        if digits and len(code) >= MIN_CODE and (digits < len(code) or len(code) > MIN_CODE):
            found.append(code)
    return found


def numbers(text: str) -> list[str]:
    """Return the numbers of a text that stand alone, as they are written."""
    return NUMBER.findall(text)


def trigrams(text: str) -> list[str]:
    """Return the distinct sequences of three characters of a text's words."""
    return list({f" {word} "[at : at + 3] for word in compounds(text) for at in range(len(word))})


def flat(text: str) -> str:
    """Return a text without spaces and punctuation, in which "DSC-W120 B" has "dscw120b"."""
    return _NOT_ALPHANUMERIC.sub("", text)


@dataclass(frozen=True)
class Neighbours:
    """The nearest items of each of N items, the nearest first; -1 where there are fewer than K.

    ``items`` [N, K] and their ``similarities`` [N, K]. An item of one side has those of the other.
    """

    items: IntArray
    similarities: NDArray[np.float32]


class Corpus:
    """N items, of which any two can be compared.

    ``cosines`` are TF-IDF matrices [N, F] of unit length by name; ``overlaps`` are matrices [N, F]
    with the inverse document frequency ln((1 + N) / n) of every feature that an item has, of which
    n items have one.
    """

    def __init__(self, records: Records) -> None:
        self.records = records.records
        self.sides = np.array(records.sides, np.int8)
        self.row_of = {record.id: row for row, record in enumerate(self.records)}
        self.titles = [record.title.casefold() for record in self.records]
        self.texts = [record.text.casefold() for record in self.records]
        self._neighbours: dict[str, Neighbours] = {}

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def cosines(self) -> dict[str, csr_matrix]:
        """TF-IDF of words and of characters, by name."""
        return {
            "title words": _tf_idf(self.titles, token_pattern=r"\w+"),
            "title trigrams": _tf_idf(self.titles, analyzer="char_wb", ngram_range=(3, 3)),
            "title n-grams": _tf_idf(self.titles, analyzer="char", ngram_range=(4, 5)),
            "text words": _tf_idf(self.texts, token_pattern=r"\w+"),
            "text n-grams": _tf_idf(self.texts, analyzer="char_wb", ngram_range=(3, 5), min_df=2),
        }

    @cached_property
    def overlaps(self) -> dict[str, csr_matrix]:
        """Weights of what items have, by name."""
        return {
            "title words": _weights(self.titles, compounds),
            "text words": _weights(self.texts, compounds),
            "title trigrams": _weights(self.titles, trigrams),
            "title codes": _weights(self.titles, codes),
            "text codes": _weights(self.texts, codes),
            "title numbers": _weights(self.titles, numbers),
            "text numbers": _weights(self.texts, numbers),
        }

    @cached_property
    def title_codes(self) -> list[frozenset[str]]:
        """The codes of each title [N]."""
        return [frozenset(codes(title)) for title in self.titles]

    @cached_property
    def text_codes(self) -> list[frozenset[str]]:
        """The codes of each text [N]."""
        return [frozenset(codes(text)) for text in self.texts]

    @cached_property
    def flat_texts(self) -> list[str]:
        """The texts [N] without spaces and punctuation."""
        return [flat(text) for text in self.texts]

    @cached_property
    def first_words(self) -> list[str]:
        """The first word of each title [N], which is often the brand."""
        return [next(iter(compounds(title)), "") for title in self.titles]

    def neighbours(self, kind: str) -> Neighbours:
        """Return the items that are nearest by one of the ``cosines``."""
        if kind not in self._neighbours:
            self._neighbours[kind] = self._search(self.cosines[kind])
        return self._neighbours[kind]

    def _search(self, matrix: csr_matrix) -> Neighbours:
        from sparse_dot_topn import sp_matmul_topn

        matrix = _without_frequent(matrix)
        items = np.full((len(self), NEIGHBOURS), -1, np.int64)
        similarities = np.zeros((len(self), NEIGHBOURS), np.float32)
        for side in Side:
            own = np.flatnonzero(self.sides == side)
            other = np.arange(len(self))
            if side is not Side.EITHER:
                other = np.flatnonzero(self.sides != side)
            if not len(own) or not len(other):
                continue
            # One more, since an item of either side finds itself.
            nearest = sp_matmul_topn(
                matrix[own], matrix[other].T.tocsr(), top_n=NEIGHBOURS + 1, sort=True
            )
            for place, row in enumerate(own):
                part = slice(nearest.indptr[place], nearest.indptr[place + 1])
                found = other[nearest.indices[part]]
                kept = np.flatnonzero(found != row)[:NEIGHBOURS]
                items[row, : len(kept)] = found[kept]
                similarities[row, : len(kept)] = nearest.data[part][kept]
        return Neighbours(items, similarities)


def _tf_idf(texts: Sequence[str], **options: object) -> csr_matrix:
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        matrix = TfidfVectorizer(sublinear_tf=True, dtype=np.float32, **options).fit_transform(
            texts
        )
    except ValueError:
        # There is no word at all, or none that two texts share.
        return csr_matrix((len(texts), 1), dtype=np.float32)
    return matrix.tocsr()


def _weights(texts: Sequence[str], features: Callable[[str], list[str]]) -> csr_matrix:
    from scipy.sparse import csr_matrix, diags
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(analyzer=features, binary=True, dtype=np.float32)
    try:
        has = counter.fit_transform(texts).tocsr()
    except ValueError:
        return csr_matrix((len(texts), 1), dtype=np.float32)
    frequencies = np.asarray(has.sum(0)).ravel()
    return (has @ diags(np.log((1 + len(texts)) / frequencies))).astype(np.float32).tocsr()


def _without_frequent(matrix: csr_matrix) -> csr_matrix:
    frequencies = matrix.getnnz(axis=0)
    limit = max(MIN_FREQUENT, MAX_DOCUMENT_SHARE * matrix.shape[0])
    kept = np.flatnonzero(frequencies <= limit)
    return matrix if len(kept) == matrix.shape[1] else matrix[:, kept].tocsr()
