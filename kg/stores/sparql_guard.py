"""The gate that lets only SPARQL pass that reads, and that reads this store alone."""

from __future__ import annotations

import re

from schema.errors import QueryRefusedError

# As in cypher_guard, a comment ends at a carriage return, too.
TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<comment>\#[^\r\n]*)
    | (?P<iri><[^<>"{}|^`\\\x00-\x20]*>)
    | (?P<malformed_iri><[^<>\x00-\x20]*>)
    | (?P<string>
          '''(?:'{0,2}(?:[^'\\]|\\.))*'''
        | "{3}(?:"{0,2}(?:[^"\\]|\\.))*"{3}
        | '(?:[^'\\\n]|\\.)*'
        | "(?:[^"\\\n]|\\.)*"
      )
    | (?P<prefixed_name>(?:[^\W\d_][\w.-]*)?:(?:[\w.%:/-]|\\.)*)
    | (?P<variable>[?$]\w+)
    | (?P<language_tag>@\w+)
    | (?P<word>[^\W\d]\w*)
    | (?P<sign>.)
    """,
    re.DOTALL | re.VERBOSE,
)
# SERVICE asks another server; all others are updates.
REFUSED_WORDS = frozenset(
    "SERVICE INSERT DELETE LOAD CLEAR DROP CREATE ADD MOVE COPY USING".split()
)
FIRST_WORDS = frozenset("SELECT ASK CONSTRUCT DESCRIBE PREFIX BASE".split())


def checked_sparql(text: str) -> str:
    """Return the query if it only reads this store; raises QueryRefusedError otherwise."""
    _check_characters(text)
    words = _words(text)
    if not words or words[0] not in FIRST_WORDS:
        first = words[0][:20] if words else text.strip()[:20]
        raise QueryRefusedError(
            f"a query cannot start with {first!r}: "
            "start it with SELECT, ASK, CONSTRUCT, DESCRIBE or PREFIX"
        )
    # Look inside words, too: some parsers read 1e5SERVICE as a number and a keyword.
    for name in REFUSED_WORDS:
        if any(name in word for word in words):
            raise QueryRefusedError(f"{name} is not allowed: a query may only read this store")
    return text


def _check_characters(text: str) -> None:
    """Raise QueryRefusedError if a text has characters that servers may read in other ways."""
    if any(ord(c) < 32 and c not in "\t\r\n" for c in text):
        raise QueryRefusedError("the query has a control character: write plain text")
    # A server may replace these escapes before anything else, so that one can end a string or
    # spell a word.
    if re.search(r"\\u", text, re.IGNORECASE):
        raise QueryRefusedError("the query has a \\u escape: write the character itself")
    # Servers disagree on what <...> with a quote or a brace in it is, and so on what follows it.
    for match in TOKEN.finditer(text):
        if match.lastgroup == "malformed_iri":
            raise QueryRefusedError(
                f"the query has {match[0][:40]!r}, which is not an IRI: "
                "percent-encode its special characters, or put spaces around < and >"
            )


def names_graphs(text: str) -> bool:
    """Return whether the query chooses its graphs itself, with FROM."""
    return "FROM" in _words(text)


def _words(text: str) -> list[str]:
    """Return the keywords of a query in capitals, without names, strings and comments."""
    return [match[0].upper() for match in TOKEN.finditer(text) if match.lastgroup == "word"]
