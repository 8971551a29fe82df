"""Fit a classifier of items into the category tree, beside a model of a home."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from experts.classification import FittedClassifier, fit_classifier, why_no_classes
from experts.labelled_items import LabelledItems
from experts.pretrained import Encoders
from kg.home import Home
from schema.errors import TrainingError
from schema.memory import keep_freed_memory
from schema.ontology import Ontology
from training.config import TrainOptions
from training.experts import (
    ExpertsRun,
    about_encoders,
    learned_places,
    options_of,
    read_labelled_items,
    read_learnable,
)
from training.inputs import split_items, train_ontology
from training.records import Preparing, ReportCallback, ignore_records

MAX_ITEMS = 20_000
"""Items with a category that are learned from at most."""


@dataclass(frozen=True)
class ClassifierRun:
    """A fitted classifier, what its folder says of it, and how long it took in seconds."""

    fitted: FittedClassifier
    about: dict[str, Any]
    seconds: float

    @property
    def paths(self) -> int:
        """How many category paths it knows."""
        return len(self.fitted.classifier.tree.paths)


def why_no_classifier(run: ExpertsRun) -> str | None:
    """Return why no classifier can be fitted beside experts; None if one can."""
    items = run.fitted.items.with_every_part()
    return why_no_classes(run.fitted.ensemble.ontology, items.categories)


def classifier_beside(run: ExpertsRun, report: ReportCallback = ignore_records) -> ClassifierRun:
    """Fit a classifier on the items that experts have learned from.

    Raises TrainingError if their categories cannot be learned.
    """
    return _fit(
        run.folder.name,
        run.fitted.ensemble.ontology,
        run.fitted.items,
        options_of(run.about, run.folder),
        report,
    )


def train_classifier(
    home: Home,
    options: TrainOptions,
    name: str,
    report: ReportCallback = ignore_records,
    *,
    without: frozenset[str] = frozenset(),
) -> ClassifierRun:
    """Fit a classifier on the items of the splits that experts learn from, ``without`` some ids.

    Of many items it learns from a sample. Raises TrainingError if their categories cannot be
    learned.
    """
    keep_freed_memory()
    snapshot = read_learnable(home)
    learned = learned_places(snapshot, split_items(snapshot, options), options, without)
    ontology = train_ontology(snapshot, learned, home.ontology())
    has_category = [bool(snapshot.categories[number]) for number in learned.tolist()]
    index = learned[np.flatnonzero(has_category)]
    reason = why_no_classes(ontology, [snapshot.category_path(n) for n in index.tolist()])
    if reason is not None:
        raise TrainingError(f"categories cannot be learned: {reason}")
    if len(index) > MAX_ITEMS:
        index = np.sort(np.random.default_rng(options.seed).permutation(index)[:MAX_ITEMS])
    encoders = Encoders.open(options.text_encoder, options.image_encoder)
    items = read_labelled_items(home, snapshot, index, report, encoders=encoders)
    del snapshot
    return _fit(name, ontology, items, options, report)


def _fit(
    name: str,
    ontology: Ontology,
    items: LabelledItems,
    options: TrainOptions,
    report: ReportCallback,
) -> ClassifierRun:
    began = time.monotonic()
    fitted = fit_classifier(
        name,
        ontology,
        items,
        seed=options.seed,
        progress=lambda done, total: report(Preparing("classifier", done, total)),
    )
    about = {
        "seed": options.seed,
        "split": None if options.split is None else str(options.split),
        "learned": list(options.learned_splits),
        "items": len(fitted.ids),
        "hits@1": _left_out_hits(fitted),
        **about_encoders(options),
    }
    return ClassifierRun(fitted, about, time.monotonic() - began)


def _left_out_hits(fitted: FittedClassifier) -> dict[str, float]:
    """Return the share of left-out items whose path is right, by situation."""
    found = {}
    for situation, cells in sorted(fitted.held_out.items()):
        best = cells.logits[:, : cells.true.shape[1]].argmax(1)
        right = cells.true[np.arange(len(best)), best]
        found[situation] = round(float(right.mean()), 6)
    return found
