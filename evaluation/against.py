"""What a model is compared with on the same cells: baselines and other models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from evaluation.baselines import BASELINE_IMAGE_SIZE, Classical, MostFrequent
from evaluation.completion import EvaluationReport, evaluate_completion
from evaluation.kge.scorer import EmbeddingScorer
from evaluation.kge.search import train_embedding
from evaluation.kge.settings import INTERACTIONS, read_tuned
from evaluation.settings import Setting, apply_setting, catalogue_words
from fusion.inference.featurizer import ItemInput
from kg.home import Home
from kg.image_cache import ImageCache
from kg.snapshot import GraphSnapshot
from kg.splits import assign_splits
from schema.errors import DataError
from schema.ontology import Ontology
from serving.calibration import calibrate
from serving.cells import Scorer

CLASSICAL = "classical"
MOST_FREQUENT = "most-frequent"
BASELINES = (CLASSICAL, MOST_FREQUENT, *INTERACTIONS)
"""The names of baselines, the embeddings that `baseline kge` tunes among them.

Any other name is that of a model.
"""

Splits = dict[str, list[ItemInput]]
"""Items by split: train, validation and test."""


def read_splits(home: Home, split_file: Path | None) -> Splits:
    """Read the home's items by split, with images as pixels of the baselines' size."""
    snapshot = home.snapshot()
    files = home.image_files()
    images = ImageCache.build(snapshot.images, BASELINE_IMAGE_SIZE, home.cache, files)
    return _by_split(snapshot, split_file, lambda index: _read_item(snapshot, images, index))


def read_statements(home: Home, split_file: Path | None) -> Splits:
    """Read the home's items by split, with nothing but their statements."""
    snapshot = home.snapshot()
    return _by_split(
        snapshot,
        split_file,
        lambda index: ItemInput(snapshot.items[index], known=tuple(snapshot.statements_of(index))),
    )


def _by_split(
    snapshot: GraphSnapshot, split_file: Path | None, read: Callable[[int], ItemInput]
) -> Splits:
    split_of = assign_splits(snapshot.items, split_file)
    splits: Splits = {"train": [], "validation": [], "test": []}
    for index, item in enumerate(snapshot.items):
        if item in split_of:
            splits[split_of[item]].append(read(index))
    return splits


def _read_item(snapshot: GraphSnapshot, images: ImageCache, index: int) -> ItemInput:
    """Read one item; its image becomes pixels [3, S, S]."""
    pixels = images.pixels(np.array([index]))[0] if images.present[index] else None
    return ItemInput(
        snapshot.items[index], snapshot.titles[index], pixels, tuple(snapshot.statements_of(index))
    )


@dataclass
class Baselines:
    """Trains baselines on the train split, calibrates them on the validation split, and evaluates.

    ``part`` is the split whose items are evaluated, and ``blind_also`` are further words that blind
    titles lose. Items and images are read when they are needed first.
    """

    home: Home
    split_file: Path | None = None
    part: str = "test"
    blind_also: Sequence[str] = ()
    _embeddings: dict[str, EmbeddingScorer] = field(default_factory=dict, repr=False)

    @cached_property
    def ontology(self) -> Ontology:
        """The home's ontology."""
        return self.home.ontology()

    @cached_property
    def splits(self) -> Splits:
        """The items by split; raises DataError if none are for training."""
        return _with_train(read_splits(self.home, self.split_file))

    @cached_property
    def statements(self) -> Splits:
        """The items by split with nothing but their statements, for what reads no images."""
        return _with_train(read_statements(self.home, self.split_file))

    def evaluate(self, name: str, setting: Setting) -> EvaluationReport:
        """Train, calibrate and evaluate one of ``BASELINES`` in a setting."""
        scorer = self._train(name, setting)
        words = catalogue_words(self.ontology, self.blind_also)
        validation = apply_setting(self.splits["validation"], setting, words)
        scorer.calibration = calibrate(scorer, validation)
        return self.evaluate_scorer(scorer, setting)

    def evaluate_scorer(self, scorer: Scorer, setting: Setting) -> EvaluationReport:
        """Evaluate a scorer as it is."""
        return evaluate_completion(
            scorer, self.splits[self.part], self.ontology, setting, blind_also=self.blind_also
        )

    def _train(self, name: str, setting: Setting) -> Classical | MostFrequent | EmbeddingScorer:
        if name in INTERACTIONS:
            return self._embedding(name)
        train = self.splits["train"]
        if name == MOST_FREQUENT:
            return MostFrequent(self.ontology, train)
        return Classical.train(self.ontology, train, setting, blind_also=self.blind_also)

    def _embedding(self, name: str) -> EmbeddingScorer:
        """Train an embedding as it was tuned; once, as every setting asks the same one."""
        if name not in self._embeddings:
            train = self.statements["train"]
            settings = read_tuned(self.home.baselines, name, train).settings
            embedding = train_embedding(settings, self.ontology, train)
            self._embeddings[name] = EmbeddingScorer(self.ontology, embedding, settings)
        return self._embeddings[name]


def _with_train(splits: Splits) -> Splits:
    """Return the splits; raises DataError if no items are for training."""
    if not splits["train"]:
        raise DataError(
            "the train split has no items for a baseline to learn from: "
            "give a --split file that names some"
        )
    return splits
