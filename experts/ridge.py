"""Kernel ridge regression with leave-one-out scores in closed form.

Of N labelled items with kernel rows K [N, M] to M landmarks, the coefficients minimise
``|K c - (Y - mean)|² + ridge c' K_MM c``. If the landmarks are the labelled items themselves, this
is kernel ridge regression: ``c = A (Y - mean)`` with ``A = (K + ridge I)^-1``. With fewer landmarks
it is the Nyström method (Williams and Seeger, 2001): ``c = G K' (Y - mean)`` with
``G = (K' K + ridge K_MM)^-1``, computed by features ``F = K B``, where B [M, R] are the scaled
eigenvectors of K_MM.

In both, leaving item i out changes its score by what one row of the inverse tells (the PRESS
statistic; Rasmussen and Williams, 2006, §5.4.2). That holds for any kernel row k of the item, not
only for the one that was learned from: with its title blinded, for example, it is scored as if the
item had never been seen.

Shapes: N labelled items, M landmarks, V values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schema.arrays import BoolArray

RIDGE = 0.15
_LEAST_SIZE = 1e-5
"""Directions of the landmarks' kernel that are smaller than this share of the largest are left out.
With more, coefficients become so large that single precision cannot add their terms up."""
SMALL_INVERSE = 700
MAX_DOWNDATE = 0.1
"""The share of items without a label up to which an inverse for all items is corrected."""


class ExactRidge:
    """Kernel ridge regression on N items that are their own landmarks.

    Args:
        kernel: their kernel [N, N]
    """

    def __init__(self, kernel: Tensor, ridge: float = RIDGE) -> None:
        self.kernel = kernel
        self.ridge = ridge
        self._inverse: Tensor | None = None

    def fit(self, targets: Tensor, labelled: BoolArray) -> FittedRidge:
        """Fit targets [N, V] of the ``labelled`` items [N]; the others do not count."""
        rows = np.flatnonzero(labelled)
        inverse = self._inverse_of(rows)
        index = _index(rows, len(labelled))
        labels = targets[index]
        mean = labels.mean(0)
        solved = inverse @ (labels - mean)
        coefficients = torch.zeros_like(targets)
        coefficients[index] = solved
        return FittedRidge(
            coefficients=coefficients,
            mean=mean,
            rows=rows,
            columns=index,
            weighted=inverse,
            steps=solved / inverse.diagonal()[:, None],
        )

    def _inverse_of(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the inverse for the items at ``rows`` alone."""
        count = len(self.kernel)
        missing = count - len(rows)
        if missing > MAX_DOWNDATE * count:
            kept = torch.from_numpy(rows)
            return self._invert(self.kernel[kept][:, kept])
        if self._inverse is None:
            self._inverse = self._invert(self.kernel)
        if not missing:
            return self._inverse
        # The inverse of a part follows from that of the whole (Schur complement).
        kept = torch.from_numpy(rows)
        left = torch.from_numpy(np.setdiff1d(np.arange(count), rows))
        between = self._inverse[kept][:, left]
        corner = self._inverse[left][:, left]
        part = self._inverse[kept][:, kept]
        return part - between @ torch.linalg.solve(corner, between.T)

    def _invert(self, kernel: Tensor) -> Tensor:
        regular = kernel.clone()
        regular.diagonal().add_(self.ridge)
        return inverse_of_positive(regular)


@dataclass(frozen=True)
class FittedRidge:
    """A fitted ridge regression of N' labelled items, with what leaving one of them out takes.

    Attributes:
        coefficients: [M, V]; zero for landmarks without a label
        mean: [V], the targets' mean
        rows: the labelled items' numbers [N']
        columns: the landmarks whose kernel values ``weighted`` weighs, C of them
        weighted: how much each item's kernel row counts for each of the items, [N', C]: the inverse
            itself, or K G of landmarks
        steps: how far each item's own label moves the solution, [N', V]
        kernel: the items' kernel with landmarks [N', M], if these are not the items themselves
    """

    coefficients: Tensor
    mean: Tensor
    rows: NDArray[np.int64]
    columns: Tensor | slice
    weighted: Tensor
    steps: Tensor
    kernel: Tensor | None = None

    def predict(self, kernel: Tensor) -> Tensor:
        """Score items by their kernel rows [B, M]: [B, V]."""
        return kernel @ self.coefficients + self.mean

    def left_out(self, kernel: Tensor) -> Tensor:
        """Score each labelled item as if it were not among those that were learned from.

        ``kernel`` [N', M] has a row of each, of itself or of a variant of it. The result is
        [N', V].
        """
        own = torch.linalg.vecdot(kernel[:, self.columns], self.weighted)
        return self.predict(kernel) - own[:, None] * self.steps

    def coefficients_without(self, items: NDArray[np.int64]) -> Tensor:
        """Return the coefficients [M, V] as if some labelled items had not been learned from.

        ``items`` are their numbers among the N' labelled items. The mean is not corrected.
        """
        if not len(items):
            return self.coefficients
        index = torch.from_numpy(items)
        weighted = self.weighted[index]
        if self.kernel is None:
            corner = weighted[:, index]
        else:
            corner = torch.eye(len(items)) - weighted @ self.kernel[index].T
        # With one item, this is its step: the system of the items that are left out together.
        errors = self.steps[index] * corner.diagonal()[:, None]
        without = self.coefficients.clone()
        without[self.columns] -= weighted.T @ torch.linalg.solve(corner, errors)
        return without


class NystromRidge:
    """Kernel ridge regression on N items by M landmarks.

    Args:
        kernel: the items' kernel with the landmarks [N, M]
        landmarks: that of the landmarks with each other [M, M]
    """

    def __init__(self, kernel: Tensor, landmarks: Tensor, ridge: float = RIDGE) -> None:
        self.kernel = kernel
        self.ridge = ridge
        self._squares: Tensor | None = None
        sizes, directions = torch.linalg.eigh(landmarks.double())
        # Landmarks that are alike leave nothing of some directions.
        kept = sizes > _LEAST_SIZE * sizes.max()
        self._basis = directions[:, kept] / sizes[kept].sqrt()

    def fit(self, targets: Tensor, labelled: BoolArray) -> FittedRidge:
        """Fit targets [N, V] of the ``labelled`` items [N]; the others do not count."""
        rows = np.flatnonzero(labelled)
        index = torch.from_numpy(rows)
        labels = targets[index]
        mean = labels.mean(0)
        kernel = self.kernel[index]
        regular = self._squares_of(rows, kernel)
        regular.diagonal().add_(self.ridge)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(regular))
        inverse = (self._basis @ inverse @ self._basis.T).float()
        coefficients = inverse @ (kernel.T @ (labels - mean))
        weighted = kernel @ inverse
        leverage = (weighted * kernel).sum(1).clamp(max=1 - 1e-4)
        residual = labels - mean - kernel @ coefficients
        return FittedRidge(
            coefficients=coefficients,
            mean=mean,
            rows=rows,
            columns=slice(None),
            weighted=weighted,
            steps=residual / (1 - leverage)[:, None],
            kernel=kernel,
        )

    def _squares_of(self, rows: NDArray[np.int64], kernel: Tensor) -> Tensor:
        """Return F' F of the items at ``rows``, whose kernel is ``kernel``."""
        count = len(self.kernel)
        if count - len(rows) > len(rows):
            return self._squared(kernel)
        if self._squares is None:
            self._squares = self._squared(self.kernel)
        if len(rows) == count:
            return self._squares.clone()
        left = self.kernel[torch.from_numpy(np.setdiff1d(np.arange(count), rows))]
        return self._squares - self._squared(left)

    def _squared(self, kernel: Tensor) -> Tensor:
        """Return F' F of the features ``F = K B`` [N', R]."""
        features = (kernel @ self._basis.float()).double()
        return features.T @ features


def inverse_of_positive(matrix: Tensor) -> Tensor:
    """Return the inverse of a positive definite matrix [N, N].

    By halves, so that nearly all of the work is matrix products: 2.8 s of a core for 5,200 items,
    where LAPACK's Cholesky factorisation and inverse take 4.3 s.
    """
    size = len(matrix)
    if size <= SMALL_INVERSE:
        return torch.cholesky_inverse(torch.linalg.cholesky(matrix))
    half = size // 2
    between = matrix[:half, half:]
    first = inverse_of_positive(matrix[:half, :half])
    solved = first @ between
    last = inverse_of_positive(matrix[half:, half:] - between.T @ solved)
    corner = solved @ last
    inverse = torch.empty_like(matrix)
    inverse[:half, :half] = first + corner @ solved.T
    inverse[:half, half:] = -corner
    inverse[half:, :half] = -corner.T
    inverse[half:, half:] = last
    return inverse


def _index(rows: NDArray[np.int64], count: int) -> Tensor | slice:
    """Return an index of ``rows``, which copies nothing if they are all of ``count``."""
    return slice(None) if len(rows) == count else torch.from_numpy(rows)
