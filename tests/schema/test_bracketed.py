"""Objects and lists in cells."""

import pytest

from schema.bracketed import list_in, parse_bracketed


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('["a", "b"]', ["a", "b"]),
        ("['a', \"b's\"]", ["a", "b's"]),
        ("['a' 'b'\n 'c']", ["a", "b", "c"]),
        ("[1, 2.50]", ["1", "2.50"]),
        ("[]", []),
        ("['a', None]", ["a"]),
        ("[new] red", None),
        ("[red, blue]", None),
        ("{'a': 1}", None),
        ("['a', ['b']]", None),
        ("a", None),
        ("[" * 10_000 + "'" + "]" * 10_000, None),
    ],
)
def test_lists(text, values):
    assert list_in(text) == values


def test_objects_in_either_spelling():
    assert parse_bracketed("{'a': True, 'b': [1, None]}") == {"a": True, "b": [1, None]}
    assert parse_bracketed('{"a": {"b": 1}}') == {"a": {"b": 1}}
    assert parse_bracketed("{__import__('os').getcwd()}") is None
    assert parse_bracketed("{'a', 'b'}") is None
