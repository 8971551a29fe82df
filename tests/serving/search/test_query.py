"""How queries are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.search import database
from serving.search.query import Vocabulary, edit_distance, parse
from tests.serving.search.made import SHOP, make_index


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    path = make_index(tmp_path_factory.mktemp("search"), SHOP)
    return Vocabulary(database.connect(path))


@pytest.mark.parametrize(
    ("left", "right", "distance"),
    [
        ("mouse", "mose", 1),
        ("abcd", "abdc", 1),
        ("toner", "tuner", 1),
        ("a", "abcd", 3),
        ("", "", 0),
    ],
)
def test_edit_distance(left: str, right: str, distance: int) -> None:
    assert edit_distance(left, right, 3) == distance == edit_distance(right, left, 3)


@given(st.text("ab", max_size=7), st.text("ab", max_size=7))
def test_a_distance_above_the_limit_is_not_computed(left: str, right: str) -> None:
    assert edit_distance(left, right, 1) == min(edit_distance(left, right, 9), 2)


@pytest.mark.parametrize(
    ("text", "corrected"),
    [
        ("tonner", {"tonner": "toner"}),
        ("wirless hedset", {"wirless": "wireless", "hedset": "headset"}),
        ("claymug", {"claymug": "clay mug"}),
        ("clay mug", {}),
        ("zzzzqqqq", {}),
        ("m5u9", {}),
    ],
)
def test_words_that_no_item_has(
    vocabulary: Vocabulary, text: str, corrected: dict[str, str]
) -> None:
    assert parse(text, vocabulary).corrected == corrected


def test_two_words_may_be_one(vocabulary: Vocabulary) -> None:
    readings = parse("head set", vocabulary).readings
    assert ("headset",) in [reading.words for reading in readings]


@pytest.mark.parametrize("text", ["TN-2110", "tn2110", "TN 2110", "brother tn2110 toner"])
def test_model_numbers_however_they_are_written(vocabulary: Vocabulary, text: str) -> None:
    assert "tn2110" in parse(text, vocabulary).codes


def test_particles_are_left_out_unless_there_is_nothing_else(vocabulary: Vocabulary) -> None:
    (reading,) = parse("stand for the wall", vocabulary).readings
    assert reading.words == ("stand", "wall")
    assert reading.head == "stand"
    (reading,) = parse("for", vocabulary).readings
    assert reading.words == ("for",)
