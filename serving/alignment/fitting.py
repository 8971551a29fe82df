"""Learn from labelled pairs which items are the same product.

Shapes: M pairs, F features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import binom

from schema.arrays import BoolArray, FloatArray, IntArray
from schema.errors import UsageError
from schema.ontology import Ontology
from schema.progress import ProgressCallback, no_progress
from serving.alignment.corpus import Corpus
from serving.alignment.features import common_properties, pair_features
from serving.alignment.model import AlignmentModel, Calibration, scores_of
from serving.alignment.records import Side
from serving.proof import CONFIDENCE, TARGETS, JudgedCells, Proven, prove

if TYPE_CHECKING:
    from xgboost import Booster

FOLDS = 5
MIN_LABELS = 10
"""The fewest matching pairs, and the fewest distinct ones."""
MAX_ROUNDS = 800
PATIENCE = 50
"""Trees after which training ends if none of them improved what was left out."""
TREES: Mapping[str, Any] = {
    "objective": "binary:logistic",
    "learning_rate": 0.04,
    "max_depth": 5,
    "reg_lambda": 1.0,
    "subsample": 0.8,
    "colsample_bytree": 0.3,
    "tree_method": "hist",
}
"""Chosen by cross-validated log loss on four sets of labelled pairs (docs/alignment.md)."""


@dataclass(frozen=True)
class LabelledPairs:
    """M pairs of rows of a corpus, and whether both are the same product [M]."""

    left: IntArray
    right: IntArray
    label: BoolArray

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class FittedAlignment:
    """A model, and the probabilities that others like it give to pairs they have not learned from.

    ``left_out`` [M] are those of the pairs that the model has learned from; ``validation`` those of
    pairs that it was not given to learn from.
    """

    model: AlignmentModel
    left_out: FloatArray
    validation: FloatArray


def fit_alignment(
    corpus: Corpus,
    pairs: LabelledPairs,
    validation: LabelledPairs | None,
    ontology: Ontology,
    sides: Mapping[str, Side],
    about: Mapping[str, Any],
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> FittedAlignment:
    """Fit trees, calibrate them on pairs that each did not learn from, and prove thresholds.

    The pairs of an item on the left are left out together. How many trees there are is chosen on
    what was left out, and so is the calibration; thresholds are proven on the ``validation`` pairs
    as well. Raises UsageError if there are too few labels.
    """
    for name, count in (("matching", pairs.label.sum()), ("distinct", (~pairs.label).sum())):
        if count < MIN_LABELS:
            raise UsageError(
                f"{count:,} {name} pairs are too few to learn from: label at least {MIN_LABELS} "
                f"{name} ones"
            )
    properties = common_properties(corpus, pairs.left, pairs.right)
    names, features = pair_features(corpus, pairs.left, pairs.right, properties)
    folds = list(_folds(pairs, seed))
    boosters = []
    losses = []
    for number, (learned, left_out) in enumerate(folds):
        booster, own = _train(features, pairs.label, learned, seed, left_out)
        boosters.append(booster)
        losses.append(own)
        progress(number + 1, len(folds) + 1)
    rounds = _best_rounds(losses)
    scores = np.zeros(len(pairs))
    for booster, (_, left_out) in zip(boosters, folds, strict=True):
        scores[left_out] = scores_of(booster, names, features[left_out], rounds)
    calibration = calibrate(scores, pairs.label)
    trees, _ = _train(features, pairs.label, np.arange(len(pairs)), seed, None, rounds)
    progress(len(folds) + 1, len(folds) + 1)

    left_out_probability = calibration.probabilities(scores)
    held_out = np.zeros(0)
    judged = [(left_out_probability, pairs)]
    if validation is not None:
        _, held_out_features = pair_features(corpus, validation.left, validation.right, properties)
        held_out = calibration.probabilities(scores_of(trees, names, held_out_features))
        judged.append((held_out, validation))
    model = AlignmentModel(
        trees,
        tuple(names),
        properties,
        calibration,
        matches=_proven_matches(judged),
        lost=thresholds_of_lost(
            np.concatenate([found[labelled.label] for found, labelled in judged])
        ),
        sides=sides,
        best_f1=threshold_of_expected_f1(left_out_probability),
        about={**about, "trees": rounds},
        ontology=ontology,
    )
    return FittedAlignment(model, left_out_probability, held_out)


def calibrate(scores: FloatArray, label: BoolArray) -> Calibration:
    """Return the logistic calibration of scores [M] that fits labels [M] best (Platt 1999).

    As Platt proposes, labels count as a little less than certain, so that scores that tell both
    kinds apart do not become certain either.
    """
    positive, negative = int(label.sum()), int((~label).sum())
    target = np.where(label, (positive + 1) / (positive + 2), 1 / (negative + 2))

    def loss(parameters: FloatArray) -> float:
        logits = parameters[0] * scores + parameters[1]
        return float((np.logaddexp(0, logits) - target * logits).mean())

    slope, intercept = minimize(loss, np.array([1.0, 0.0]), method="BFGS").x
    # A falling calibration would turn the order around; there is nothing to learn from then.
    return Calibration(max(float(slope), 0.0), float(intercept))


def _folds(pairs: LabelledPairs, seed: int) -> Iterator[tuple[IntArray, IntArray]]:
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed % (1 << 32))
    yield from splitter.split(np.zeros(len(pairs)), pairs.label, groups=pairs.left)


def _best_rounds(losses: Sequence[FloatArray]) -> int:
    """Return after how many trees the mean loss of the folds is the lowest, as far as all go."""
    fewest = min(map(len, losses))
    return int(np.argmin(np.mean([each[:fewest] for each in losses], axis=0))) + 1


def _train(
    features: NDArray[np.float32],
    label: BoolArray,
    learned: IntArray,
    seed: int,
    left_out: IntArray | None,
    rounds: int = MAX_ROUNDS,
) -> tuple[Booster, FloatArray]:
    """Train trees; return them and the log loss on what was left out after each of them."""
    import xgboost

    def matrix(rows: IntArray) -> xgboost.DMatrix:
        names = [f"f{number}" for number in range(features.shape[1])]
        return xgboost.DMatrix(features[rows], label=label[rows], feature_names=names)

    measured: dict[str, dict[str, list[float]]] = {}
    watched = [] if left_out is None else [(matrix(left_out), "left_out")]
    booster = xgboost.train(
        {**TREES, "seed": seed % (1 << 31), "eval_metric": "logloss"},
        matrix(learned),
        num_boost_round=rounds,
        evals=watched,
        evals_result=measured,
        early_stopping_rounds=PATIENCE if watched else None,
        verbose_eval=False,
    )
    return booster, np.array(measured["left_out"]["logloss"] if watched else [])


def _proven_matches(judged: Sequence[tuple[FloatArray, LabelledPairs]]) -> tuple[Proven, ...]:
    cells = JudgedCells(
        np.concatenate([probability for probability, _ in judged]),
        np.concatenate([pairs.label for _, pairs in judged]),
        np.concatenate([pairs.left for _, pairs in judged]),
    )
    return tuple(prove({"pairs": cells})["pairs"])


def threshold_of_best_f1(probability: FloatArray, label: BoolArray) -> float:
    """Return the probability from which on M pairs have the greatest F1 as matches."""
    order = np.argsort(-probability, kind="stable")
    right = np.cumsum(label[order])
    f1 = 2 * right / (np.arange(1, len(label) + 1) + label.sum())
    # Equal probabilities are matches together, or not.
    is_last = np.append(np.diff(probability[order]) != 0, True)
    return float(probability[order][int(np.argmax(np.where(is_last, f1, -1)))])


def threshold_of_expected_f1(probability: FloatArray) -> float:
    """Return the probability from which on the expected F1 of M pairs as matches is greatest.

    Calibrated probabilities stand for the labels, 2 sum(p of matches) / (matches + sum(p)), whose
    best place varies less than that of the labels themselves.
    """
    ordered = np.sort(probability)[::-1]
    f1 = 2 * np.cumsum(ordered) / (np.arange(1, len(ordered) + 1) + ordered.sum())
    return float(ordered[int(np.argmax(f1))])


def thresholds_of_lost(matches: FloatArray) -> dict[float, float]:
    """Return below which probability fewer than a share of all matches are, by 1 - that share.

    ``matches`` [N] are the probabilities of pairs known to be matches. The k-th lowest of them is a
    distribution-free tolerance limit (Wilks 1941): with a confidence of 95%, at most a share a of
    all matches is below it if at least k of N draws are among the lowest a of all in 95% of cases.
    Shares without such a k have no threshold.
    """
    ordered = np.sort(matches)
    found = {}
    for target in TARGETS:
        places = np.arange(1, len(ordered) + 1)
        confident = binom.sf(places - 1, len(ordered), 1 - target) >= CONFIDENCE
        if confident.any():
            found[target] = float(ordered[places[confident].max() - 1])
    return found
