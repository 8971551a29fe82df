"""How probable stored values are given the rest of their items, and by each part alone.

Shapes: N items, C cells, V values of a property.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from experts.left_out import Knowledge, LeftOutEnsemble
from experts.situations import others_of
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.arrays import BoolArray, FloatArray
from schema.modalities import CONTENT_MODALITIES, Modality
from schema.ontology import PropertySpec
from serving.audit.findings import Finding, Kind, Looked, NotLookedAt, Proposed
from serving.calibration import Calibration
from serving.cells import Prediction, Scorer, predict, score_in_chunks
from serving.estimates import NUMBERS, Estimator
from serving.several_values import SeveralValues

TOLERANCE = 0.1
"""Numbers that differ by no more than this share are the same, as far as an audit is concerned."""
MAX_PROPOSED = 3
_TOGETHER = 96
ALONE = (Modality.TITLE, Modality.DESCRIPTION, Modality.IMAGE)
"""The parts by each of which alone a value is judged as well."""


class Judge(Protocol):
    """A model, and what it may be asked about."""

    @property
    def scorer(self) -> Scorer:
        """The model."""

    def refusal(self, item: ItemInput, property: str) -> NotLookedAt | None:
        """Return why it cannot judge a cell of an item; None if it can."""

    def category_for(self, item: ItemInput, property: str) -> tuple[str, ...]:
        """Return the levels of the category that may be used for a cell."""


@dataclass(frozen=True)
class LeavingOut:
    """Experts that leave out the items that they have learned from."""

    scorer: LeftOutEnsemble

    def refusal(self, item: ItemInput, property: str) -> NotLookedAt | None:
        """Refuse items that have changed since they were learned from."""
        changed = self.scorer.knowledge(item, property) is Knowledge.CHANGED
        return NotLookedAt.CHANGED if changed else None

    def category_for(self, item: ItemInput, property: str) -> tuple[str, ...]:
        """Return the levels that do not say the item's own value."""
        return self.scorer.category_for(item, property)


@dataclass(frozen=True)
class Memorising:
    """A model that has learned from some items, by their ids, and cannot leave them out."""

    scorer: Scorer
    learned: Collection[str]

    def refusal(self, item: ItemInput, property: str) -> NotLookedAt | None:
        """Refuse the items that it has learned from."""
        return NotLookedAt.MEMORISED if item.id in self.learned else None

    def category_for(self, item: ItemInput, property: str) -> tuple[str, ...]:
        """Return all levels."""
        return item.category


@dataclass(frozen=True)
class Judged:
    """A cell with stored values, as the model judges it from the rest of the item.

    Attributes:
        item: the item's number
        property: the property
        stored: the positions of the values in the model's vocabulary
        texts: the values as they are stored
        whole: by everything else that is known of the item
        situation: what that is
        alone: by each part alone that the item has
        is_own: for each of the values, whether no other item has it, as far as the model knows
    """

    item: int
    property: str
    stored: tuple[int, ...]
    texts: tuple[str, ...]
    whole: Prediction
    situation: str
    alone: Mapping[Modality, FloatArray]
    is_own: tuple[bool, ...]


def judge_cells(
    judge: Judge,
    items: Sequence[ItemInput],
    indexes: Sequence[int],
    properties: Collection[str],
    looked: Looked,
) -> Iterator[tuple[int, list[Judged]]]:
    """Yield how many items were looked at, some dozen at once, and their judged cells.

    ``looked`` counts statements and items.

    ``properties`` are those that are to be judged.
    """
    calibration = Calibration(judge.scorer.calibration)
    for start in range(0, len(indexes), _TOGETHER):
        part = indexes[start : start + _TOGETHER]
        yield len(part), _judge(judge, calibration, items, part, properties, looked)


@dataclass(frozen=True)
class _Asked:
    item: int
    property: str
    stored: tuple[int, ...]
    texts: tuple[str, ...]
    parts: Sequence[Modality | None]
    situations: Sequence[str]


def _judge(
    judge: Judge,
    calibration: Calibration,
    items: Sequence[ItemInput],
    indexes: Sequence[int],
    properties: Collection[str],
    looked: Looked,
) -> list[Judged]:
    scorer = judge.scorer
    inputs: list[ItemInput] = []
    queries: list[CellQuery] = []
    asked: list[_Asked] = []
    for index in indexes:
        item = items[index]
        stored: dict[str, list[str]] = {}
        for name, value in item.known:
            if name in properties:
                stored.setdefault(name, []).append(value)
        forms = _forms(item, scorer.modalities)
        first = len(inputs)
        inputs += forms.values()
        has_any = False
        for name, texts in stored.items():
            spec = scorer.ontology.properties.get(name)
            if spec is None or not spec.values:
                looked.not_looked_at[NotLookedAt.NOT_LEARNED] += len(texts)
                continue
            places = [(spec.position(text), text) for text in texts]
            known = [(place, text) for place, text in places if place is not None]
            if len(known) < len(places):
                looked.not_looked_at[NotLookedAt.UNKNOWN_VALUE] += len(places) - len(known)
            if not known:
                continue
            refusal = judge.refusal(item, name)
            if refusal is not None:
                looked.not_looked_at[refusal] += len(known)
                continue
            looked.statements += len(known)
            has_any = True
            others = others_of(item.known, name)
            category = judge.category_for(item, name)
            situations = []
            for number, (part, form) in enumerate(forms.items(), first):
                # A part alone is asked without statements, and statements alone without a part.
                is_content = part in ALONE
                query = CellQuery(
                    number,
                    name,
                    () if is_content else others,
                    () if part is not None else category,
                )
                queries.append(query)
                situations.append(scorer.situation(form, query))
            asked.append(
                _Asked(
                    index,
                    name,
                    tuple(place for place, _ in known),
                    tuple(text for _, text in known),
                    list(forms),
                    situations,
                )
            )
        looked.items += has_any
    if not queries:
        return []
    rows = iter(score_in_chunks(scorer, scorer.encode(inputs), queries))
    return [_judged(scorer, calibration, each, rows) for each in asked]


def _forms(item: ItemInput, read: Collection[Modality]) -> dict[Modality | None, ItemInput]:
    """Return an item whole (None), and each of its parts alone."""
    forms: dict[Modality | None, ItemInput] = {None: item}
    present = item.content_modalities(read)
    for part in ALONE:
        if part in present:
            alone = item
            for other in CONTENT_MODALITIES:
                if other is not part:
                    alone = alone.without(other)
            forms[part] = alone
    if item.known:
        nothing = item
        for other in CONTENT_MODALITIES:
            nothing = nothing.without(other)
        forms[Modality.STATEMENTS] = nothing
    return forms


def _judged(scorer: Scorer, calibration: Calibration, asked: _Asked, rows: Iterator[Any]) -> Judged:
    spec = scorer.ontology[asked.property]
    predictions: dict[Modality | None, Prediction] = {}
    for part, situation in zip(asked.parts, asked.situations, strict=True):
        temperature = calibration.proving_temperature(situation, asked.property)
        predictions[part] = predict(next(rows), len(spec.values), temperature)
    return Judged(
        asked.item,
        asked.property,
        asked.stored,
        asked.texts,
        predictions[None],
        asked.situations[0],
        {part: each.candidates for part, each in predictions.items() if part is not None},
        tuple(spec.counts[place] <= 1 for place in asked.stored),
    )


class ValueFindings:
    """Turns judged cells into findings.

    Args:
        scorer: the model
    """

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.several = SeveralValues(scorer.calibration)
        self.estimator = Estimator(scorer.ontology, scorer.calibration)
        self._numbers: dict[str, FloatArray | None] = {}

    def of(self, item: str, cell: Judged) -> Iterator[Finding]:
        """Yield findings about the values of a cell that are less probable than another."""
        spec = self.scorer.ontology[cell.property]
        for number, (place, text) in enumerate(zip(cell.stored, cell.texts, strict=True)):
            numbers = self.numbers_of(spec)
            if len(cell.stored) == 1 and numbers is not None and np.isfinite(numbers[place]):
                finding = self._of_number(item, cell, spec, numbers)
            else:
                finding = self._of_value(item, cell, spec, number, place, text)
            if finding is not None:
                yield finding

    def _of_value(
        self, item: str, cell: Judged, spec: PropertySpec, number: int, place: int, text: str
    ) -> Finding | None:
        candidates = cell.whole.candidates
        others = np.zeros(len(candidates), bool)
        others[[each for each in cell.stored if each != place]] = True
        if spec.name in self.several.properties:
            candidates = self.several.probabilities(spec.name, candidates, others)
            stored = float(candidates[place])
        else:
            # Several values of a cell share what is sure.
            stored = min(1.0, float(candidates[place]) * len(cell.stored))
        if cell.is_own[number]:
            # Without the item nobody has the value, and it is as probable as any that nobody has.
            stored = min(1.0, stored + float(cell.whole.other))
        rest = np.where(others, 0.0, candidates)
        rest[place] = 0.0
        best = np.argsort(-rest, kind="stable")[:MAX_PROPOSED]
        gain = float(rest[best[0]]) - stored if len(spec.values) > 1 else 0.0
        if gain <= 0:
            return None
        return Finding(
            item,
            cell.property,
            text,
            stored,
            tuple(Proposed(spec.values[each], float(rest[each])) for each in best if rest[each]),
            Kind.VALUE,
            gain,
            _evidence(cell, place, int(best[0]), spec),
        )

    def _of_number(
        self, item: str, cell: Judged, spec: PropertySpec, numbers: FloatArray
    ) -> Finding | None:
        """Compare a number with the estimate: a tenth more or less is the same."""
        (place,) = cell.stored
        candidates = cell.whole.candidates
        estimate = self.estimator.estimate(spec.name, cell.situation, candidates)
        if estimate is None:
            return None
        best = spec.position(estimate.value)
        if best is None:
            return None
        near_stored = _near(numbers, place)
        near_best = _near(numbers, best)
        stored = float(candidates[near_stored].sum())
        if cell.is_own[0]:
            stored = min(1.0, stored + float(cell.whole.other))
        probability = float(candidates[near_best].sum())
        gain = probability - stored
        if gain <= 0 or near_stored[best]:
            return None
        evidence = _evidence(cell, place, best, spec)
        if estimate.low is not None and estimate.high is not None:
            interval = [estimate.low, estimate.high]
            ends = [numbers[spec.position(each) or 0] for each in interval]
            is_outside = not ends[0] <= numbers[place] <= ends[1]
            evidence = [*evidence, {"interval": interval, "outside": bool(is_outside)}]
        return Finding(
            item,
            cell.property,
            cell.texts[0],
            stored,
            (Proposed(estimate.value, probability),),
            Kind.NUMBER,
            gain,
            evidence,
        )

    def numbers_of(self, spec: PropertySpec) -> FloatArray | None:
        """Return the numbers [V] of a property's values, NaN for what is none.

        None if the property has no numbers.
        """
        if spec.name not in self._numbers:
            found = None
            if spec.datatype in NUMBERS:
                parsed = [spec.parse(value) for value in spec.values]
                found = np.array(
                    [float(each) if isinstance(each, int | float) else np.nan for each in parsed]
                )
            self._numbers[spec.name] = found
        return self._numbers[spec.name]


def _near(numbers: FloatArray, place: int) -> BoolArray:
    """Return which numbers [V] are the same as one of them, but for the tolerance."""
    number = numbers[place]
    near: BoolArray = np.abs(numbers - number) <= TOLERANCE * np.abs(number)
    near[place] = True
    return near


def _evidence(cell: Judged, stored: int, best: int, spec: PropertySpec) -> list[dict[str, Any]]:
    """Return what each part alone says of the stored value and of the best other one."""
    return [
        {
            "part": part.value,
            "says": spec.values[int(predicted.argmax())],
            "stored": round(float(predicted[stored]), 4),
            "proposed": round(float(predicted[best]), 4),
        }
        for part, predicted in cell.alone.items()
    ]
