"""Evaluate completion: every known cell of the items is hidden in turn and predicted."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics import (
    METRICS,
    TARGETS,
    Estimate,
    MetricEstimates,
    Outcomes,
    Summary,
    differences,
    realistic_ranks,
    summarise,
)
from evaluation.settings import Setting, apply_setting, catalogue_words
from evaluation.several_values import SeveralEstimates, ValueCounts, estimate_values
from experts.open_values import OpenValue
from fusion.inference.featurizer import ItemInput, PropertyValue
from fusion.inference.scorer import CellQuery
from schema.arrays import BoolArray, FloatArray
from schema.category_levels import without_values
from schema.errors import DataError
from schema.modalities import CONTENT_MODALITIES, Modality
from schema.ontology import Ontology, PropertySpec
from schema.progress import ProgressCallback, no_progress
from serving.calibration import Calibration
from serving.cells import Scorer, predict, proving_in_chunks, score_in_chunks, unknown_values
from serving.deciding import fills
from serving.several_values import SeveralValues

_EVALUATION_BATCH = 128  # items


@dataclass(frozen=True)
class EvaluationReport:
    """Metrics of one model in one setting, with 95% intervals over items.

    ``cells`` counts the hidden cells of each property; ``macro`` is the mean over properties, and
    ``pooled`` takes all cells together. ``several`` counts by value, for the properties of which
    each value is filled or not by itself. The metrics were computed from ``outcomes`` and
    ``value_counts``, with ``resamples`` of the items and a ``seed``.
    """

    model: str
    setting: Setting
    items: int
    cells: dict[str, int]
    properties: dict[str, MetricEstimates]
    macro: MetricEstimates
    pooled: MetricEstimates
    several: dict[str, SeveralEstimates]
    outcomes: Mapping[str, Outcomes] = field(compare=False, repr=False)
    value_counts: Mapping[str, ValueCounts] = field(compare=False, repr=False)
    resamples: int
    seed: int

    @classmethod
    def of(
        cls,
        model: str,
        setting: Setting,
        items: int,
        outcomes: Mapping[str, Outcomes],
        value_counts: Mapping[str, ValueCounts],
        *,
        resamples: int = 1000,
        seed: int = 0,
    ) -> EvaluationReport:
        """Compute the metrics of a model's outcomes and value counts, by property."""
        summary = summarise(outcomes, items, resamples=resamples, seed=seed)
        return cls(
            model=model,
            setting=setting,
            items=items,
            cells={name: len(np.unique(outcome.item)) for name, outcome in outcomes.items()},
            properties=summary.properties,
            macro=summary.macro,
            pooled=summary.pooled,
            several={
                name: estimate_values(counts, items, resamples=resamples, seed=seed)
                for name, counts in value_counts.items()
            },
            outcomes=outcomes,
            value_counts=value_counts,
            resamples=resamples,
            seed=seed,
        )

    def of_items(self, kept: BoolArray) -> EvaluationReport | None:
        """Return the report on those of the I items that are ``kept`` [I]; None if none has a cell.

        A property of which no kept item has a cell is left out.
        """
        outcomes = {name: each.of_items(kept) for name, each in self.outcomes.items()}
        outcomes = {name: each for name, each in outcomes.items() if len(each.item)}
        if not outcomes:
            return None
        counts = {name: each.of_items(kept) for name, each in self.value_counts.items()}
        return EvaluationReport.of(
            self.model,
            self.setting,
            int(kept.sum()),
            outcomes,
            {name: each for name, each in counts.items() if len(each.item)},
            resamples=self.resamples,
            seed=self.seed,
        )

    def rows_beside(self, part: EvaluationReport) -> list[list[str]]:
        """Return a table of Hits@1 beside that without twins: the heading, and the rows.

        ``part`` is the report on the items without a twin; the intervals are its own.
        """
        heading = ["property", "cells", "Hits@1", "cells without twins", "Hits@1 without twins"]
        rows = [
            (name, self.cells[name], self.properties[name], part.cells[name], estimates)
            for name, estimates in part.properties.items()
        ]
        cells = sum(part.cells.values())
        rows.append(("macro", sum(self.cells.values()), self.macro, cells, part.macro))
        return [
            [*heading, "95% interval"],
            *(
                [
                    name,
                    str(all_cells),
                    f"{of_all['hits@1'].value:.3f}",
                    str(part_cells),
                    f"{of_part['hits@1'].value:.3f}",
                    _interval(of_part["hits@1"]),
                ]
                for name, all_cells, of_all, part_cells, of_part in rows
            ),
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        properties = {
            name: {"cells": self.cells[name], **_plain(estimates)}
            for name, estimates in self.properties.items()
        }
        return {
            "model": self.model,
            "setting": self.setting.as_dict(),
            "items": self.items,
            "cells": sum(self.cells.values()),
            "macro": _plain(self.macro),
            "pooled": _plain(self.pooled),
            "properties": properties,
            "several": {name: each.as_dict() for name, each in self.several.items()},
        }

    def as_rows(self) -> list[list[str]]:
        """Return a table to print: the heading, a row per property, and the macro mean.

        The interval is that of Hits@1.
        """
        heading = ["property", "cells", "Hits@1", "95% interval", "Hits@3", "Hits@10", "MRR", "ECE"]
        rows = [
            _table_row(name, self.cells[name], estimates)
            for name, estimates in self.properties.items()
        ]
        return [heading, *rows, _table_row("macro", sum(self.cells.values()), self.macro)]

    def decision_rows(self) -> list[list[str]]:
        """Return a table of what is filled at each target precision, and how much of it is right.

        After the properties and their mean come all cells together, whose realised precision is
        what the targets promise.
        """
        heading = ["property", "Brier", "AURC"]
        for target in TARGETS:
            heading += [f"filled at {target}", "right"]
        rows = [*self.properties.items(), ("macro", self.macro), ("all cells", self.pooled)]
        return [heading, *(_decision_row(name, estimates) for name, estimates in rows)]

    def several_rows(self) -> list[list[str]]:
        """Return a table of the single values that are filled; only the heading if there are none.

        It has a row for each property with several values and each target precision.
        """
        rows = [
            [
                name,
                f"{target.target}",
                f"{of_property.values}",
                f"{target.filled}",
                *(_shown(each.value, 4) for each in (target.precision, target.recall, target.f1)),
            ]
            for name, of_property in self.several.items()
            for target in of_property.targets
        ]
        heading = ["property", "target", "values", "filled", "precision", "recall", "F1"]
        return [heading, *rows]

    def decision_lines(self) -> list[str]:
        """Return a sentence for each target about all cells together, with the interval."""
        lines = []
        for target in TARGETS:
            coverage = self.pooled[f"coverage@{target}"].value
            precision = self.pooled[f"precision@{target}"]
            if math.isnan(precision.value):
                lines.append(f"at {target}: nothing is proven, and no cell filled")
            else:
                lines.append(
                    f"at {target}: {coverage:.1%} of all cells are filled, of which "
                    f"{precision.value:.2%} ({precision.low:.2%}–{precision.high:.2%}) are right"
                )
        return lines


@dataclass(frozen=True)
class Comparison:
    """By how much a report's metrics exceed those of ``baseline``, with paired 95% intervals."""

    report: EvaluationReport
    baseline: EvaluationReport
    difference: Summary

    def as_dict(self) -> dict[str, Any]:
        """Return plain data: the baseline's metrics and the differences."""
        baseline = self.baseline.as_dict()
        return {
            **{name: baseline[name] for name in ("model", "macro", "pooled", "properties")},
            "difference": {
                "macro": _plain(self.difference.macro),
                "pooled": _plain(self.difference.pooled),
                "properties": {
                    name: _plain(estimates)
                    for name, estimates in self.difference.properties.items()
                },
            },
        }

    def as_rows(self) -> list[list[str]]:
        """Return a table of Hits@1: the heading, a row per property, and the macro mean."""
        heading = ["property", "Hits@1", self.baseline.model, "difference", "95% interval"]
        rows = [
            _comparison_row(name, "hits@1", ours, self.baseline.properties[name], difference)
            for (name, ours), difference in zip(
                self.report.properties.items(), self.difference.properties.values(), strict=True
            )
        ]
        macro = self.metric_rows()[1][1:]
        return [heading, *rows, ["macro", *macro]]

    def metric_rows(self) -> list[list[str]]:
        """Return a table of the macro means of all metrics."""
        heading = ["metric", self.report.model, self.baseline.model, "difference", "95% interval"]
        macros = self.report.macro, self.baseline.macro, self.difference.macro
        return [heading, *(_comparison_row(metric, metric, *macros) for metric in METRICS)]


def compare(
    report: EvaluationReport, baseline: EvaluationReport, *, resamples: int = 1000, seed: int = 0
) -> Comparison:
    """Compare two reports on the same items in the same setting; raises DataError on others."""
    ours = {name: np.unique(each.item) for name, each in report.outcomes.items()}
    theirs = {name: np.unique(each.item) for name, each in baseline.outcomes.items()}
    same_cells = ours.keys() == theirs.keys() and all(
        np.array_equal(ours[name], theirs[name]) for name in ours
    )
    if not same_cells or (report.items, report.setting) != (baseline.items, baseline.setting):
        raise DataError(
            f"{report.model} and {baseline.model} were not evaluated on the same cells: "
            "evaluate both on the same items in the same setting"
        )
    # In the order of the report, which the tables are in.
    outcomes = {name: baseline.outcomes[name] for name in report.outcomes}
    found = differences(report.outcomes, outcomes, report.items, resamples=resamples, seed=seed)
    return Comparison(report, baseline, found)


def _plain(estimates: MetricEstimates) -> dict[str, Any]:
    return {metric: estimate.as_dict() for metric, estimate in estimates.items()}


def _table_row(name: str, cells: int, estimates: MetricEstimates) -> list[str]:
    first = estimates["hits@1"]
    others = [f"{estimates[metric].value:.3f}" for metric in ("hits@3", "hits@10", "mrr", "ece")]
    return [name, str(cells), f"{first.value:.3f}", _interval(first), *others]


def _decision_row(name: str, estimates: MetricEstimates) -> list[str]:
    row = [name, _shown(estimates["brier"].value, 4), _shown(estimates["aurc"].value, 4)]
    for target in TARGETS:
        row.append(_shown(estimates[f"coverage@{target}"].value, 3))
        row.append(_shown(estimates[f"precision@{target}"].value, 4))
    return row


def _comparison_row(
    name: str,
    metric: str,
    ours: MetricEstimates,
    theirs: MetricEstimates,
    differences: MetricEstimates,
) -> list[str]:
    difference = differences[metric]
    values = [_shown(ours[metric].value, 4), _shown(theirs[metric].value, 4)]
    if math.isnan(difference.value):
        return [name, *values, "", ""]
    interval = f"{difference.low:+.4f} to {difference.high:+.4f}"
    return [name, *values, f"{difference.value:+.4f}", interval]


def _shown(number: float, digits: int) -> str:
    return "" if math.isnan(number) else f"{number:.{digits}f}"


def _interval(estimate: Estimate) -> str:
    return f"{estimate.low:.3f}–{estimate.high:.3f}"


def evaluate_completion(
    scorer: Scorer, items: Sequence[ItemInput], ontology: Ontology, setting: Setting, **options: Any
) -> EvaluationReport:
    """Evaluate a single setting; takes the options of :func:`evaluate_settings`."""
    return evaluate_settings(scorer, items, ontology, [setting], **options)[0]


def evaluate_settings(
    scorer: Scorer,
    items: Sequence[ItemInput],
    ontology: Ontology,
    settings: Iterable[Setting],
    *,
    blind_also: Iterable[str] = (),
    resamples: int = 1000,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> list[EvaluationReport]:
    """Return a report per setting, in the order of ``settings``.

    ``ontology`` is the catalogue's: it says which properties count, and which words blind titles
    lose; ``blind_also`` adds further words. A value that the model does not know has an infinite
    rank. Of an item's category, a level that says the hidden value is hidden with it. ``progress``
    counts encoded items.
    """
    learned = set(ontology.learned())
    if not any(name in learned for item in items for name, _ in item.known):
        raise DataError(
            f"none of the {len(items)} items has a statement to hide: choose items that have some"
        )
    words = catalogue_words(ontology, blind_also)
    evaluators = [_SettingEvaluator(scorer, ontology, each) for each in dict.fromkeys(settings)]

    # Encoding is the expensive part, so settings that show the same content share it.
    shared: dict[tuple[str, ...], list[_SettingEvaluator]] = defaultdict(list)
    for evaluator in evaluators:
        setting = evaluator.setting
        content = tuple(setting.choice(modality) for modality in CONTENT_MODALITIES)
        shared[content].append(evaluator)

    for number, group in enumerate(shared.values()):
        for start in range(0, len(items), _EVALUATION_BATCH):
            batch = items[start : start + _EVALUATION_BATCH]
            batch = apply_setting(batch, group[0].setting, words)
            encoded = scorer.encode(batch)
            for evaluator in group:
                evaluator.add(encoded, batch, start)
            progress(number * len(items) + start + len(batch), len(shared) * len(items))
    return [evaluator.report(len(items), resamples, seed) for evaluator in evaluators]


@dataclass
class _HiddenCells:
    """N hidden cells of one property: their queries, their items' numbers, their true values."""

    property: str
    queries: list[CellQuery] = field(default_factory=list)
    item_numbers: list[int] = field(default_factory=list)
    true_values: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class _DecidedValues:
    """The probabilities [N, V + K] of N cells' candidates, and which of V are filled [N, T, V]."""

    probabilities: FloatArray
    filled: BoolArray


class _SettingEvaluator:
    """Collects the outcomes of one setting, batch by batch."""

    def __init__(self, scorer: Scorer, ontology: Ontology, setting: Setting) -> None:
        self.scorer = scorer
        self.ontology = ontology
        self.setting = setting
        self.calibration = Calibration(scorer.calibration)
        self.several = SeveralValues(scorer.calibration)
        self.value_counts: dict[str, list[ValueCounts]] = defaultdict(list)
        self.outcomes: dict[str, list[Outcomes]] = {name: [] for name in ontology.learned()}
        # The properties that the model knows, and has values of.
        self.known = {
            name: spec
            for name, spec in scorer.ontology.properties.items()
            if name in self.outcomes and spec.values
        }

    def add(self, encoded: Any, items: Sequence[ItemInput], first_number: int) -> None:
        """Predict every known cell of a batch of encoded items.

        ``first_number`` is the number of the batch's first item among all items.
        """
        properties = self._hidden_cells(items, first_number)
        scorable = [cells for cells in properties if cells.property in self.known]
        queries = [query for cells in scorable for query in cells.queries]
        scores = iter(score_in_chunks(self.scorer, encoded, queries))
        proving = proving_in_chunks(self.scorer, encoded, queries)
        proofs = iter(proving or ())
        for cells in properties:
            if cells.property in self.known:
                count = len(cells.queries)
                logits = np.stack(list(itertools.islice(scores, count)))
                proof = None if proving is None else list(itertools.islice(proofs, count))
                outcomes = self._ranked(cells, logits, items, proof)
            else:
                outcomes = _unranked(cells)
            self.outcomes[cells.property].append(outcomes)

    def _hidden_cells(self, items: Sequence[ItemInput], first_number: int) -> list[_HiddenCells]:
        """Return the known cells of the items, by property."""
        by_property: dict[str, _HiddenCells] = {}
        for index, item in enumerate(items):
            for name, true_values in _values_by_property(item):
                if name not in self.outcomes:
                    continue
                others: tuple[PropertyValue, ...] = ()
                if self.setting.shows(Modality.STATEMENTS):
                    others = tuple(statement for statement in item.known if statement[0] != name)
                cells = by_property.setdefault(name, _HiddenCells(name))
                # What the category says of the cell is hidden like the cell itself.
                category = without_values(self.ontology[name], item.category, true_values)
                cells.queries.append(CellQuery(index, name, others, category))
                cells.item_numbers.append(first_number + index)
                cells.true_values.append(true_values)
        return list(by_property.values())

    def _ranked(
        self,
        cells: _HiddenCells,
        logits: NDArray[np.float32],
        items: Sequence[ItemInput],
        proof: Sequence[NDArray[np.float32]] | None,
    ) -> Outcomes:
        """Rank all true values and judge the best candidates of N cells.

        ``logits`` are [N, V], or [N, V + 1] with that of a value that the model does not know;
        ``proof`` are those by which precision is proven, if these are others.
        """
        spec = self.known[cells.property]
        number = np.array(cells.item_numbers)
        unknown = [
            unknown_values(self.scorer, items[query.item], cells.property)
            for query in cells.queries
        ]
        several = None
        candidates: NDArray[np.floating]
        if cells.property in self.several.properties:
            several = self._decided_by_value(cells, logits, items, proof, unknown)
        if several is None:
            candidates = _with_unknown(logits, len(spec.values), unknown)
        else:
            candidates = several.probabilities
        # A cell with several true values has a row for each of them: M rows in all.
        row_cell = np.repeat(np.arange(len(number)), [len(each) for each in cells.true_values])
        positions = [
            _candidate(spec, value, offered)
            for values, offered in zip(cells.true_values, unknown, strict=True)
            for value in values
        ]
        row_value = np.array([-1 if position is None else position for position in positions])
        known = row_value >= 0
        is_true = np.zeros(candidates.shape, dtype=bool)
        is_true[row_cell[known], row_value[known]] = True

        # A true value that the model neither knows nor offers is a miss. To leave it out would
        # favour models with a small vocabulary.
        rank = np.full(len(row_cell), np.inf)
        rank[known] = realistic_ranks(
            candidates[row_cell[known]], row_value[known], is_true[row_cell[known]]
        )
        best = candidates.argmax(1)
        correct = is_true[np.arange(len(best)), best]
        if several is not None:
            right = several.filled & is_true[:, None, : len(spec.values)]
            true = np.array([len(each) for each in cells.true_values])
            self.value_counts[cells.property].append(
                ValueCounts(number, true, several.filled.sum(2), right.sum(2))
            )
            confidence = candidates.max(1)
            filled = np.asarray(several.filled.any(2))
        else:
            confidence, filled = self._decided(cells, logits, items, proof, unknown)
        return Outcomes(
            item=number[row_cell],
            rank=rank,
            cell_item=number,
            confidence=confidence,
            correct=correct,
            filled=filled,
            unanswered=np.zeros(0, dtype=np.int64),
        )

    def _decided(
        self,
        cells: _HiddenCells,
        logits: NDArray[np.float32],
        items: Sequence[ItemInput],
        proof: Sequence[NDArray[np.float32]] | None,
        unknown: Sequence[Sequence[OpenValue]],
    ) -> tuple[FloatArray, BoolArray]:
        """Return the best candidate's probability [N], and at which targets it is filled [N, T]."""
        spec = self.known[cells.property]
        confidence = np.zeros(len(cells.queries))
        filled = np.zeros((len(cells.queries), len(TARGETS)), dtype=bool)
        for row, query in enumerate(cells.queries):
            situation = self.scorer.situation(items[query.item], query)
            temperature = self.calibration.temperature(situation, cells.property)
            predicted = predict(logits[row], len(spec.values), temperature)
            confidence[row] = predicted.candidates.max()
            for offered in unknown[row]:
                share = float(predicted.other) * offered.probability
                confidence[row] = max(confidence[row], share)
            proving = None
            if proof is not None:
                temperature = self.calibration.proving_temperature(situation, cells.property)
                by_proof = predict(proof[row], len(spec.values), temperature).candidates
                proving = float(by_proof[predicted.candidates.argmax()])
            for column, target in enumerate(TARGETS):
                threshold = self.calibration.threshold(situation, cells.property, target)
                filled[row, column] = fills(predicted.candidates, threshold, proving=proving)
        return confidence, filled

    def _decided_by_value(
        self,
        cells: _HiddenCells,
        logits: NDArray[np.float32],
        items: Sequence[ItemInput],
        proof: Sequence[NDArray[np.float32]] | None,
        unknown: Sequence[Sequence[OpenValue]],
    ) -> _DecidedValues:
        """Decide on each value of cells that may have several, none of which is known."""
        spec = self.known[cells.property]
        nothing = np.zeros(len(spec.values), bool)
        most = max(map(len, unknown), default=0)
        probabilities = np.zeros((len(logits), len(spec.values) + most))
        filled = np.zeros((len(logits), len(TARGETS), len(spec.values)), dtype=bool)
        for row, query in enumerate(cells.queries):
            situation = self.scorer.situation(items[query.item], query)
            predicted = self.several.predict_to_decide(
                self.calibration,
                situation,
                cells.property,
                logits[row],
                None if proof is None else proof[row],
                nothing,
            )
            said = [float(predicted.other) * each.probability for each in unknown[row]]
            every = np.append(predicted.candidates, said)
            probabilities[row, : len(every)] = every
            for column, target in enumerate(TARGETS):
                filled[row, column] = self.several.fills(
                    situation, spec, predicted.candidates, target
                )
        return _DecidedValues(probabilities, filled)

    def report(self, items: int, resamples: int, seed: int) -> EvaluationReport:
        """Compute the metrics of everything that was added."""
        outcomes = {
            name: Outcomes.concatenate(parts) for name, parts in self.outcomes.items() if parts
        }
        counts = {name: ValueCounts.concatenate(each) for name, each in self.value_counts.items()}
        return EvaluationReport.of(
            self.scorer.name,
            self.setting,
            items,
            outcomes,
            counts,
            resamples=resamples,
            seed=seed,
        )


def _values_by_property(item: ItemInput) -> Iterator[tuple[str, list[str]]]:
    """Yield an item's properties, each with its distinct values, in the order of the statements."""
    values: dict[str, list[str]] = defaultdict(list)
    for name, value in dict.fromkeys(item.known):
        values[name].append(value)
    yield from values.items()


def _with_unknown(
    logits: NDArray[np.float32], values: int, unknown: Sequence[Sequence[OpenValue]]
) -> NDArray[np.float32]:
    """Return logits [N, V + K] of the V known values, and of up to K others of each cell.

    Of ``logits`` [N, V + 1] the last one is shared out among a cell's unknown values.
    """
    most = max(map(len, unknown), default=0)
    if not most:
        return logits[:, :values]
    others = np.full((len(logits), most), -np.inf, np.float32)
    for row, offered in enumerate(unknown):
        shares = np.array([each.probability for each in offered])
        others[row, : len(offered)] = logits[row, values] + np.log(np.maximum(shares, 1e-30))
    return np.concatenate([logits[:, :values], others], axis=1)


def _candidate(spec: PropertySpec, value: str, unknown: Sequence[OpenValue]) -> int | None:
    """Return the number of a value among the known and the unknown ones; None if it is neither."""
    position = spec.position(value)
    if position is not None:
        return position
    keys = [spec.key(each.value) for each in unknown]
    key = spec.key(value)
    return len(spec.values) + keys.index(key) if key in keys else None


def _unranked(cells: _HiddenCells) -> Outcomes:
    """Return the outcomes of a property that the model does not know: it has no candidates."""
    rows = [len(values) for values in cells.true_values]
    return Outcomes(
        item=np.repeat(cells.item_numbers, rows),
        rank=np.full(sum(rows), np.inf),
        cell_item=np.zeros(0, dtype=np.int64),
        confidence=np.zeros(0),
        correct=np.zeros(0, dtype=bool),
        filled=np.zeros((0, len(TARGETS)), dtype=bool),
        unanswered=np.array(cells.item_numbers),
    )
