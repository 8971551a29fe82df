"""Experts, and what a language model says of cells, as one scorer.

Cells that the model names no value for are the experts' alone, with their calibration. The others
are a situation of their own: the name of the experts' with ``+language model`` behind it.

Shapes: V values of a property.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.ensemble import ExpertEnsemble
from experts.joint_scorer import JointScorer
from experts.language_model.answers import CellAnswer
from experts.language_model.asking import Answers, LanguageModel
from experts.language_model.left_out import SOURCE, with_control
from experts.open_values import OpenValue
from experts.second_stage import SecondStage
from experts.situations import Situation
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.modalities import Modality
from schema.ontology import Ontology
from schema.progress import ProgressCallback, no_progress

_ENCODED = 128
"""Items that are scored at once to find the likeliest values of long vocabularies."""


def asked_name(situation: str) -> str:
    """Return the name of a situation in which a language model has named a value."""
    return f"{situation}+{SOURCE}"


@dataclass(frozen=True)
class EncodedForAsking:
    """Items, and what the experts have made of them."""

    items: Sequence[ItemInput]
    base: Any


class AskedScorer:
    """Scores cells by experts, and by a language model where that helps.

    It is asked when a cell is scored, in the form that is scored; or ahead, once for an item as it
    is, for however many forms of it are scored later (:meth:`ask_ahead`).

    Args:
        base: the experts, with their network if there is one
        model: the language model
        stage: where the language model joins, with which weights
        calibration: that of the base, with the situations in which the model has named a value
        calibrated: the names of these situations
    """

    reads_pixels = True
    reads_regions = False
    reads_details = True
    completes = True

    def __init__(
        self,
        base: ExpertEnsemble | JointScorer,
        model: LanguageModel,
        stage: SecondStage,
        calibration: dict[str, Any],
        calibrated: Collection[str],
    ) -> None:
        self.base = base
        self.experts = base.experts if isinstance(base, JointScorer) else base
        self.model = model
        self.stage = stage
        self.calibration = calibration
        self._calibrated = frozenset(calibrated)
        self._ahead: dict[tuple[str, str], CellAnswer | None] | None = None
        self._told: dict[_Form, CellAnswer | None] = {}

    @property
    def name(self) -> str:
        """The model name that predictions carry."""
        return self.base.name

    @property
    def ontology(self) -> Ontology:
        """The properties and values that it knows."""
        return self.base.ontology

    @property
    def path(self) -> Path:
        """The model folder."""
        return self.base.path

    @property
    def about(self) -> dict[str, Any]:
        """The content of ``config.json``."""
        return self.base.about

    @property
    def modalities(self) -> frozenset[Modality]:
        """The modalities that the experts read: what a language model reads more is no evidence."""
        return self.base.modalities

    def situation(self, item: ItemInput, cell: CellQuery) -> str:
        """Name what is known of an item, and whether the language model has named a value."""
        situation = self.experts.situation_of(item, cell)
        is_asked = self._joins(situation) and self._scores(item, cell) is not None
        return asked_name(situation.name) if is_asked else situation.name

    def _joins(self, situation: Situation) -> bool:
        is_calibrated = asked_name(situation.name) in self._calibrated
        return is_calibrated and bool(self.stage.joining(situation))

    def ask_ahead(
        self,
        items: Sequence[ItemInput],
        cells: Sequence[CellQuery],
        progress: ProgressCallback = no_progress,
    ) -> list[CellAnswer | None]:
        """Ask for cells of items as they are, and return the answers: None where there is none.

        From now on nothing else is asked, and an item's cell has this answer in whichever form it
        is scored. Cells for which the model does not join are not asked.
        """
        joined = [
            number
            for number, cell in enumerate(cells)
            if self._joins(self.experts.situation_of(items[cell.item], cell))
        ]
        answers = self._ask(items, [cells[number] for number in joined], progress)
        every: list[CellAnswer | None] = [None] * len(cells)
        self._ahead = {}
        for number, answer in zip(joined, answers.cells, strict=True):
            every[number] = answer
            cell = cells[number]
            self._ahead[items[cell.item].id, cell.property] = answer
        return every

    def _ask(
        self,
        items: Sequence[ItemInput],
        cells: Sequence[CellQuery],
        progress: ProgressCallback = no_progress,
    ) -> Answers:
        most = self.model.settings.values_per_property
        logits: list[NDArray[np.float32] | None] = [None] * len(cells)
        long = [
            number
            for number, cell in enumerate(cells)
            if len(self.ontology.values_of(cell.property)) > most
        ]
        by_item: dict[int, list[int]] = defaultdict(list)
        for number in long:
            by_item[cells[number].item].append(number)
        indexes = list(by_item)
        for start in range(0, len(indexes), _ENCODED):
            part = indexes[start : start + _ENCODED]
            encoded: Any = self.base.encode([items[index] for index in part])
            numbers = [number for index in part for number in by_item[index]]
            place = {index: place for place, index in enumerate(part)}
            queries = [_moved(cells[number], place[cells[number].item]) for number in numbers]
            for number, row in zip(numbers, self.base.score(encoded, queries), strict=True):
                logits[number] = row
        return self.model.ask(self.ontology, items, cells, logits=logits, progress=progress)

    def encode(self, items: Sequence[ItemInput]) -> EncodedForAsking:
        """Encode titles and images for the experts."""
        base: Any = self.base.encode(items)
        batches = base if isinstance(base, list) else base.experts
        # As the experts see them: an image that cannot be read is missing.
        seen = [item for batch in batches for item in batch.items]
        return EncodedForAsking(seen, base)

    def score(
        self, encoded: EncodedForAsking, cells: Sequence[CellQuery]
    ) -> list[NDArray[np.float32]]:
        """Return the logits of each cell over ``ontology.values_of(property)``.

        Raises PropertyNotFoundError on a property that the model does not know.
        """
        logits = self.base.score(encoded.base, cells)
        situations = {}
        for number, cell in enumerate(cells):
            situation = self.experts.situation_of(encoded.items[cell.item], cell)
            if self._joins(situation):
                situations[number] = situation
        if self._ahead is None:
            self._ask_now(encoded.items, [cells[number] for number in situations])
        groups: dict[tuple[Situation, str], list[tuple[int, NDArray[np.float32]]]] = defaultdict(
            list
        )
        for number, situation in situations.items():
            scores = self._scores(encoded.items[cells[number].item], cells[number])
            if scores is not None:
                groups[situation, cells[number].property].append((number, scores))
        for (situation, property), members in groups.items():
            own = np.stack([logits[number] for number, _ in members])
            told = np.stack([scores for _, scores in members])
            rows = self.stage.join(situation, property, own, with_control(told))
            for (number, _), row in zip(members, rows, strict=True):
                logits[number] = row
        return logits

    def _ask_now(self, items: Sequence[ItemInput], cells: Sequence[CellQuery]) -> None:
        new = {
            form: cell
            for cell in cells
            if (form := _Form.of(items[cell.item], cell)) not in self._told
        }
        if new:
            answers = self._ask(items, list(new.values()))
            self._told |= dict(zip(new, answers.cells, strict=True))

    def _scores(self, item: ItemInput, cell: CellQuery) -> NDArray[np.float32] | None:
        """Return what the model says of a cell [V]; None if it names no value, or was not asked."""
        if self._ahead is None:
            answer = self._told.get(_Form.of(item, cell))
        else:
            answer = self._ahead.get((item.id, cell.property))
        if answer is None:
            return None
        return answer.scores(len(self.ontology.values_of(cell.property)))

    def unknown_values(self, item: ItemInput, property: str) -> Sequence[OpenValue]:
        """Return values of an item's property that the experts do not know, the best first."""
        return self.base.unknown_values(item, property)

    def proving_scores(
        self, encoded: EncodedForAsking, cells: Sequence[CellQuery]
    ) -> list[NDArray[np.float32]]:
        """Return the logits by which precision is proven: those of the experts alone."""
        base = encoded.base if isinstance(encoded.base, list) else encoded.base.experts
        return self.experts.score(base, cells)


@dataclass(frozen=True)
class _Form:
    """A cell in the form in which it is scored: what is told of the item."""

    item: str
    property: str
    title: str | None
    description: str | None
    category: tuple[str, ...]
    has_image: bool
    known: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, item: ItemInput, cell: CellQuery) -> _Form:
        return cls(
            item.id,
            cell.property,
            item.title or None,
            item.description or None,
            item.category if cell.category is None else cell.category,
            item.image is not None,
            frozenset(each for each in cell.known if each[0] != cell.property),
        )


def _moved(cell: CellQuery, item: int) -> CellQuery:
    return CellQuery(item, cell.property, cell.known, cell.category)
