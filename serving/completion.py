"""Complete cells: rank a property's values, decide by a target precision, and give evidence.

A cell is decided by the first rule that applies:

- ``fill``: the best value's probability reaches the threshold that proves the target precision (see
  :mod:`serving.proof`), and another value, which is none of the candidates, is less probable.
- ``abstain``: the best value's probability is below 0.2, or the predicted distribution lies within
  0.05 nats of the property's value frequencies. There is too little evidence about this item, and a
  reviewer would be shown the base rate.
- ``review``: everything else.

A value that the model has not seen in training is never filled: nothing is proven about it. Values
may be withheld, those of a property that a person has taken out of the ontology and those of a cell
that a person rejected. They keep their probability, which nothing else gets. A cell whose property
does not apply to its item, and that is asked because somebody named it, is not filled either.

The target precision and the probability from which on a person is asked may differ from cell to
cell (see :mod:`schema.decisions`).

Evidence comes from leaving out the title, the description, the category, the image, and each known
statement in turn. An effect is the best value's probability with everything minus its probability
without that one input, each calibrated for the situation that remains.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

from experts.open_values import OpenValue
from fusion.inference.featurizer import ItemInput, PropertyValue
from fusion.inference.scorer import ENCODE_BATCH, CellQuery
from schema.arrays import BoolArray, FloatArray
from schema.frequencies import value_frequencies
from schema.modalities import CONTENT_MODALITIES, Modality
from schema.ontology import PropertySpec
from schema.progress import ProgressCallback, no_progress
from schema.unasked import Unasked
from serving.calibration import TARGET_PRECISION, Calibration
from serving.cells import (
    Cell,
    Prediction,
    Scorer,
    predict,
    proving_in_chunks,
    score_in_chunks,
    unknown_values,
)
from serving.estimates import Estimate, Estimator
from serving.several_values import SeveralValues

MIN_PROBABILITY = 0.2
"""A best value below this probability counts as too little evidence."""
MIN_INFORMATION = 0.05
"""Nats by which a prediction must differ from the property's value frequencies (KL divergence)."""
Decision = Literal["fill", "review", "abstain"]


class Source(StrEnum):
    """Where a candidate comes from."""

    VOCABULARY = "vocabulary"
    """The model knows the value."""
    TITLE = "title"
    """The model does not know it, and the item's title says it."""


@dataclass(frozen=True)
class Candidate:
    """A value and its calibrated probability.

    ``span`` are the characters of the title that say it, if it comes from there.
    """

    value: str
    probability: float
    source: Source = Source.VOCABULARY
    span: tuple[int, int] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data; a value that the model knows has no further keys."""
        document = {"value": self.value, "probability": round(self.probability, 6)}
        if self.span is None:
            return document
        return {**document, "source": self.source.value, "span": list(self.span)}


@dataclass(frozen=True)
class StatementEffect:
    """How much a known statement raised the best value's probability."""

    property: str
    value: str
    effect: float


@dataclass(frozen=True)
class Evidence:
    """How much each input raised the best value's probability; negative effects lowered it.

    ``modalities`` has an entry for each content modality that the item has and the model reads.
    ``statements`` are sorted by the size of their effect, largest first. ``language_model`` is what
    one answered for the cell, if it was asked; the effects are those beside its answer.
    """

    modalities: Mapping[Modality, float] = field(default_factory=dict)
    statements: tuple[StatementEffect, ...] = ()
    language_model: Mapping[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, with None for what the item lacks or the model does not read."""
        effects: dict[str, Any] = {}
        for modality in CONTENT_MODALITIES:
            effect = self.modalities.get(modality)
            effects[modality.value] = None if effect is None else _rounded(effect)
        effects[Modality.STATEMENTS.value] = [
            {"property": each.property, "value": each.value, "effect": _rounded(each.effect)}
            for each in self.statements
        ]
        if self.language_model is not None:
            effects["language_model"] = dict(self.language_model)
        return effects


@dataclass(frozen=True)
class Completion:
    """The result for one cell.

    It has no candidates if the model does not know the property, or if no value may be offered.
    ``reason`` says why a cell is refused. ``proven`` is the highest precision that is proven for a
    cell as probable as this one, if it may be filled; None if none is. ``another_value`` is the
    probability that the value is none of those that are known or offered; None if the scorer does
    not tell. ``estimate`` is that of a number. ``contradicts`` is a statement of the item that does
    not go with the best value (see :mod:`serving.dependencies`). ``several`` are the values to fill
    of a property that may have several, whose probabilities need not sum to 1.
    """

    item: str
    property: str
    candidates: tuple[Candidate, ...]
    decision: Decision
    evidence: Evidence
    reason: Unasked | None = None
    proven: float | None = None
    another_value: float | None = None
    estimate: Estimate | None = None
    contradicts: PropertyValue | None = None
    several: tuple[Candidate, ...] | None = None

    def filled_values(self) -> tuple[Candidate, ...]:
        """Return what the cell is filled with."""
        if self.decision != "fill":
            return ()
        return self.candidates[:1] if self.several is None else self.several

    @classmethod
    def refused(cls, item: str, property: str, reason: Unasked) -> Completion:
        """Return the result for a cell that is not asked."""
        return cls(item, property, (), "abstain", Evidence(), reason)

    def as_dict(self) -> dict[str, Any]:
        """Return the line that ``catalograph complete`` writes, as plain data."""
        document: dict[str, Any] = {
            "item": self.item,
            "property": self.property,
            "candidates": [each.as_dict() for each in self.candidates],
            "decision": self.decision,
            "evidence": self.evidence.as_dict(),
        }
        if self.proven is not None:
            document["proven"] = self.proven
        if self.reason is not None:
            document["reason"] = self.reason.value
        if self.another_value is not None:
            document["another_value"] = round(self.another_value, 6)
        if self.estimate is not None:
            document["estimate"] = self.estimate.as_dict()
        if self.several is not None:
            document["values"] = [each.value for each in self.filled_values()]
        if self.contradicts is not None:
            name, value = self.contradicts
            document["contradicts"] = {"property": name, "value": value}
        return document


@dataclass(frozen=True)
class Withheld:
    """Values that are never offered.

    Attributes:
        of_property: by property
        of_cell: by an item's id and a property
    """

    of_property: Mapping[str, Collection[str]] = field(default_factory=dict)
    of_cell: Mapping[tuple[str, str], Collection[str]] = field(default_factory=dict)

    def offered(self, item: str, spec: PropertySpec, unknown: Sequence[str] = ()) -> BoolArray:
        """Return which of a property's values and ``unknown`` ones [V + K] an item is offered."""
        withheld = (*self.of_property.get(spec.name, ()), *self.of_cell.get((item, spec.name), ()))
        offered = np.ones(len(spec.values), bool)
        for text in withheld:
            position = spec.position(text)
            if position is not None:
                offered[position] = False
        keys = {spec.key(text) for text in withheld}
        return np.append(offered, [spec.key(text) not in keys for text in unknown]).astype(bool)


NOTHING_WITHHELD = Withheld()


def fills(
    predicted: FloatArray,
    threshold: float | None,
    best: float | None = None,
    proving: float | None = None,
) -> bool:
    """Return whether a cell is filled; the arguments are those of :func:`decide`."""
    best = float(predicted.max()) if best is None else best
    proving = best if proving is None else proving
    another_value = 1 - float(predicted.sum())
    return threshold is not None and proving >= threshold and best > another_value


def decide(
    predicted: FloatArray,
    prior: FloatArray,
    threshold: float | None,
    best: float | None = None,
    proving: float | None = None,
    *,
    review_above: float = MIN_PROBABILITY,
) -> Decision:
    """Decide on ``predicted`` probabilities [V], whose sum falls short of 1 by another value's.

    ``prior`` [V] are the values' frequencies, and ``threshold`` is the probability that proves the
    target precision, if any does. ``best`` is the greatest probability of a value that may be
    offered, if not all may be, and ``proving`` is that value's probability by the scores that prove
    precision, if these are others. Below ``review_above`` it is not worth a review.
    """
    best = float(predicted.max()) if best is None else best
    total = float(predicted.sum())
    if fills(predicted, threshold, best, proving):
        return "fill"
    if best < review_above or total == 0:
        return "abstain"
    # KL divergence: the sum of p log(p / prior). It is 0 if the prediction is the base rate.
    information = float(rel_entr(predicted / total, prior).sum())
    return "abstain" if information < MIN_INFORMATION else "review"


@dataclass(frozen=True)
class CellLimits:
    """What a cell's decision takes: to be filled, and to be worth a review."""

    target_precision: float = TARGET_PRECISION
    review_above: float = MIN_PROBABILITY


LimitsOf = Callable[[Cell], CellLimits]
"""Returns the limits of a cell."""


def complete_cells(
    scorer: Scorer,
    items: Sequence[ItemInput],
    cells: Iterable[Cell],
    *,
    top_k: int = 5,
    target_precision: float = TARGET_PRECISION,
    withheld: Withheld = NOTHING_WITHHELD,
    not_filled: Collection[Cell] = frozenset(),
    limits_of: LimitsOf | None = None,
    progress: ProgressCallback = no_progress,
) -> Iterator[Completion]:
    """Yield a completion for every cell of ``items``, a few dozen items in memory at a time.

    An item's cells are completed together, in the order in which the items are first mentioned. A
    cell's own statements are never given to the model. ``limits_of`` gives each cell's limits; by
    default ``target_precision`` holds for all. What is ``withheld`` is no candidate, and the cells
    ``not_filled`` are for review at best. ``progress`` counts items.
    """
    same_for_all = CellLimits(target_precision)
    properties: dict[int, list[str]] = defaultdict(list)
    for cell in dict.fromkeys(cells):
        properties[cell.item].append(cell.property)
    indexes = list(properties)
    completer = _Completer(scorer, top_k, withheld)
    # With their variants without one modality, they fill a scorer batch.
    together = ENCODE_BATCH // (1 + sum(each in scorer.modalities for each in CONTENT_MODALITIES))
    for start in range(0, len(indexes), together):
        batch = indexes[start : start + together]
        yield from completer.complete_items(
            [
                _ItemRequest(
                    items[index],
                    {
                        name: limits_of(Cell(index, name)) if limits_of else same_for_all
                        for name in properties[index]
                    },
                    {name for name in properties[index] if Cell(index, name) in not_filled},
                )
                for index in batch
            ]
        )
        progress(start + len(batch), len(indexes))


@dataclass(frozen=True)
class _ItemRequest:
    """An item and the properties to complete, with the limits of these cells.

    Some of them are ``not_filled``.
    """

    item: ItemInput
    properties: Mapping[str, CellLimits]
    not_filled: Collection[str] = ()


@dataclass(frozen=True)
class _Variant:
    """A cell query with at most one input left out, and the situation that remains."""

    query: CellQuery
    situation: str
    left_out: Modality | PropertyValue | None


@dataclass(frozen=True)
class _CellRequest:
    """A cell and its variants, the complete one first; none if the model lacks the property."""

    item: ItemInput
    property: str
    limits: CellLimits
    variants: Sequence[_Variant]
    may_fill: bool


class _Completer:
    """Completes the cells of one run; computes priors and readable statements once."""

    def __init__(self, scorer: Scorer, top_k: int, withheld: Withheld) -> None:
        self.scorer = scorer
        self.top_k = top_k
        self.withheld = withheld
        self.calibration = Calibration(scorer.calibration)
        self.estimator = Estimator(scorer.ontology, scorer.calibration)
        self.several = SeveralValues(scorer.calibration)
        specs = [spec for spec in scorer.ontology.properties.values() if spec.values]
        self.priors = {spec.name: value_frequencies(spec) for spec in specs}

    def complete_items(self, requests: Sequence[_ItemRequest]) -> Iterator[Completion]:
        """Encode all items and their variants in one go, then score all their cells in one go."""
        inputs: list[ItemInput] = []
        cells: list[_CellRequest] = []
        for request in requests:
            item = request.item
            item_variants: dict[Modality | None, ItemInput] = {None: item}
            for modality in item.content_modalities(self.scorer.modalities):
                item_variants[modality] = item.without(modality)
            for name, limits in request.properties.items():
                variants = self._variants(name, item_variants, len(inputs))
                may_fill = name not in request.not_filled
                cells.append(_CellRequest(item, name, limits, variants, may_fill))
            inputs += item_variants.values()

        queries = [variant.query for cell in cells for variant in cell.variants]
        encoded = self.scorer.encode(inputs) if queries else None
        scores = iter(score_in_chunks(self.scorer, encoded, queries))
        whole = [cell.variants[0].query for cell in cells if cell.variants]
        proving = proving_in_chunks(self.scorer, encoded, whole) if whole else None
        proofs = iter(proving or ())
        for cell in cells:
            rows = list(itertools.islice(scores, len(cell.variants)))
            proof = next(proofs) if proving is not None and cell.variants else None
            yield self._complete_cell(cell, rows, proof)

    def _variants(
        self, name: str, item_variants: Mapping[Modality | None, ItemInput], first_index: int
    ) -> list[_Variant]:
        """Return the cell with everything, without each modality, and without each statement.

        ``item_variants`` are the whole item (None) and the item without each modality; the scorer
        encodes them in this order, the first one at ``first_index``.
        """
        if name not in self.priors:
            return []
        item = item_variants[None]
        statements = tuple(
            statement
            for statement in dict.fromkeys(item.known)
            # A scorer ignores the others, so leaving one of them out would have no effect.
            if statement[0] != name and self.scorer.ontology.position(*statement) is not None
        )
        variants = []
        for index, (modality, item_variant) in enumerate(item_variants.items(), first_index):
            query = CellQuery(index, name, statements)
            variants.append(_Variant(query, self.scorer.situation(item_variant, query), modality))
        for left_out in statements:
            others = tuple(statement for statement in statements if statement != left_out)
            query = CellQuery(first_index, name, others)
            variants.append(_Variant(query, self.scorer.situation(item, query), left_out))
        return variants

    def _complete_cell(
        self,
        cell: _CellRequest,
        scores: Sequence[NDArray[np.float32]],
        proof: NDArray[np.float32] | None,
    ) -> Completion:
        """Rank, decide and explain one cell, given the logits of its variants.

        ``proof`` are the logits of the cell by which its precision is proven, if these are others.
        """
        name = cell.property
        if not cell.variants:
            return Completion(cell.item.id, name, (), "abstain", Evidence())
        if name in self.several.properties:
            return self._complete_several(cell, scores, proof)
        values = self.scorer.ontology.values_of(name)
        predictions = [
            predict(logits, len(values), self.calibration.temperature(variant.situation, name))
            for variant, logits in zip(cell.variants, scores, strict=True)
        ]
        spec = self.scorer.ontology[name]
        unknown = unknown_values(self.scorer, cell.item, name)
        every = [
            _with_unknown(prediction, unknown, variant.left_out)
            for variant, prediction in zip(cell.variants, predictions, strict=True)
        ]
        ranking = self._ranking(cell, every[0], unknown)
        if not ranking:
            return Completion.refused(cell.item.id, name, Unasked.WITHHELD)
        candidates = tuple(
            _candidate(spec, unknown, index, float(every[0][index]))
            for index in ranking[: self.top_k]
        )
        tells_other = len(scores[0]) > len(values)
        said = float(every[0][len(values) :].sum())
        best = ranking[0]
        decision, proven = self._decide(cell, predictions[0].candidates, best, candidates[0], proof)
        return Completion(
            cell.item.id,
            name,
            candidates,
            decision,
            _evidence(cell.variants, every, best),
            proven=proven,
            another_value=max(float(predictions[0].other) - said, 0.0) if tells_other else None,
            estimate=self.estimator.estimate(
                name, cell.variants[0].situation, predictions[0].candidates
            ),
        )

    def _ranking(
        self, cell: _CellRequest, probabilities: FloatArray, unknown: Sequence[OpenValue]
    ) -> list[int]:
        """Return the numbers of what a cell is offered, the most probable first.

        ``probabilities`` [V + K] are those of the property's values and of ``unknown`` ones.
        """
        spec = self.scorer.ontology[cell.property]
        offered = self.withheld.offered(cell.item.id, spec, [each.value for each in unknown])
        # Stable, so that of equally probable values the more frequent one comes first.
        order = np.argsort(-probabilities, kind="stable")
        return [int(number) for number in order[offered[order]]]

    def _complete_several(
        self,
        cell: _CellRequest,
        scores: Sequence[NDArray[np.float32]],
        proof: NDArray[np.float32] | None,
    ) -> Completion:
        """Complete a cell that may have several values, of which some may be known.

        Each candidate has a probability of its own, and is filled or not by itself. It is that of
        the scores by which precision is proven, ``proof``, if these are others: how often the two
        agree is known of first values alone.
        """
        name = cell.property
        spec = self.scorer.ontology[name]
        known = np.zeros(len(spec.values), bool)
        said = {value for property, value in cell.item.known if property == name}
        known[[place for value in said if (place := spec.position(value)) is not None]] = True
        unknown = [
            each
            for each in unknown_values(self.scorer, cell.item, name)
            if spec.key(each.value) not in {spec.key(value) for value in said}
        ]
        every = []
        for variant, logits in zip(cell.variants, scores, strict=True):
            temperature = self.calibration.temperature(variant.situation, name)
            prediction = predict(logits, len(spec.values), temperature)
            shares = self.several.probabilities(name, prediction.candidates, known)
            own = Prediction(shares, prediction.other)
            every.append(_with_unknown(own, unknown, variant.left_out))
        situation = cell.variants[0].situation
        probabilities = every[0]
        if proof is not None:
            temperature = self.calibration.proving_temperature(situation, name)
            prediction = predict(proof, len(spec.values), temperature)
            shares = self.several.probabilities(name, prediction.candidates, known)
            probabilities = _with_unknown(Prediction(shares, prediction.other), unknown, None)
        is_known = np.append(known, np.zeros(len(unknown), bool))
        ranking = [
            each for each in self._ranking(cell, probabilities, unknown) if not is_known[each]
        ]
        if not ranking:
            return Completion.refused(cell.item.id, name, Unasked.WITHHELD)
        ranked = [
            _candidate(spec, unknown, index, float(probabilities[index])) for index in ranking
        ]
        threshold = self.several.threshold(situation, name, cell.limits.target_precision)
        filled: tuple[Candidate, ...] = ()
        if threshold is not None and cell.may_fill:
            filled = tuple(
                candidate
                for candidate, index in zip(ranked, ranking, strict=True)
                if candidate.source is Source.VOCABULARY
                and spec.counts[index]
                and candidate.probability >= threshold
            )
        candidates = tuple(ranked[: self.top_k])
        decision: Decision = "review"
        if filled:
            decision = "fill"
        elif candidates[0].probability < cell.limits.review_above:
            decision = "abstain"
        return Completion(
            cell.item.id,
            name,
            candidates,
            decision,
            _evidence(cell.variants, every, ranking[0]),
            proven=self.several.proven_precision(situation, name, candidates[0].probability),
            several=filled,
        )

    def _decide(
        self,
        cell: _CellRequest,
        predicted: FloatArray,
        best: int,
        candidate: Candidate,
        proof: NDArray[np.float32] | None,
    ) -> tuple[Decision, float | None]:
        """Decide on a cell, and return the highest precision that is proven for it.

        ``predicted`` [V] are the probabilities of the values that the model knows. The best
        ``candidate`` is number ``best`` among these and the values of the title, and ``proof`` are
        the logits by which precision is proven, if these are others.
        """
        name = cell.property
        probability = candidate.probability
        review_above = cell.limits.review_above
        # What is proven is proven of values that the model was trained on.
        if candidate.source is not Source.VOCABULARY:
            return "review" if probability >= review_above else "abstain", None
        situation = cell.variants[0].situation
        proving = probability
        if proof is not None:
            temperature = self.calibration.proving_temperature(situation, name)
            proving = float(predict(proof, len(predicted), temperature).candidates[best])
        threshold = None
        proven = None
        if self.scorer.ontology[name].counts[best] and cell.may_fill:
            threshold = self.calibration.threshold(situation, name, cell.limits.target_precision)
            proven = self.calibration.proven_precision(situation, name, proving)
        decision = decide(
            predicted,
            self.priors[name],
            threshold,
            probability,
            proving,
            review_above=review_above,
        )
        return decision, proven


def _candidate(
    spec: PropertySpec, unknown: Sequence[OpenValue], index: int, probability: float
) -> Candidate:
    """Return the candidate at ``index`` among a property's values and those of the title."""
    if index < len(spec.values):
        return Candidate(spec.values[index], probability)
    own = unknown[index - len(spec.values)]
    return Candidate(own.value, probability, Source.TITLE, (own.start, own.end))


def _with_unknown(
    prediction: Prediction, unknown: Sequence[OpenValue], left_out: Modality | PropertyValue | None
) -> FloatArray:
    """Return the probabilities [V + K] of the V known values, and of K that the title says."""
    of_title = 0.0 if left_out is Modality.TITLE else float(prediction.other)
    said = [of_title * each.probability for each in unknown]
    return np.append(prediction.candidates, said)


def _evidence(
    variants: Sequence[_Variant], predictions: Sequence[FloatArray], best: int
) -> Evidence:
    """Compare the ``best`` value's probability with everything and without each input."""
    modalities: dict[Modality, float] = {}
    statements: list[StatementEffect] = []
    for variant, prediction in zip(variants, predictions, strict=True):
        effect = float(predictions[0][best] - prediction[best])
        if isinstance(variant.left_out, Modality):
            modalities[variant.left_out] = effect
        elif variant.left_out is not None:
            name, value = variant.left_out
            statements.append(StatementEffect(name, value, effect))
    statements.sort(key=lambda each: -abs(each.effect))
    return Evidence(modalities, tuple(statements))


def _rounded(effect: float) -> float:
    return round(effect, 4) + 0.0  # adding 0.0 turns -0.0 into 0.0
