"""Queries of negatives: balanced by matrix scaling, so that they are as frequent as positives."""

import dataclasses
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.inference.metrics import roc_auc
from kg.sampling.keyed_random import KeyedRandom
from tests.training.conftest import TINY
from training.negative_queries import AllExcept, Listed, balance
from training.queries import (
    LoggedQuery,
    NegativeKind,
    QueryPairBuilder,
    QueryTerms,
    Rewrites,
    read_log,
)
from training.query_baseline import QueryBaseline

CATEGORIES = 4
ITEMS = 200
PER_CATEGORY = 30
BRANDS = [f"brand{number}" for number in range(PER_CATEGORY)]
NOUNS = [f"noun{number}" for number in range(CATEGORIES)]
TERMS = QueryTerms({"brand": BRANDS, "kind": NOUNS})


@pytest.fixture
def shop(data):
    """200 items of four categories, without statements."""
    return dataclasses.replace(
        data,
        items=[str(number) for number in range(ITEMS)],
        words=[[] for _ in range(ITEMS)],
        blind=[[] for _ in range(ITEMS)],
        indptr=np.zeros(ITEMS + 1, np.int64),
        property=np.zeros(0, np.int64),
        candidate=np.zeros(0, np.int64),
        ranges=np.array([0, len(BRANDS), len(BRANDS) + len(NOUNS)]),
        category=np.arange(ITEMS) % CATEGORIES,
    )


@pytest.fixture
def skewed(shop):
    """Each item was bought for six queries of its category, and clicked for two; by Zipf's law."""
    rng = np.random.default_rng(0)
    zipf = 1 / np.arange(1, PER_CATEGORY + 1)
    rows = []
    for number, item in enumerate(shop.items):
        drawn = rng.choice(PER_CATEGORY, 8, replace=False, p=zipf / zipf.sum())
        for place, brand in enumerate(drawn):
            query = f"{BRANDS[brand]} {NOUNS[number % CATEGORIES]}"
            rows.append(LoggedQuery(query, item, clicks=2, purchases=int(place < 6)))
    return read_log(shop.items, rows)


@pytest.fixture
def builder(shop, skewed, tokenizer):
    return lambda hard=0.5, rewrites=Rewrites.LOGGED, among=None: QueryPairBuilder(
        shop, skewed, TERMS, tokenizer, TINY, hard, rewrites, among
    )


def uniform_negatives(log, category, seed):
    """A query for each pair, drawn uniformly from those of its category as long as it matches."""
    rng = np.random.default_rng(seed)
    texts = []
    for item in log.item:
        pool = np.unique(log.query[category[log.item] == category[item]])
        pool = pool[~log.clicked.contains(pool, np.full(len(pool), item))]
        texts.append(log.texts[rng.choice(pool)])
    return texts


def query_only_auc(log, draw):
    """The ROC-AUC of the baseline, which learns from other draws than it is tested on."""
    positive = [log.texts[number] for number in log.query]
    learned_from = draw(1)
    texts = sorted({*positive, *learned_from})
    counts = [
        np.array([each.count(text) for text in texts], float) for each in (positive, learned_from)
    ]
    score = QueryBaseline(texts, *counts).score([*positive, *draw(0)])
    return roc_auc(score, np.repeat([True, False], len(positive)))


def chance(pairs):
    """Four standard errors of the ROC-AUC of a score that says nothing, of as many negatives."""
    return 4 * np.sqrt((2 * pairs + 1) / (12 * pairs**2))


@pytest.mark.parametrize("hard", [0.0, 0.5, 1.0])
def test_the_query_alone_tells_nothing(builder, skewed, shop, hard):
    uniform = query_only_auc(skewed, lambda seed: uniform_negatives(skewed, shop.category, seed))
    assert uniform > 0.7
    pair_builder = builder(hard)
    balanced = query_only_auc(
        skewed, lambda seed: pair_builder.negatives(pair_builder.among, KeyedRandom(seed))
    )
    assert balanced == pytest.approx(0.5, abs=chance(len(skewed.query)))


def test_each_kind_draws_queries_as_often_as_they_are_positives(builder, skewed):
    draws = 100
    frequency = np.bincount(skewed.query, minlength=len(skewed.texts))
    for hard in (0.0, 1.0):
        pair_builder = builder(hard)
        drawn = np.zeros(len(skewed.texts))
        for step in range(draws):
            texts = pair_builder.negatives(pair_builder.among, KeyedRandom(0, step))
            np.add.at(drawn, [pair_builder.number[text] for text in texts], 1 / draws)
        # Six standard deviations of a Poisson count, the most varied that it can be.
        assert (np.abs(drawn - frequency) <= 6 * np.sqrt((frequency + 0.1) / draws)).all()


@pytest.mark.parametrize("rewrites", list(Rewrites))
def test_no_negative_was_clicked(builder, skewed, rewrites):
    pair_builder = builder(0.7, rewrites)
    for step in range(5):
        queries = pair_builder.labelled_queries(pair_builder.among, KeyedRandom(0, step))
        assert not queries.label[len(skewed.query) :].any()
    assert set(queries.kind) == set(NegativeKind)


def test_a_negative_depends_on_its_pair_and_step_alone(builder):
    pair_builder = builder(0.7)
    pairs = np.random.default_rng(0).permutation(pair_builder.among)
    whole = pair_builder.negatives(pairs, KeyedRandom(0, 7))
    pieces = [pair_builder.negatives(part, KeyedRandom(0, 7)) for part in np.array_split(pairs, 9)]
    assert list(chain.from_iterable(pieces)) == whole
    assert whole != pair_builder.negatives(pairs, KeyedRandom(0, 8))


def test_a_logged_rewriting_changes_one_term_into_another_query_of_the_log(builder, skewed):
    pair_builder = builder(1.0)
    drawn = pair_builder.draw_negatives(pair_builder.among, KeyedRandom(0))
    rewritten = drawn.kind == NegativeKind.REWRITTEN
    assert rewritten.mean() > 0.3
    bought = {skewed.texts[number] for number in skewed.query}
    for number in np.flatnonzero(rewritten):
        old = skewed.texts[skewed.query[number]].split()
        new = drawn.texts[number].split()
        assert sum(one != other for one, other in zip(old, new, strict=True)) == 1
        assert drawn.texts[number] in bought


def test_any_rewriting_draws_values_as_often_as_queries_have_them(builder, skewed):
    terms = builder(1.0, Rewrites.ANY).terms
    brands = [skewed.texts[number].split()[0] for number in skewed.query]
    count = np.array([brands.count(brand) for brand in BRANDS], float)
    weight = terms.weights["brand"]
    # Each value is replaced by another one: P(new) = sum over old of P(old) w(new) / (W - w(old)).
    drawn = weight * ((count / (weight.sum() - weight)).sum() - count / (weight.sum() - weight))
    assert drawn == pytest.approx(count, rel=0.01, abs=0.01)


def test_held_out_pairs_draw_from_each_others_queries_only(builder, skewed):
    among = skewed.pairs_of_items(np.arange(20))
    pair_builder = builder(0.5, among=among)
    own = {skewed.texts[number] for number in skewed.query[among]}
    assert set(pair_builder.negatives(among, KeyedRandom(0))) <= own
    with pytest.raises(ValueError, match="only for the pairs"):
        pair_builder.negatives(np.array([len(skewed.query) - 1]), KeyedRandom(0))


def test_a_rare_query_is_found_if_all_others_match(data, tokenizer):
    rows = [LoggedQuery("often", item, 1, 1) for item in data.items[:-1]]
    rows.append(LoggedQuery("rare", data.items[-1], 1, 1))
    log = read_log(data.items, rows)
    assert log is not None
    pair_builder = QueryPairBuilder(data, log, TERMS, tokenizer, TINY, 0.5)
    negatives = pair_builder.negatives(pair_builder.among, KeyedRandom(0))
    assert negatives == ["rare"] * 23 + ["often"]


def test_an_item_that_matches_every_query_keeps_its_label(data, tokenizer):
    rows = [LoggedQuery(query, item, 1, 1) for query in ("x", "y") for item in data.items[:3]]
    log = read_log(data.items, rows)
    assert log is not None
    pair_builder = QueryPairBuilder(data, log, TERMS, tokenizer, TINY, 0.5)
    assert pair_builder.labelled_queries(pair_builder.among, KeyedRandom(0)).label.all()


def test_weights_make_up_for_what_is_excluded():
    # Two rows each match one of the two frequent columns; by frequency alone the third column would
    # be drawn 2 * 1 / 5 = .4 times per draw, twice as often as it should.
    zeros = np.zeros(3, np.int64)
    choices = AllExcept(zeros, zeros, np.arange(3), np.arange(3))
    demand = np.array([2.0, 2.0, 1.0])
    balanced = balance(choices, demand, demand)
    weight = balanced.weight / balanced.weight.sum()
    rate = demand / (1 - weight)
    assert weight * (rate.sum() - rate) == pytest.approx(demand, rel=2e-3)
    assert balanced.share == pytest.approx(np.ones(3), rel=2e-3)


def test_what_cannot_be_drawn_is_left_over():
    # Both rows may only draw the first column, which is demanded once.
    choices = Listed(np.arange(2), np.zeros(2, np.int64), rows=2, columns=2)
    balanced = balance(choices, np.ones(2), np.ones(2))
    assert balanced.share == pytest.approx([0.5, 0.5])
    assert balanced.supply == pytest.approx([0.5, 0.5])
    assert balanced.demand == pytest.approx([0.0, 1.0])


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_no_column_is_drawn_more_often_than_demanded(source):
    rows = source.draw(st.integers(1, 5))
    columns = source.draw(st.integers(1, 5))
    amounts = st.floats(0, 50, allow_subnormal=False)
    supply = np.array(source.draw(st.lists(amounts, min_size=rows, max_size=rows)))
    demand = np.array(source.draw(st.lists(amounts, min_size=columns, max_size=columns)))
    table = source.draw(st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns))
    row, column = np.nonzero(np.array(table).reshape(rows, columns))
    choices: Listed | AllExcept
    if source.draw(st.booleans()):
        choices = Listed(row, column, rows, columns)
    else:
        one = np.zeros(rows, np.int64)
        choices = AllExcept(one, np.zeros(columns, np.int64), row, column)
    balanced = balance(choices, supply, demand)
    reach = choices.sum_by_row(balanced.weight)
    rate = np.divide(supply * balanced.share, reach, out=np.zeros(rows), where=reach > 0)
    drawn = balanced.weight * choices.sum_by_column(rate)
    assert ((balanced.share >= 0) & (balanced.share <= 1)).all()
    assert (drawn <= demand * (1 + 1e-6) + 1e-6).all()
    assert drawn.sum() == pytest.approx((supply * balanced.share).sum(), abs=1e-6)
    assert balanced.demand == pytest.approx(demand - drawn, abs=1e-6)
