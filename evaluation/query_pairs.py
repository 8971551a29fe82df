"""The query-item pairs of a home on which query matching is evaluated."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fusion.inference.scorer import CellScorer
from kg.home import Home
from kg.snapshot import read_snapshot
from kg.splits import assign_splits
from schema.arrays import IntArray
from schema.errors import CatalographWarning, DataError
from serving.loading import regions_folder
from training.inputs import read_data, read_query_log
from training.queries import QueryLog, QueryPairBuilder, QueryTerms, Rewrites
from training.query_baseline import QueryBaseline
from training.records import Record, TrainingWarning


@dataclass(frozen=True)
class HeldOutQueries:
    """The positive ``pairs`` [N] of a split, a builder of their batches, and a baseline.

    ``baseline`` sees only the query, and has learned from the train split; None if no query led to
    an item of that. ``titles`` are those of all items.
    """

    builder: QueryPairBuilder
    pairs: IntArray
    baseline: QueryBaseline | None
    titles: list[str | None]


def held_out_pairs(
    home: Home,
    scorer: CellScorer,
    split: str,
    split_file: Path | None,
    hard: float,
    rewrites: Rewrites = Rewrites.LOGGED,
) -> HeldOutQueries:
    """Return the positive pairs of a split in the home's query log.

    ``hard`` is the share of hard negatives; ``rewrites`` says which queries they may be. Raises
    DataError if the home has no query log, or if no query led to an item of the split.
    """
    with home.store(read_only=True) as store:
        snapshot = read_snapshot(store, ontology=home.ontology_or_none())
    log = read_query_log(home, snapshot)
    if log is None:
        raise DataError(
            f"the home {home.path} has no query log with clicks: "
            "load one with `catalograph queries FILE`"
        )
    splits = assign_splits(snapshot.items, split_file)
    in_split = [splits.get(item) == split for item in snapshot.items]
    pairs = log.pairs_of_items(np.flatnonzero(in_split))
    if not len(pairs):
        raise DataError(
            f"no query led to an item of the {split} split: "
            "load a larger query log, or choose another --part"
        )
    tokenizer = scorer.featurizer.tokenizer
    regions = str(regions_folder(home, scorer))
    data = read_data(
        home, snapshot, scorer.ontology, tokenizer, scorer.config, _pass_on_warnings, regions
    )
    terms = QueryTerms.from_ontology(scorer.ontology)

    def builder(queries: QueryLog, among: IntArray | None) -> QueryPairBuilder:
        return QueryPairBuilder(
            data, queries, terms, tokenizer, scorer.config, hard, rewrites, among
        )

    train_items = {item for item in snapshot.items if splits.get(item) == "train"}
    train_log = read_query_log(home, snapshot, train_items)
    baseline = None if train_log is None else QueryBaseline.train(builder(train_log, None))
    return HeldOutQueries(builder(log, pairs), pairs, baseline, snapshot.titles)


def _pass_on_warnings(record: Record) -> None:
    """Warn of what a training run would report, such as images that cannot be read."""
    if isinstance(record, TrainingWarning):
        warnings.warn(record.text, CatalographWarning, stacklevel=2)
