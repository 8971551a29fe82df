"""Spans of titles, and the statistics by which they are told from other words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experts.title_spans import (
    FEATURES,
    LONGEST_SPAN,
    MAX_WORDS,
    SpannedTitle,
    SpanReader,
    features_of,
    words_of,
)
from schema.ontology import Ontology, PropertySpec

ONTOLOGY = Ontology(
    [
        PropertySpec("colour", values=("red", "dark blue"), counts=(2, 2)),
        PropertySpec("kind", values=("mugs", "lamp"), counts=(2, 2)),
    ]
)
TITLES = ["Alda red mug", "Alda dark blue lamp", "Berg red lamp", "Berg dark blue mugs", None]
KNOWN = [
    [("colour", "red"), ("kind", "mugs")],
    [("colour", "dark blue"), ("kind", "lamp")],
    [("colour", "red"), ("kind", "lamp")],
    [("colour", "dark blue"), ("kind", "mugs")],
    [("colour", "red")],
]


def feature(name: str) -> int:
    (place,) = [place for place, own in enumerate(FEATURES) if own.startswith(name)]
    return place


def by_text(title: str, hidden: tuple[int, ...] = (), **counted: bool) -> dict[str, np.ndarray]:
    reader = SpanReader(TITLES, KNOWN, ONTOLOGY)
    statistics = reader.statistics("colour", hidden)
    read = SpannedTitle.of(title)
    numbers, features = features_of(reader.vocabulary, statistics, read, **counted)
    return {
        " ".join(read.spans[number].words): row
        for number, row in zip(numbers.tolist(), features, strict=True)
    }


@given(st.text(max_size=200))
def test_spans_are_words_in_a_row_at_their_place(title: str) -> None:
    read = SpannedTitle.of(title)
    assert len(read.words) <= MAX_WORDS
    for span, (first, last) in zip(read.spans, read.ranges.tolist(), strict=True):
        assert 1 <= last - first <= LONGEST_SPAN
        assert span.words == read.words[first:last]
        assert words_of(title[span.start : span.end]) == span.words


def test_words_are_compared_without_case_punctuation_and_plural() -> None:
    assert words_of("Sports-Shoes!") == ("sport", "shoe")
    assert words_of("dress") == ("dress",)


def test_a_letter_before_a_hyphen_is_a_part_of_a_word() -> None:
    assert words_of("Puma T-Shirts") == words_of("puma tshirt") == ("puma", "tshirt")
    assert words_of("black-blue") == ("black", "blue")
    (span,) = [each for each in SpannedTitle.of("Red V-Neck").spans if each.words == ("vneck",)]
    assert "Red V-Neck"[span.start : span.end] == "V-Neck"


def test_known_values_are_no_open_spans() -> None:
    assert "red" not in by_text("Alda red mug")
    assert "dark blue" not in by_text("Alda dark blue mug")
    # Hidden, they are.
    assert "dark blue" in by_text("Alda dark blue mug", hidden=(1,))


def test_titles_of_items_with_another_value_speak_against_a_span() -> None:
    rows = by_text("Alda teal mug")
    elsewhere = feature("titles with another value")
    assert rows["alda"][elsewhere] == pytest.approx(np.log1p(2))
    assert rows["teal"][elsewhere] == 0
    # Of items whose value is hidden nothing is known.
    hidden = by_text("Alda teal mug", hidden=(1,))
    assert hidden["alda"][elsewhere] == pytest.approx(np.log1p(1))


def test_an_items_own_title_does_not_count() -> None:
    elsewhere = feature("titles with another value")
    titles = feature("titles that have")
    own = by_text("Alda red mug", is_counted=True, is_labelled=True)
    assert own["alda"][elsewhere] == pytest.approx(np.log1p(1))
    assert own["alda"][titles] == pytest.approx(np.log1p(1))


def test_a_span_where_values_stand_is_likelier_than_another() -> None:
    rows = by_text("Alda teal mug")
    context = [feature("log odds of the word before"), feature("log odds of the word after")]
    assert rows["teal"][context].sum() > rows["alda"][context].sum()
    assert rows["mug"][feature("is a value of another")] == 1
    assert rows["teal"][feature("is a value of another")] == 0


def test_no_title_has_no_span() -> None:
    assert SpannedTitle.of(None).spans == SpannedTitle.of(" - ").spans == ()
    assert by_text("") == {}
