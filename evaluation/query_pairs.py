"""What an evaluation reads from a home."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fusion.inference.scorer import CellScorer
from kg.home import Home
from kg.snapshot import read_snapshot
from kg.splits import assign
from schema.errors import DataError
from training.inputs import read_data, read_query_log
from training.queries import QueryPairBuilder, QueryTerms


def held_out_pairs(
    home: Home, scorer: CellScorer, part: str, split: Path | None, hard: float
) -> tuple[QueryPairBuilder, NDArray[np.int64]]:
    """A matcher over the home's whole query log, and the positive pairs [N] of a part's items; raises DataError where there is none."""
    with home.store(read_only=True) as store:
        snapshot = read_snapshot(store)
    log = read_query_log(home, snapshot)
    if log is None:
        raise DataError(
            f"the home {home.path} has no query log with clicks: load one with `catalograph queries FILE`"
        )
    parts = assign(snapshot.items, split)
    pairs = log.pairs_of_items(np.flatnonzero([parts.get(item) == part for item in snapshot.items]))
    if not len(pairs):
        raise DataError(
            f"no query led to an item of the {part} part: load a larger query log, or choose another --part"
        )
    tokenizer = scorer.featurizer.tokenizer
    regions = scorer.about.get("recipe", {}).get("regions", "")
    data = read_data(
        home, snapshot, scorer.ontology, tokenizer, scorer.config, lambda record: None, regions
    )
    return QueryPairBuilder(data, log, QueryTerms.from_ontology(scorer.ontology), tokenizer, scorer.config, hard), pairs
