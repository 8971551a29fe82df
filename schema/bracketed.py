"""Cells that hold objects and lists in brackets, as JSON or as Python and numpy print them."""

from __future__ import annotations

import ast
import json
import re
from decimal import Decimal
from typing import Any

MAX_PRINTED = 1 << 16
"""Characters of a cell in Python's spelling that is still read: its parser takes much memory."""

# numpy prints no commas: ['a' 'b'].
_NO_COMMA = re.compile(r"(?<=['\"])\s+(?=['\"])")


def parse_bracketed(text: str) -> dict[str, Any] | list[Any] | None:
    """Return the object or the list in a cell; None if it holds no such thing.

    >>> parse_bracketed("['new', 'blue']")
    ['new', 'blue']
    """
    text = text.strip()
    if text[:1] not in ("{", "[") or text[-1:] not in ("}", "]"):
        return None
    try:
        # Numbers stay as they are written: 1.10.
        value = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        value = _printed(text)
    return value if isinstance(value, dict | list) else None


def list_in(text: str) -> list[str] | None:
    """Return the texts of a list of words and numbers in a cell; None if it holds no such list."""
    if not text.lstrip().startswith("["):
        return None
    value = parse_bracketed(text)
    if not isinstance(value, list):
        return None
    if any(isinstance(each, dict | list | tuple | set) for each in value):
        return None
    return [str(each) for each in value if each is not None and each != ""]


def _printed(text: str) -> Any:
    """Return what a text means in Python's spelling, None if it is none."""
    if len(text) > MAX_PRINTED or ("'" not in text and '"' not in text):
        return None
    try:
        value = ast.literal_eval(_NO_COMMA.sub(", ", text))
        # Only what JSON can hold, too: no bytes and no sets.
        return json.loads(json.dumps(value))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
