"""Text as a catalogue keeps it."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg.ingest.normalize import clean, clean_column, split_column, splitter


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


def test_missing_value_words_become_null():
    column = pa.array(["NA", " NA ", "Nab", None, ""])
    assert clean_column(column, ["NA"]).to_pylist() == [None, None, "Nab", None, None]


def test_cells_are_split_and_each_value_is_kept_once():
    column = pa.array(["a| b|a", None, "NA", "c\x1fd"])
    cells = split_column(column, splitter("|", ["NA"]))
    assert cells.rows.tolist() == [0, 0, 3, 3]
    assert cells.values.to_pylist() == ["a", "b", "c", "d"]


def test_without_a_separator_a_cell_is_one_value():
    assert splitter(None)("a|b") == ["a|b"]
