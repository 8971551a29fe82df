"""The gate that lets only reading Cypher pass: an allow-list of clauses, functions and words.

It is needed even though both servers can open a graph or a transaction for reading only. In
Ladybug a query that only reads may still read any file (LOAD FROM), and
``CALL READ_CSV_SERIAL`` even ends the process; Neo4j has LOAD CSV, and procedures that call out.

The text is split into tokens as both servers split it, and a text that one of them might split in
another way is refused. Ladybug reads ``1e5SET`` as a number and a clause, and sees no end of a
comment in ``**/``: a number has to end where a word cannot go on, and comments are not sent.
The measure of what is allowed is the openCypher TCK: none of its writing queries pass.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from functools import lru_cache

from kg.stores.cypher_functions import ANY_STORE, CypherDialect
from kg.stores.query_text import (
    check_characters,
    check_depth,
    check_length,
    check_operators,
    shown,
)
from schema.errors import QueryRefusedError

CACHED_QUERIES = 64
# Ladybug's parser tries ever more readings: 16 of them take 0.2 s, and 32 more than 20 s.
MAX_OPEN_CASES = 10

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
WRITING_WORDS = frozenset(
    "CREATE MERGE INSERT SET DELETE DETACH NODETACH REMOVE DROP ALTER FOREACH COPY".split()
)
# Clauses that could stand inside a query. Commands such as STOP or RENAME need not be listed: they
# can only start one, and a query must start with one of FIRST_WORDS. A clause that is not listed,
# because no server had it yet, is no word that may follow a value.
REFUSED_WORDS = WRITING_WORDS | frozenset(
    "LOAD CALL EXPORT IMPORT INSTALL UNINSTALL ATTACH USE BEGIN COMMIT ROLLBACK CHECKPOINT EXPLAIN "
    "PROFILE GRANT REVOKE YIELD PERIODIC SHOW TERMINATE FINISH TRANSACTIONS CONCURRENT".split()
)
# Words that may follow a value, and what follows them may be a value or such a word again.
WORDS = frozenset(
    "MATCH OPTIONAL WHERE WITH UNWIND RETURN DISTINCT ORDER BY ASC ASCENDING DESC DESCENDING SKIP "
    "OFFSET LIMIT UNION ALL AS AND OR XOR NOT IN IS STARTS ENDS CONTAINS CASE WHEN THEN ELSE "
    "END".split()
)
# Words before a parenthesis that groups, or opens a pattern, and calls nothing.
WORDS_BEFORE_PARENTHESIS = WORDS | {"EXISTS", "CALL"}
AFTER_A_STAR = frozenset(("RETURN", "WITH", "DISTINCT"))
CLOSING = frozenset(")]}")
OPENING = frozenset("([{")
# Ladybug dies of a lambda that is an argument of any other function.
LAMBDA_FUNCTIONS = ("list_transform", "list_filter")
OPERATORS = frozenset("+ - * / % ^ = < > | & !".split())
OPERATOR_WORDS = frozenset("AND OR XOR NOT UNION WITH MATCH UNWIND WHEN".split())

# Repetitions are possessive (*+), so that no text takes more than linear time.
TOKEN = re.compile(
    r"""
      (?P<space>[ \t\r\n]+)
    | (?P<comment>//[^\r\n]*|/\*.*?\*/)
    | (?P<string>'(?:[^'\\]|\\[\\'"bfnrt])*+'|"(?:[^"\\]|\\[\\'"bfnrt])*+")
    | (?P<quoted>`(?:[^`]|``)*+`)
    | (?P<word>[^\W\d]\w*+(?!\$))
    | (?P<number>
        (?:0[xX][0-9A-Fa-f]+|0[oO][0-7]+|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
        (?![\w$]|\.(?!\.))
      )
    | (?P<param>\$(?:[^\W\d]\w*+|[0-9]++(?![.\w]))(?!\$))
    | (?P<sign>\.\.|/(?!\*)|[-+*%^=<>!.,:;()\[\]{}|~&])
    """,
    re.DOTALL | re.VERBOSE,
)
CODEPOINT = re.compile(r"(\\*)\\[uU]([0-9A-Fa-f]{4}(?![0-9A-Fa-f]{4}))?")


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a query; ``kind`` is the name of a group of ``TOKEN``."""

    kind: str
    text: str


NOTHING = Token("sign", "")


@lru_cache(CACHED_QUERIES)
def checked_cypher(text: str, dialect: CypherDialect = ANY_STORE) -> str:
    """Return a query that only reads, without its comments.

    Raises QueryRefusedError, which names what is not allowed in the dialect of a store.
    """
    check_length(text)
    tokens, plain = _split(_plain(text))
    while tokens and tokens[-1].text == ";":
        tokens.pop()
    if not tokens:
        raise QueryRefusedError("the query is empty: start it with MATCH")
    if any(token.text == ";" for token in tokens):
        raise QueryRefusedError("the query has two statements: give one at a time")
    _check_first_word(tokens[0])
    _Words(tokens, dialect, WORDS | dialect.words).check()
    _check_size(tokens)
    return plain


def _plain(text: str) -> str:
    """Return a text in which no escape stands for more than a letter of a string or a name.

    Raises QueryRefusedError for characters and escapes that the servers may read in other ways.
    """
    # Neo4j replaces these escapes before anything else, so that one can end a string or spell a
    # clause: \\u0043REATE. Ladybug replaces them in strings.
    if "\\u" in text or "\\U" in text:
        text = CODEPOINT.sub(_codepoint, text)
    check_characters(text)
    return text


def _codepoint(match: re.Match[str]) -> str:
    """Return the character that an escape like ``\\u00e9`` stands for."""
    character = chr(int(match[2] or "0", 16))
    if match[1] or character < "\xa0":
        raise QueryRefusedError(
            f"the query has the \\u escape {match[0][:40]!r}, which is read in several ways: "
            "write the character itself, or pass the text as a parameter"
        )
    return character


def _split(text: str) -> tuple[list[Token], str]:
    """Return the tokens of a query, and its text without comments."""
    tokens: list[Token] = []
    parts: list[str] = []
    position = 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise QueryRefusedError(
                f"the query has {text[position : position + 12]!r}, which can be read in several "
                "ways or not at all: check quotes, comments, and blanks after numbers"
            )
        position = match.end()
        kind = match.lastgroup or ""
        parts.append(" " if kind == "comment" else match[0])
        if kind == "word" and not match[0].isidentifier():
            raise QueryRefusedError(
                f"the query has the name {match[0][:40]!r}, which not all servers read as one: "
                "put it in backticks"
            )
        if kind not in ("space", "comment"):
            tokens.append(Token(kind, match[0]))
    return tokens, "".join(parts)


def _check_first_word(token: Token) -> None:
    """Raise QueryRefusedError if a query does not start with a clause that reads."""
    word = token.text.upper()
    # What these words may do is said when all words are looked at.
    is_clause = word in FIRST_WORDS or word in REFUSED_WORDS
    if token.kind != "word" or not is_clause:
        raise QueryRefusedError(
            f"a query cannot start with {word[:20]!r}: start it with MATCH, UNWIND, WITH or RETURN"
        )


@dataclass(slots=True)
class _Bracket:
    """A bracket that is open, with the function whose arguments are in it, and their commas."""

    function: str
    commas: int = 0


@dataclass(slots=True)
class _Words:
    """The words of a query, read from left to right.

    ``follows_value`` says whether a value has just ended, after which only an operator or one of
    the dialect's words can come: no other clause has a place to begin.
    """

    tokens: list[Token]
    dialect: CypherDialect
    words: frozenset[str]
    follows_value: bool = False
    open_cases: int = 0
    brackets: list[_Bracket] = field(default_factory=list)

    def check(self) -> None:
        """Raise QueryRefusedError for a clause, a function, or a word that is not allowed."""
        before = NOTHING
        for position, token in enumerate(self.tokens):
            if token.kind == "sign":
                self._follow_sign(token.text, before, position)
            elif token.kind == "word" and self._is_clause_or_operator(position):
                self._follow_case(token.text.upper())
            elif self.follows_value:
                raise QueryRefusedError(
                    f"after {shown(before.text)} the query has {shown(token.text)}, where an "
                    f"operator or a clause has to stand ({', '.join(CLAUSES)}): correct it"
                )
            else:
                self._check_null(token.text, before.text)
                self.follows_value = True
            before = token

    def _follow_sign(self, sign: str, before: Token, position: int) -> None:
        """Go on after a sign; raises QueryRefusedError if it opens a call or lambda not allowed."""
        if sign in OPENING:
            is_call = sign == "(" and before.kind in ("word", "quoted")
            if is_call:
                _check_call(self.tokens, position - 1, self.dialect)
            self.brackets.append(_Bracket(before.text.lower() if is_call else ""))
        elif sign in CLOSING and self.brackets:
            self.brackets.pop()
        elif sign == "," and self.brackets:
            self.brackets[-1].commas += 1
        elif sign == ">" and before.text == "-" and position > 1:
            self._check_arrow(self.tokens[position - 2])
        # The star of RETURN * is a value, and a factorial is one if its number is.
        self.follows_value = (
            sign in CLOSING
            or (sign == "!" and self.follows_value)
            or (sign == "*" and before.text.upper() in AFTER_A_STAR)
        )

    def _check_null(self, value: str, before: str) -> None:
        """Raise QueryRefusedError if null is an argument of a function that the store dies of."""
        if value.upper() == "NULL" and before in ("(", ","):
            function = self.brackets[-1].function if self.brackets else ""
            if function in self.dialect.without_null:
                raise QueryRefusedError(
                    f"{self.dialect.store} cannot take null as an argument of {function}: "
                    "leave the call out"
                )

    def _check_arrow(self, before: Token) -> None:
        """Raise QueryRefusedError if an arrow makes a lambda where Ladybug expects none."""
        is_lambda = before.kind in ("word", "quoted") or before.text == ")"
        bracket = self.brackets[-1] if self.brackets else _Bracket("")
        is_expected = bracket.function in LAMBDA_FUNCTIONS and bracket.commas == 1
        if is_lambda and not is_expected:
            raise QueryRefusedError(
                f"after {shown(before.text)} the query has ->, which may only follow - or ], or "
                f"make the second argument of {' or '.join(LAMBDA_FUNCTIONS)}: correct it"
            )

    def _is_clause_or_operator(self, position: int) -> bool:
        """Return whether a word is one of the dialect's; raises QueryRefusedError if forbidden."""
        word = self.tokens[position].text.upper()
        last = self.tokens[position - 1].text if position else ""
        after = self.tokens[position + 1].text if position + 1 < len(self.tokens) else ""
        # There may be a clause of the name of a property (h.load), a label or type (:SET), or a
        # key of a map ({set: 1}).
        if last in (".", ":") or (after == ":" and last in ("{", ",")):
            return False
        if word in REFUSED_WORDS:
            self._check_subquery(word, position)
        return word in self.words

    def _check_subquery(self, word: str, position: int) -> None:
        """Raise QueryRefusedError unless a forbidden word is the CALL of a subquery."""
        is_subquery = word == "CALL" and _opens_subquery(self.tokens, position)
        if is_subquery and self.dialect.has_subquery_clause:
            return
        reason = f"a query may use {', '.join(CLAUSES)}"
        if word in WRITING_WORDS:
            reason = "it would write, and a query may only read"
        raise QueryRefusedError(
            f"{word} is not allowed: {reason}; put a name that is also a clause in backticks"
        )

    def _follow_case(self, word: str) -> None:
        """Go on after one of the dialect's words, and count the CASEs that are open."""
        is_end = word == "END" and self.follows_value
        if is_end:
            self.open_cases -= 1
        elif word == "CASE":
            self.open_cases += 1
            if self.open_cases > MAX_OPEN_CASES:
                raise QueryRefusedError(
                    f"the query has more than {MAX_OPEN_CASES} CASE within each other, the limit: "
                    "give one several WHEN"
                )
        self.follows_value = is_end


def _opens_subquery(tokens: list[Token], position: int) -> bool:
    """Return whether CALL is followed by ``{`` or ``(names) {``, and so calls no procedure."""
    position += 1
    if position < len(tokens) and tokens[position].text == "(":
        position += 1
        while position < len(tokens) and (
            tokens[position].kind in ("word", "quoted") or tokens[position].text in (",", "*")
        ):
            position += 1
        if position == len(tokens) or tokens[position].text != ")":
            return False
        position += 1
    return position < len(tokens) and tokens[position].text == "{"


def _check_call(tokens: list[Token], position: int, dialect: CypherDialect) -> None:
    """Raise QueryRefusedError if a name before a parenthesis calls a function not allowed."""
    start = position
    while start >= 2 and tokens[start - 1].text == "." and tokens[start - 2].kind == "word":
        start -= 2
    name = "".join(token.text for token in tokens[start : position + 1])
    # In x.`y`.f() and [x].f() the name is not whole.
    is_whole = not (start and tokens[start - 1].text == ".")
    if is_whole and name.lower() in dialect.functions:
        return
    words = WORDS_BEFORE_PARENTHESIS | dialect.words_before_parenthesis
    if is_whole and start == position and name.upper() in words:
        return
    similar = difflib.get_close_matches(name[:40].lower(), dialect.functions, 1)
    advice = f"use {similar[0]}" if similar else "use one of count, collect, avg, size, lower, …"
    raise QueryRefusedError(
        f"{dialect.store} has no function {shown(name)} that a query may call: {advice}, "
        "or see docs/cypher.md"
    )


def _check_size(tokens: list[Token]) -> None:
    """Raise QueryRefusedError if a query is nested so deeply, or so long, that a parser may die."""
    check_depth(token.text for token in tokens if token.kind == "sign")
    check_operators(
        sum(
            token.text in OPERATORS
            if token.kind == "sign"
            else token.kind == "word" and token.text.upper() in OPERATOR_WORDS
            for token in tokens
        )
    )
