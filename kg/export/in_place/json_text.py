"""Change single members of an object in a JSON text, and leave every other character as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kg.ingest.json_stream import record_decoder
from kg.ingest.scalars import WrittenFloat

_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?")
_DECODER = record_decoder()


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it is written."""

    text: str


def number_of(text: str) -> Number | None:
    """Return a text as a number of JSON; None if it is none."""
    return Number(text) if _NUMBER.fullmatch(text) else None


@dataclass(frozen=True)
class JsonEdit:
    """A value for a member of an object, or, if it is ``appended``, for the end of its list.

    ``path`` are the names that lead to it; objects and a list that it lacks are made.
    """

    path: tuple[str, ...]
    value: Any
    appended: bool = False


@dataclass(frozen=True, slots=True)
class _Member:
    """Where a member of an object is: its name, its value, and where the name starts."""

    name: str
    name_start: int
    name_stop: int
    start: int
    stop: int


@dataclass(frozen=True)
class _Style:
    """What stands between members, and between a name and its value."""

    comma: str = ", "
    colon: str = ": "
    escapes: bool = False


def edited(value: dict[str, Any], edits: Sequence[JsonEdit]) -> dict[str, Any]:
    """Return an object with some edits, as a reader reads it."""
    for edit in edits:
        value = _with_edit(value, edit.path, edit)
    return value


def _with_edit(value: Any, path: tuple[str, ...], edit: JsonEdit) -> Any:
    if not path:
        new = _DECODER.decode(dumped(edit.value, _Style()))
        if not edit.appended:
            return new
        return [*value, new] if isinstance(value, list) else [new]
    members = value if isinstance(value, dict) else {}
    return {**members, path[0]: _with_edit(members.get(path[0]), path[1:], edit)}


def edited_text(text: str, edits: Sequence[JsonEdit]) -> str:
    """Return the text of an object with some edits; raises ValueError if it has no place for one.

    The text may have white space before and after the object.
    """
    for edit in edits:
        start = _after_space(text, 0)
        style = _style_of(text, start)
        text = _edited_at(text, start, edit.path, edit, style)
    return text


def _edited_at(text: str, at: int, path: tuple[str, ...], edit: JsonEdit, style: _Style) -> str:
    """Return the text with an edit in the value that starts at a position."""
    if not path:
        stop = _DECODER.raw_decode(text, at)[1]
        if edit.appended and text[at] == "[":
            return _appended(text, at, stop, edit, style)
        value = [edit.value] if edit.appended else edit.value
        return text[:at] + dumped(value, style) + text[stop:]
    if not text.startswith("{", at):
        stop = _DECODER.raw_decode(text, at)[1]
        return text[:at] + dumped(_nested(path, edit), style) + text[stop:]
    members = _members(text, at)
    # Of several members of one name the last counts for most programs.
    member = next((each for each in reversed(members) if each.name == path[0]), None)
    if member is not None:
        return _edited_at(text, member.start, path[1:], edit, style)
    name = dumped(path[0], style)
    new = f"{name}{style.colon}{dumped(_nested(path[1:], edit), style)}"
    if not members:
        return f"{text[: at + 1]}{new}{text[at + 1 :]}"
    stop = members[-1].stop
    return f"{text[:stop]}{_comma(text, at, members, style)}{new}{text[stop:]}"


def _appended(text: str, at: int, stop: int, edit: JsonEdit, style: _Style) -> str:
    """Return the text with one more element of the array between two positions."""
    first = _after_space(text, at + 1)
    new = dumped(edit.value, style)
    if text[first] == "]":
        return f"{text[:first]}{new}{text[first:]}"
    # The last element ends before the white space and the comma that some write after it.
    last = len(text[: stop - 1].rstrip(" \t\r\n,"))
    space = text[at + 1 : first]
    second = _DECODER.raw_decode(text, first)[1]
    comma = f",{space}"
    if second < last:
        next_start = _after_space(text, text.index(",", second) + 1)
        comma = text[second:next_start]
    return f"{text[:last]}{comma}{new}{text[last:]}"


def _nested(path: tuple[str, ...], edit: JsonEdit) -> Any:
    value = [edit.value] if edit.appended else edit.value
    for name in reversed(path):
        value = {name: value}
    return value


def _members(text: str, at: int) -> list[_Member]:
    """Return the members of the object that starts at a position."""
    members = []
    position = _after_space(text, at + 1)
    while text[position] != "}":
        if text[position] != '"':
            raise ValueError("no name of a member")
        name, name_stop = _DECODER.raw_decode(text, position)
        colon = _after_space(text, name_stop)
        start = _after_space(text, colon + 1)
        stop = _DECODER.raw_decode(text, start)[1]
        members.append(_Member(name, position, name_stop, start, stop))
        position = _after_space(text, stop)
        if text[position] == ",":
            position = _after_space(text, position + 1)
    return members


def _comma(text: str, at: int, members: Sequence[_Member], style: _Style | None = None) -> str:
    """Return what stands between the members of an object, or if it has one, of others."""
    if len(members) > 1:
        return text[members[-2].stop : members[-1].name_start]
    space = text[at + 1 : members[0].name_start]
    if style is not None and "\n" not in space:
        return style.comma
    return f",{space}"


def _style_of(text: str, start: int) -> _Style:
    escapes = text.isascii() and re.search(r"\\u[0-9a-fA-F]{4}", text) is not None
    members = _members(text, start) if text.startswith("{", start) else []
    if not members:
        return _Style(escapes=escapes)
    colon = text[members[0].name_stop : members[0].start]
    comma = _comma(text, start, members)
    if "\n" in comma or len(members) == 1:
        comma = ", " if colon.endswith(" ") else ","
    return _Style(comma, colon, escapes)


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def dumped(value: Any, style: _Style = _Style()) -> str:  # frozen
    """Return a value as JSON, with numbers as they are written."""
    if isinstance(value, Number):
        return value.text
    if isinstance(value, WrittenFloat):
        return value.text
    if isinstance(value, dict):
        members = (f"{dumped(n, style)}{style.colon}{dumped(v, style)}" for n, v in value.items())
        return f"{{{style.comma.join(members)}}}"
    if isinstance(value, list | tuple):
        return f"[{style.comma.join(dumped(each, style) for each in value)}]"
    return json.dumps(value, ensure_ascii=style.escapes)
