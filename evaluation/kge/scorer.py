"""An embedding as a scorer of cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.kge.folding import TrainedEmbedding
from evaluation.kge.settings import INTERACTIONS, EmbeddingSettings
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery, situation_of
from schema.modalities import Modality
from schema.ontology import Ontology


class EmbeddingScorer:
    """Scores the cells of any item, which is folded in by its known statements.

    Those of the asked property are never used. A cell without any is scored with the mean vector of
    the trained items, since an embedding reads neither titles nor images.
    """

    modalities = frozenset({Modality.STATEMENTS})

    def __init__(
        self, ontology: Ontology, embedding: TrainedEmbedding, settings: EmbeddingSettings
    ) -> None:
        self.name = INTERACTIONS[settings.interaction]
        self.ontology = ontology
        self.calibration: dict[str, Any] | None = None
        self.embedding = embedding
        self.settings = settings

    def situation(self, item: ItemInput, cell: CellQuery) -> str:
        """Name the modalities that a cell is predicted from."""
        return situation_of(item, cell)

    def encode(self, items: Sequence[ItemInput]) -> None:
        """Do nothing: only the statements matter, which come with the cells."""

    def score(self, encoded: None, cells: Sequence[CellQuery]) -> list[NDArray[np.float32]]:
        """Return the embedding's scores over the property's values."""
        numbers = self.embedding.numbers
        known = [
            numbers.values_known(pair for pair in cell.known if pair[0] != cell.property)
            for cell in cells
        ]
        # A vector depends on the known statements alone, so cells with the same ones share it.
        row_of = {statements: row for row, statements in enumerate(dict.fromkeys(known))}
        vectors = self.embedding.fold_in(
            list(row_of), learning_rate=self.settings.learning_rate, steps=self.settings.steps
        )
        scores = [
            np.zeros(len(self.ontology.values_of(cell.property)), np.float32) for cell in cells
        ]
        for number, name in enumerate(numbers.properties):
            asked = [index for index, cell in enumerate(cells) if cell.property == name]
            if asked:
                rows = torch.tensor([row_of[known[index]] for index in asked])
                found = self.embedding.scores(vectors[rows], number).float().numpy()
                for index, row in zip(asked, found, strict=True):
                    scores[index] = row
        return scores
