"""Train an alignment model on labelled pairs of a home's items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kg.home import Home
from schema.progress import ProgressCallback, no_progress
from serving.alignment.aligning import known_sides, rows_of_pairs
from serving.alignment.corpus import Corpus
from serving.alignment.fitting import FittedAlignment, LabelledPairs, fit_alignment
from serving.alignment.pair_files import LabelledFile
from serving.alignment.records import Records, records_of_home


@dataclass(frozen=True)
class AlignmentTraining:
    """A fitted model, the pairs it learned from and those that it did not, and remarks on them."""

    fitted: FittedAlignment
    pairs: LabelledPairs
    validation: LabelledPairs | None
    notes: tuple[str, ...]


def train_alignment(
    home: Home,
    pairs: LabelledFile,
    validation: LabelledFile | None = None,
    *,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> AlignmentTraining:
    """Learn from labelled pairs; ``validation`` pairs are scored, and prove thresholds.

    Pairs that are in both files are learned from alone, which the notes say. Raises
    ItemNotFoundError if an item is not in the catalogue, UsageError if there are too few labels.
    """
    notes: list[str] = []
    for file in (pairs, validation):
        notes += [] if file is None else file.notes()
    if validation is not None:
        new = validation.without(pairs)
        if len(new) < len(validation):
            notes.append(
                f"{validation.path}: {len(validation) - len(new):,} pairs are also in "
                f"{pairs.path}, and are not measured, since the model learns from them"
            )
        validation = new
    every = [*pairs.pairs, *(validation.pairs if validation is not None else ())]
    sides = known_sides(every)
    corpus = Corpus(Records.with_sides(records_of_home(home), sides))
    learned = labelled_rows(corpus, pairs)
    held_out = None if validation is None else labelled_rows(corpus, validation)
    about: dict[str, Any] = {
        "items": len(corpus),
        "pairs": len(learned),
        "matching": int(learned.label.sum()),
        "validation_pairs": 0 if held_out is None else len(held_out),
        "seed": seed,
        "sides": bool(sides),
    }
    fitted = fit_alignment(corpus, learned, held_out, home.ontology(), sides, about, seed, progress)
    return AlignmentTraining(fitted, learned, held_out, tuple(notes))


def labelled_rows(corpus: Corpus, file: LabelledFile) -> LabelledPairs:
    """Return the rows of a labelled file's pairs; raises ItemNotFoundError."""
    left, right = rows_of_pairs(corpus, file.pairs, str(file.path))
    return LabelledPairs(left, right, np.array(file.labels, bool))
