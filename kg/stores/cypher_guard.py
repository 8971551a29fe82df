"""The read-only gate for Cypher: an allow-list of clauses, one statement, nothing that calls out."""

from __future__ import annotations

import re

from schema.errors import QueryRefusedError

CLAUSES = (
    "MATCH",
    "OPTIONAL MATCH",
    "WHERE",
    "WITH",
    "UNWIND",
    "RETURN",
    "ORDER BY",
    "SKIP",
    "LIMIT",
    "UNION",
)
STARTS = ("MATCH", "OPTIONAL", "UNWIND", "WITH", "RETURN")
# What could stand within a query; commands, which start one, are refused because of their first word.
REFUSED = frozenset(
    "CREATE MERGE INSERT SET DELETE DETACH NODETACH REMOVE DROP ALTER COPY LOAD CALL EXPORT IMPORT INSTALL UNINSTALL ATTACH USE BEGIN "
    "COMMIT ROLLBACK CHECKPOINT EXPLAIN PROFILE FOREACH GRANT REVOKE YIELD PERIODIC SHOW TERMINATE FINISH".split()
)
FUNCTIONS = frozenset(
    "abs avg ceil ceiling coalesce collect concat contains count date endnode ends_with floor head id keys label labels last left length "
    "list_contains list_extract list_sort list_unique log10 lower max min nodes nullif pi properties range regexp_extract regexp_matches "
    "relationships rels replace reverse right round rtrim ltrim sign size split sqrt startnode starts_with string_split substring sum "
    "tail tofloat tointeger tolower tostring toupper trim type upper exists case any all none single cast".split()
)
TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<comment>//[^\r\n]*|/\*.*?\*/)|(?P<string>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<quoted>`[^`]*`)"
    r"|(?P<word>[^\W\d]\w*)|(?P<number>\d+(?:\.\d+)?)|(?P<param>\$\w+)|(?P<sign>[-+*/%^=<>!.,:;()\[\]{}|~&])",
    re.DOTALL,
)


def guard(text: str) -> str:
    """The query, where it only reads; raises QueryRefusedError naming what is not allowed."""
    if any(ord(c) < 32 and c not in "\t\r\n" for c in text):
        raise QueryRefusedError("the query has a control character: write plain text")
    # Neo4j reads these before anything else, so that they end a string or spell a clause.
    if re.search(r"\\u", text, re.IGNORECASE):
        raise QueryRefusedError(
            "the query has a \\u escape: write the character itself, or give the text as a parameter"
        )
    words = list(_tokens(text))
    if not words:
        raise QueryRefusedError("the query is empty: start it with MATCH")
    while words and words[-1] == ("sign", ";"):
        words.pop()
    for position, (kind, value) in enumerate(words):
        if (kind, value) == ("sign", ";"):
            raise QueryRefusedError("the query has two statements: give one at a time")
        if kind in ("word", "quoted"):
            _check_name(
                kind,
                value,
                _texts(words[max(position - 2, 0) : position]),
                _texts(words[position + 1 : position + 2]),
            )
    first = words[0][1].upper() if words else ""
    if first not in STARTS:
        raise QueryRefusedError(
            f"a query cannot start with {first[:20]!r}: start it with MATCH, UNWIND, WITH or RETURN"
        )
    return text


def _check_name(kind: str, name: str, before: list[str], after: list[str]) -> None:
    """Raise where a name among its neighbours is a clause or a function that a query may not use."""
    called = after == ["("]
    last = before[-1] if before else ""
    if called and (
        kind == "quoted"
        or last == "."
        or (name.lower() not in FUNCTIONS and name.upper() not in _BEFORE_PARENTHESIS)
    ):
        raise QueryRefusedError(
            f"function {name} is not allowed: use one of count, collect, avg, min, max, size, lower, ..."
        )
    if kind == "quoted" or name.upper() not in REFUSED:
        return
    of_something = last == "." and not before[0][0].isdigit()
    is_key = after == [":"] and last in ("{", ",")
    if not (of_something or last == ":" or is_key):
        allowed = ", ".join(CLAUSES)
        raise QueryRefusedError(
            f"{name.upper()} is not allowed: a query may use {allowed}; a name that is a clause's goes in backticks"
        )


_BEFORE_PARENTHESIS = frozenset(
    "MATCH WHERE WITH RETURN AND OR NOT XOR IN UNION BY THEN ELSE WHEN AS DISTINCT IS CONTAINS EXISTS UNWIND".split()
)


def _texts(words: list[tuple[str, str]]) -> list[str]:
    return [text for _, text in words]


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    place = 0
    while place < len(text):
        match = TOKEN.match(text, place)
        if match is None:
            raise QueryRefusedError(
                f"the query has {text[place : place + 12]!r}, which is not allowed: check quotes and comments"
            )
        place = match.end()
        kind = match.lastgroup or ""
        if kind not in ("space", "comment"):
            found.append((kind, match[0]))
    return found
