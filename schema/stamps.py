"""Checksums in text files that a person may edit: they tell an edit from a flipped byte.

A stamped file begins with a comment that has two checksums of all that follows it. If they no
longer fit, a person has edited the file, or the disk has damaged it. The CRC decides: it is linear,
so that the one byte whose change explains it can be computed, if there is such a byte. A person who
changes exactly one byte is told that the file looks damaged, and can write it again to accept it.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from schema.files import write_atomically

PREFIX = b"# Written by Catalograph. CRC-32 and SHA-256 of what follows: "
_STAMP = re.compile(re.escape(PREFIX) + rb"([0-9a-f]{8}) ([0-9a-f]{64})\n")
STAMP_BYTES = len(PREFIX) + 8 + 1 + 64 + 1
# Control characters other than tab, line feed and carriage return: nobody types them.
_UNTYPED = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Condition(StrEnum):
    """What has happened to a file since it was written."""

    INTACT = "intact"
    EDITED = "edited"
    DAMAGED = "damaged"
    UNSTAMPED = "unstamped"
    """The file has no stamp: an earlier version wrote it, or a person removed the stamp."""


@dataclass(frozen=True, slots=True)
class Examination:
    """The condition of a file, and for a damaged one what is wrong with it."""

    condition: Condition
    damage: str = ""


def stamped(text: str) -> str:
    """Return a text with its stamp in front."""
    body = text.encode()
    return (_stamp_of(body) + body).decode()


def write_stamped(path: Path, text: str) -> None:
    """Write a text with its stamp, completely or not at all."""
    write_atomically(path, stamped(text))


def without_stamp(text: str) -> str:
    """Return a text without its stamp, if it has one."""
    first, _, rest = text.partition("\n")
    return rest if first.startswith(PREFIX.decode()) else text


def repaired(data: bytes) -> bytes:
    """Return a file with the one byte restored that was altered, if that is what happened to it."""
    found = _STAMP.match(data)
    if found is not None:
        body = data[found.end() :]
        for place, original in _altered_bytes(body, int(found[1], 16)):
            before = body[:place] + bytes([original]) + body[place + 1 :]
            if hashlib.sha256(before).hexdigest().encode() == found[2]:
                return found[0] + before
    stamp = _stamp_of(data[STAMP_BYTES:])
    if _one_difference(stamp, data[:STAMP_BYTES]) is not None:
        return stamp + data[STAMP_BYTES:]
    return data


def examine(data: bytes) -> Examination:
    """Tell whether a file is as it was written, was edited, or was damaged."""
    found = _STAMP.match(data)
    if found is None:
        place = _one_difference(_stamp_of(data[STAMP_BYTES:]), data[:STAMP_BYTES])
        if place is None:
            return Examination(Condition.UNSTAMPED)
        return Examination(Condition.DAMAGED, f"byte {place + 1:,} of the stamp was altered")

    body = data[found.end() :]
    if hashlib.sha256(body).hexdigest().encode() == found[2]:
        if _crc(body) == int(found[1], 16):
            return Examination(Condition.INTACT)
        return Examination(Condition.DAMAGED, "the CRC in the stamp was altered")
    if _one_difference(_stamp_of(body), found[0]) is not None:
        return Examination(Condition.DAMAGED, "the SHA-256 in the stamp was altered")
    whole = repaired(data)
    if whole != data:
        (place,) = (place for place in range(len(data)) if data[place] != whole[place])
        return Examination(Condition.DAMAGED, _describe(data, place, whole[place]))
    unprintable = _UNTYPED.search(body)
    if unprintable is not None or not _is_utf8(body):
        return Examination(Condition.DAMAGED, "it contains bytes that are no text")
    return Examination(Condition.EDITED)


def _stamp_of(body: bytes) -> bytes:
    digest = hashlib.sha256(body).hexdigest()
    return PREFIX + f"{_crc(body):08x} {digest}\n".encode()


def _describe(data: bytes, place: int, original: int) -> str:
    line = data.count(b"\n", 0, place) + 1
    now = bytes([data[place]])
    before = bytes([original])
    return f"byte {place + 1:,}, in line {line:,}, was {before!r} and is {now!r}"


def _one_difference(expected: bytes, found: bytes) -> int | None:
    """Return the place of the one byte in which two texts of the same length differ, if one."""
    if len(expected) != len(found):
        return None
    places = [place for place in range(len(found)) if expected[place] != found[place]]
    return places[0] if len(places) == 1 else None


def _altered_bytes(body: bytes, crc: int) -> Iterator[tuple[int, int]]:
    """Yield the places of bytes whose change alone explains another CRC, and what they were.

    CRCs are linear: the exclusive or of the CRCs of two texts of the same length depends on the
    exclusive or of the texts alone. If that is e in one byte and 0 in all others, it is table[e]
    for the last byte, and one step of the CRC's register further for each byte before it. So the
    steps are undone one by one, from the end; wherever an entry of the table is left, that byte can
    be the one. In a long text another one can be, too, by chance.
    """
    left = _crc(body) ^ crc
    for place in range(len(body) - 1, -1, -1):
        # The highest byte of each entry is different, and says which entry it can be.
        entry = _BY_HIGHEST_BYTE[left >> 24]
        if _TABLE[entry] == left:
            yield place, body[place] ^ entry
        left = ((left ^ _TABLE[entry]) << 8 | entry) & 0xFFFFFFFF


def _crc(data: bytes) -> int:
    return zlib.crc32(data)


def _table() -> tuple[int, ...]:
    """Return the CRC's table: what each byte does to a register of zeros."""
    entries = []
    for byte in range(256):
        register = byte
        for _ in range(8):
            register = register >> 1 ^ (0xEDB88320 if register & 1 else 0)
        entries.append(register)
    return tuple(entries)


_TABLE = _table()
_BY_HIGHEST_BYTE = {entry >> 24: byte for byte, entry in enumerate(_TABLE)}


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
