"""Text that has to fit into a drawing."""

from __future__ import annotations

import pytest

from kg.drawing.text import shorten, wrap


@pytest.mark.parametrize(
    ("text", "width", "max_lines", "lines"),
    [
        ("one two three four", 8, 3, ["one two", "three", "four"]),
        ("one two three four", 8, 2, ["one two", "three f…"]),
        ("abcdefghij", 4, 3, ["abcd", "efgh", "ij"]),
        ("ab abcdefghij k", 4, 9, ["ab", "abcd", "efgh", "ij k"]),
        ("a\tb\nc\x1b[31m", 20, 3, ["a b c [31m"]),
        ("", 4, 3, [""]),
    ],
)
def test_lines_break_at_words_and_end_in_an_ellipsis(
    text: str, width: int, max_lines: int, lines: list[str]
) -> None:
    assert wrap(text, width, max_lines) == lines


def test_a_wide_character_takes_two_columns() -> None:
    assert wrap("红a红", 3, 2) == ["红a", "红"]
    assert shorten("红红红红", 6) == "红红…"


def test_a_combining_character_takes_no_column() -> None:
    assert shorten("e\u0301" * 4, 4) == "e\u0301" * 4
