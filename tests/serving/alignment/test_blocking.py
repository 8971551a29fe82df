"""Which pairs are compared: each once, across sides, and nearly all matches among them."""

from __future__ import annotations

import numpy as np

from serving.alignment.blocking import candidate_pairs, recall
from serving.alignment.corpus import Corpus
from serving.alignment.records import Records, Side
from tests.serving.alignment.made_pairs import joined, made_records


def test_matches_are_among_the_candidates_across_two_sides() -> None:
    corpus = Corpus(joined(*made_records(60)))
    left, right = candidate_pairs(corpus)
    assert (left < 60).all()
    assert (right >= 60).all()
    assert len(set(zip(left.tolist(), right.tolist(), strict=True))) == len(left)
    matches = np.arange(60), np.arange(60, 120)
    assert recall((left, right), matches) == 1
    assert len(left) < 60 * 60 / 2


def test_within_one_catalogue_every_pair_comes_once() -> None:
    left, right = made_records(20)
    records = (*left, *right)
    corpus = Corpus(Records(records, (Side.EITHER,) * len(records)))
    one, other = candidate_pairs(corpus)
    assert (one < other).all()
    assert recall((one, other), (np.arange(20, 40), np.arange(20))) == 1


def test_recall_counts_pairs_whichever_item_is_first() -> None:
    candidates = np.array([1, 2]), np.array([5, 6])
    assert recall(candidates, (np.array([5, 7]), np.array([1, 2]))) == 0.5
    assert recall(candidates, (np.array([], int), np.array([], int))) is None
