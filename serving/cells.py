"""What completion asks of a model: a scorer's face, the situation that a cell is asked in, logits to probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.ontology import Ontology

__all__ = ["CellQuery", "ItemInput", "Scorer", "probabilities", "score_in_chunks", "situation_of"]

CHUNK = 4096
"""Cells scored at once: keeps memory flat however many cells an item has."""


class Scorer(Protocol):
    """A model that scores cells: :class:`fusion.inference.scorer.CellScorer`, a baseline, or a test's stand-in."""

    @property
    def name(self) -> str:
        """What predictions are signed with."""

    @property
    def ontology(self) -> Ontology:
        """The properties and values that it can score."""

    @property
    def calibration(self) -> dict[str, Any] | None:
        """What :func:`serving.calibration.calibrate` gave, or None."""

    def encode(self, items: Sequence[ItemInput]) -> Any:
        """Read titles and images: the dear part."""

    def score(self, encoded: Any, cells: Sequence[CellQuery]) -> list[NDArray[np.float32]]:
        """Logits over ``ontology.values_of(property)``, an array a cell."""


def situation_of(title: object, image: object, known: object) -> str:
    """Name what a cell is asked with, like ``title+image+known``; ``nothing`` where all three are missing."""
    parts = [
        name
        for name, there in (("title", title), ("image", image), ("known", known))
        if there is not None and there is not False
    ]
    return "+".join(parts) or "nothing"


def probabilities(logits: NDArray[Any], temperature: float = 1.0) -> NDArray[np.float64]:
    """Softmax over the last axis, the property's values, after division by the temperature: [..., V] to [..., V]."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled = np.exp(scaled - scaled.max(-1, keepdims=True))
    return np.asarray(scaled / scaled.sum(-1, keepdims=True))


def score_in_chunks(
    scorer: Scorer, encoded: Any, cells: Sequence[CellQuery]
) -> list[NDArray[np.float32]]:
    """:meth:`Scorer.score` for any number of cells in flat memory."""
    return [
        logits
        for start in range(0, len(cells), CHUNK)
        for logits in scorer.score(encoded, cells[start : start + CHUNK])
    ]
