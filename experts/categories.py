"""The kernel of category paths: two items are alike if their categories share levels.

A category often restates a property ("Shirts" is a level and a value), and an item whose value is
missing often lacks that level, too. So a landmark's level that says its own value of the asked
property does not count. Where a level of an item's category says a value, that is told apart
(:func:`schema.category_levels.levels_that_say`).

Shapes: N items, M landmarks, L levels, V values of a property.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from experts.kernels import (
    COMPARED_TOGETHER,
    STATEMENT_SHARPNESS,
    Arrays,
    KernelRows,
    StatementKernel,
    text_array,
    texts_of_array,
)
from experts.situations import CategoryState
from schema.arrays import BoolArray, IntArray
from schema.category_levels import levels_that_say

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class CategoryKernel:
    """exp(3 (k - 1)) of the cosine k of one-hot levels.

    Args:
        levels: the levels that it knows; two of different parents are one if their names are
        landmarks: the levels of the landmarks' categories
        statements: the kernel of the landmarks' statements, by which levels say own values
    """

    def __init__(
        self,
        levels: Sequence[str],
        landmarks: Sequence[Sequence[str]],
        statements: StatementKernel,
    ) -> None:
        self._levels = {level: column for column, level in enumerate(levels)}
        self._statements = statements
        self._landmarks = self.one_hot(landmarks)
        self._positions: dict[str, IntArray] = {}
        self._compared: dict[str, csr_matrix] = {}

    @classmethod
    def fit(
        cls,
        paths: Sequence[Sequence[str]],
        landmarks: Sequence[Sequence[str]],
        statements: StatementKernel,
    ) -> CategoryKernel:
        """Learn the levels of the paths of N items; others are compared with the landmarks."""
        return cls(sorted({level for path in paths for level in path}), landmarks, statements)

    @property
    def is_empty(self) -> bool:
        """Whether it knows no level: no item has a category."""
        return not self._levels

    def one_hot(self, paths: Sequence[Sequence[str]]) -> csr_matrix:
        """Return paths as a sparse matrix [N, L] of ones; levels that it does not know are none."""
        from scipy.sparse import csr_matrix

        indices: list[int] = []
        indptr = [0]
        for path in paths:
            indices += sorted({self._levels[level] for level in path if level in self._levels})
            indptr.append(len(indices))
        ones = np.ones(len(indices), np.float32)
        return csr_matrix((ones, indices, indptr), shape=(len(paths), len(self._levels)))

    def without_values(self, levels: csr_matrix, property: str, true: BoolArray) -> csr_matrix:
        """Return one-hot levels [N, L] without those that say an item's own values ``true`` [N, V].

        Of an item that has no value of the property, all levels stay.
        """
        from scipy.sparse import csr_matrix

        position = self._position_of_levels(property)[levels.indices]
        item = np.repeat(np.arange(levels.shape[0]), np.diff(levels.indptr))
        kept = (position < 0) | ~true[item, position] if true.shape[1] else position < 0
        before = np.concatenate([[0], np.cumsum(kept)])
        parts = (levels.data[kept], levels.indices[kept], before[levels.indptr])
        return csr_matrix(parts, shape=levels.shape)

    def rows(self, levels: csr_matrix, property: str) -> KernelRows:
        """Compare one-hot levels [N, L] with those of the landmarks: [N, M]."""
        if property not in self._compared:
            true = self._statements.values_of_landmarks(property)
            self._compared[property] = self.without_values(self._landmarks, property, true)
        landmarks = self._compared[property]
        transposed = landmarks.T.tocsr()
        of_landmarks = np.diff(landmarks.indptr).astype(np.float32)
        rows = np.empty((levels.shape[0], landmarks.shape[0]), np.float32)
        for start in range(0, len(rows), COMPARED_TOGETHER):
            part = slice(start, start + COMPARED_TOGETHER)
            counts = np.diff(levels.indptr[start : start + COMPARED_TOGETHER + 1])
            cosine = (levels[part] @ transposed).toarray()
            cosine *= 1 / np.sqrt(np.maximum(counts.astype(np.float32), 1))[:, None]
            cosine *= 1 / np.sqrt(np.maximum(of_landmarks, 1))
            cosine -= 1
            cosine *= STATEMENT_SHARPNESS
            np.exp(cosine, out=rows[part])
            rows[part][counts == 0] = 0
        rows[:, of_landmarks == 0] = 0
        return rows

    def said(self, paths: Sequence[Sequence[str]], property: str) -> NDArray[np.float32]:
        """Return the values that N paths say, as shares [N, V]; zeros where they say none."""
        spec = self._statements.ontology[property]
        said = np.zeros((len(paths), len(spec.values)), np.float32)
        for number, path in enumerate(paths):
            positions = levels_that_say(spec, path)
            said[number, positions] = 1 / max(len(positions), 1)
        return said

    def state(self, path: Sequence[str], property: str) -> CategoryState:
        """Return what a path tells of a property; levels that the kernel does not know say it."""
        if levels_that_say(self._statements.ontology[property], path):
            return CategoryState.SAYS
        is_known = any(level in self._levels for level in path)
        return CategoryState.THERE if is_known else CategoryState.ABSENT

    def _position_of_levels(self, property: str) -> IntArray:
        """Return which value of a property each level says [L]; -1 for none."""
        if property not in self._positions:
            spec = self._statements.ontology[property]
            found = [spec.position(level) for level in self._levels]
            positions = [-1 if position is None else position for position in found]
            self._positions[property] = np.array(positions, np.int64)
        return self._positions[property]

    def arrays(self) -> Arrays:
        """Return what :meth:`from_arrays` makes the kernel from again, with the statements'."""
        return {
            "levels": text_array(list(self._levels)),
            "indices": self._landmarks.indices.astype(np.int32),
            "indptr": self._landmarks.indptr.astype(np.int64),
        }

    @classmethod
    def from_arrays(
        cls, statements: StatementKernel, arrays: Mapping[str, NDArray[np.generic]]
    ) -> CategoryKernel:
        """Make a kernel from what :meth:`arrays` returned; raises ValueError or KeyError."""
        from scipy.sparse import csr_matrix

        if "levels" not in arrays:
            # A folder from before categories were read.
            return cls([], [()] * statements.landmarks, statements)
        levels = texts_of_array(arrays["levels"])
        indices = arrays["indices"]
        shape = (statements.landmarks, len(levels))
        kernel = cls(levels, [], statements)
        ones = np.ones(len(indices), np.float32)
        kernel._landmarks = csr_matrix((ones, indices, arrays["indptr"]), shape=shape)
        kernel._landmarks.check_format(full_check=True)
        return kernel
