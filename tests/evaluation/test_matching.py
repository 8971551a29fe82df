from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from evaluation.matching import evaluate_matching
from evaluation.query_peers import TextPeer
from schema.errors import DataError
from schema.modalities import Modality
from training.queries import LabelledQueries, NegativeKind
from training.query_baseline import QueryBaseline

PAIRS = 100


class FakePairBuilder:
    """Pairs of two per item, each followed by a negative; an item is its number."""

    log = SimpleNamespace(item=np.arange(PAIRS) // 2)

    def __init__(self) -> None:
        self.drawn: list[int] = []

    def query_pieces(self, queries: LabelledQueries) -> torch.Tensor:
        return torch.from_numpy(queries.label.astype(np.float32))

    def labelled_queries(self, pairs: np.ndarray, random: object) -> LabelledQueries:
        self.drawn += pairs.tolist()
        negatives = [f"never {pair % 10}" for pair in pairs]
        return LabelledQueries(
            texts=[*("often" for _ in pairs), *negatives],
            label=np.repeat([True, False], len(pairs)),
            kind=np.where(pairs < 30, NegativeKind.REWRITTEN, NegativeKind.ANY),
        )

    def items(self, index: np.ndarray) -> np.ndarray:
        return index


class FakeMatchScorer:
    """Gives matching pairs higher logits unless the title is removed."""

    name = "fake"

    def match_logits(
        self, items: np.ndarray, query: torch.Tensor, without: Modality | None
    ) -> np.ndarray:
        return np.zeros(len(query)) if without is Modality.TITLE else query.numpy()


def test_pairs_are_scored_whole_and_without_each_content_modality():
    pair_builder: Any = FakePairBuilder()
    scorer: Any = FakeMatchScorer()
    calls: list[tuple[int, int]] = []
    report = evaluate_matching(
        scorer,
        pair_builder,
        np.arange(PAIRS),
        resamples=3,
        progress=lambda *counts: calls.append(counts),
    )
    assert (report.items, report.positive, report.negative) == (PAIRS // 2, PAIRS, PAIRS)
    areas = {name: estimates["roc_auc"].value for name, estimates in report.settings.items()}
    assert areas == {"whole": 1.0, "without title": 0.5, "without image": 1.0}
    assert calls[-1] == (PAIRS, PAIRS)
    # The negatives of each pair are drawn once.
    assert pair_builder.drawn == list(range(PAIRS))
    heading, *rows = report.as_rows()
    assert {len(row) for row in rows} == {len(heading)}


def test_the_baseline_stands_beside_the_model_also_by_kind_of_negatives():
    pair_builder: Any = FakePairBuilder()
    scorer: Any = FakeMatchScorer()
    baseline = QueryBaseline(["often", "never 1"], np.array([9.0, 0.0]), np.array([0.0, 9.0]))
    pairs = np.arange(PAIRS)
    report = evaluate_matching(scorer, pair_builder, pairs, baseline=baseline, resamples=3)
    document = report.as_dict()
    assert document["query_only"]["roc_auc"]["value"] == 1.0
    assert document["kinds"] == {
        "any": {"pairs": 70, "roc_auc": 1.0, "query_only": 1.0},
        "rewritten": {"pairs": 30, "roc_auc": 1.0, "query_only": 1.0},
    }
    assert report.as_rows()[-1][:2] == ["none: query only", "1.000"]
    assert report.kind_rows()[1:] == [
        ["any", "70", "1.000", "1.000"],
        ["rewritten", "30", "1.000", "1.000"],
    ]


def test_without_a_baseline_its_figures_are_missing():
    pair_builder: Any = FakePairBuilder()
    scorer: Any = FakeMatchScorer()
    report = evaluate_matching(scorer, pair_builder, np.arange(PAIRS), resamples=3)
    assert report.as_dict()["query_only"] is None
    assert report.as_rows()[-1][0] == "without image"
    assert [row[-1] for row in report.kind_rows()[1:]] == ["", ""]


def test_peers_are_compared_on_the_same_pairs():
    pair_builder: Any = FakePairBuilder()
    scorer: Any = FakeMatchScorer()
    titles = ["often", "never 1", *(["never"] * (PAIRS - 2))]
    peers = [TextPeer("bm25", titles), TextPeer("tf-idf", titles)]
    report = evaluate_matching(scorer, pair_builder, np.arange(PAIRS), peers=peers, resamples=20)
    bm25, tf_idf = report.as_dict()["against"]
    assert [bm25["model"], tf_idf["model"]] == ["bm25", "tf-idf"]
    for peer in (bm25, tf_idf):
        assert peer["roc_auc"]["value"] < 0.5  # only the first item's queries are in its title
        for name, of_setting in peer["difference"].items():
            own = report.settings[name]["roc_auc"].value
            expected = own - peer["roc_auc"]["value"]
            assert of_setting["roc_auc"]["value"] == pytest.approx(expected, abs=1e-5)
            low, high = of_setting["roc_auc"]["low"], of_setting["roc_auc"]["high"]
            assert low <= expected <= high
    heading, *rows = report.difference_rows()
    assert len(rows) == 6
    assert {len(row) for row in rows} == {len(heading)}


def test_a_peer_that_scores_as_the_model_does_differs_in_nothing():
    pair_builder: Any = FakePairBuilder()
    scorer: Any = FakeMatchScorer()
    peer: Any = SimpleNamespace(
        name="same", score=lambda texts, _: 1.0 * (np.array(texts) == "often")
    )
    report = evaluate_matching(scorer, pair_builder, np.arange(PAIRS), peers=[peer], resamples=20)
    (against,) = report.against
    difference = against.differences["whole"]["roc_auc"]
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)


def test_bm25_by_hand():
    peer = TextPeer("bm25", ["red red mug", "mug", None, "blue lamp"])
    scores = peer.score(["red mug", "Mug", "blue", "tea"], np.array([0, 1, 0, 3]))
    red, mug = np.log1p(3.5 / 1.5), np.log1p(2.5 / 2.5)
    long, short = 1.2 * (0.25 + 0.75 * 3 / 1.5), 1.2 * (0.25 + 0.75 * 1 / 1.5)
    expected = [red * 2 * 2.2 / (2 + long) + mug * 2.2 / (1 + long), mug * 2.2 / (1 + short), 0, 0]
    assert scores == pytest.approx(expected)


def test_tf_idf_is_a_cosine():
    peer = TextPeer("tf-idf", ["red mug", "blue lamp"])
    scores = peer.score(["red mug", "lamp", "red"], np.array([0, 0, 1]))
    assert scores == pytest.approx([1, 0, 0])


def test_peers_need_titles():
    with pytest.raises(DataError, match="none of the 2 items has a title"):
        TextPeer("bm25", [None, "!"])
