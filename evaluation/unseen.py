"""Evaluate experts on items that they have learned from: fit them again, without these items.

Experts learn from all items that they are to learn from, unless a split was given. What is measured
on such items would be memory, so the experts are fitted once more without them, which takes as long
as the first time, and so is what joins a network to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experts.classification import Classifier
from experts.ensemble import ExpertEnsemble
from experts.joint_scorer import JointScorer, held_out_of
from fusion.inference.featurizer import ItemInput
from kg.home import Home
from kg.splits import assign_splits
from schema.errors import DataError, TrainingError
from schema.progress import ProgressCallback, no_progress
from serving.category_calibration import calibrate_classifier
from serving.expert_calibration import calibrate_experts
from serving.joining import join_network, open_network
from serving.loading import ModelScorer
from training.classification import train_classifier
from training.experts import options_of, train_experts
from training.records import Preparing, Record, ReportCallback

LEARNED = ("train", "validation")
"""The splits that experts from before these were recorded have learned from."""


def unseen_scorer(
    home: Home,
    scorer: ModelScorer,
    items: Sequence[ItemInput],
    note: Callable[[str], None],
    progress: ProgressCallback = no_progress,
) -> ModelScorer:
    """Return a scorer that has learned nothing from ``items``, in place of one that has.

    A network is returned as it is: it learns from the train split alone. ``note`` is told what is
    done. Raises DataError if nothing is left to learn from.
    """
    if not isinstance(scorer, ExpertEnsemble | JointScorer):
        return scorer
    experts = scorer if isinstance(scorer, ExpertEnsemble) else scorer.experts
    options = options_of(experts.about, experts.path)
    without = _learned_of(home, experts.name, experts.path, experts.about, items, note)
    if not without:
        return scorer
    note(
        f"model {experts.name} has learned from {len(without):,} of these {len(items):,} items: "
        "its experts are fitted again without them, for this evaluation alone"
    )
    report = _reporting(progress)
    try:
        run = train_experts(home, options, report, folder=experts.path, without=without)
    except TrainingError as error:
        raise DataError(
            f"without the items that are evaluated nothing is left to learn from ({error}): "
            "train with a --split file, and evaluate its test split"
        ) from None
    again = run.fitted.ensemble
    again.path = experts.path
    again.about = experts.about
    again.read_pixels = experts.read_pixels
    again.calibration = calibrate_experts(run.fitted)
    network = open_network(experts.path) if isinstance(scorer, JointScorer) else None
    if network is None or not isinstance(scorer, JointScorer):
        return again
    fitted = replace(run.fitted, held_out=held_out_of(run.fitted, run.unseen))
    joined = join_network(home, fitted, again.calibration, network, run.unseen)
    if not joined.stage.joins_anywhere:
        return again
    return joined.scorer(again, network)


def unseen_classifier(
    home: Home,
    classifier: Classifier,
    items: Sequence[ItemInput],
    note: Callable[[str], None],
    progress: ProgressCallback = no_progress,
) -> Classifier:
    """Return a classifier that has learned nothing from ``items``, in place of one that has.

    ``note`` is told what is done. Raises DataError if nothing is left to learn from.
    """
    path = classifier.path
    without = _learned_of(home, classifier.name, path, classifier.about, items, note)
    if not without:
        return classifier
    note(
        f"the classifier of {classifier.name} has learned from {len(without):,} of these "
        f"{len(items):,} items: it is fitted again without them, for this evaluation alone"
    )
    options = options_of(classifier.about, path)
    try:
        run = train_classifier(
            home, options, classifier.name, _reporting(progress), without=without
        )
    except TrainingError as error:
        raise DataError(
            f"without the items that are evaluated nothing is left to learn from ({error}): "
            "train with a --split file, and evaluate its test split"
        ) from None
    again = run.fitted.classifier
    again.path = path
    again.ensemble.read_pixels = classifier.ensemble.read_pixels
    again.calibration = calibrate_classifier(run.fitted)
    return again


def _learned_of(
    home: Home,
    name: str,
    path: Path,
    about: Mapping[str, Any],
    items: Sequence[ItemInput],
    note: Callable[[str], None],
) -> frozenset[str]:
    """Return which of some items a model has learned from, by what its folder says.

    Of a model of another home that cannot be known, and ``note`` is told so.
    """
    learned_splits = about.get("learned", LEARNED)
    if not path.resolve().is_relative_to(home.models.resolve()):
        if "test" in learned_splits:
            note(
                f"model {name} has learned from all items of the home that it was trained "
                "in: if these are the same, the figures are those of items that it knows"
            )
        return frozenset()
    split_of = assign_splits(home.snapshot().items, options_of(about, path).split)
    learned = {id for id, split in split_of.items() if split in learned_splits}
    return frozenset(learned & {item.id for item in items})


def _reporting(progress: ProgressCallback) -> ReportCallback:
    """Return what counts the steps of a fit."""

    def report(record: Record) -> None:
        if isinstance(record, Preparing) and record.done is not None and record.total is not None:
            progress(record.done, record.total)

    return report
