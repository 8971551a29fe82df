"""HTML in cells."""

import html
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg.ingest.values.markup import list_items, without_markup


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Salt &amp; Pepper <b>Set</b>", "Salt & Pepper Set"),
        ("Wood &lt; Oak", "Wood < Oak"),
        ("Caf&eacute; &#8364; &#x20AC;", "Café € €"),
        ("<p>One</p><p>Two</p>", "One Two"),
        ("one<br>two<BR/>three", "one two three"),
        ('<span style="color:red">a</span>b', "ab"),
        ("<a href='x>y'>L</a>", "L"),
        ("<!-- x --><p>a", "a"),
        ("<script>alert(1)</script><p>a</p>", "a"),
        ("10<sup>3</sup> m<sup>2</sup>", "10³ m²"),
        ("&amp;lt;b&amp;gt;Hi&amp;lt;/b&amp;gt;", "Hi"),
        ("&amp;amp;amp;", "&"),
    ],
)
def test_markup_is_removed(text, shown):
    assert " ".join(without_markup(text).split()) == shown


@pytest.mark.parametrize(
    "text",
    [
        "a < b",
        "<3mm",
        "x > 2",
        "R&D",
        "AT&T; x",
        "x<y>z",
        "<s>",
        "<A>",
        "1 <b 2",
        "&nosuch;",
        "<Größe>",
    ],
)
def test_other_angle_brackets_and_ampersands_stay(text):
    assert without_markup(text) == text


def test_in_a_column_of_html_every_known_tag_counts():
    assert without_markup("<b>a", whole_column=True) == "a"
    assert without_markup("<Größe>", whole_column=True) == "<Größe>"


def test_the_items_of_a_list():
    assert list_items("<ul><li>a</li><li class='x'>b</li></ul>") == ["a</li>", "b</li>"]
    assert list_items("x<ul><li>a</li></ul>") is None
    assert list_items("<ul><li>a<ul><li>b</li></ul></li></ul>") is None


@given(st.text(st.sampled_from("<>/&;bpa =\"'!-lt#38amp\n")))
def test_removing_twice_is_removing_once(text):
    once = without_markup(text)
    assert without_markup(once) == once


@given(st.text())
def test_what_was_escaped_is_itself(text):
    if "&" not in text and "<" not in text:
        assert without_markup(html.escape(text)) == text


@pytest.mark.parametrize(
    "unit",
    ["<", "<a ", "<a b='", "&", "&amp;", "amp;", "<!--", "<script>", "<ul><li>", "&#38;#38;"],
)
def test_no_text_takes_long(unit):
    started = time.process_time()
    without_markup("&amp;" + unit * (200_000 // len(unit)))
    assert time.process_time() - started < 5
