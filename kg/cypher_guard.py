"""The read-only gate for Cypher: an allow-list of clauses, one statement, nothing that calls out."""

from __future__ import annotations

import re

from schema.errors import QueryRefusedError

CLAUSES = ("MATCH", "OPTIONAL MATCH", "WHERE", "WITH", "UNWIND", "RETURN", "ORDER BY", "SKIP", "LIMIT", "UNION")
REFUSED = frozenset(
    "CREATE MERGE SET DELETE DETACH REMOVE DROP ALTER COPY LOAD CALL EXPORT IMPORT INSTALL UNINSTALL ATTACH USE BEGIN COMMIT ROLLBACK "
    "CHECKPOINT EXPLAIN PROFILE FOREACH COMMENT GRANT REVOKE PROJECT YIELD PERIODIC START STOP SHOW TERMINATE ENABLE RENAME FINISH".split()
)
FUNCTIONS = frozenset(
    "abs avg ceil ceiling coalesce collect concat contains count date endnode ends_with floor head id keys label labels last left length "
    "list_contains list_extract list_sort list_unique lower max min nodes nullif properties range regexp_extract regexp_matches "
    "relationships rels replace reverse right round rtrim ltrim size split sqrt startnode starts_with string_split substring sum "
    "tail tofloat tointeger tolower tostring toupper trim type upper exists case any all none single cast".split()
)
TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<string>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<quoted>`[^`]*`)"
    r"|(?P<word>[^\W\d]\w*)|(?P<number>\d+(?:\.\d+)?)|(?P<param>\$\w+)|(?P<sign>[-+*/%^=<>!.,:;()\[\]{}|~&])",
    re.DOTALL,
)


def guard(text: str) -> str:
    """The query, where it only reads; raises QueryRefusedError naming what is not allowed."""
    if "\x00" in text or (not text.isprintable() and any(ord(c) < 32 and c not in "\t\r\n" for c in text)):
        raise QueryRefusedError("the query has a control character: write plain text")
    words = list(_tokens(text))
    if not words:
        raise QueryRefusedError("the query is empty: start it with MATCH")
    while words and words[-1] == ("sign", ";"):
        words.pop()
    for position, (kind, value) in enumerate(words):
        if (kind, value) == ("sign", ";"):
            raise QueryRefusedError("the query has two statements: give one at a time")
        if kind != "word":
            continue
        _check_word(value, words[position - 1][1] if position else "", words[position + 1][1] if position + 1 < len(words) else "")
    first = words[0][1].upper() if words else ""
    if first not in ("MATCH", "OPTIONAL", "UNWIND", "WITH", "RETURN"):
        raise QueryRefusedError(f"a query cannot start with {first[:20]!r}: start it with MATCH, UNWIND, WITH or RETURN")
    return text


def _check_word(word: str, before: str, after: str) -> None:
    """Raise where a word between two tokens is a clause or a function that a query may not use; names of properties and labels pass."""
    if before in (".", ":"):
        return
    if word.upper() in REFUSED:
        raise QueryRefusedError(f"{word.upper()} is not allowed: a query may use {', '.join(CLAUSES)}")
    if after == "(" and word.lower() not in FUNCTIONS and word.upper() not in _BEFORE_PARENTHESIS:
        raise QueryRefusedError(f"function {word} is not allowed: use one of count, collect, avg, min, max, size, lower, ...")


_BEFORE_PARENTHESIS = frozenset(
    "MATCH WHERE WITH RETURN AND OR NOT XOR IN UNION BY THEN ELSE WHEN AS DISTINCT IS CONTAINS EXISTS UNWIND".split()
)


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    place = 0
    while place < len(text):
        match = TOKEN.match(text, place)
        if match is None:
            raise QueryRefusedError(f"the query has {text[place : place + 12]!r}, which is not allowed: check quotes and comments")
        place = match.end()
        kind = match.lastgroup or ""
        if kind not in ("space", "comment"):
            found.append((kind, match[0]))
    return found
