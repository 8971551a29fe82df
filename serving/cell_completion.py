"""Make a completion of a cell's scores: candidates, decision and evidence.

Shapes: V values that the model knows of a property, K others that the title says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experts.open_values import OpenValue
from fusion.inference.featurizer import ItemInput, PropertyValue
from fusion.inference.scorer import CellQuery
from schema.arrays import FloatArray
from schema.frequencies import value_frequencies
from schema.modalities import Modality
from schema.ontology import PropertySpec
from schema.terms import CATEGORY
from schema.unasked import Unasked
from serving.calibration import Calibration
from serving.category_cells import CategoryFilling, is_withheld
from serving.cells import Prediction, Scorer, predict, unknown_values
from serving.deciding import CellLimits, Decision, decide
from serving.estimates import Estimator
from serving.results import Candidate, Completion, Evidence, Source, StatementEffect
from serving.several_values import SeveralValues
from serving.withheld import Withheld


@dataclass(frozen=True)
class Variant:
    """A cell query with at most one input left out, and the situation that remains."""

    query: CellQuery
    situation: str
    left_out: Modality | PropertyValue | None


@dataclass(frozen=True)
class CellRequest:
    """A cell and its variants, the complete one first; none if the model lacks the property."""

    item: ItemInput
    property: str
    limits: CellLimits
    variants: Sequence[Variant]
    may_fill: bool

    def situation(self) -> str:
        """The situation of the cell with everything."""
        return self.variants[0].situation


@dataclass(frozen=True)
class CellScores:
    """The logits of a cell's variants, each [V] or [V + 1].

    ``proof`` are those of the cell by which its precision is proven, if these are others.
    """

    of_variants: Sequence[NDArray[np.float32]]
    proof: NDArray[np.float32] | None


class CellCompleter:
    """Completes cells that are scored; computes what all cells of a property share once.

    Args:
        scorer: the model, of which only the ontology and the calibration are used
        top_k: how many candidates of a cell are told
        withheld: values that are no candidates
    """

    def __init__(self, scorer: Scorer, top_k: int, withheld: Withheld) -> None:
        self.scorer = scorer
        self.top_k = top_k
        self.withheld = withheld
        self.calibration = Calibration(scorer.calibration)
        self.estimator = Estimator(scorer.ontology, scorer.calibration)
        self.several = SeveralValues(scorer.calibration)
        specs = [spec for spec in scorer.ontology.properties.values() if spec.values]
        self.priors = {spec.name: value_frequencies(spec) for spec in specs}
        self.categories = {
            spec.name: CategoryFilling(spec, self.calibration)
            for spec in specs
            if spec.name == CATEGORY
        }

    def knows(self, property: str) -> bool:
        """Return whether the model knows values of a property."""
        return property in self.priors

    def complete(self, cell: CellRequest, scores: CellScores) -> Completion:
        """Rank, decide and explain one cell."""
        if not cell.variants:
            return Completion(cell.item.id, cell.property, (), "abstain", Evidence())
        if cell.property in self.categories:
            return self._complete_category(cell, scores)
        if cell.property in self.several.properties:
            return self._complete_several(cell, scores)
        return self._complete_single(cell, scores)

    def _complete_single(self, cell: CellRequest, scores: CellScores) -> Completion:
        """Complete a cell that has one value."""
        name = cell.property
        spec = self.scorer.ontology[name]
        values = len(spec.values)
        predictions = [
            predict(logits, values, self.calibration.temperature(variant.situation, name))
            for variant, logits in zip(cell.variants, scores.of_variants, strict=True)
        ]
        unknown = unknown_values(self.scorer, cell.item, name)
        every = [
            _with_unknown(prediction, unknown, variant.left_out)
            for variant, prediction in zip(cell.variants, predictions, strict=True)
        ]
        ranking = self._ranking(cell, every[0], unknown)
        if not ranking:
            return Completion.refused(cell.item.id, name, Unasked.WITHHELD)
        ranked = _candidates(spec, unknown, ranking[: self.top_k], every[0])
        whole = predictions[0]
        said = float(every[0][values:].sum())
        tells_other = len(scores.of_variants[0]) > values
        decision, proven = self._decide(cell, whole.candidates, ranking[0], ranked[0], scores.proof)
        return Completion(
            cell.item.id,
            name,
            ranked,
            decision,
            _evidence(cell.variants, every, ranking[0]),
            proven=proven,
            another_value=max(float(whole.other) - said, 0.0) if tells_other else None,
            estimate=self.estimator.estimate(name, cell.situation(), whole.candidates),
        )

    def _complete_category(self, cell: CellRequest, scores: CellScores) -> Completion:
        """Complete the category of an item: with a path, or a node above it if that is proven.

        The most probable paths are the candidates; a node that is filled comes before them.
        """
        name = cell.property
        spec = self.scorer.ontology[name]
        predictions = [
            predict(logits, len(spec.values), self.calibration.temperature(variant.situation, name))
            for variant, logits in zip(cell.variants, scores.of_variants, strict=True)
        ]
        every = [each.candidates for each in predictions]
        withheld = self.withheld.of_cell.get((cell.item.id, name), ())
        ranking = [
            place
            for place in self._ranking(cell, every[0], ())
            if not is_withheld(spec.values[place], withheld)
        ]
        if not ranking:
            return Completion.refused(cell.item.id, name, Unasked.WITHHELD)
        ranked = _candidates(spec, (), ranking[: self.top_k], every[0])
        filled = None
        if cell.may_fill:
            filling = self.categories[name]
            filled = filling.filled(cell.situation(), every[0], cell.limits, withheld)
        other = float(predictions[0].other)
        if filled is None:
            limit = cell.limits.review_above
            decision = decide(
                every[0], self.priors[name], None, ranked[0].probability, review_above=limit
            )
            evidence = _evidence(cell.variants, every, ranking[0])
            return Completion(cell.item.id, name, ranked, decision, evidence, another_value=other)
        first = Candidate(filled.category, filled.probability)
        others = [each for each in ranked if each.value != filled.category]
        sums = [filled.level.sums(each) for each in every]
        return Completion(
            cell.item.id,
            name,
            (first, *others)[: self.top_k],
            "fill",
            _evidence(cell.variants, sums, filled.place),
            proven=filled.proven,
            another_value=other,
        )

    def _ranking(
        self, cell: CellRequest, probabilities: FloatArray, unknown: Sequence[OpenValue]
    ) -> list[int]:
        """Return the numbers of what a cell is offered, the most probable first.

        ``probabilities`` [V + K] are those of the property's values and of ``unknown`` ones.
        """
        spec = self.scorer.ontology[cell.property]
        offered = self.withheld.offered(cell.item.id, spec, [each.value for each in unknown])
        # Stable, so that of equally probable values the more frequent one comes first.
        order = np.argsort(-probabilities, kind="stable")
        return [int(number) for number in order[offered[order]]]

    def _complete_several(self, cell: CellRequest, scores: CellScores) -> Completion:
        """Complete a cell that may have several values, of which some may be known.

        Each candidate has a probability of its own, and is filled or not by itself.
        """
        name = cell.property
        spec = self.scorer.ontology[name]
        said = {value for property, value in cell.item.known if property == name}
        known = np.zeros(len(spec.values), bool)
        known[[place for value in said if (place := spec.position(value)) is not None]] = True
        said_keys = {spec.key(value) for value in said}
        unknown = [
            each
            for each in unknown_values(self.scorer, cell.item, name)
            if spec.key(each.value) not in said_keys
        ]
        every = []
        for variant, logits in zip(cell.variants, scores.of_variants, strict=True):
            temperature = self.calibration.temperature(variant.situation, name)
            prediction = self.several.predict(name, logits, temperature, known)
            every.append(_with_unknown(prediction, unknown, variant.left_out))
        deciding = self.several.predict_to_decide(
            self.calibration, cell.situation(), name, scores.of_variants[0], scores.proof, known
        )
        probabilities = _with_unknown(deciding, unknown, None)
        is_known = np.append(known, np.zeros(len(unknown), bool))
        ranking = [
            each for each in self._ranking(cell, probabilities, unknown) if not is_known[each]
        ]
        if not ranking:
            return Completion.refused(cell.item.id, name, Unasked.WITHHELD)
        ranked = _candidates(spec, unknown, ranking, probabilities)
        fills = np.zeros(len(probabilities), bool)
        if cell.may_fill:
            fills[: len(known)] = self.several.fills(
                cell.situation(), spec, deciding.candidates, cell.limits.target_precision
            )
        filled = tuple(
            candidate for candidate, index in zip(ranked, ranking, strict=True) if fills[index]
        )
        decision: Decision = "review"
        if filled:
            decision = "fill"
        elif ranked[0].probability < cell.limits.review_above:
            decision = "abstain"
        return Completion(
            cell.item.id,
            name,
            ranked[: self.top_k],
            decision,
            _evidence(cell.variants, every, ranking[0]),
            proven=self.several.proven_precision(cell.situation(), name, ranked[0].probability),
            several=filled,
        )

    def _decide(
        self,
        cell: CellRequest,
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
        proving = probability
        if proof is not None:
            temperature = self.calibration.proving_temperature(cell.situation(), name)
            proving = float(predict(proof, len(predicted), temperature).candidates[best])
        threshold = None
        proven = None
        if self.scorer.ontology[name].counts[best] and cell.may_fill:
            target = cell.limits.target_precision
            threshold = self.calibration.threshold(cell.situation(), name, target)
            proven = self.calibration.proven_precision(cell.situation(), name, proving)
        decision = decide(
            predicted,
            self.priors[name],
            threshold,
            probability,
            proving,
            review_above=review_above,
        )
        return decision, proven


def _candidates(
    spec: PropertySpec,
    unknown: Sequence[OpenValue],
    ranking: Sequence[int],
    probabilities: FloatArray,
) -> tuple[Candidate, ...]:
    """Return the candidates of some numbers among a property's values and those of the title.

    ``probabilities`` [V + K] are those of all.
    """
    candidates = []
    for index in ranking:
        probability = float(probabilities[index])
        if index < len(spec.values):
            candidates.append(Candidate(spec.values[index], probability))
        else:
            own = unknown[index - len(spec.values)]
            span = own.start, own.end
            candidates.append(Candidate(own.value, probability, Source.TITLE, span))
    return tuple(candidates)


def _with_unknown(
    prediction: Prediction, unknown: Sequence[OpenValue], left_out: Modality | PropertyValue | None
) -> FloatArray:
    """Return the probabilities [V + K] of the V known values, and of K that the title says."""
    of_title = 0.0 if left_out is Modality.TITLE else float(prediction.other)
    said = [of_title * each.probability for each in unknown]
    return np.append(prediction.candidates, said)


def _evidence(
    variants: Sequence[Variant], predictions: Sequence[FloatArray], best: int
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
