"""Counts of features: weights by hand, and the same in whichever parts items are counted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import random as random_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

from serving.alignment.counts import (
    COSINES,
    KINDS,
    OVERLAPS,
    CountedRecords,
    Counts,
    count_records,
    stacked,
)
from serving.alignment.matrices import with_columns_kept
from serving.alignment.records import Record
from tests.serving.alignment.made_pairs import made_records

WORDS = st.lists(st.sampled_from("red blue kettle x-100 x-200 12.5 äöü".split()), max_size=5)
RECORDS = st.lists(st.builds(" ".join, WORDS), max_size=6)


def without_unused(counted: CountedRecords) -> CountedRecords:
    """Leave out the features that no record has."""
    return CountedRecords(counted.digests, tuple(each.without_unused() for each in counted.kinds))


def assert_same(found: CountedRecords, expected: CountedRecords) -> None:
    assert np.array_equal(found.digests, expected.digests)
    for ours, theirs in zip(found.kinds, expected.kinds, strict=True):
        assert np.array_equal(ours.features, theirs.features)
        assert np.array_equal(ours.matrix.indptr, theirs.matrix.indptr)
        assert np.array_equal(ours.matrix.indices, theirs.matrix.indices)
        assert np.array_equal(ours.matrix.data, theirs.matrix.data)


def test_weights_are_those_of_the_formulas() -> None:
    counts = Counts.of(["red red kettle", "red lamp", "lamp"], {"token_pattern": r"\w+"})
    rare, common = 1 + math.log(4 / 2), 1 + math.log(4 / 3)
    red, kettle = (1 + math.log(2)) * common, rare
    length = math.hypot(red, kettle)
    first = np.sort(counts.tf_idf().whole()[0].toarray().ravel())
    assert np.allclose(first, [0, *sorted((red / length, kettle / length))])
    rarest = np.sort(counts.rarities().whole()[0].toarray().ravel())
    assert np.allclose(rarest, [0, *np.log([4 / 2, 4 / 1])])
    # Only "red" and "lamp" are of two items.
    assert np.count_nonzero(counts.tf_idf(2).of_features) == 2
    assert np.sort(counts.tf_idf(2).whole()[0].toarray().ravel()).tolist() == [0, 0, 1]
    assert not counts.tf_idf(4).whole().toarray().any()


def test_cosines_are_those_of_scikit_learn() -> None:
    left, right = made_records(30)
    records = [*left, *right]
    counted = CountedRecords.of(records)
    for kind in COSINES:
        texts = [kind.source.of(record) for record in records]
        peer = TfidfVectorizer(sublinear_tf=True, min_df=kind.min_items, **kind.options)
        expected = peer.fit_transform(texts)
        found = counted.of_kind(kind).tf_idf(kind.min_items).whole()
        assert np.allclose(
            (found @ found.T).toarray(), (expected @ expected.T).toarray(), atol=1e-5
        )


def test_counts_are_bytes_unless_a_text_has_a_word_more_often() -> None:
    options = KINDS[0].options
    few, many = (Counts.of(["lamp " * count], options) for count in (255, 256))
    assert (few.matrix.dtype, many.matrix.dtype) == (np.uint8, np.uint16)
    both = stacked([few, many])
    assert both.matrix.data.tolist() == [255, 256]
    assert Counts.of([""], options).matrix.dtype == np.uint8


def test_features_of_one_hash_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.alignment.counts._hashed", lambda feature: len(feature))
    counts = Counts.of([" ".join(["ab"] * 200 + ["cd"] * 100 + ["e"])], KINDS[0].options)
    assert counts.features.tolist() == [1, 2]
    assert counts.matrix.data.tolist() == [1, 300]


def test_overlaps_count_a_feature_once_for_each_item() -> None:
    counted = CountedRecords.of([Record("a", "no 7 7 7"), Record("b", "7 of 9")])
    (kind,) = (each for each in OVERLAPS if each.name == "title numbers")
    assert sorted(counted.of_kind(kind).items_with().tolist()) == [1, 2]
    assert counted.of_kind(kind).matrix.data.tolist() == [1, 1, 1]


@settings(deadline=None, max_examples=40)
@given(RECORDS, RECORDS, RECORDS, st.randoms(use_true_random=False))
def test_what_is_kept_changes_nothing(
    kept: list[str], gone: list[str], new: list[str], random: object
) -> None:
    staying = [Record(f"k{number}", title) for number, title in enumerate(kept)]
    going = [Record(f"g{number}", title) for number, title in enumerate(gone)]
    coming = [Record(f"n{number}", title) for number, title in enumerate(new)]
    records = [*staying, *coming]
    random.shuffle(records)  # type: ignore[attr-defined]
    before = CountedRecords.of([*going, *staying])
    found = count_records(records, before)
    assert found.new == (len(coming) if before.digests.size else len(records))
    assert_same(without_unused(found.counted), CountedRecords.of(records))
    for ours, theirs in zip(found.counted.kinds, CountedRecords.of(records).kinds, strict=True):
        # Bit for bit, although the kept ones have features that no record has any more.
        assert np.array_equal(ours.tf_idf().whole().data, theirs.tf_idf().whole().data)
        assert np.array_equal(ours.rarities().whole().data, theirs.rarities().whole().data)


def test_a_record_that_says_something_else_is_counted_again() -> None:
    record = Record("a", "a lamp", values={"colour": ("red",)})
    counted = CountedRecords.of([record])
    for changed in (
        Record("b", "a lamp", values={"colour": ("red",)}),
        Record("a", "a lamp", values={"color": ("red",)}),
        Record("a", "a lamp", values={"colour": ("red", "blue")}),
        Record("a", "a lamp", "red"),
    ):
        assert count_records([changed], counted).new == 1
    assert count_records([record, record], counted).new == 0


def test_parts_are_stacked_in_their_order() -> None:
    options = KINDS[0].options
    texts = ["a b", "", "c", "b c c"]
    parts = [Counts.of(texts[:2], options), Counts.of(texts[2:3], options)]
    every = stacked([*parts, Counts.of(texts[3:], options)])
    assert np.array_equal(every.matrix.toarray(), Counts.of(texts, options).matrix.toarray())


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 5), st.lists(st.booleans(), min_size=1, max_size=8), st.integers(0, 99))
def test_columns_are_kept_as_by_indexing(rows: int, kept: list[bool], seed: int) -> None:
    matrix = random_matrix(rows, len(kept), 0.4, format="csr", rng=np.random.default_rng(seed))
    found = with_columns_kept(matrix, np.array(kept))
    assert np.array_equal(found.toarray(), matrix.toarray()[:, kept])
