"""What reaches a terminal cannot steer it."""

import io
import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.terminal import (
    MAX_LINE,
    PrintableStream,
    printable,
    printable_json,
    printable_line,
    printable_streams,
)

HOSTILE = {
    "colour": "\x1b[31mred\x1b[0m",
    "cursor": "\x1b[2J\x1b[H",
    "title": "\x1b]0;pwned\x07",
    "link": "\x1b]8;;http://evil\x1b\\text\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "C1": "\x9b31m and \x9d0;x\x9c",
    "overwrite": "good\rbad\b\b\b",
    "bell": "\x07",
    "override": "gpj.\u202eexe",
    "isolates": "\u2066a\u2069",
    "zero width": "a\u200bb\u2060c\ufeffd",
    "joiner in Latin": "ad\u200dmin",
    "lines": "a\u2028b\u2029c",
    "tags": "\U000e0041\U000e0042",
    "surrogate": "\udcff",
    "tab": "a\tb",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_unreadable_is_left(text):
    assert "\N{REPLACEMENT CHARACTER}" in printable(text)
    assert not [c for c in printable(text) if unicodedata.category(c) in UNREADABLE]


UNREADABLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


@given(st.text(st.characters(codec=None)))
def test_any_text_is_readable_and_its_readable_part_unchanged(text):
    shown = printable(text)
    assert len(shown) == len(text)
    for before, after in zip(text, shown, strict=True):
        category = unicodedata.category(after)
        assert category not in UNREADABLE or after in "\n\u200c\u200d"
        if unicodedata.category(before) not in UNREADABLE:
            assert after == before


@pytest.mark.parametrize(
    "text",
    [
        "Größe 5 mm",
        "10\u00a0kg",
        "全角\u3000空白",
        "می\u200cخواهم",
        "👩\u200d🔬",
        "a\nb",
        "[red]:smile:",
    ],
)
def test_what_people_write_is_unchanged(text):
    assert printable(text) == text


def test_none_is_empty_and_other_values_are_their_text():
    assert printable(None) == ""
    assert printable(1.5) == "1.5"


def test_a_message_is_one_line_of_limited_length():
    assert printable_line("a\n  b\n\nc ") == "a b c"
    assert len(printable_line("x" * 1_000_000)) == MAX_LINE + 1


@given(st.text(st.characters(codec=None, exclude_categories=["Cs"])))
def test_json_stays_the_same_document_and_is_printable(text):
    shown = printable_json(json.dumps({"value": text}, ensure_ascii=False))
    assert json.loads(shown) == {"value": text}
    assert printable(shown) == shown


def test_a_stream_shows_what_is_written_without_control_characters():
    behind = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    stream = PrintableStream(behind)
    assert stream.write("\x1b[31mred") == 8
    print("next", file=stream, flush=True)
    behind.seek(0)
    assert behind.read() == "\N{REPLACEMENT CHARACTER}[31mrednext\n"
    assert stream.encoding == "utf-8"
    assert not stream.isatty()


def test_streams_are_guarded_in_the_block_only(capsys):
    before = sys.stdout, sys.stderr
    with printable_streams():
        print("\x1b]0;out\x07")
        print("\x1b]0;err\x07", file=sys.stderr)
    assert (sys.stdout, sys.stderr) == before
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err
    assert "out" in shown.out
    assert "err" in shown.err
