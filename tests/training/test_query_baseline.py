import numpy as np
import pytest

from commands.progress import validation_line
from fusion.inference.metrics import roc_auc
from kg.sampling.keyed_random import KeyedRandom
from schema.shares import compute_all
from tests.training.conftest import TINY
from tests.training.preset_steps import COLOURS, KINDS
from training.queries import LoggedQuery, QueryPairBuilder, QueryTerms, read_log
from training.query_baseline import PRIOR_COUNT, QueryBaseline
from training.records import Validated
from training.schedule import Stage
from training.validation import MAX_ITEMS, HeldOutPairs, Validator, some_pairs


def test_a_query_is_scored_by_its_smoothed_log_odds():
    texts = ["red mug", "blue lamp"]
    balanced = QueryBaseline(texts, np.array([6.0, 2.0]), np.array([2.0, 6.0]))
    (prior,) = balanced.score(["never seen"])
    score = balanced.score(texts)
    assert prior == pytest.approx(0.0, abs=0.2)
    assert score[0] > 0 > score[1]
    # Without a word to learn from, the prior is even: log((6 + 2) / (2 + 2)).
    wordless = QueryBaseline(["!", "?"], np.array([6.0, 2.0]), np.array([2.0, 6.0]))
    half = PRIOR_COUNT / 2
    assert wordless.score(["!", "new"]) == pytest.approx([np.log((6 + half) / (2 + half)), 0.0])


def test_an_unseen_query_is_scored_by_its_words():
    baseline = QueryBaseline(
        ["red mug", "red lamp", "blue mug", "blue lamp"],
        np.array([9.0, 9.0, 1.0, 1.0]),
        np.array([1.0, 1.0, 9.0, 9.0]),
    )
    red, blue = baseline.score(["Red vase", "vase, blue"])
    assert red > 0 > blue


def test_with_one_label_only_nothing_is_certain():
    baseline = QueryBaseline(["red mug"], np.array([3.0]), np.array([0.0]))
    assert np.isfinite(baseline.score(["red mug", "else"])).all()


def test_validation_pairs_are_a_sample_rather_than_the_first_queries():
    pairs = np.arange(10 * MAX_ITEMS)
    chosen = some_pairs(pairs)
    assert len(np.unique(chosen)) == MAX_ITEMS
    # The mean of a uniform sample is within five of its standard deviations.
    deviation = 10 * MAX_ITEMS / np.sqrt(12 * MAX_ITEMS)
    assert chosen.mean() == pytest.approx(pairs.mean(), abs=5 * deviation)
    assert some_pairs(pairs[:7]).tolist() == list(range(7))


def test_validation_reports_the_baseline_beside_the_model(objective, collator, data, tokenizer):
    rows = [
        LoggedQuery(f"{COLOURS[number % 3]} {kind}", item, clicks=1, purchases=1)
        for number, item in enumerate(data.items)
        for kind in KINDS
    ]
    log = read_log(data.items, rows)
    assert log is not None
    terms = QueryTerms({"colour": COLOURS, "kind": KINDS})
    held_out_pairs = log.pairs_of_items(np.arange(12, 24))

    def builder(among):
        return QueryPairBuilder(data, log, terms, tokenizer, TINY, among=among)

    def train_builder():
        return builder(log.pairs_of_items(np.arange(12)))

    held_out = HeldOutPairs(
        builder=builder(held_out_pairs),
        pairs=held_out_pairs,
        train_builder=train_builder,
    )
    objective.eval()
    metrics = Validator(objective, collator, np.arange(12, 24), held_out)(Stage({"qi": 1.0}))
    assert set(metrics) == {"roc_auc", "roc_auc_query_only"}
    baseline = QueryBaseline.train(train_builder())
    queries = held_out.builder.labelled_queries(held_out_pairs, KeyedRandom(0))
    expected = roc_auc(baseline.score(queries.texts), queries.label)
    assert metrics["roc_auc_query_only"] == expected
    assert "roc_auc_query_only 0" in validation_line(Validated(3, metrics))

    def of_the_first(work, compute):
        """Share out work as one of several processes, which computes no baseline."""
        return [0.25] if isinstance(work[0], HeldOutPairs) else compute_all(work, compute)

    untrained = HeldOutPairs(held_out.builder, held_out_pairs, lambda: pytest.fail("trained"))
    validator = Validator(objective, collator, np.arange(12, 24), untrained, of_the_first)
    assert validator(Stage({"qi": 1.0})) == {**metrics, "roc_auc_query_only": 0.25}
