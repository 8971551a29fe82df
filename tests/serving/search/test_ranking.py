"""Weights of the ranking, and vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from schema.errors import DataError, UsageError
from serving.search.features import Features
from serving.search.ranking import (
    DEFAULT,
    FILE,
    MATCH_PRIOR,
    PRIOR,
    RatedQuery,
    Weights,
    fused_ranks,
    learn,
    read_weights,
    write_weights,
)
from serving.search.ratings import learn_weights, rateable, read_ratings
from serving.search.vectors import TextSource, encode_missing
from tests.serving.search.made import WordEncoder, item, searcher_of


def test_a_score_is_the_weighted_sum_of_the_best_reading() -> None:
    weights = Weights((1, 0, 0, 0, 1, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0.4))
    one = np.array([[0.5, 0, 0, 0, 0, 0, 0]])
    other = np.array([[0.1, 0, 0, 0, 1.0, 0, 0]])
    assert weights.score(Features([one, other])) == pytest.approx([1.1 / 2])
    meaning = np.array([0.5])
    assert weights.score(Features([one], meaning)) == pytest.approx([(0.5 + 0.4 * 5 * 0.5) / 4])


def test_ranks_are_fused_by_their_reciprocals() -> None:
    fused = fused_ranks([np.array([3.0, 2.0, 1.0]), np.array([1.0, 3.0, 2.0])])
    expected = np.array([1 / 61 + 1 / 63, 1 / 62 + 1 / 61, 1 / 63 + 1 / 62]) * 61 / 2
    assert fused.tolist() == pytest.approx(expected.tolist())
    assert fused_ranks([np.array([1.0, np.nan])]).tolist() == [1, 0]


def test_a_networks_ranks_are_fused_until_their_weight_is_learned() -> None:
    words = [np.array([[0.9, 0, 0, 0, 0, 0, 0], [0.1, 0, 0, 0, 0, 0, 0]])]
    features = Features(words, None, np.array([0.2, 0.8]))
    assert DEFAULT.score(features).tolist() == pytest.approx([(1 + 61 / 62) / 2] * 2)
    learned = Weights(DEFAULT.words, DEFAULT.with_vectors, (0, 0, 0, 0, 0, 0, 0, 0.7, 1))
    assert learned.score(features).tolist() == pytest.approx([0.2, 0.8])


class _Rated:
    """A searcher whose network alone tells good items from others."""

    @staticmethod
    def features(query: str, items: list[str]) -> Features:
        words = [np.full((len(items), 7), 0.5)]
        return Features(words, None, np.array([float(item == "good") for item in items]))


def test_the_weight_of_a_networks_vectors_is_learned() -> None:
    ratings = {str(number): {"good": 3, "bad": 0} for number in range(20)}
    learned = learn_weights(_Rated(), ratings, DEFAULT).weights  # type: ignore[arg-type]
    assert learned.with_network is not None
    assert learned.with_network[-1] > MATCH_PRIOR
    assert learned.with_vectors == DEFAULT.with_vectors


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
    for weights in (PRIOR, Weights(PRIOR.words, PRIOR.with_vectors, (0.5,) * 9)):
        write_weights(tmp_path, weights)
        assert read_weights(tmp_path) == weights
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


def test_encoding_goes_on_where_it_was(tmp_path: Path) -> None:
    class Failing(WordEncoder):
        def encode(self, texts):
            if len(self.encoded) >= 512:
                raise KeyboardInterrupt
            return super().encode(texts)

    items = [item(str(number), f"text {number}") for number in range(600)]
    with pytest.raises(KeyboardInterrupt):
        encode_missing(tmp_path, TextSource(Failing(), items), items)
    encoder = WordEncoder()
    assert encode_missing(tmp_path, TextSource(encoder, items), items).encoded == 600 - 512
    for count, encoded in ((10, 0), (20, 10)):
        some = items[:count]
        assert encode_missing(tmp_path, TextSource(encoder, some), some).encoded == encoded
