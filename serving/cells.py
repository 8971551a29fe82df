"""Scoring cells: the interface of a scorer, the situation of a cell, logits to probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from experts.open_values import OpenValue
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.arrays import FloatArray
from schema.modalities import Modality
from schema.ontology import Ontology

MAX_CELLS_PER_CALL = 4096
"""Cells passed to a scorer at once, so that memory stays flat however many cells an item has."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One property of one item; ``item`` is the item's index."""

    item: int
    property: str


class Scorer(Protocol):
    """A model that scores cells.

    For example :class:`fusion.inference.scorer.CellScorer`, a baseline, or a fake in the tests.
    """

    @property
    def name(self) -> str:
        """The model name that predictions carry."""

    @property
    def ontology(self) -> Ontology:
        """The properties and values that it can score."""

    @property
    def calibration(self) -> dict[str, Any] | None:
        """The result of :func:`serving.calibration.calibrate`; None if never calibrated."""

    @property
    def modalities(self) -> frozenset[Modality]:
        """The modalities that it reads; the others of an item make no difference."""

    def situation(self, item: ItemInput, cell: CellQuery) -> str:
        """Name what a cell is predicted from, as far as its probabilities are calibrated apart.

        For example by :func:`fusion.inference.scorer.situation_of`.
        """

    def encode(self, items: Sequence[ItemInput]) -> Any:
        """Encode titles and images, the expensive part."""

    def score(self, encoded: Any, cells: Sequence[CellQuery]) -> list[NDArray[np.float32]]:
        """Return the logits of each cell over ``ontology.values_of(property)``.

        A scorer that knows how probable it is that the cell has another value, which is not among
        these, appends the logit of that.
        """


@runtime_checkable
class ExtendableScorer(Scorer, Protocol):
    """A scorer that can score values it was not trained on, by their text."""

    def with_values(self, added: Mapping[str, Sequence[str]]) -> Scorer:
        """Return a scorer with further values of properties, behind those that it has.

        Their counts are 0.
        """


@runtime_checkable
class OpenVocabularyScorer(Scorer, Protocol):
    """A scorer that also offers values that it does not know, from an item's title."""

    def unknown_values(self, item: ItemInput, property: str) -> Sequence[OpenValue]:
        """Return such values, the best first.

        Their probabilities are those that the cell has the value if it has one that the scorer does
        not know; the logit of that is the last one of :meth:`score`.
        """


def unknown_values(scorer: Scorer, item: ItemInput, property: str) -> Sequence[OpenValue]:
    """Return values that a scorer does not know and offers all the same; most offer none."""
    if isinstance(scorer, OpenVocabularyScorer):
        return scorer.unknown_values(item, property)
    return ()


@runtime_checkable
class ProvingScorer(Scorer, Protocol):
    """A scorer whose precision is proven by other scores than those that rank the values."""

    def proving_scores(
        self, encoded: Any, cells: Sequence[CellQuery]
    ) -> list[NDArray[np.float32]] | None:
        """Return the logits of each cell by which precision is proven; None if by those of
        :meth:`score`.
        """


def probabilities(logits: NDArray[Any], temperature: float = 1.0) -> FloatArray:
    """Return the softmax of logits [..., V] / temperature over the property's values."""
    return np.asarray(softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=-1))


@dataclass(frozen=True)
class Prediction:
    """Probabilities of a property's V values, and of another one.

    ``candidates`` [..., V] sum to 1 - ``other`` [...], which is 0 if the scorer does not tell.
    """

    candidates: FloatArray
    other: FloatArray


def predict(logits: NDArray[Any], values: int, temperature: float = 1.0) -> Prediction:
    """Return the probabilities that logits [..., V] or [..., V + 1] of ``values`` V mean."""
    every = probabilities(logits, temperature)
    return Prediction(every[..., :values], every[..., values:].sum(-1))


def score_in_chunks(
    scorer: Scorer, encoded: Any, cells: Sequence[CellQuery]
) -> list[NDArray[np.float32]]:
    """Score any number of cells in flat memory; see :meth:`Scorer.score`."""
    return [
        logits
        for start in range(0, len(cells), MAX_CELLS_PER_CALL)
        for logits in scorer.score(encoded, cells[start : start + MAX_CELLS_PER_CALL])
    ]


def proving_in_chunks(
    scorer: Scorer, encoded: Any, cells: Sequence[CellQuery]
) -> list[NDArray[np.float32]] | None:
    """Return the logits by which a scorer's precision is proven; None if by those that it gives."""
    if not isinstance(scorer, ProvingScorer):
        return None
    rows = []
    for start in range(0, len(cells), MAX_CELLS_PER_CALL):
        part = scorer.proving_scores(encoded, cells[start : start + MAX_CELLS_PER_CALL])
        if part is None:
            return None
        rows += part
    return rows
