"""A model and its classifier as one scorer: the category is one more property of the home's.

The classifier's situations are told from the model's by their names, so that both calibrations are
one. Items are compared by either only if their cells take it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.classification import Classifier
from experts.open_values import OpenValue
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from kg.home_ontology import VocabularyEdits
from schema.modalities import Modality
from schema.ontology import Ontology
from schema.property_maps import PropertyMap
from schema.terms import CATEGORY
from serving.calibration import FORMAT_VERSION
from serving.cells import ProvingScorer, Scorer, unknown_values
from serving.home_scorer import NO_EDITS, NO_MAP, HomeScorer

PREFIX = f"{CATEGORY}: "
"""How the names of the classifier's situations begin."""


@dataclass
class _Encoded:
    """Items, and what has been made of them: by the model of all, by the classifier of some."""

    items: Sequence[ItemInput]
    by_model: Any = None
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    by_classifier: list[Any] = field(default_factory=list)


class CategorizingScorer:
    """Scores the cells of a home's properties by a scorer, and its items' categories.

    Args:
        scorer: scores the properties, in the home's words
        classifier: scores the category
        home: the home's ontology
        property_map: which of its names and values are which of the model's
        edits: what a person has added to its vocabulary and taken out of it
    """

    def __init__(
        self,
        scorer: Scorer,
        classifier: Classifier,
        home: Ontology,
        property_map: PropertyMap = NO_MAP,
        edits: VocabularyEdits = NO_EDITS,
    ) -> None:
        self._scorer = scorer
        self._classifier = HomeScorer(classifier, home, property_map, edits)
        self.tree = classifier.tree
        self.ontology = Ontology(
            [*scorer.ontology.properties.values(), classifier.ontology[CATEGORY]],
            categories=scorer.ontology.categories,
            described=scorer.ontology.described,
            threshold=scorer.ontology.threshold,
        )
        self.calibration = joined_calibration(scorer.calibration, classifier.calibration)

    @property
    def name(self) -> str:
        """The model name that predictions carry."""
        return self._scorer.name

    @property
    def modalities(self) -> frozenset[Modality]:
        """The modalities that either reads."""
        return self._scorer.modalities | self._classifier.modalities

    def situation(self, item: ItemInput, cell: CellQuery) -> str:
        """Name what a cell is predicted from."""
        if cell.property == CATEGORY:
            return PREFIX + self._classifier.situation(item, cell)
        return self._scorer.situation(item, cell)

    def encode(self, items: Sequence[ItemInput]) -> _Encoded:
        """Return the items, to be encoded when their cells are scored."""
        return _Encoded(items)

    def score(self, encoded: _Encoded, cells: Sequence[CellQuery]) -> list[NDArray[np.float32]]:
        """Return the logits of each cell over ``ontology.values_of(property)``."""
        categories = [number for number, cell in enumerate(cells) if cell.property == CATEGORY]
        others = [number for number, cell in enumerate(cells) if cell.property != CATEGORY]
        scores: list[NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(cells)
        if others:
            found = self._scorer.score(
                self._encoded_by_model(encoded), [cells[number] for number in others]
            )
            for number, row in zip(others, found, strict=True):
                scores[number] = row
        of_categories = self._score_categories(encoded, [cells[number] for number in categories])
        for number, row in zip(categories, of_categories, strict=True):
            scores[number] = row
        return scores

    def proving_scores(
        self, encoded: _Encoded, cells: Sequence[CellQuery]
    ) -> list[NDArray[np.float32]] | None:
        """Return the logits by which precision is proven; None if those of :meth:`score` are."""
        if not isinstance(self._scorer, ProvingScorer):
            return None
        others = [cell for cell in cells if cell.property != CATEGORY]
        if not others:
            return None
        found = self._scorer.proving_scores(self._encoded_by_model(encoded), others)
        if found is None:
            return None
        of_others = iter(found)
        of_categories = iter(
            self._score_categories(encoded, [each for each in cells if each.property == CATEGORY])
        )
        return [
            next(of_categories) if cell.property == CATEGORY else next(of_others) for cell in cells
        ]

    def unknown_values(self, item: ItemInput, property: str) -> Sequence[OpenValue]:
        """Return values that the model does not know; of categories none are offered."""
        return () if property == CATEGORY else unknown_values(self._scorer, item, property)

    def _encoded_by_model(self, encoded: _Encoded) -> Any:
        if encoded.by_model is None:
            encoded.by_model = self._scorer.encode(encoded.items)
        return encoded.by_model

    def _score_categories(
        self, encoded: _Encoded, cells: Sequence[CellQuery]
    ) -> list[NDArray[np.float32]]:
        new = list(dict.fromkeys(cell.item for cell in cells))
        new = [item for item in new if item not in encoded.places]
        if new:
            batch = len(encoded.by_classifier)
            items = [encoded.items[item].without(Modality.CATEGORY) for item in new]
            encoded.by_classifier.append(self._classifier.encode(items))
            encoded.places |= {item: (batch, place) for place, item in enumerate(new)}
        scores: list[NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(cells)
        for batch, of_batch in enumerate(encoded.by_classifier):
            numbers = [
                number for number, cell in enumerate(cells) if encoded.places[cell.item][0] == batch
            ]
            queries = [
                CellQuery(encoded.places[cells[n].item][1], CATEGORY, cells[n].known)
                for n in numbers
            ]
            for number, row in zip(numbers, self._classifier.score(of_batch, queries), strict=True):
                scores[number] = row
        return scores


def joined_calibration(
    model: Mapping[str, Any] | None, classifier: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Return the calibrations of a model and of its classifier as one.

    Where the model's is of an earlier version, nothing of categories is proven.
    """
    if classifier is None or (model is not None and model.get("version") != FORMAT_VERSION):
        return None if model is None else dict(model)
    base: dict[str, Any] = {
        "version": FORMAT_VERSION,
        "cells": 0,
        "temperatures": {"global": 1.0, "situations": {}},
        "proven": {},
        **(model or {}),
    }
    situations = {
        PREFIX + name: fitted for name, fitted in classifier["temperatures"]["situations"].items()
    }
    for key in ("temperatures", "proving_temperatures"):
        if key in base:
            base[key] = {**base[key], "situations": {**base[key]["situations"], **situations}}
    proven = {PREFIX + name: each for name, each in classifier["proven"].items()}
    base["proven"] = {**base["proven"], **proven}
    return base
