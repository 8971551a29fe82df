"""What describes a pair: by hand, and whichever item is named first."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.alignment.corpus import Corpus
from serving.alignment.features import common_properties, compare_values, pair_features
from serving.alignment.records import Record, Records, Side
from tests.serving.alignment.made_pairs import joined, made_records


def features_of(
    records: list[Record], left: list[int], right: list[int], properties: tuple[str, ...] = ()
) -> dict[str, np.ndarray]:
    corpus = Corpus(Records(tuple(records), (Side.EITHER,) * len(records)))
    names, found = pair_features(corpus, np.array(left), np.array(right), properties)
    return dict(zip(names, found.T, strict=True))


def test_overlaps_are_weighted_by_how_rare_a_word_is() -> None:
    titles = ("red mug", "red kettle", "blue mug", "red lamp")
    records = [Record(str(number), title) for number, title in enumerate(titles)]
    found = features_of(records, [0], [1])
    red = math.log(5 / 3)
    mug, kettle = math.log(5 / 2), math.log(5)
    assert found["overlap of title words"] == pytest.approx(red / (red + mug + kettle))
    assert found["contained title words, lower"] == pytest.approx(red / (red + kettle))
    assert found["contained title words, higher"] == pytest.approx(red / (red + mug))
    assert found["rarest of shared title words"] == pytest.approx(red)
    assert found["rarest of other title words, higher"] == pytest.approx(kettle)
    assert found["same first word"] == 1


def test_codes_are_found_however_they_are_cut() -> None:
    records = [Record("a", "sony dscw120b"), Record("b", "Sony DSC-W120/B camera"), Record("c")]
    found = features_of(records, [0, 0], [1, 2])
    assert found["share found of title codes, lower"][0] == 1
    assert found["longest found of title codes, higher"][0] == len("dscw120b")
    # The third item has no text: what it has of the first one's code is nothing, and not unknown.
    assert found["share found of title codes, lower"][1] == 0
    beginning = features_of([Record("a", "x wfw9200swh"), Record("b", "x wfw9200sq")], [0], [1])
    assert beginning["longest beginning of title codes, lower"] == pytest.approx(8 / 10)


def test_a_better_match_of_either_item_counts_against_a_pair() -> None:
    records = [
        Record("a", "red clay mug large"),
        Record("b", "red clay mug large"),
        Record("c", "red clay bowl"),
    ]
    found = features_of(records, [0, 0], [1, 2])
    assert found["lead by title words, lower"][0] > 0 > found["lead by title words, lower"][1]
    assert found["better rivals by title words, higher"].tolist() == [0, 1]


def test_values_are_compared_as_numbers_and_as_texts() -> None:
    assert compare_values("10.0", "10") == (1, 1, 1, 0)
    assert compare_values("10", "20")[3] == pytest.approx(math.log(2))
    same, equal, contained, difference = compare_values("Adobe Systems", "adobe")
    assert (same, equal, contained) == (1, 0, 1)
    assert math.isnan(difference)
    assert compare_values("AC-DC", "acdc")[1] == 1
    # Neither has a logarithm, so they are texts.
    assert math.isnan(compare_values("0", "-1")[3])


def test_properties_have_features_of_their_own_if_enough_pairs_state_them() -> None:
    left, right = made_records(40)
    corpus = Corpus(joined(left, right))
    rows = np.arange(40)
    assert common_properties(corpus, rows, rows + 40) == ("price",)
    found = features_of([*left, *right], list(range(40)), list(range(40, 80)), ("price", "none"))
    assert np.nanmax(found["price: difference"]) < math.log(1.2)
    assert np.isnan(found["none: equal"]).all()
    assert found["properties stated by both"].tolist() == [1] * 40


@settings(deadline=None, max_examples=20)
@given(st.lists(st.text("ab1 -.x", max_size=10), min_size=3, max_size=6))
def test_features_do_not_depend_on_which_item_is_named_first(titles: list[str]) -> None:
    records = [
        Record(str(number), title, values={"size": (title[:3],)} if title[:3] else {})
        for number, title in enumerate(titles)
    ]
    pairs = [(one, other) for one in range(len(titles)) for other in range(one)]
    left, right = (list(each) for each in zip(*pairs, strict=True))
    forth = features_of(records, left, right, ("size",))
    back = features_of(records, right, left, ("size",))
    for name in forth:
        np.testing.assert_allclose(forth[name], back[name], atol=1e-6, err_msg=name)
