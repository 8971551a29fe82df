"""What the guards of both query languages refuse alike: texts too long, too deep, or not plain.

The parsers of the stores call themselves for each level of nesting. They end their process when
their stack is full, which with 8 MB for it was seen at 512 levels in Ladybug (function calls), and
at 1,280 in Oxigraph; chains of operators were fatal from 8,192 and 10,240 on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from schema.errors import QueryRefusedError

MAX_CHARACTERS = 65_536
MAX_DEPTH = 50
MAX_OPERATORS = 1_000
# Control characters, of which servers may take some for spaces, and surrogates, which come from a
# terminal for bytes that are not UTF-8 and cannot be sent.
NOT_PLAIN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
OPENING = frozenset("([{")
CLOSING = frozenset(")]}")


def shown(text: str) -> str:
    """Return the beginning of a part of a query as an error shows it, printable on one line."""
    text = text[:40]
    return text if text.isprintable() else repr(text)


def check_length(text: str) -> None:
    """Raise QueryRefusedError if a query is too long."""
    if len(text) > MAX_CHARACTERS:
        raise QueryRefusedError(
            f"the query is {len(text):,} characters long, and the limit is {MAX_CHARACTERS:,}: "
            "ask in several queries, or pass long lists as parameters where there are any"
        )


def check_characters(text: str) -> None:
    """Raise QueryRefusedError if a query has a character that servers may read in other ways."""
    character = NOT_PLAIN.search(text)
    if character:
        raise QueryRefusedError(
            f"the query has the character U+{ord(character[0]):04X}, a control character or a byte "
            "that is no UTF-8: write plain text"
        )


def check_depth(texts: Iterable[str]) -> None:
    """Raise QueryRefusedError if the brackets among a query's tokens are nested too deeply."""
    depth = 0
    for text in texts:
        if text in OPENING:
            depth += 1
            if depth > MAX_DEPTH:
                raise QueryRefusedError(
                    f"the query has brackets within brackets more than {MAX_DEPTH} deep, the "
                    "limit: flatten it, or ask in several queries"
                )
        elif text in CLOSING:
            depth -= 1


def check_operators(count: int) -> None:
    """Raise QueryRefusedError if a query has too many operators and clauses."""
    if count > MAX_OPERATORS:
        raise QueryRefusedError(
            f"the query has {count:,} operators and clauses, and the limit is {MAX_OPERATORS:,}: "
            "use IN with a list, or ask in several queries"
        )
