"""How texts are split into words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.search.words import BREAK, MAX_WORD, codes, is_code, sequence, stem, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Wireless Mice", ["wireless", "mice"]),
        ("batteries, boxes & glasses", ["battery", "box", "glass"]),
        ("USB bus gas", ["usb", "bus", "gas"]),
        ("Küche, naïve; ﬁne", ["kuche", "naive", "fine"]),
        ("men's toner", ["men", "toner"]),
        ("红色陶瓷杯", ["红色", "色陶", "陶瓷", "瓷杯"]),
        ("杯", ["杯"]),
        ("iPhone手机壳", ["iphone", "手机", "机壳"]),
        ("ノートPC", ["ノー", "ート", "pc"]),
        ("हिन्दी किताब", ["हिन्दी", "किताब"]),
        ("", []),
        (" \x00 ́ ", []),
    ],
)
def test_words_of_any_language(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_breaks_stand_where_punctuation_is() -> None:
    assert sequence("mug, red -- (large)") == ["mug", BREAK, "red", BREAK, "large", BREAK]


@given(st.text(max_size=60))
def test_words_need_no_quotes_in_a_query_of_fts5(text: str) -> None:
    for word in sequence(text):
        assert word == BREAK or all(
            character.isalnum() or not character.isascii() for character in word
        )
        assert word.strip() == word != ""
        assert len(word) <= MAX_WORD


def test_a_long_text_is_cut() -> None:
    assert len(words("word " * 100_000)) < 10_000


@pytest.mark.parametrize(
    ("word", "expected"), [("ties", "tie"), ("bosses", "boss"), ("is", "is"), ("caféss", "caféss")]
)
def test_plurals(word: str, expected: str) -> None:
    assert stem(word) == (expected if word != "ties" else "tie")


def test_model_numbers_are_read_as_one_word() -> None:
    assert codes("Brother TN-2110 / HL_x 1.5-2") == ["tn2110"]
    assert is_code("tn2110")
    assert is_code("90321")
    assert not is_code("50")
