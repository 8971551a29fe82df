"""A scorer that stands in for a model: it reads titles as value names and says so with a chosen strength."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
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
    """Adds ``title_weight`` where the value stands in the title, ``image_weight`` to the value that is the image's name,
    and ``known_weight`` times to "blue" where (kind, lamp) is known."""

    def __init__(
        self,
        title_weight: float = 4.0,
        image_weight: float = 2.0,
        known_weight: float = 1.0,
        calibration: dict[str, Any] | None = None,
        ontology: Ontology = ONTOLOGY,
    ) -> None:
        self.name = "fake"
        self.ontology = ontology
        self.calibration = calibration
        self.weights = title_weight, image_weight, known_weight
        self.encoded: Counter[str] = Counter()
        self.calls = 0
        self.asked: list[CellQuery] = []

    def encode(self, items: Sequence[ItemInput]) -> list[ItemInput]:
        self.calls += 1
        self.encoded.update(item.id for item in items)
        return list(items)

    def score(self, encoded: list[ItemInput], cells: Sequence[CellQuery]) -> list[np.ndarray]:
        self.asked += cells
        return [self._logits(encoded[cell.item], cell) for cell in cells]

    def _logits(self, item: ItemInput, cell: CellQuery) -> np.ndarray:
        values = self.ontology.values_of(cell.property)
        title, image, known = self.weights
        clue = "blue" if ("kind", "lamp") in cell.known and cell.property != "kind" else None
        scores = [
            title * (v in (item.title or "").split())
            + image * (v == item.image)
            + known * (v == clue)
            for v in values
        ]
        return np.array(scores, dtype=np.float32)
