"""Metrics of search, by hand, and on a small index."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from evaluation.retrieval import evaluate_retrieval, ndcg, recall, reciprocal_rank
from schema.arrays import FloatArray
from schema.errors import DataError
from serving.search.ratings import Rateable, rateable
from tests.serving.search.made import searcher_of


def test_ndcg_by_hand() -> None:
    assert ndcg(np.array([3, 0, 1])) == pytest.approx((7 + 1 / 2) / (7 + 1 / math.log2(3)))
    assert ndcg(np.array([3, 2, 0])) == 1
    assert ndcg(np.array([0, 3]), depth=1) == 0
    assert math.isnan(ndcg(np.array([0, 0])))


def test_reciprocal_rank_and_recall_by_hand() -> None:
    assert reciprocal_rank(np.array([1, 0, 2])) == pytest.approx(1 / 3)
    assert math.isnan(reciprocal_rank(np.array([1, 1])))
    assert recall(np.array([2, 0, 3]), depth=2) == 1 / 2
    assert recall(np.array([2, 3, 3]), depth=2) == 1
    assert math.isnan(recall(np.array([0])))


def test_search_is_evaluated_on_rated_items(tmp_path: Path) -> None:
    searcher = searcher_of(tmp_path)
    ratings = {
        "tv": {"1": 3, "9": 3, "2": 0},
        "clay mug": {"4": 3, "5": 2, "12": 0},
        "stand": {"10": 0},
        "?": {"1": 3},
        "headset": {"404": 3},
    }
    report = evaluate_retrieval(searcher, rateable(searcher, ratings), folds=2, resamples=50)
    assert (report.queries, report.ratings) == (2, 6)
    assert report.left_out == {
        "ratings of unknown items": 1,
        "queries without words": 1,
        "queries without a positive": 1,
    }
    assert report.by_query["tv"] == 1
    assert report.rankings["ranked"]["mrr"].value == 1
    assert set(report.differences) == {"ranked", "cross-validated"}
    assert len(report.as_rows()) == 4
    with pytest.raises(DataError, match="rate more"):
        evaluate_retrieval(searcher, Rateable({"stand": {"10": 0}}, 0, 0))


def test_another_ranker_is_compared_with_search(tmp_path: Path) -> None:
    searcher = searcher_of(tmp_path)
    rated = rateable(searcher, {"tv": {"1": 3, "9": 1, "2": 0}})
    asked: list[tuple[str, list[str]]] = []

    def worst_first(query: str, items: Sequence[str]) -> FloatArray:
        asked.append((query, list(items)))
        return np.array([{"1": 0.1, "9": 0.2, "2": 0.3}[item] for item in items])

    report = evaluate_retrieval(searcher, rated, others={"worst": worst_first}, resamples=20)
    assert asked == [("tv", ["1", "2", "9"])]
    worst = report.rankings["worst"]["ndcg@10"].value
    assert worst == pytest.approx(ndcg(np.array([0, 1, 3])))
    assert report.differences["worst"].value < 0
