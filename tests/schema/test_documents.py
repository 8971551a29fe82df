"""JSON and TOML of unknown origin: read, or refused with one line."""

import pytest

from schema.documents import parse_json, parse_json_object, parse_toml


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ('{"a": [1, null]}', {"a": [1, None]}),
        (b"\xef\xbb\xbf[]", []),
        (r'"\ud83d\ude00 \ud7ff"', "\N{GRINNING FACE} \ud7ff"),
        (r'"\\ud800"', r"\ud800"),
    ],
)
def test_json_is_read(text, document):
    assert parse_json(text) == document


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting"),
        (b"\xff", "decode"),
        ('{"a": 1, "a": 2}', "'a' occurs twice"),
        ("[" * 100_000, "nested too deeply"),
        (r'["\ud800"]', "half of a surrogate pair"),
        (r'{"\uDC00\uD800": 1}', "half of a surrogate pair"),
        ('"\ud800"', "half of a surrogate pair"),
    ],
)
def test_what_is_no_json_is_a_line(text, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        parse_json(text)
    assert "\n" not in str(caught.value)


def test_a_document_may_have_to_be_an_object():
    with pytest.raises(ValueError, match="no JSON object"):
        parse_json_object("[1]")


@pytest.mark.parametrize("text", ["a", "a = " + "[" * 100_000, b"\xff", "a = 1\na = 2"])
def test_what_is_no_toml_is_a_line(text):
    with pytest.raises(ValueError, match=r"^[^\n]+\Z"):
        parse_toml(text)
