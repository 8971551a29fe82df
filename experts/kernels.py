"""Kernels: how alike two items are by their titles or their known statements.

Each kernel keeps the *landmarks* [M], the items to which others are compared. A part that an item
lacks is like nothing: its row is zero. Images have a module of their own.

Shapes: N items, M landmarks, F features.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from experts.number_grids import Grid, NumberScale, learn_scales, number_of
from experts.pretrained import MeaningKernel, RememberedTexts
from fusion.inference.featurizer import PropertyValue
from schema.arrays import BoolArray, IntArray
from schema.ontology import Ontology
from schema.wording import WORD

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

KernelRows: TypeAlias = NDArray[np.float32]
"""Kernel values [N, M] between items and landmarks."""

Arrays: TypeAlias = dict[str, NDArray[np.generic]]
"""What a model folder keeps, by name."""

TITLE_SHARPNESS = 4.0
STATEMENT_SHARPNESS = 3.0
WIDE = Grid.of_width(0.5)
"""By which numbers are compared where a text is asked, in standard deviations."""
NARROW = Grid.of_width(0.1)
"""By which numbers are compared where a number is asked."""
CLASS_SHARE = 0.5
"""How much of a number counts as a class, and not by its value, where a number is asked."""
MAX_REMEMBERED = 1 << 17
"""Statements whose features are kept at most."""
MAX_NGRAMS = 200_000
"""The most n-grams of each kind, the most frequent ones: enough for a hundred thousand titles."""
MAX_DENSE = 1 << 25
"""Numbers of the landmarks' statements that are stored as a dense matrix at most."""
_SMALL_CATALOGUE = 50  # titles, below which an n-gram may be learned from a single one
COMPARED_TOGETHER = 4096
"""Items that are compared with the landmarks at once."""


def text_array(texts: Sequence[str]) -> NDArray[np.generic]:
    """Return texts as an array of bytes, as a model folder keeps them."""
    return np.frombuffer(json.dumps(texts, ensure_ascii=False).encode(), np.uint8)


def texts_of_array(array: NDArray[np.generic]) -> list[str]:
    """Return the texts of a :func:`text_array`; raises ValueError if it has none."""
    texts = json.loads(array.astype(np.uint8).tobytes())
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("no list of texts")
    return texts


class TitleKernel:
    """The mean cosine k of the TF-IDF of words and of character n-grams, and exp(4 (k - 1)).

    The cosine is a linear model of the words; the exponential makes nearly equal titles count more.
    With a pretrained encoder, what the titles mean is compared as well (:mod:`experts.pretrained`).
    """

    def __init__(
        self,
        vectorizers: Sequence[TfidfVectorizer],
        features: Sequence[csr_matrix],
        landmarks: int,
        meaning: MeaningKernel | None = None,
    ) -> None:
        self._meaning = meaning
        self._vectorizers = vectorizers
        self._features = features  # [F, M] of the landmarks
        self._landmarks = landmarks
        self._is_empty = np.ones(landmarks, bool)
        for each in features:
            self._is_empty &= each.getnnz(axis=0) == 0

    @property
    def is_empty(self) -> bool:
        """Whether it knows no word: no item has a text."""
        return not self._vectorizers

    @classmethod
    def fit(
        cls,
        titles: Sequence[str | None],
        landmarks: Sequence[str | None],
        encoder: RememberedTexts | None = None,
    ) -> TitleKernel:
        """Learn the n-grams of ``titles``; the kernel compares others with those of ``landmarks``.

        A title without any word counts as missing. With an ``encoder``, meanings are compared, too.
        """
        present = [title for title in titles if title and WORD.search(title)]
        if not present:
            return cls([], [], len(landmarks))
        least = 2 if len(present) > _SMALL_CATALOGUE else 1
        vectorizers = [_word_vectorizer().fit(present), _character_vectorizer(least).fit(present)]
        texts = [title or "" for title in landmarks]
        features = [each.transform(texts).T.tocsr() for each in vectorizers]
        meaning = None
        if encoder is not None:
            meaning = MeaningKernel.fit(encoder, present, landmarks)
        return cls(vectorizers, features, len(landmarks), meaning)

    def select(self, index: IntArray) -> TitleKernel:
        """Return the kernel with some of its landmarks alone."""
        features = [each[:, index].tocsr() for each in self._features]
        meaning = None if self._meaning is None else self._meaning.select(index)
        return TitleKernel(self._vectorizers, features, len(index), meaning)

    def rows(self, titles: Sequence[str | None]) -> KernelRows:
        """Compare N titles with the landmarks: [N, M].

        A title without any n-gram that the kernel knows is like nothing.
        """
        rows = np.empty((len(titles), self._landmarks), np.float32)
        for start in range(0, len(titles), COMPARED_TOGETHER):
            part = slice(start, start + COMPARED_TOGETHER)
            rows[part] = self._compare([title or "" for title in titles[part]])
        return rows

    def _compare(self, texts: Sequence[str]) -> KernelRows:
        cosine = np.zeros((len(texts), self._landmarks), np.float32)
        is_empty = np.ones(len(texts), bool)
        for vectorizer, features in zip(self._vectorizers, self._features, strict=True):
            own = vectorizer.transform(texts)
            is_empty &= own.getnnz(axis=1) == 0
            cosine += 0.5 * (own @ features).toarray()
        rows = np.exp(TITLE_SHARPNESS * (cosine - 1))
        rows += cosine
        rows[is_empty] = 0
        rows[:, self._is_empty] = 0
        if self._meaning is not None:
            rows += self._meaning.rows(texts)
        return np.asarray(rows, np.float32)

    @property
    def encoder(self) -> RememberedTexts | None:
        """The pretrained encoder by which meanings are compared."""
        return None if self._meaning is None else self._meaning.encoder

    def arrays(self) -> Arrays:
        """Return what :meth:`from_arrays` makes the kernel from again."""
        arrays: Arrays = {"landmarks": np.array([self._landmarks])}
        if self._meaning is not None:
            arrays |= self._meaning.arrays()
        for number, vectorizer in enumerate(self._vectorizers):
            vocabulary = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
            features = self._features[number]
            arrays |= {
                f"{number}.vocabulary": text_array(vocabulary),
                f"{number}.idf": np.asarray(vectorizer.idf_, np.float32),
                f"{number}.data": features.data,
                f"{number}.indices": features.indices.astype(np.int32),
                f"{number}.indptr": features.indptr.astype(np.int64),
            }
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]], folder: Path) -> TitleKernel:
        """Make a kernel from what :meth:`arrays` returned; raises ValueError or KeyError.

        A pretrained encoder is in the model ``folder``.
        """
        from scipy.sparse import csr_matrix

        (count,) = arrays["landmarks"].tolist()
        if "0.vocabulary" not in arrays:
            return cls([], [], count)
        vectorizers = []
        every = []
        for number, vectorizer in enumerate((_word_vectorizer(), _character_vectorizer())):
            vocabulary = texts_of_array(arrays[f"{number}.vocabulary"])
            vectorizer.set_params(
                vocabulary={ngram: place for place, ngram in enumerate(vocabulary)}
            )
            vectorizer.idf_ = np.asarray(arrays[f"{number}.idf"])
            vectorizers.append(vectorizer)
            parts = tuple(arrays[f"{number}.{name}"] for name in ("data", "indices", "indptr"))
            features = csr_matrix(parts, shape=(len(vocabulary), count))
            features.check_format(full_check=True)
            every.append(features)
        return cls(vectorizers, every, count, MeaningKernel.from_arrays(arrays, count, folder))


def _word_vectorizer() -> TfidfVectorizer:
    from sklearn.feature_extraction.text import TfidfVectorizer

    # The default pattern would drop words of one character, such as the sizes S, M and L.
    return TfidfVectorizer(
        ngram_range=(1, 2),
        sublinear_tf=True,
        token_pattern=r"\w+",
        max_features=MAX_NGRAMS,
        dtype=np.float32,
    )


def _character_vectorizer(least: int = 1) -> TfidfVectorizer:
    """Return one of the n-grams that at least so many titles have."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        analyzer="char_wb",
        ngram_range=(2, 5),
        min_df=least,
        sublinear_tf=True,
        max_features=MAX_NGRAMS,
        dtype=np.float32,
    )


class StatementKernel:
    """exp(3 (k - 1)) of the cosine k of known statements.

    The property that is asked for is left out of both items. A statement is a feature of its own,
    one-hot; that of a number is Gaussian weights on a grid (:mod:`experts.number_grids`), so that
    near numbers are alike. Where a number is asked, it is half of each, with narrower weights: what
    goes with 1125 ml is often another exact number.

    Args:
        ontology: the properties and values that it knows
        landmarks: the statements of the landmarks
        scales: those of the properties whose numbers are compared by value
    """

    def __init__(
        self,
        ontology: Ontology,
        landmarks: Sequence[Sequence[PropertyValue]],
        scales: Mapping[str, NumberScale] = MappingProxyType({}),
    ) -> None:
        self.ontology = ontology
        self._scales = dict(scales)
        properties = ontology.learned()
        sizes = [len(ontology.values_of(name)) for name in properties]
        firsts = np.cumsum([0, *sizes])
        self._classes = {
            name: slice(first, first + size)
            for name, first, size in zip(properties, firsts.tolist(), sizes, strict=False)
        }
        self._grids: dict[str, tuple[slice, slice]] = {}
        end = int(firsts[-1])
        for name in self._scales:
            wide = slice(end, end + len(WIDE.points))
            end = wide.stop + len(NARROW.points)
            self._grids[name] = wide, slice(wide.stop, end)
        self._columns = end
        self._weights = {asks: self._weights_of_columns(asks) for asks in (False, True)}
        self._found: dict[PropertyValue, _Features] = {}
        self._set_landmarks(self.features(landmarks))

    @classmethod
    def fit(
        cls,
        ontology: Ontology,
        known: Sequence[Sequence[PropertyValue]],
        landmarks: Sequence[Sequence[PropertyValue]],
    ) -> StatementKernel:
        """Learn the scales of numbers of the ``known`` statements of items."""
        return cls(ontology, landmarks, learn_scales(ontology, known))

    def select(self, index: IntArray) -> StatementKernel:
        """Return the kernel with some of its landmarks alone."""
        kernel = StatementKernel(self.ontology, [], self._scales)
        kernel._set_landmarks(self._landmarks[index].tocsr())
        return kernel

    def _weights_of_columns(self, asks_number: bool) -> NDArray[np.float32]:
        """Return how much the columns count [F] where a number is asked, or where none is."""
        weights = np.ones(self._columns, np.float32)
        for name, (wide, narrow) in self._grids.items():
            for position, text in enumerate(self.ontology.values_of(name)):
                if self._scaled(name, text) is not None:
                    column = self._classes[name].start + position
                    weights[column] = CLASS_SHARE if asks_number else 0
            weights[wide] = 0 if asks_number else 1
            weights[narrow] = 1 - CLASS_SHARE if asks_number else 0
        return np.sqrt(weights)

    def _set_landmarks(self, features: csr_matrix) -> None:
        self._landmarks = features
        # A row of statements times a dense matrix is a sum of a few of its rows.
        self._is_dense = features.shape[0] * features.shape[1] <= MAX_DENSE
        transposed = features.T.tocsr()
        self._transposed = transposed.toarray() if self._is_dense else transposed
        self._lengths: dict[str, NDArray[np.float32]] = {}

    @property
    def landmarks(self) -> int:
        """How many landmarks there are."""
        return int(self._landmarks.shape[0])

    @property
    def classes(self) -> int:
        """How many columns the classes have, which come first: one for each value."""
        return max((own.stop for own in self._classes.values()), default=0)

    def classes_of(self, property: str) -> slice:
        """Return which columns are the values of a property."""
        return self._classes[property]

    def one_hot(self, known: Sequence[Sequence[PropertyValue]]) -> csr_matrix:
        """Return the statements of N items by their classes alone, [N, C]."""
        return self.features(known)[:, : self.classes]

    def values_of_landmarks(self, property: str) -> BoolArray:
        """Return which values of a property the landmarks have [M, V]."""
        own = self._landmarks[:, self._classes[property]]
        return np.asarray(own.toarray() > 0)

    def knows(self, property: str, value: str) -> bool:
        """Return whether it compares a statement."""
        return len(self._features_of((property, value)).columns) > 0

    def features(self, known: Sequence[Sequence[PropertyValue]]) -> csr_matrix:
        """Return the statements of N items as a sparse matrix [N, F].

        It has ones for classes, and weights on grids for numbers; of equal statements of an item
        there is one.
        """
        from scipy.sparse import csr_matrix

        columns: list[IntArray] = []
        weights: list[NDArray[np.float32]] = []
        indptr = [0]
        for statements in known:
            every = {each.key: each for each in map(self._features_of, statements)}
            columns += (each.columns for each in every.values())
            weights += (each.weights for each in every.values())
            indptr.append(indptr[-1] + sum(len(each.columns) for each in every.values()))
        matrix = csr_matrix(
            (
                np.concatenate([np.zeros(0, np.float32), *weights]),
                np.concatenate([np.zeros(0, np.int64), *columns]),
                indptr,
            ),
            shape=(len(known), self._columns),
        )
        matrix.sum_duplicates()
        return matrix

    def _features_of(self, statement: PropertyValue) -> _Features:
        found = self._found.get(statement)
        if found is None:
            if len(self._found) >= MAX_REMEMBERED:
                self._found.clear()
            found = self._found[statement] = self._find_features(*statement)
        return found

    def _find_features(self, property: str, value: str) -> _Features:
        columns = []
        weights = []
        position = self.ontology.position(property, value) if property in self._classes else None
        if position is not None:
            columns.append(np.array([self._classes[property].start + position]))
            weights.append(np.ones(1))
        scaled = self._scaled(property, value)
        if scaled is not None:
            for grid, own in zip((WIDE, NARROW), self._grids[property], strict=True):
                places, near = grid.weights(scaled)
                columns.append(own.start + places)
                weights.append(near)
        if not columns:
            return _Features(None, np.zeros(0, np.int64), np.zeros(0, np.float32))
        return _Features(
            (property, position, scaled),
            np.concatenate(columns),
            np.concatenate(weights).astype(np.float32),
        )

    def _scaled(self, property: str, value: str) -> float | None:
        scale = self._scales.get(property)
        number = None if scale is None else number_of(self.ontology[property], value)
        return None if scale is None or number is None else scale.scaled(number)

    def rows(self, statements: csr_matrix, property: str) -> KernelRows:
        """Compare the features of statements [N, F] with the landmarks, without ``property``.

        The result is [N, M].
        """
        if property not in self._lengths:
            self._lengths[property] = _lengths(self._weighted(self._landmarks, property))
        landmarks = self._lengths[property]
        rows = np.empty((statements.shape[0], len(landmarks)), np.float32)
        for start in range(0, len(rows), COMPARED_TOGETHER):
            part = slice(start, start + COMPARED_TOGETHER)
            weighted = self._weighted(statements[part], property)
            items = _lengths(weighted)
            # The landmarks' own weights are in the items', twice.
            shared = self._weighted(weighted, property) @ self._transposed
            cosine = np.asarray(shared if self._is_dense else shared.toarray(), np.float32)
            cosine *= 1 / np.where(items > 0, items, 1)[:, None]
            cosine *= 1 / np.where(landmarks > 0, landmarks, 1)
            cosine -= 1
            cosine *= STATEMENT_SHARPNESS
            np.exp(cosine, out=rows[part])
            rows[part][items == 0] = 0
        rows[:, landmarks == 0] = 0
        return rows

    def has_others(self, statements: csr_matrix, property: str) -> BoolArray:
        """Return which items [N] have a known statement of another property."""
        return np.asarray(np.diff(self._weighted(statements, property).indptr) > 0)

    def _weighted(self, statements: csr_matrix, property: str) -> csr_matrix:
        """Return features [N, F] of statements, weighed for a property, without its own."""
        from scipy.sparse import csr_matrix

        columns = statements.indices
        weights = self._weights[property in self._grids][columns]
        for own in (self._classes[property], *self._grids.get(property, ())):
            weights[(columns >= own.start) & (columns < own.stop)] = 0
        kept = weights > 0
        before = np.concatenate([[0], np.cumsum(kept)])
        data = statements.data[kept] * weights[kept]
        return csr_matrix((data, columns[kept], before[statements.indptr]), shape=statements.shape)

    def arrays(self) -> Arrays:
        """Return what :meth:`from_arrays` makes the kernel from again, with the ontology."""
        scales = [(each.is_logarithmic, each.centre, each.spread) for each in self._scales.values()]
        return {
            "data": self._landmarks.data,
            "indices": self._landmarks.indices.astype(np.int32),
            "indptr": self._landmarks.indptr.astype(np.int64),
            "numbers": text_array(list(self._scales)),
            "scales": np.array(scales, np.float64).reshape(-1, 3),
        }

    @classmethod
    def from_arrays(
        cls, ontology: Ontology, arrays: Mapping[str, NDArray[np.generic]]
    ) -> StatementKernel:
        """Make a kernel from what :meth:`arrays` returned; raises ValueError or KeyError."""
        from scipy.sparse import csr_matrix

        scales = {}
        # In folders from before numbers were compared by value, all statements are classes.
        if "numbers" in arrays:
            names = texts_of_array(arrays["numbers"])
            for name, row in zip(names, arrays["scales"].astype(np.float64), strict=True):
                if name not in ontology.learned():
                    raise ValueError(f"numbers of a property {name!r} that is not learned")
                is_logarithmic, centre, spread = row.tolist()
                scales[name] = NumberScale(bool(is_logarithmic), centre, spread)
        kernel = cls(ontology, [], scales)
        indices = arrays["indices"]
        indptr = arrays["indptr"]
        data = np.ones(len(indices), np.float32)
        if "data" in arrays:
            data = arrays["data"].astype(np.float32)
        shape = (len(indptr) - 1, kernel._columns)
        landmarks = csr_matrix((data, indices, indptr), shape=shape)
        landmarks.check_format(full_check=True)
        kernel._set_landmarks(landmarks)
        return kernel


@dataclass(frozen=True)
class _Features:
    """The ``columns`` of a statement and their ``weights``; ``key`` is that of equal ones."""

    key: tuple[str, int | None, float | None] | None
    columns: IntArray
    weights: NDArray[np.float32]


def _lengths(features: csr_matrix) -> NDArray[np.float32]:
    """Return the Euclidean lengths [N] of the rows of a sparse matrix [N, F]."""
    squares = np.concatenate([[0.0], np.cumsum(np.square(features.data, dtype=np.float64))])
    return np.sqrt(squares[features.indptr[1:]] - squares[features.indptr[:-1]]).astype(np.float32)
