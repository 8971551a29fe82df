"""Which items a model has learned from, as far as its folder says."""

from __future__ import annotations

from pathlib import Path

from experts.ensemble import ExpertEnsemble
from fusion.inference.scorer import CellScorer
from kg.snapshot import GraphSnapshot
from kg.splits import assign_splits

_EXPERTS = ("train", "validation")
"""The splits that experts from before these were recorded have learned from."""
_NETWORK = ("train", "validation")
"""A network learns from the former, and is chosen and calibrated by the latter."""


def learned_ids(scorer: CellScorer | ExpertEnsemble, snapshot: GraphSnapshot) -> frozenset[str]:
    """Return the ids of a catalogue's items that a model has learned from."""
    splits = _NETWORK if isinstance(scorer, CellScorer) else scorer.about.get("learned", _EXPERTS)
    file = scorer.about.get("split")
    split_of = assign_splits(snapshot.items, Path(file) if file else None)
    return frozenset(id for id, split in split_of.items() if split in splits)
