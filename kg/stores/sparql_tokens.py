"""SPARQL as tokens: read in one way only, and written in a way that every parser reads alike.

Parsers disagree on where a token ends (``SERVICE:x``), what a comment is, and what an escape may
stand for. So a query is not sent as it was written: each token is written anew, in its plainest
form and with blanks around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pyoxigraph import RdfFormat, parse

from kg.stores.query_text import check_characters
from kg.stores.sparql_grammar import KEYWORDS
from schema.errors import QueryRefusedError

LETTERS = (
    "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0370-\u037d\u037f-\u1fff\u200c\u200d\u2070-\u218f"
    "\u2c00-\u2fef\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd\U00010000-\U000effff"
)
WORD = f"{LETTERS}_0-9\u00b7\u0300-\u036f\u203f\u2040"
ESCAPE = r"\\[_~.!$&'()*+,;=/?#@%-]|%[0-9A-Fa-f]{2}"
# Repetitions are possessive (*+), and that of a prefix has a bound, so that no text takes more than
# linear time.
TOKEN = re.compile(
    rf"""
      (?P<space>[ \t\r\n]+)
    | (?P<comment>\#[^\r\n]*)
    | (?P<iri><[^<>"{{}}|^`\\\x00-\x20]*>)
    | (?P<prefixed_name>
        (?P<prefix>(?:[{LETTERS}](?:[{WORD}-]|\.+(?=[{WORD}-])){{0,100}}+)?)
        :
        (?P<local>(?:
          (?:[{LETTERS}_0-9:]|{ESCAPE})
          (?:[{WORD}:-]|{ESCAPE}|\.+(?=[{WORD}:-]|{ESCAPE}))*+
        )?)
      )
    | (?P<blank_node>_:[{LETTERS}_0-9](?:[{WORD}-]|\.+(?=[{WORD}-]))*+)
    | (?P<variable>[?$][{LETTERS}_0-9][{WORD}]*)
    | (?P<string>
          '''(?:'{{0,2}}(?:[^'\\]|\\[tbnrf\\"']))*+'''
        | "{{3}}(?:"{{0,2}}(?:[^"\\]|\\[tbnrf\\"']))*+"{{3}}
        | '(?:[^'\\\r\n]|\\[tbnrf\\"'])*+'
        | "(?:[^"\\\r\n]|\\[tbnrf\\"'])*+"
      )
    | (?P<language>@[A-Za-z]+(?:-[A-Za-z0-9]+)*)
    | (?P<number>[+-]?(?:
          (?:[0-9]+\.[0-9]*|\.?[0-9]+)[eE][+-]?[0-9]+
        | [0-9]*\.[0-9]+
        | [0-9]+
      ))
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign>\^\^|\|\||&&|[!<>]=|[{{}}()\[\];,.=<>+\-*/^|!?])
    """,
    re.VERBOSE,
)
MAX_WRITTEN_CHARACTERS = 1_000_000
CODEPOINT = re.compile(r"(\\*)\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|[uU])")
ABSOLUTE = re.compile(r"<[A-Za-z][A-Za-z0-9+.-]*:")
CONTROLS = {"\t": "t", "\b": "b", "\n": "n", "\r": "r", "\f": "f"}
UNESCAPED = {letter: character for character, letter in CONTROLS.items()}
ESCAPED = str.maketrans(
    {"\\": "\\\\", '"': '\\"'} | {each: f"\\{letter}" for each, letter in CONTROLS.items()}
)
# A server may run code for such an IRI in place of a predicate or a function: Jena loads the Java
# class of that name, and Virtuoso calls a function of its own.
CODE = re.compile(r"<(?:java|bif|sql):", re.IGNORECASE)

UPDATES = frozenset("INSERT DELETE LOAD CLEAR DROP CREATE ADD MOVE COPY".split())


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a query: its kind as the grammar calls it, and its text as it is written anew."""

    kind: str
    text: str


# What one token says as well as the two that it replaces. Comments and blanks between the two make
# parsers disagree on whether it is one.
PAIRS = {("(", ")"): Token("nil", "()"), ("[", "]"): Token("anonymous", "[]")}


def read_tokens(text: str, prefixes: Mapping[str, str]) -> list[Token]:
    """Return the tokens of a query, with all names as full IRIs.

    Of the prologue only BASE is left, if there is one, which the function IRI() needs.
    ``prefixes`` are those that need no declaration. Raises QueryRefusedError.
    """
    matches = _matches(_plain(text))
    names = _Names(dict(prefixes))
    match = next(matches, None)
    while match is not None and match[0].upper() in ("BASE", "PREFIX"):
        names.declare(match[0].upper(), matches)
        match = next(matches, None)

    tokens: list[Token] = []
    if names.base is not None:
        tokens = [Token("BASE", "BASE"), Token("iri", f"<{names.base}>")]
    size = 0
    while match is not None:
        token = _token(match, names)
        size += len(token.text)
        if size > MAX_WRITTEN_CHARACTERS:
            raise QueryRefusedError(
                f"with its prefixes replaced the query is more than {MAX_WRITTEN_CHARACTERS:,} "
                "characters long, the limit: use shorter prefixes"
            )
        pair = (tokens[-1].text, token.text) if tokens else None
        if pair in PAIRS:
            tokens[-1] = PAIRS[pair]
        else:
            tokens.append(token)
        match = next(matches, None)
    return tokens


@dataclass(slots=True)
class _Names:
    """What the prologue of a query declares, and the names of its blank nodes."""

    namespaces: dict[str, str]
    base: str | None = None
    blank_nodes: dict[str, str] = field(default_factory=dict)

    def declare(self, word: str, matches: Iterator[re.Match[str]]) -> None:
        """Read the rest of a declaration that begins with BASE or PREFIX."""
        prefix = None
        if word == "PREFIX":
            match = next(matches, None)
            if match is None or match["prefix"] is None or match["local"]:
                raise QueryRefusedError(
                    f"PREFIX is followed by {_shown(match)}: write PREFIX name: <IRI>"
                )
            prefix = match["prefix"]
        match = next(matches, None)
        if match is None or match["iri"] is None:
            raise QueryRefusedError(
                f"{word} is followed by {_shown(match)} in place of an IRI: write it as <IRI>"
            )
        iri = self.resolved(match[0])[1:-1]
        if prefix is None:
            self.base = iri
        else:
            self.namespaces[prefix] = iri

    def resolved(self, iri: str) -> str:
        """Return an IRI in angle brackets that is relative to no other."""
        if not ABSOLUTE.match(iri):
            iri = self._relative_to_base(iri)
        if CODE.match(iri):
            raise QueryRefusedError(
                f"{iri[:60]} is not allowed: a server may run code of that name"
            )
        return iri

    def _relative_to_base(self, iri: str) -> str:
        if self.base is None:
            raise QueryRefusedError(
                f"the IRI {iri[:60]} is relative: write it in full, declare a BASE, or put "
                "blanks around < and > if they compare"
            )
        try:
            (triple,) = parse(f"{iri} {iri} {iri} .", RdfFormat.TURTLE, base_iri=self.base)
        except (SyntaxError, ValueError):
            raise QueryRefusedError(
                f"the IRI {iri[:60]} cannot be resolved against {self.base[:60]}: write it in full"
            ) from None
        return str(triple.subject)

    def full(self, prefix: str, local: str) -> str:
        """Return the IRI of a prefixed name."""
        namespace = self.namespaces.get(prefix)
        if namespace is None:
            raise QueryRefusedError(
                f"the prefix {prefix[:40]!r} is not declared: "
                f"write PREFIX {prefix[:40]}: <IRI> first"
            )
        plain = re.sub(r"\\(.)", r"\1", local) if "\\" in local else local
        return self.resolved(f"<{namespace}{plain}>")

    def blank_node(self, label: str) -> str:
        """Return a plain label for a blank node, the same for each occurrence."""
        return self.blank_nodes.setdefault(label, f"_:b{len(self.blank_nodes)}")


def written(tokens: Iterable[Token]) -> str:
    """Return a text of these tokens, with blanks between them where every parser allows them."""
    parts: list[str] = []
    before = ""
    for token in tokens:
        kind = token.kind
        # Oxigraph takes "CONCAT (" for no function, rdflib takes "<p> *" for no path, and a blank
        # within a literal is unusual.
        is_joined = (
            kind in ("language", "^^")
            or before == "^^"
            or (kind in ("(", "nil") and before in KEYWORDS and before != "a")
            or (kind in ("?", "*", "+") and before in ("iri", "a", ")"))
        )
        if parts and not is_joined:
            parts.append(" ")
        parts.append(token.text)
        before = kind
    return "".join(parts)


def _plain(text: str) -> str:
    """Return a text in which no escape stands for a letter, a quote or a bracket.

    Raises QueryRefusedError for characters and escapes that parsers may read in other ways.
    """
    if "\\u" in text or "\\U" in text:
        text = CODEPOINT.sub(_codepoint, text)
    check_characters(text)
    return text


def _codepoint(match: re.Match[str]) -> str:
    """Return the character that an escape like ``\\u0041`` stands for."""
    digits = match[2] or match[3] or ""
    # After another backslash, some parsers see an escape, and others a backslash and a letter.
    if match[1] or not digits or int(digits, 16) > 0x10FFFF:
        raise QueryRefusedError(
            f"the query has {match[0][:40]!r}, which is no escape, or can be read in two ways: "
            "write the character itself"
        )
    return chr(int(digits, 16))


def _matches(text: str) -> Iterator[re.Match[str]]:
    """Yield what ``TOKEN`` finds in a text, without spaces and comments."""
    position = 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise QueryRefusedError(
                f"the query has {text[position : position + 12]!r}, which begins nothing in "
                "SPARQL: check quotes, brackets, and the blanks around < and >"
            )
        position = match.end()
        if match.lastgroup in ("space", "comment"):
            continue
        # The grammar lets names have blanks of other scripts, like U+1680, where a name may end
        # for some parsers.
        if match.lastgroup != "string" and not match[0].isprintable():
            raise QueryRefusedError(
                f"the query has {match[0][:40]!r} with an invisible character: "
                "percent-encode it, or leave it out"
            )
        yield match


def _token(match: re.Match[str], names: _Names) -> Token:
    """Return what was matched, written anew."""
    kind = match.lastgroup or ""
    text = match[0]
    if kind == "sign":
        return Token(text, text)
    if kind == "variable":
        return Token("variable", f"?{text[1:]}")
    if kind == "word":
        return _word(text)
    if kind == "iri":
        return Token("iri", names.resolved(text))
    if kind == "prefixed_name":
        return Token("iri", names.full(match["prefix"], match["local"]))
    if kind == "string":
        return Token("string", _string(text))
    if kind == "number":
        return Token(_kind_of_number(text), text)
    if kind == "blank_node":
        return Token("blank_node", names.blank_node(text))
    return Token("language", text)


def _word(text: str) -> Token:
    """Return a keyword in capitals; only ``a`` is a small letter."""
    word = text if text == "a" else text.upper()
    if word not in KEYWORDS:
        reason = "it would write" if word in UPDATES else "a query may only read this store"
        if word not in UPDATES and word != "SERVICE":
            reason = "check its spelling, or put ? before it if it is a variable"
        raise QueryRefusedError(f"{text[:40]} is not allowed in a query: {reason}")
    return Token(word, text.lower() if word in ("TRUE", "FALSE") else word)


def _string(text: str) -> str:
    """Return a string in double quotes, with as few escapes as possible."""
    quotes = 3 if text[:3] in ("'''", '"""') and len(text) >= 6 else 1
    content = text[quotes:-quotes]
    if "\\" in content:
        content = re.sub(r"\\(.)", lambda escape: UNESCAPED.get(escape[1], escape[1]), content)
    return f'"{content.translate(ESCAPED)}"'


def _kind_of_number(text: str) -> str:
    if text[0] == "+":
        return "positive"
    if text[0] == "-":
        return "negative"
    return "integer" if text.isdigit() else "fraction"


def _shown(match: re.Match[str] | None) -> str:
    return "nothing" if match is None else repr(match[0][:40])
