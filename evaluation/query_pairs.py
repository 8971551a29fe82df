"""The query-item pairs of a home on which query matching is evaluated."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fusion.inference.scorer import CellScorer
from kg.home import Home
from kg.snapshot import read_snapshot
from kg.splits import assign_splits
from schema.arrays import IntArray
from schema.errors import DataError
from training.inputs import read_data, read_query_log
from training.queries import QueryPairBuilder, QueryTerms


def held_out_pairs(
    home: Home, scorer: CellScorer, split: str, split_file: Path | None, hard: float
) -> tuple[QueryPairBuilder, IntArray]:
    """Return a pair builder over the home's whole query log, and the positive pairs [N] of a split.

    ``hard`` is the share of hard negatives. Raises DataError if the home has no query log, or if
    no query led to an item of the split.
    """
    with home.store(read_only=True) as store:
        snapshot = read_snapshot(store)
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
    regions = scorer.about.get("recipe", {}).get("regions", "")
    data = read_data(
        home, snapshot, scorer.ontology, tokenizer, scorer.config, lambda record: None, regions
    )
    terms = QueryTerms.from_ontology(scorer.ontology)
    pair_builder = QueryPairBuilder(data, log, terms, tokenizer, scorer.config, hard)
    return pair_builder, pairs
