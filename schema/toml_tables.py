"""Long TOML tables of numbers, written many times as fast as a writer of any document does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
_ESCAPED = re.compile(r'["\\\x00-\x08\x0a-\x1f\x7f]')
_SHORT = {"\b": "\\b", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def number_table(path: Sequence[str], numbers: Mapping[str, int | float]) -> str:
    """Return a table of numbers as ``tomli_w`` writes it; ``path`` are the keys that lead to it."""
    lines = [f"{_key(name)} = {number}\n" for name, number in numbers.items()]
    return f"[{'.'.join(map(_key, path))}]\n" + "".join(lines)


def _key(name: str) -> str:
    if _BARE.match(name):
        return name
    return f'"{_ESCAPED.sub(_escape, name)}"'


def _escape(found: re.Match[str]) -> str:
    sign = found[0]
    return _SHORT.get(sign) or f"\\u{ord(sign):04x}"
