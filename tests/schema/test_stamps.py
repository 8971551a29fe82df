"""Stamps: every flipped byte is told from an edit."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.stamps import Condition, examine, repaired, stamped, without_stamp, write_stamped

TEXT = 'threshold = 0.5\n\n[categories]\n"Möbel > Stühle" = 12\n'


@pytest.mark.parametrize("text", ["", "x", TEXT])
def test_a_written_file_is_intact(tmp_path, text):
    write_stamped(tmp_path / "f", text)
    assert examine((tmp_path / "f").read_bytes()).condition is Condition.INTACT
    assert without_stamp((tmp_path / "f").read_text()) == text


def test_every_altered_byte_of_a_file_is_damage_that_is_located():
    data = stamped(TEXT).encode()
    rng = random.Random(0)
    for place in range(len(data)):
        altered = bytearray(data)
        altered[place] ^= rng.randrange(1, 256)
        found = examine(bytes(altered))
        assert found.condition is Condition.DAMAGED, place
        assert repaired(bytes(altered)) == data, place
        if place > data.index(b"\n"):
            line = 1 + data.count(b"\n", 0, place)
            assert f"byte {place + 1:,}, in line {line}, was" in found.damage


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=3000), st.data())
def test_the_altered_byte_is_found_in_any_text(body, data):
    text = body.decode("latin-1")
    whole = stamped(text).encode()
    start = whole.index(b"\n") + 1
    place = data.draw(st.integers(start, len(whole) - 1))
    new = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[place]))
    found = examine(whole[:place] + bytes([new]) + whole[place + 1 :])
    assert found.condition is Condition.DAMAGED
    assert f"byte {place + 1:,}," in found.damage
    assert f"was {whole[place : place + 1]!r} and is {bytes([new])!r}" in found.damage


@pytest.mark.parametrize(
    ("old", "new"),
    [("0.5", "0.55"), ("12", "34"), ("Möbel", "Moebel"), ("threshold = 0.5\n", ""), ("\n", "\r\n")],
)
def test_an_edit_is_not_damage(old, new):
    head, line, body = stamped(TEXT).partition("\n")
    edited = head + line + body.replace(old, new)
    assert examine(edited.encode()).condition is Condition.EDITED


def test_what_nobody_types_is_damage():
    data = stamped(TEXT).encode()
    assert examine(data[:-8] + bytes(8)).condition is Condition.DAMAGED
    assert examine(data[:-3] + b"\xff\xfe\n").condition is Condition.DAMAGED


def test_a_file_without_a_stamp_is_neither():
    assert examine(TEXT.encode()).condition is Condition.UNSTAMPED
    assert examine(b"").condition is Condition.UNSTAMPED
    assert without_stamp(TEXT) == TEXT
    assert repaired(TEXT.encode()) == TEXT.encode()
