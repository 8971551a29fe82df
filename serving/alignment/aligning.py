"""Align items: score given pairs, or find all matches between two catalogues or within one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from schema.arrays import FloatArray, IntArray
from schema.errors import ItemNotFoundError
from schema.progress import ProgressCallback, no_progress
from serving.alignment.blocking import candidate_pairs
from serving.alignment.corpus import NEIGHBOURS, Corpus
from serving.alignment.counts import CountedRecords
from serving.alignment.model import (
    DEFAULT_TARGET,
    AlignmentDecision,
    AlignmentModel,
    Thresholds,
)
from serving.alignment.records import Record, Records, Side
from serving.alignment.resolution import Cluster, clusters, one_to_one

NAMED = 3
"""Unknown items that an error names."""


@dataclass(frozen=True)
class AlignedPair:
    """Two items by their ids, how probable it is that they are the same, and what is decided."""

    left: str
    right: str
    probability: float
    decision: AlignmentDecision

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "left": self.left,
            "right": self.right,
            "probability": self.probability,
            "decision": str(self.decision),
        }


class AlignedPairs(Sequence[AlignedPair]):
    """M pairs, each built on access: a million items have some ten million.

    Args:
        ids: of all items
        left, right: the rows of the pairs' items [M]
        probability: how probable it is that they are the same [M]
        decisions: what is decided of each
    """

    def __init__(
        self,
        ids: Sequence[str],
        left: IntArray,
        right: IntArray,
        probability: FloatArray,
        decisions: list[AlignmentDecision],
    ) -> None:
        self._ids = ids
        self._left = left
        self._right = right
        self._probability = probability
        self._decisions = decisions

    def __len__(self) -> int:
        return len(self._decisions)

    @overload
    def __getitem__(self, index: int) -> AlignedPair: ...
    @overload
    def __getitem__(self, index: slice) -> list[AlignedPair]: ...
    def __getitem__(self, index: int | slice) -> AlignedPair | list[AlignedPair]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return AlignedPair(
            self._ids[self._left[index]],
            self._ids[self._right[index]],
            _rounded(self._probability[index]),
            self._decisions[index],
        )

    def count_of(self, decision: AlignmentDecision) -> int:
        """Return how many pairs were decided so."""
        return self._decisions.count(decision)

    def at_least(self, probability: float) -> list[AlignedPair]:
        """Return the pairs that are so probable."""
        chances = enumerate(map(_rounded, self._probability))
        return [self[place] for place, chance in chances if chance >= probability]

    def not_decided(self, decision: AlignmentDecision) -> list[AlignedPair]:
        """Return the pairs that were not decided so."""
        return [self[place] for place, each in enumerate(self._decisions) if each is not decision]


def _rounded(probability: np.float64) -> float:
    return round(float(probability), 6)


@dataclass(frozen=True)
class AlignOptions:
    """How pairs are found and decided.

    ``nearest`` items of each kind of similarity are compared with every item; ``target`` is the
    share of matches that shall be right, and of matches that shall not be lost.
    """

    nearest: int = NEIGHBOURS
    target: float = DEFAULT_TARGET
    one_to_one: bool = False


@dataclass(frozen=True)
class Alignment:
    """What was found: the compared pairs, the most probable first, and the clusters of matches.

    ``clusters`` have the ids of items, and ``demoted`` is how many matches became pairs to review
    because one of their items has a better match.
    """

    pairs: AlignedPairs
    clusters: tuple[tuple[tuple[str, ...], float], ...]
    demoted: int = 0

    def count(self, decision: AlignmentDecision) -> int:
        """Return how many pairs were decided so."""
        return self.pairs.count_of(decision)


def known_sides(
    pairs: Iterable[tuple[str, str]], learned: Mapping[str, Side] | None = None
) -> dict[str, Side]:
    """Return the side of each item of labelled or asked pairs.

    Where no item stands in both columns, these are two catalogues, and the items of one column are
    the left side. Else there is one catalogue whose items may all match each other: no item has a
    side. ``learned`` are the sides that a model knows; an item that stands on the other side now
    has none.
    """
    left: set[str] = set()
    right: set[str] = set()
    for one, other in pairs:
        left.add(one)
        right.add(other)
    sides = dict(learned or {})
    if left & right or (learned is not None and not learned):
        return sides
    for id, side in (*((id, Side.LEFT) for id in left), *((id, Side.RIGHT) for id in right)):
        sides[id] = side if sides.get(id, side) is side else Side.EITHER
    return sides


def rows_of_pairs(
    corpus: Corpus, pairs: Sequence[tuple[str, str]], file: str
) -> tuple[IntArray, IntArray]:
    """Return the rows of the pairs' items [M]; raises ItemNotFoundError if any is not there."""
    unknown = dict.fromkeys(id for pair in pairs for id in pair if id not in corpus.row_of)
    if unknown:
        listed = ", ".join(list(unknown)[:NAMED]) + (", …" if len(unknown) > NAMED else "")
        raise ItemNotFoundError(
            f"{file} names {len(unknown):,} items that are not in the catalogue ({listed}): "
            "ingest them first, or remove their pairs"
        )
    left = np.array([corpus.row_of[one] for one, _ in pairs], np.int64)
    right = np.array([corpus.row_of[other] for _, other in pairs], np.int64)
    return left, right


def score_pairs(
    model: AlignmentModel,
    records: Sequence[Record],
    pairs: Sequence[tuple[str, str]],
    file: str,
    options: AlignOptions = AlignOptions(),
    progress: ProgressCallback = no_progress,
    kept: CountedRecords | None = None,
) -> Alignment:
    """Score pairs of a catalogue's items, in the order in which they are given.

    Every item of the catalogue counts as a rival that may be the better match. What is ``kept`` of
    items is not counted again.
    """
    sides = known_sides(pairs, model.sides)
    corpus = Corpus(Records.with_sides(records, sides), kept)
    left, right = rows_of_pairs(corpus, pairs, file)
    probability = model.probabilities(corpus, left, right, progress)
    return _resolved(corpus, left, right, probability, model.thresholds(options.target), options)


def align_records(
    model: AlignmentModel,
    records: Records,
    options: AlignOptions = AlignOptions(),
    progress: ProgressCallback = no_progress,
    kept: CountedRecords | None = None,
    asked: IntArray | None = None,
) -> Alignment:
    """Find the pairs that are worth comparing and score them, the most probable ones first.

    What is ``kept`` of items is not counted again. With rows that are ``asked``, only pairs that
    have one of them are compared, as they are among all pairs.
    """
    corpus = Corpus(records, kept)
    left, right = candidate_pairs(corpus, nearest=options.nearest, asked=asked)
    probability = model.probabilities(corpus, left, right, progress)
    order = np.argsort(-probability, kind="stable")
    left, right, probability = left[order], right[order], probability[order]
    return _resolved(corpus, left, right, probability, model.thresholds(options.target), options)


def _resolved(
    corpus: Corpus,
    left: IntArray,
    right: IntArray,
    probability: FloatArray,
    thresholds: Thresholds,
    options: AlignOptions,
) -> Alignment:
    decisions = thresholds.decide(probability)
    matched = np.array([each is AlignmentDecision.MATCH for each in decisions], bool)
    demoted = 0
    if options.one_to_one:
        kept = one_to_one(left, right, probability, matched)
        for place in np.flatnonzero(matched & ~kept):
            decisions[place] = AlignmentDecision.REVIEW
        demoted = int((matched & ~kept).sum())
        matched = kept
    ids = [record.id for record in corpus.records]
    pairs = AlignedPairs(ids, left, right, probability, decisions)
    found = clusters(left, right, probability, matched)
    return Alignment(pairs, tuple(_named(each, ids) for each in found), demoted)


def _named(cluster: Cluster, ids: Sequence[str]) -> tuple[tuple[str, ...], float]:
    return tuple(ids[row] for row in cluster.rows), round(cluster.weakest, 6)
