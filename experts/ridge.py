"""Kernel ridge regression with leave-one-out scores in closed form.

Of N labelled items with kernel rows K [N, M] to M landmarks, the coefficients minimise
``|K c - (Y - mean)|² + ridge c' K_MM c``. If the landmarks are the labelled items themselves, this
is kernel ridge regression: ``c = A (Y - mean)`` with ``A = (K + ridge I)^-1``. With fewer landmarks
it is the Nyström method (Williams and Seeger, 2001): ``c = G K' (Y - mean)`` with
``G = (K' K + ridge K_MM)^-1``, computed by features ``F = K L'^-1``, where L is the Cholesky factor
of K_MM.

In both, leaving item i out changes its score by what one row of the inverse tells (the PRESS
statistic; Rasmussen and Williams, 2006, §5.4.2). That holds for any kernel row k of the item, not
only for the one that was learned from: with its title blinded, for example, it is scored as if the
item had never been seen.

Shapes: N labelled items, M landmarks, V values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg.blas import ssyrk
from torch import Tensor

from schema.arrays import BoolArray

RIDGE = 0.15
_LEAST_SIZE = 1e-5
"""This share of the norm of the landmarks' kernel is added to its diagonal. With less, coefficients
become so large that single precision cannot add their terms up."""
_SQUARED_TOGETHER = 2048
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

    def fit(
        self, targets: Tensor, labelled: BoolArray, asked: BoolArray | None = None
    ) -> FittedRidge:
        """Fit targets [N, V] of the ``labelled`` items [N]; the others do not count.

        Those of them that are ``asked`` [N], by default all, can be left out.
        """
        every = np.flatnonzero(labelled)
        places = np.arange(len(every)) if asked is None else np.flatnonzero(asked[every])
        inverse = self._inverse_of(every)
        index = _index(every, len(labelled))
        labels = targets[index]
        mean = labels.mean(0)
        solved = inverse @ (labels - mean)
        coefficients = torch.zeros_like(targets)
        coefficients[index] = solved
        own = _index(places, len(every))
        return FittedRidge(
            coefficients=coefficients,
            mean=mean,
            rows=every[places],
            columns=index,
            weighted=inverse[own],
            steps=solved[own] / inverse.diagonal()[own][:, None],
            labelled=every,
            gaps=self.ridge * inverse.diagonal(),
            ridge=self.ridge,
            places=torch.from_numpy(places),
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
    """A fitted ridge regression, with what leaving out one of N' labelled items takes.

    Attributes:
        coefficients: [M, V]; zero for landmarks without a label
        mean: [V], the targets' mean
        rows: the numbers [N'] of the labelled items that can be left out
        columns: the landmarks whose kernel values ``weighted`` weighs, C of them
        weighted: how much each item's kernel row counts for each of the items, [N', C]: the inverse
            itself, or K G of landmarks
        steps: how far each item's own label moves the solution, [N', V]
        labelled: the numbers [L] of all labelled items
        gaps: how much of a change of its label each of these does not follow, [L]: one minus its
            leverage. With its residual r, it is scored r / gap from its label when it is left out.
        ridge: the strength of the penalty
        places: the items' numbers [N'] among the C columns, if the landmarks are the items
        kernel: the items' kernel with landmarks [N', M], if these are not the items themselves
    """

    coefficients: Tensor
    mean: Tensor
    rows: NDArray[np.int64]
    columns: Tensor | slice
    weighted: Tensor
    steps: Tensor
    labelled: NDArray[np.int64]
    gaps: Tensor
    ridge: float
    places: Tensor | None = None
    kernel: Tensor | None = None

    def predict(self, kernel: Tensor) -> Tensor:
        """Score items by their kernel rows [B, M]: [B, V]."""
        return kernel @ self.coefficients + self.mean

    def left_out(self, kernel: Tensor) -> Tensor:
        """Score each of the N' items as if it were not among those that were learned from.

        ``kernel`` [N', M] has a row of each, of itself or of a variant of it. The result is
        [N', V].
        """
        own = torch.linalg.vecdot(kernel[:, self.columns], self.weighted)
        return self.predict(kernel) - own[:, None] * self.steps

    def shared_gaps(self, pairs: NDArray[np.int64]) -> Tensor | None:
        """Return the ``gaps`` [P] that pairs [P, 2] of items share, as numbers among all items.

        In the matrix of which ``gaps`` are the diagonal they are the elements beside it. Those of
        items that cannot be left out are NaN. None if the items are not their own landmarks.
        """
        if self.places is None:
            return None
        found = torch.full((len(pairs),), torch.nan)
        row = np.searchsorted(self.rows, pairs[:, 0])
        column = np.searchsorted(self.labelled, pairs[:, 1])
        is_there = np.isin(pairs[:, 0], self.rows) & np.isin(pairs[:, 1], self.labelled)
        places = torch.from_numpy(row[is_there]), torch.from_numpy(column[is_there])
        found[torch.from_numpy(is_there)] = self.ridge * self.weighted[places]
        return found

    def coefficients_without(self, items: NDArray[np.int64]) -> Tensor:
        """Return the coefficients [M, V] as if some labelled items had not been learned from.

        ``items`` are their numbers among the N' items. The mean is not corrected.
        """
        if not len(items):
            return self.coefficients
        index = torch.from_numpy(items)
        weighted = self.weighted[index]
        if self.kernel is not None:
            corner = torch.eye(len(items)) - weighted @ self.kernel[index].T
        else:
            corner = weighted[:, index if self.places is None else self.places[index]]
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
        is_shared: whether it is fitted for several properties, which have much the same labelled
            items
        others: further kernels [N, M] that count as added to the first one; of many items a sum
            would be one of the largest matrices that there are
    """

    def __init__(
        self,
        kernel: Tensor,
        landmarks: Tensor,
        ridge: float = RIDGE,
        *,
        is_shared: bool = True,
        others: Sequence[Tensor] = (),
    ) -> None:
        self._kernels = (kernel, *others)
        self.ridge = ridge
        self.is_shared = is_shared
        self._squares: Tensor | None = None
        regular = landmarks.double()
        # Landmarks that are alike leave nothing of some directions.
        least = _LEAST_SIZE * float(torch.linalg.matrix_norm(regular, 1))
        regular.diagonal().add_(max(least, torch.finfo(torch.float32).tiny))
        self._factor = torch.linalg.cholesky(regular)

    def fit(
        self, targets: Tensor, labelled: BoolArray, asked: BoolArray | None = None
    ) -> FittedRidge:
        """Fit targets [N, V] of the ``labelled`` items [N]; the others do not count.

        Those of them that are ``asked`` [N], by default all, can be left out.
        """
        every = np.flatnonzero(labelled)
        mean, products = self._products_of(every, targets)
        regular = self._squares_of(every)
        regular.diagonal().add_(self.ridge)
        # G is the inverse of P P'.
        product = self._factor @ torch.linalg.cholesky(regular)
        solved = torch.cholesky_solve(products, product)
        coefficients = solved.float()
        rows = every if asked is None else every[asked[every]]
        index = _index(rows, len(labelled))
        kernel = self._rows(index)
        weighted = torch.cholesky_solve(kernel.T, product.float()).T.contiguous()
        leverage = torch.linalg.vecdot(weighted, kernel).clamp(max=1 - 1e-4)
        residual = targets[index] - mean - kernel @ coefficients
        gaps = 1 - leverage if len(rows) == len(every) else self._gaps(every, product.float())
        return FittedRidge(
            coefficients=coefficients,
            mean=mean,
            rows=rows,
            columns=slice(None),
            weighted=weighted,
            steps=residual / (1 - leverage)[:, None],
            labelled=every,
            gaps=gaps,
            ridge=self.ridge,
            kernel=kernel,
        )

    def _gaps(self, rows: NDArray[np.int64], product: Tensor) -> Tensor:
        """Return one minus the leverage [L] of the items at ``rows``; G is the inverse of P P'."""
        found = []
        for places in self._parts(rows):
            features = torch.linalg.solve_triangular(product, self._rows(places).T, upper=False)
            found.append(1 - features.square().sum(0).clamp(max=1 - 1e-4))
        return torch.cat(found)

    def _products_of(self, rows: NDArray[np.int64], targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean [V] of the targets [N, V] at ``rows``, and K' (Y - mean) [M, V] of these.

        They are taken together part by part: with many values, the targets are the largest matrix.
        """
        mean = torch.zeros(targets.shape[1], dtype=torch.float64)
        for places in self._parts(rows):
            mean += targets[places].sum(0, dtype=torch.float64)
        mean = (mean / len(rows)).float()
        products = torch.zeros(len(self._factor), len(mean), dtype=torch.float64)
        for places in self._parts(rows):
            products += self._rows(places).T @ (targets[places] - mean)
        return mean, products

    def _squares_of(self, rows: NDArray[np.int64]) -> Tensor:
        """Return F' F of the items at ``rows``; the lower triangle alone."""
        count = len(self._kernels[0])
        if not self.is_shared or count - len(rows) > len(rows):
            return self._squared(rows)
        if self._squares is None:
            self._squares = self._squared(np.arange(count))
        if len(rows) == count:
            return self._squares.clone()
        return self._squares - self._squared(np.setdiff1d(np.arange(count), rows))

    def _squared(self, rows: NDArray[np.int64]) -> Tensor:
        """Return F' F of the features F [N', M] of the kernel at ``rows`` [N'].

        The products of features are K_MM.
        """
        factor = self._factor.float()
        squares = torch.zeros_like(self._factor)
        # Sums of few rows are exact enough in single precision.
        for places in self._parts(rows):
            features = torch.linalg.solve_triangular(factor, self._rows(places).T, upper=False)
            # Half of the products are the other half: BLAS computes them once.
            squares += torch.from_numpy(ssyrk(1.0, features.numpy(), lower=1))
        return squares

    def _rows(self, index: Tensor | slice) -> Tensor:
        """Return the kernel rows at an index."""
        first, *others = self._kernels
        rows = first[index]
        if others:
            rows = rows + others[0][index]
        for each in others[1:]:
            rows += each[index]
        return rows

    def _parts(self, rows: NDArray[np.int64]) -> Iterator[Tensor]:
        """Yield ``rows`` a few thousand at a time."""
        yield from torch.from_numpy(rows).split(_SQUARED_TOGETHER)


class DuplicateRidge:
    """Kernel ridge regression on N items that are their own landmarks, many of which are equal.

    Items are equal if they have the same ``group``. It is the same as :class:`ExactRidge`, in
    double precision, which many equal rows need, and at the price of a system as large as the
    groups are many.

    Args:
        kernel: the items' kernel [N, N]
        group: a number for each item [N]
    """

    def __init__(self, kernel: Tensor, group: NDArray[np.int64], ridge: float = RIDGE) -> None:
        _, first = np.unique(group, return_index=True)
        self._first = torch.from_numpy(first)
        columns = kernel[:, self._first]
        self._ridge = NystromRidge(columns, columns[self._first], ridge)

    def fit(
        self, targets: Tensor, labelled: BoolArray, asked: BoolArray | None = None
    ) -> FittedRidge:
        """Fit targets [N, V] of the ``labelled`` items [N]; the others do not count.

        Those of them that are ``asked`` [N], by default all, can be left out.
        """
        fitted = self._ridge.fit(targets, labelled, asked)
        coefficients = torch.zeros_like(targets)
        coefficients[self._first] = fitted.coefficients
        return replace(fitted, coefficients=coefficients, columns=self._first)


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
