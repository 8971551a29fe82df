"""Text as a catalogue keeps it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg.ingest.values.text import clean, split_quoted, without_controls


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("  a  b\t\nc ", "a b c"),
        ("cafe\u0301", "café"),
        ("a\u00a0\u3000b", "a b"),
        ("a\x00\x1b\u200b\ufeffb", "ab"),
        ("\u202eabc", "abc"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        (" \x07 ", None),
        ("", None),
    ],
)
def test_cleaning(text, kept):
    assert clean(text) == kept


@given(st.text())
def test_cleaning_twice_is_cleaning_once(text):
    once = clean(text)
    assert once is None or clean(once) == once


def test_a_lone_surrogate_is_not_text():
    with pytest.raises(UnicodeError):
        clean("a\ud800")


def test_controls_go_and_list_separators_stay():
    assert without_controls("a\x07\x1f\u200bb") == "a\x1fb"


def test_quoted_lists():
    assert split_quoted('a, "b, c",d\\,e', ",") == ["a", " b, c", "d,e"]
    assert split_quoted('12", 14"', ",") == ['12"', ' 14"']
