import dataclasses

import numpy as np
import pytest

from kg.sampling.keyed_random import KeyedRandom
from tests.training.conftest import TINY
from tests.training.preset_steps import COLOURS, KINDS
from training.collate import BatchContents, Collator
from training.flows import TrainingFlows
from training.queries import (
    LoggedQuery,
    NegativeKind,
    QueryPairBuilder,
    QueryTerms,
    RewrittenQuery,
    TermSpan,
    read_log,
)
from training.schedule import Stage

TERMS = QueryTerms({"colour": COLOURS, "kind": KINDS})


@pytest.fixture
def log(data):
    """Every item was bought for "colour kind" of its own and clicked for its kind."""
    rows = []
    for number, item in enumerate(data.items):
        colour = COLOURS[number % 3]
        kind = KINDS[number % 2]
        rows += [
            LoggedQuery(f"{colour} {kind}", item, clicks=5, purchases=1),
            LoggedQuery(f"nice {kind}", item, clicks=2, purchases=0),
        ]
    return read_log(data.items, rows)


@pytest.fixture
def pair_builder(data, log, tokenizer):
    return lambda hard=1.0: QueryPairBuilder(data, log, TERMS, tokenizer, TINY, hard)


def test_purchased_pairs_match_and_clicked_ones_are_no_negatives(log):
    assert len(log.query) == 24
    nice = log.texts.index("nice mug")
    assert nice not in log.query
    assert log.clicked.contains(np.array(nice), np.array(1))


def test_without_purchases_clicks_are_positive():
    found = read_log(
        ["a", "b"],
        [
            LoggedQuery("x", "a", 1, 0),
            LoggedQuery("y", "b", 2, 0),
            LoggedQuery("z", "b", 0, 0),
        ],
    )
    assert found is not None
    assert len(found.query) == 2


def test_a_log_of_one_query_is_none():
    assert read_log(["a"], [LoggedQuery("x", "a", 1, 1), LoggedQuery("y", "unknown", 1, 1)]) is None


def test_terms_are_values_of_the_ontology():
    assert TERMS.find(["red", "nice", "mug"]) == [
        TermSpan(0, 1, "colour"),
        TermSpan(2, 3, "kind"),
    ]
    two_words = QueryTerms({"colour": ["dark blue", "blue"]})
    assert two_words.find(["dark", "blue"]) == [TermSpan(0, 2, "colour")]


def test_rewriting_replaces_one_term_by_another_of_its_type():
    assert TERMS.rewrite("red mug", 0.0, 0.0) == RewrittenQuery("blue mug", "colour", "blue")
    assert TERMS.rewrite("red mug", 0.9, 0.0) == RewrittenQuery("red lamp", "kind", "lamp")
    assert TERMS.rewrite("something else", 0.5, 0.5) is None


@pytest.mark.parametrize("hard", [0.0, 0.5, 1.0])
def test_no_negative_was_clicked_or_is_true_of_its_item(hard, pair_builder, log):
    pairs = np.arange(24)
    for step in range(5):
        negatives = pair_builder(hard).negatives(pairs, KeyedRandom(0, step))
        for item, query in zip(log.item, negatives, strict=True):
            assert query not in (
                f"{COLOURS[item % 3]} {KINDS[item % 2]}",
                f"nice {KINDS[item % 2]}",
            )


def test_hard_negatives_are_rewritten_or_of_the_category(data, tokenizer, log):
    """A category is one of lamps or of mugs here, and so are its queries."""
    by_kind = dataclasses.replace(data, category=np.arange(24) % 2)
    builder = QueryPairBuilder(by_kind, log, TERMS, tokenizer, TINY, 1.0)
    rewritten = 0
    of_other_kind = 0
    for step in range(5):
        drawn = builder.draw_negatives(np.arange(24), KeyedRandom(0, step))
        rows = zip(log.item, log.query, drawn.texts, drawn.kind, strict=True)
        for item, query, text, kind in rows:
            pair = zip(log.texts[query].split(), text.split(), strict=True)
            changed = [place for place, (own, other) in enumerate(pair) if own != other]
            if kind == NegativeKind.REWRITTEN:
                assert len(changed) == 1
                rewritten += 1
                of_other_kind += changed == [1]
            else:
                assert kind == NegativeKind.CATEGORY
                assert text.split()[1] == KINDS[item % 2]
    # Half of 120 are to be rewritten, of which some change the colour and some the kind.
    assert 40 <= rewritten <= 80
    assert 0 < of_other_kind < rewritten


def test_a_batch_has_as_many_negatives_and_knows_who_matches(pair_builder, log):
    builder = pair_builder()
    pairs = np.arange(6)
    queries = builder.labelled_queries(pairs, KeyedRandom(0))
    batch = builder.batch(pairs, queries, np.arange(9), 0)
    assert batch.label.tolist() == [1.0] * 6 + [0.0] * 6
    assert batch.query.shape[0] == 2 * len(batch.items)
    assert batch.query_matches.shape == batch.item_matches.shape == (6, 9)
    assert batch.query_matches.diagonal().all()


def test_a_stage_of_queries_has_no_items_but_pairs(data, tokenizer, recipe, pair_builder):
    collator = Collator(data, tokenizer, recipe, TrainingFlows(data, 8), TINY, pair_builder())
    nobody = np.zeros(0, np.int64)
    batch = collator.batch(
        Stage({"qi": 1.0}), BatchContents(nobody, np.arange(4), np.arange(4)), KeyedRandom(0)
    )
    assert batch.items is None
    assert batch.counts["qi"] == 8
