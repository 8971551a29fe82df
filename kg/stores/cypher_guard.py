"""The gate that lets only reading Cypher pass: an allow-list of clauses and functions.

It is needed even though both servers can open a graph or a transaction for reading only. In
Ladybug a query that only reads may still read any file (LOAD FROM), and
``CALL READ_CSV_SERIAL`` even ends the process; Neo4j has LOAD CSV, and procedures that call out.

The text is split into tokens as both servers split it, and a text that one of them might split in
another way is refused. The measure of what is allowed is the openCypher TCK: none of its 1,218
writing queries pass.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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
FIRST_WORDS = ("MATCH", "OPTIONAL", "UNWIND", "WITH", "RETURN")
# Clauses that could stand inside a query. Commands such as STOP or RENAME need not be listed: they
# can only start one, and a query must start with one of FIRST_WORDS.
REFUSED_WORDS = frozenset(
    "CREATE MERGE INSERT SET DELETE DETACH NODETACH REMOVE DROP ALTER COPY LOAD CALL EXPORT IMPORT "
    "INSTALL UNINSTALL ATTACH USE BEGIN COMMIT ROLLBACK CHECKPOINT EXPLAIN PROFILE FOREACH GRANT "
    "REVOKE YIELD PERIODIC SHOW TERMINATE FINISH".split()
)
# Functions that only compute, of both servers. All others are refused, because plugins such as APOC
# add functions that read files or call other servers.
FUNCTIONS = frozenset(
    "abs avg ceil ceiling coalesce collect concat contains count date endnode ends_with floor head "
    "id keys label labels last left length list_contains list_extract list_sort list_unique log10 "
    "lower max min nodes nullif pi properties range regexp_extract regexp_matches relationships "
    "rels replace reverse right round rtrim ltrim sign size split sqrt startnode starts_with "
    "string_split substring sum tail tofloat tointeger tolower tostring toupper trim type upper "
    "exists case any all none single cast".split()
)
# Words before a parenthesis that groups, or opens a pattern, and calls nothing.
WORDS_BEFORE_PARENTHESIS = frozenset(
    "MATCH WHERE WITH RETURN AND OR NOT XOR IN UNION BY THEN ELSE WHEN AS DISTINCT IS CONTAINS "
    "EXISTS UNWIND".split()
)
# A comment ends at a carriage return as well, as in Neo4j: the guard has to see what follows it.
TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<comment>//[^\r\n]*|/\*.*?\*/)
    | (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<quoted>`[^`]*`)
    | (?P<word>[^\W\d]\w*)
    | (?P<number>\d+(?:\.\d+)?)
    | (?P<param>\$\w+)
    | (?P<sign>[-+*/%^=<>!.,:;()\[\]{}|~&])
    """,
    re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a query; ``kind`` is the name of a group of ``TOKEN``."""

    kind: str
    text: str


SEMICOLON = Token("sign", ";")


def checked_cypher(text: str) -> str:
    """Return the query if it only reads; raises QueryRefusedError naming what is not allowed."""
    _check_characters(text)
    tokens = _tokens(text)
    if not tokens:
        raise QueryRefusedError("the query is empty: start it with MATCH")
    while tokens and tokens[-1] == SEMICOLON:
        tokens.pop()
    if SEMICOLON in tokens:
        raise QueryRefusedError("the query has two statements: give one at a time")
    _check_names(tokens)
    first = tokens[0].text.upper() if tokens else ""
    if first not in FIRST_WORDS:
        raise QueryRefusedError(
            f"a query cannot start with {first[:20]!r}: start it with MATCH, UNWIND, WITH or RETURN"
        )
    return text


def _check_characters(text: str) -> None:
    """Raise QueryRefusedError if a text has characters that the servers may read in other ways."""
    if any(ord(c) < 32 and c not in "\t\r\n" for c in text):
        raise QueryRefusedError("the query has a control character: write plain text")
    # Neo4j replaces these escapes before anything else, so that one can end a string or spell a
    # clause: \u0043REATE.
    if re.search(r"\\u", text, re.IGNORECASE):
        raise QueryRefusedError(
            "the query has a \\u escape: "
            "write the character itself, or pass the text as a parameter"
        )


def _check_names(tokens: list[Token]) -> None:
    """Raise QueryRefusedError if a name is a function or a clause that is not allowed."""
    for position, token in enumerate(tokens):
        if token.kind in ("word", "quoted"):
            before = [each.text for each in tokens[max(position - 2, 0) : position]]
            after = tokens[position + 1].text if position + 1 < len(tokens) else ""
            _check_call(token, before, after)
            _check_clause(token, before, after)


def _check_call(name: Token, before: list[str], after: str) -> None:
    """Raise QueryRefusedError if a name calls a function that is not allowed.

    ``before`` are the texts of up to two tokens before the name, ``after`` is that of the next one.
    """
    if after != "(":
        return
    word = name.text
    # A quoted or dotted name before a parenthesis can only be a call: `apoc`.load.json(...).
    is_simple = name.kind == "word" and before[-1:] != ["."]
    is_allowed = word.lower() in FUNCTIONS or word.upper() in WORDS_BEFORE_PARENTHESIS
    if not (is_simple and is_allowed):
        raise QueryRefusedError(
            f"function {word} is not allowed: use one of count, collect, avg, min, max, size, "
            "lower, ..."
        )


def _check_clause(name: Token, before: list[str], after: str) -> None:
    """Raise QueryRefusedError if a name is a clause that a query may not use.

    The same word may also be a property (``h.load``), a label or type (``:SET``), or a key of a map
    (``{set: 1}``). ``before`` and ``after`` are those of :func:`_check_call`.
    """
    if name.kind == "quoted" or name.text.upper() not in REFUSED_WORDS:
        return
    last = before[-1] if before else ""
    # In "1. CREATE" the point belongs to a number.
    is_property = last == "." and not before[0][0].isdigit()
    is_label = last == ":"
    is_key = after == ":" and last in ("{", ",")
    if not (is_property or is_label or is_key):
        raise QueryRefusedError(
            f"{name.text.upper()} is not allowed: a query may use {', '.join(CLAUSES)}; "
            "put a name that is also a clause in backticks"
        )


def _tokens(text: str) -> list[Token]:
    """Split a query into tokens, without spaces and comments."""
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            rest = text[position : position + 12]
            raise QueryRefusedError(
                f"the query has {rest!r}, which is not allowed: check quotes and comments"
            )
        position = match.end()
        kind = match.lastgroup or ""
        if kind not in ("space", "comment"):
            tokens.append(Token(kind, match[0]))
    return tokens
