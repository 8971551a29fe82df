"""Evaluate classification: the category of every item is hidden and predicted.

With it is hidden what repeats it: statements of properties that restate the category, and other
statements that name a level of the item's own (:mod:`experts.classification`). A blind title has
lost the words of all levels as well.

Shapes: N items, V paths of a model, B resamples.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from evaluation.metrics import TARGETS, Estimate
from evaluation.settings import Setting, apply_setting
from experts.category_tree import CategoryTree, category_text
from experts.classification import without_restating
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.arrays import BoolArray, FloatArray, IntArray
from schema.errors import DataError
from schema.modalities import Modality
from schema.ontology import Ontology
from schema.progress import ProgressCallback, no_progress
from schema.terms import CATEGORY, path_prefixes
from schema.wording import value_words
from serving.calibration import Calibration
from serving.category_cells import CategoryFilling
from serving.cells import Scorer, predict, score_in_chunks
from serving.deciding import CellLimits

_BATCH = 128  # items
TOP_1 = "top-1"
MACRO_F1 = "macro-F1"


@dataclass(frozen=True)
class Classified:
    """What a model says of N items.

    Attributes:
        true: their paths
        best: the most probable ones
        nodes: the most probable node of each level of the tree; a model of fewer levels has fewer
        filled: by target precision, what each is filled with; None where it is not
    """

    true: tuple[str, ...]
    best: tuple[str, ...]
    nodes: tuple[tuple[str, ...], ...]
    filled: Mapping[float, tuple[str | None, ...]]


@dataclass(frozen=True)
class ClassificationReport:
    """Metrics of one model in one setting, with 95% intervals over items.

    ``metrics`` are top-1, macro-F1, and the accuracy at each level above the deepest; ``counts``
    says how many items have that level. ``decisions`` are by target precision: how many items are
    filled, with their path or a parent, and how many of these are right. ``restating`` are the
    properties that are hidden, and ``without_category`` the items that could not be asked.
    """

    model: str
    setting: Setting
    items: int
    without_category: int
    paths: int
    restating: tuple[str, ...]
    metrics: dict[str, Estimate]
    counts: dict[str, int]
    decisions: dict[float, dict[str, Estimate]]
    outcome: Classified = field(repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "model": self.model,
            "setting": self.setting.as_dict(),
            "items": self.items,
            "without_category": self.without_category,
            "paths": self.paths,
            "restating": list(self.restating),
            "metrics": {name: each.as_dict() for name, each in self.metrics.items()},
            "level_items": self.counts,
            "decisions": {
                str(target): {name: each.as_dict() for name, each in found.items()}
                for target, found in self.decisions.items()
            },
        }

    def as_rows(self) -> list[list[str]]:
        """Return a table to print: the heading, and a row per metric."""
        rows = [
            [name, str(self.counts.get(name, self.items)), *_shown(each)]
            for name, each in self.metrics.items()
        ]
        return [["metric", "items", "value", "95% interval"], *rows]

    def decision_rows(self) -> list[list[str]]:
        """Return a table of what is filled at each target precision; the heading alone if none."""
        heading = ["target", "filled", "with a whole path", "right", "95% interval"]
        return [
            heading,
            *(
                [
                    str(target),
                    f"{found['filled'].value:.3f}",
                    f"{found['paths'].value:.3f}",
                    *_shown(found["precision"]),
                ]
                for target, found in self.decisions.items()
            ),
        ]


@dataclass(frozen=True)
class ClassificationComparison:
    """By how much a report's metrics exceed those of ``baseline``, with paired 95% intervals."""

    report: ClassificationReport
    baseline: ClassificationReport
    difference: dict[str, Estimate]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data: the baseline's metrics and the differences."""
        return {
            "model": self.baseline.model,
            "metrics": {name: each.as_dict() for name, each in self.baseline.metrics.items()},
            "difference": {name: each.as_dict() for name, each in self.difference.items()},
        }

    def as_rows(self) -> list[list[str]]:
        """Return a table to print: the heading, and a row per metric."""
        heading = ["metric", self.report.model, self.baseline.model, "difference", "95% interval"]
        return [
            heading,
            *(
                [
                    name,
                    f"{self.report.metrics[name].value:.3f}",
                    f"{self.baseline.metrics[name].value:.3f}",
                    f"{each.value:+.3f}",
                    f"{each.low:+.3f} to {each.high:+.3f}",
                ]
                for name, each in self.difference.items()
            ),
        ]


def classification_words(
    ontology: Ontology, items: Iterable[ItemInput], blind_also: Iterable[str] = ()
) -> frozenset[str]:
    """Return the words that blind titles lose: those of all values and of all category levels."""
    specs = (spec for spec in ontology.properties.values() if spec.is_learned)
    texts = [text for spec in specs for text in spec.texts()]
    levels = {level for item in items for level in item.category}
    return value_words([*texts, *sorted(levels)], blind_also)


def with_category(items: Sequence[ItemInput]) -> list[ItemInput]:
    """Return the items that have a category; raises DataError if none has."""
    found = [item for item in items if item.category]
    if not found:
        raise DataError(
            f"none of the {len(items):,} items has a category to hide: choose items that have some"
        )
    return found


def hidden(
    items: Sequence[ItemInput], setting: Setting, words: frozenset[str], restating: Collection[str]
) -> list[ItemInput]:
    """Return items as a setting shows them, without the category and all that repeats it."""
    shown = []
    for item in apply_setting(items, replace(setting, category="yes"), words):
        known = without_restating(item.known, restating, category_text(item.category))
        known = known if setting.shows(Modality.STATEMENTS) else ()
        shown.append(replace(item, category=(), known=known))
    return shown


def evaluate_classification(
    scorer: Scorer,
    items: Sequence[ItemInput],
    setting: Setting,
    *,
    words: frozenset[str],
    restating: Collection[str],
    resamples: int = 1000,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> ClassificationReport:
    """Predict the categories of items by a scorer of the property ``category``.

    Blind titles lose ``words``, and statements of ``restating`` properties are hidden. A scorer
    that has no calibration fills nothing.
    """
    asked = with_category(items)
    outcome = _classify(scorer, asked, hidden(asked, setting, words, restating), progress)
    measured = _measures(outcome)
    weights = _resampled(len(asked), resamples, seed)
    decisions = {}
    for target, filled in outcome.filled.items():
        decisions[target] = _decided(outcome.true, filled, weights)
    return ClassificationReport(
        model=scorer.name,
        setting=setting,
        items=len(asked),
        without_category=len(items) - len(asked),
        paths=len(scorer.ontology.values_of(CATEGORY)),
        restating=tuple(sorted(restating)),
        metrics={
            name: _estimate(measure.value(None), [measure.value(row) for row in weights])
            for name, measure in measured.items()
        },
        counts={name: each.count for name, each in measured.items()},
        decisions=decisions,
        outcome=outcome,
    )


def compare_classification(
    report: ClassificationReport,
    baseline: ClassificationReport,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> ClassificationComparison:
    """Compare two reports on the same items in the same setting; raises DataError on others."""
    if (report.outcome.true, report.setting) != (baseline.outcome.true, baseline.setting):
        raise DataError(
            f"{report.model} and {baseline.model} were not evaluated on the same items: evaluate "
            "both on the same items in the same setting"
        )
    weights = _resampled(report.items, resamples, seed)
    ours = _measures(report.outcome)
    theirs = _measures(baseline.outcome)
    difference = {
        name: _estimate(
            ours[name].value(None) - theirs[name].value(None),
            [ours[name].value(row) - theirs[name].value(row) for row in weights],
        )
        for name in ours
    }
    return ClassificationComparison(report, baseline, difference)


def _classify(
    scorer: Scorer,
    asked: Sequence[ItemInput],
    shown: Sequence[ItemInput],
    progress: ProgressCallback,
) -> Classified:
    spec = scorer.ontology[CATEGORY]
    tree = CategoryTree(spec.values)
    calibration = Calibration(scorer.calibration)
    filling = CategoryFilling(spec, calibration)
    best: list[str] = []
    nodes: list[list[str]] = [[] for _ in tree.levels]
    filled: dict[float, list[str | None]] = {
        target: [] for target in (TARGETS if scorer.calibration is not None else ())
    }
    for start in range(0, len(shown), _BATCH):
        batch = shown[start : start + _BATCH]
        encoded = scorer.encode(batch)
        queries = [CellQuery(place, CATEGORY, item.known) for place, item in enumerate(batch)]
        scores = score_in_chunks(scorer, encoded, queries)
        for item, query, logits in zip(batch, queries, scores, strict=True):
            situation = scorer.situation(item, query)
            temperature = calibration.temperature(situation, CATEGORY)
            probabilities = predict(logits, len(spec.values), temperature).candidates
            place = int(probabilities.argmax())
            best.append(spec.values[place])
            for level, found in zip(tree.levels, nodes, strict=True):
                found.append(level.nodes[int(level.sums(probabilities).argmax())])
            for target, decided in filled.items():
                node = filling.filled(situation, probabilities, CellLimits(target))
                decided.append(None if node is None else node.category)
        progress(start + len(batch), len(shown))
    return Classified(
        true=tuple(category_text(item.category) or "" for item in asked),
        best=tuple(best),
        nodes=tuple(map(tuple, nodes)),
        filled={target: tuple(decided) for target, decided in filled.items()},
    )


@dataclass(frozen=True)
class _Measure:
    """A metric of ``count`` items, for any weights [N] of the N items."""

    count: int
    right: BoolArray
    counted: BoolArray
    true: IntArray | None = None
    best: IntArray | None = None

    def value(self, weights: FloatArray | None) -> float:
        """Return the metric where each item counts as often as ``weights`` say, by default once."""
        weights = np.ones(len(self.right)) if weights is None else weights
        if self.true is not None and self.best is not None:
            return macro_f1(self.true, self.best, weights)
        total = float(weights[self.counted].sum())
        return float(weights[self.right & self.counted].sum()) / total if total else math.nan


def _measures(outcome: Classified) -> dict[str, _Measure]:
    paths = [path_prefixes(path) for path in outcome.true]
    count = len(paths)
    every = np.ones(count, bool)
    right = np.array([a == b for a, b in zip(outcome.true, outcome.best, strict=True)], bool)
    numbers = {path: n for n, path in enumerate(sorted({*outcome.true, *outcome.best}))}
    true = np.array([numbers[path] for path in outcome.true])
    best = np.array([numbers[path] for path in outcome.best])
    found = {
        TOP_1: _Measure(count, right, every),
        MACRO_F1: _Measure(count, right, every, true, best),
    }
    for depth in range(1, max(map(len, paths), default=1)):
        counted = np.array([len(each) >= depth for each in paths], bool)
        # A model whose tree ends above says its deepest node.
        said = outcome.nodes[min(depth, len(outcome.nodes)) - 1]
        at_level = np.array(
            [
                len(own) >= depth and own[depth - 1] == node
                for own, node in zip(paths, said, strict=True)
            ],
            bool,
        )
        found[f"level {depth}"] = _Measure(int(counted.sum()), at_level, counted)
    return found


def macro_f1(true: IntArray, best: IntArray, weights: FloatArray) -> float:
    """Return the mean F1 of the classes that are true of any item, or predicted for one.

    F1 is 2 TP / (2 TP + FP + FN). Items [N] count by their ``weights`` [N].
    """
    classes = int(max(true.max(), best.max())) + 1
    is_right = true == best
    hits = np.bincount(true[is_right], weights[is_right], classes)
    both = np.bincount(true, weights, classes) + np.bincount(best, weights, classes)
    there = both > 0
    return float((2 * hits[there] / both[there]).mean()) if there.any() else math.nan


def is_right(filled: str, true: str) -> bool:
    """Return whether what an item is filled with is its path or a parent of it."""
    return filled in path_prefixes(true)


def _decided(
    true: Sequence[str], filled: Sequence[str | None], weights: FloatArray
) -> dict[str, Estimate]:
    is_filled = np.array([each is not None for each in filled], bool)
    right = np.array(
        [each is not None and is_right(each, own) for each, own in zip(filled, true, strict=True)],
        bool,
    )
    whole = np.array([each == own for each, own in zip(filled, true, strict=True)], bool)
    every = np.ones(len(true), bool)
    measures = {
        "filled": _Measure(len(true), is_filled, every),
        "paths": _Measure(len(true), whole, every),
        "precision": _Measure(int(is_filled.sum()), right, is_filled),
    }
    return {
        name: _estimate(each.value(None), [each.value(row) for row in weights])
        for name, each in measures.items()
    }


def _resampled(items: int, resamples: int, seed: int) -> FloatArray:
    """Return how often each of N items is drawn in each resample [B, N]."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(items, np.full(items, 1 / items), size=resamples)
    return np.asarray(drawn, np.float64)


def _estimate(value: float, resampled: Sequence[float]) -> Estimate:
    if math.isnan(value):
        return Estimate(math.nan, math.nan, math.nan)
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def _shown(estimate: Estimate) -> list[str]:
    if math.isnan(estimate.value):
        return ["", ""]
    return [f"{estimate.value:.3f}", f"{estimate.low:.3f}–{estimate.high:.3f}"]
