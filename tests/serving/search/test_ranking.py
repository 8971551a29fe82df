"""Weights of the ranking, and vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from schema.errors import DataError, UsageError
from serving.search.ranking import (
    DEFAULT,
    FILE,
    PRIOR,
    RatedQuery,
    Weights,
    learn,
    read_weights,
    write_weights,
)
from serving.search.ratings import learn_weights, rateable, read_ratings
from serving.search.vectors import NearestItems, encode_missing
from tests.serving.search.made import WordEncoder, searcher_of


def test_a_score_is_the_weighted_sum_of_the_best_reading() -> None:
    weights = Weights((1, 0, 0, 0, 1, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0.4))
    one = np.array([[0.5, 0, 0, 0, 0, 0, 0]])
    other = np.array([[0.1, 0, 0, 0, 1.0, 0, 0]])
    assert weights.score([one, other], None) == pytest.approx([1.1 / 2])
    assert weights.score([one], np.array([0.5])) == pytest.approx([(0.5 + 0.4 * 5 * 0.5) / 4])


def test_nothing_is_learned_from_ratings_that_are_all_the_same() -> None:
    same = RatedQuery(np.eye(3), np.array([2, 2, 2]))
    assert learn([same], (1.0, 2.0, 3.0)).tolist() == [1, 2, 3]


def test_what_better_items_have_gets_more_weight() -> None:
    features = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    learned = learn([RatedQuery(features, np.array([3, 0, 0]))] * 20, (1.0, 1.0))
    assert learned[0] > 1 > learned[1] >= 0
    gentle = learn([RatedQuery(features, np.array([3, 0, 0]))], (1.0, 1.0))
    assert 1 < gentle[0] < learned[0]


def test_learned_weights_are_kept(tmp_path: Path) -> None:
    assert read_weights(tmp_path) == DEFAULT
    write_weights(tmp_path, PRIOR)
    assert read_weights(tmp_path) == PRIOR
    for damage in ("{", '{"words": {}}', '{"words": {"text": NaN}}', "[]"):
        (tmp_path / FILE).write_text(damage)
        with pytest.raises(DataError, match="--learn"):
            read_weights(tmp_path)


def test_weights_are_learned_from_rated_queries(tmp_path: Path) -> None:
    searcher = searcher_of(tmp_path / "search")
    ratings = tmp_path / "ratings.csv"
    ratings.write_text("query,item,rating\ntv,1,3\ntv,2,0\ntv,404,3\n??,1,1\nmug,4,3\n")
    rated = rateable(searcher, read_ratings(ratings))
    assert (rated.unknown_items, rated.without_words) == (1, 1)
    learned = learn_weights(searcher, rated.ratings, DEFAULT)
    assert (learned.queries, learned.ratings) == (1, 2)
    assert learned.weights.words[4] > DEFAULT.words[4]  # the stand is no TV
    with pytest.raises(DataError, match="rate more"):
        learn_weights(searcher, {"mug": {"4": 3}}, DEFAULT)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("query,item\na,1\n", "columns"), ("query,item,rating\na,1,x\n", "line 2"),
     ("query,item,rating\na,1,99\n", "from 0 to 10"), ("query,item,rating\na,1,-1\n", "line 2")],
)  # fmt: skip
def test_a_file_that_is_no_ratings(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=reason):
        read_ratings(path)


def test_the_nearest_are_those_of_the_greatest_cosines() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((50, 8)).astype(np.float32)
    space = NearestItems(np.arange(100, 150), vectors)
    query = rng.standard_normal(8).astype(np.float32)
    expected = 100 + np.argsort(-(vectors @ query))[:5]
    assert space.nearest(query, 5).tolist() == expected.tolist()
    allowed = np.zeros(150, dtype=bool)
    allowed[expected[1:3]] = True
    assert space.nearest(query, 5, allowed).tolist() == expected[1:3].tolist()
    cosines = space.cosines(query, [int(expected[0]), 7])
    assert cosines[0] == pytest.approx((vectors @ query).max())
    assert cosines[1] == 0


def test_encoding_goes_on_where_it_was(tmp_path: Path) -> None:
    class Failing(WordEncoder):
        def encode(self, texts):
            if len(self.encoded) >= 512:
                raise KeyboardInterrupt
            return super().encode(texts)

    texts = [(str(number).encode(), f"text {number}") for number in range(600)]
    with pytest.raises(KeyboardInterrupt):
        encode_missing(tmp_path, Failing(), texts)
    encoder = WordEncoder()
    assert encode_missing(tmp_path, encoder, texts) == 600 - 512
    assert encode_missing(tmp_path, encoder, texts[:10]) == 0
    assert encode_missing(tmp_path, encoder, texts[:20]) == 10
