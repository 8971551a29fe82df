"""Which pairs are compared: each once, across sides, and nearly all matches among them."""

from __future__ import annotations

import numpy as np
import pytest

from serving.alignment.blocking import candidate_pairs, recall
from serving.alignment.corpus import Corpus
from serving.alignment.records import Record, Records, Side
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


def test_a_pair_is_near_by_one_and_not_far_by_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.alignment.corpus.RETURNED", 12)
    monkeypatch.setattr("serving.alignment.blocking.ROWS_AT_ONCE", 7)
    rng = np.random.default_rng(3)
    words = [f"{chr(97 + at)}{'xyz'[at % 3] * 3}" for at in range(20)]
    titles = [" ".join(rng.choice(words, rng.integers(6, 12))) for _ in range(65)]
    records = [Record(str(number), title) for number, title in enumerate(titles)]
    corpus = Corpus(joined(records[:25], records[25:]))
    found = candidate_pairs(corpus, ("title n-grams",), nearest=3)
    matrix = corpus.cosines["title n-grams"].whole()
    cosines = (matrix[:25] @ matrix[25:].T).toarray()
    # No two are equally near to a third.
    assert all(len(set(row.tolist())) == len(row) for row in (*cosines, *cosines.T))
    ranks = (-cosines).argsort(1).argsort(1)
    ranks_back = (-cosines).argsort(0).argsort(0)
    near, far = np.minimum(ranks, ranks_back), np.maximum(ranks, ranks_back)
    expected = {
        (one, 25 + other) for one, other in np.argwhere((near < 3) & (far < 12) & (cosines > 0))
    }
    assert set(zip(*(each.tolist() for each in found), strict=True)) == expected


def test_pairs_of_asked_items_are_those_among_all_pairs() -> None:
    left, right = made_records(60)
    records = (*left, *right)
    every = candidate_pairs(Corpus(Records(records, (Side.EITHER,) * len(records))))
    asked = np.array([3, 70, 71, 119])
    some = candidate_pairs(Corpus(Records(records, (Side.EITHER,) * len(records))), asked=asked)
    has_one = np.isin(every[0], asked) | np.isin(every[1], asked)
    assert 0 < has_one.sum() < len(has_one) / 4
    assert np.array_equal(some[0], every[0][has_one])
    assert np.array_equal(some[1], every[1][has_one])
    nothing = candidate_pairs(
        Corpus(Records(records, (Side.EITHER,) * len(records))), asked=np.zeros(0, np.int64)
    )
    assert not len(nothing[0])


def test_titles_that_begin_alike_are_found_whatever_they_end_with() -> None:
    endings = ("scarpe da corsa uomo nero bianco", "hardloopschoenen heren zwart wit")
    models = [f"{brand} {number} fg" for brand in ("gelora", "tempio") for number in range(40, 70)]
    records = [
        Record(f"{side}{number}", f"{model} - {ending}, {ending}, {ending}")
        for side, ending in zip("LR", endings, strict=True)
        for number, model in enumerate(models)
    ]
    corpus = Corpus(joined(records[:60], records[60:]))
    found = candidate_pairs(corpus, nearest=2)
    assert recall(found, (np.arange(60), np.arange(60, 120))) == 1


def test_recall_counts_pairs_whichever_item_is_first() -> None:
    candidates = np.array([1, 2]), np.array([5, 6])
    assert recall(candidates, (np.array([5, 7]), np.array([1, 2]))) == 0.5
    assert recall(candidates, (np.array([], int), np.array([], int))) is None
