"""Names of columns: compared regardless of their spelling, and matched by patterns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

MAX_NAME = 500
"""Characters of a name that may fit a pattern: comparing longer ones would take too long."""
MAX_WILDCARDS = 4
"""Wildcards in one name: each makes comparing it to long names slower by their length."""
_SEPARATORS = r"[\s_\-]"
_REMARK = re.compile(r"\s*[(\[][^()\[\]]*[)\]]\s*[*:]*\s*$")
# A dot between words is one of a path.
_SIGNS = re.compile(r"[*#:!?]|\.(?!\w)|(?<=\bArt)\.|(?<=\bRef)\.", re.IGNORECASE)
_WILDCARD = re.compile(r"\*|\?|\{n\}")


@lru_cache(1 << 12)
def normalized(name: str) -> str:
    """Return a column's name without the differences of spelling that do not matter.

    These are case, spaces, hyphens and underscores, and whether a path within a record is written
    with slashes or with dots.
    """
    return re.sub(r"[\s_\-]+", "", name).replace("/", ".").casefold()


def bare(name: str) -> str:
    """Return a normalized name without the signs that people add: "Art.-Nr.", "Name *", "SKU #".

    What stands in brackets at its end goes, too: "Categories (x,y,z...)".
    """
    name = _REMARK.sub("", name) or name
    return normalized(_SIGNS.sub("", name))


def is_pattern(name: str) -> bool:
    """Return whether a name stands for several columns: ``*``, ``?`` or ``{n}``, a number."""
    return _WILDCARD.search(name) is not None


def check_pattern(name: str) -> None:
    """Raise ValueError if a name has so many wildcards that looking for it could take forever."""
    count = len(_WILDCARD.findall(name))
    if count > MAX_WILDCARDS:
        raise ValueError(f"{name[:40]!r} has {count} wildcards: the limit is {MAX_WILDCARDS}")


@lru_cache(maxsize=4096)
def _pattern(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a pattern for casefolded names.

    Blanks, hyphens and underscores may be any of these or absent, but not beside ``*`` and ``?``:
    "*_t" must not stand for every name that ends with a t.
    """
    parts = []
    position = 0
    after = ""
    for wildcard in _WILDCARD.finditer(pattern):
        parts.append(_literal(pattern[position : wildcard.start()], after, wildcard[0]))
        parts.append({"*": ".*", "?": ".", "{n}": rf"{_SEPARATORS}*(\d+)"}[wildcard[0]])
        position = wildcard.end()
        after = wildcard[0]
    parts.append(_literal(pattern[position:], after, ""))
    return re.compile("".join(parts), re.DOTALL)


def _literal(text: str, before: str, after: str) -> str:
    """Return the expression of a text between two wildcards, "" where there is none."""
    text = text.replace("/", ".").casefold()
    pieces = re.split(rf"({_SEPARATORS}+)", text)
    parts = []
    for place, piece in enumerate(pieces):
        if place % 2 == 0:
            parts.append(re.escape(piece))
            continue
        is_first = place == 1 and not pieces[0]
        is_last = place == len(pieces) - 2 and not pieces[-1]
        must = (is_first and before in ("*", "?")) or (is_last and after in ("*", "?"))
        parts.append(f"{_SEPARATORS}{'+' if must else '*'}")
    return "".join(parts)


@lru_cache(maxsize=1 << 16)
def matches(name: str, pattern: str) -> bool:
    """Return whether a column's name is that of a pattern or of a plain name, however spelled."""
    if not is_pattern(pattern):
        return normalized(name) == normalized(pattern)
    return len(name) <= MAX_NAME and _pattern(pattern).fullmatch(_spelled(name)) is not None


def _spelled(name: str) -> str:
    return name.strip().replace("/", ".").casefold()


def number_in(name: str, pattern: str) -> int | None:
    """Return the number that stands for ``{n}`` in a name, or None if the pattern does not fit."""
    match = _pattern(pattern).fullmatch(_spelled(name)) if len(name) <= MAX_NAME else None
    if match is None or not match.groups():
        return None
    return int(match[1])


def captured(name: str, pattern: str) -> list[str]:
    """Return the parts of a name that the wildcards of a pattern stand for, as they are spelled.

    The list is empty if only a differently spelled name would fit the pattern.
    """
    # Each stands for as little as it can: "*[*]" splits "name[a][b]" at the first bracket.
    parts = [re.escape(part) for part in _WILDCARD.split(pattern)]
    wildcards = {"*": "(.*?)", "?": "(.)", "{n}": r"(\d+)"}
    groups = [wildcards[each] for each in _WILDCARD.findall(pattern)]
    expression = "".join(part + group for part, group in zip(parts, [*groups, ""], strict=True))
    fits = len(name) <= MAX_NAME
    match = re.fullmatch(expression, name, re.IGNORECASE | re.DOTALL) if fits else None
    return list(match.groups()) if match else []


def matching(columns: Sequence[str], patterns: Iterable[str]) -> list[str]:
    """Return the columns that fit any of the patterns: pattern by pattern, numbers in order."""
    found: dict[str, None] = {}
    for pattern in patterns:
        fitting = [name for name in columns if matches(name, pattern)]
        if "{n}" in pattern:
            fitting.sort(key=lambda name: number_in(name, pattern) or 0)
        found.update(dict.fromkeys(fitting))
    return list(found)


def listed(names: Iterable[str]) -> str:
    """Return names as a list for a message, cut off if there are many."""
    names = list(names)
    text = ", ".join(name[:40] for name in names[:8])
    return f"{text} and {len(names) - 8} more" if len(names) > 8 else text
