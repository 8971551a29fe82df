"""A scorer that stands in for a model: it looks for value names in titles and images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery, situation_of
from schema.modalities import NETWORK_MODALITIES
from schema.ontology import Ontology, PropertySpec

COLOURS = ("black", "white", "red", "blue")
KINDS = ("mug", "lamp")
EVERYWHERE = {"home": 1.0, "home > mugs": 1.0}
ONTOLOGY = Ontology(
    [
        PropertySpec(
            "colour", values=COLOURS, counts=(40, 30, 20, 10), applies_to=EVERYWHERE, coverage=1.0
        ),
        PropertySpec("kind", values=KINDS, counts=(60, 40), applies_to=EVERYWHERE, coverage=1.0),
        PropertySpec(
            "holds", values=("tea",), counts=(60,), applies_to={"home > mugs": 1.0}, coverage=0.3
        ),
    ],
    categories={"home": 100, "home > mugs": 60},
)


class FakeScorer:
    """Scores a value by what the item says about it.

    A value gets ``title_weight`` if it is a word of the title, and ``image_weight`` if it equals
    the image, which is given as a string. "blue" gets ``known_weight`` if (kind, lamp) is known.
    """

    def __init__(
        self,
        title_weight: float = 4.0,
        image_weight: float = 2.0,
        known_weight: float = 1.0,
        calibration: dict[str, Any] | None = None,
        ontology: Ontology = ONTOLOGY,
    ) -> None:
        self.name = "fake"
        self.modalities = NETWORK_MODALITIES
        self.ontology = ontology
        self.calibration = calibration
        self.title_weight = title_weight
        self.image_weight = image_weight
        self.known_weight = known_weight
        self.encoded_items: Counter[str] = Counter()
        self.encode_calls = 0
        self.queries: list[CellQuery] = []

    def situation(self, item: ItemInput, cell: CellQuery) -> str:
        """Name the modalities that a cell is predicted from."""
        return situation_of(item, cell)

    def encode(self, items: Sequence[ItemInput]) -> list[ItemInput]:
        self.encode_calls += 1
        self.encoded_items.update(item.id for item in items)
        return list(items)

    def score(self, encoded: list[ItemInput], cells: Sequence[CellQuery]) -> list[np.ndarray]:
        self.queries += cells
        return [self._logits(encoded[cell.item], cell) for cell in cells]

    def _logits(self, item: ItemInput, cell: CellQuery) -> np.ndarray:
        words = (item.title or "").split()
        hint = "blue" if ("kind", "lamp") in cell.known and cell.property != "kind" else None
        scores = [
            self.title_weight * (value in words)
            + self.image_weight * (value == item.image)
            + self.known_weight * (value == hint)
            for value in self.ontology.values_of(cell.property)
        ]
        return np.array(scores, dtype=np.float32)
