"""Read-only SPARQL over a quad store on disk, in a process of its own that a time limit can end."""

from __future__ import annotations

import multiprocessing
import re
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from kg.stores.protocol import QueryResult
from schema.errors import QueryRefusedError, QueryTimeoutError, StoreError

TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<comment>#[^\r\n]*)|(?P<iri><[^<>\"{}|^`\\\x00-\x20]*>)|(?P<odd><[^<>\x00-\x20]*>)"
    r"|(?P<string>'''(?:'{0,2}(?:[^'\\]|\\.))*'''|\"\"\"(?:\"{0,2}(?:[^\"\\]|\\.))*\"\"\"|'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\")"
    r"|(?P<name>(?:[^\W\d_][\w.-]*)?:(?:[\w.%:/-]|\\.)*)|(?P<variable>[?$]\w+)|(?P<tag>@\w+)|(?P<word>[^\W\d]\w*)|(?P<sign>.)",
    re.DOTALL,
)
REFUSED = frozenset("SERVICE INSERT DELETE LOAD CLEAR DROP CREATE ADD MOVE COPY USING".split())
BEGINS = frozenset("SELECT ASK CONSTRUCT DESCRIBE PREFIX BASE".split())


def guard(text: str) -> str:
    """The query, where it only reads this store; raises QueryRefusedError naming what is not allowed."""
    if any(ord(c) < 32 and c not in "\t\r\n" for c in text):
        raise QueryRefusedError("the query has a control character: write plain text")
    # These are read before anything else, so that they end a string or spell a word.
    if re.search(r"\\u", text, re.IGNORECASE):
        raise QueryRefusedError("the query has a \\u escape: write the character itself")
    odd = next((match[0] for match in TOKEN.finditer(text) if match.lastgroup == "odd"), None)
    if odd is not None:
        raise QueryRefusedError(
            f"the query has {odd[:40]!r}, which is no IRI: encode what is odd in it, or put spaces around < and >"
        )
    words = _words(text)
    if not words or words[0] not in BEGINS:
        first = words[0][:20] if words else text.strip()[:20]
        raise QueryRefusedError(
            f"a query cannot start with {first!r}: start it with SELECT, ASK, CONSTRUCT, DESCRIBE or PREFIX"
        )
    # A word need not stand alone: 1e5SERVICE is a number and a clause.
    for name in REFUSED:
        if any(name in word for word in words):
            raise QueryRefusedError(f"{name} is not allowed: a query reads this store alone")
    return text


def names_graphs(text: str) -> bool:
    """Whether the query says which graphs it asks."""
    return "FROM" in _words(text)


def _words(text: str) -> list[str]:
    return [match[0].upper() for match in TOKEN.finditer(text) if match.lastgroup == "word"]


def select(folder: Path, text: str, prefixes: dict[str, str], timeout: float) -> QueryResult:
    """Ask the quads in ``folder``; default and named graphs are one where the query names none. Raises QueryTimeoutError, StoreError."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    child = context.Process(
        target=_answer, args=(theirs, str(folder), guard(text), prefixes), daemon=True
    )
    child.start()
    theirs.close()
    try:
        if not mine.poll(timeout):
            raise QueryTimeoutError(f"the query ran past its limit of {timeout:g} s: narrow it")
        kind, answer = mine.recv()
    except EOFError:
        raise StoreError(
            "the query ended without an answer: narrow it, it may need too much memory"
        ) from None
    finally:
        child.kill()
        child.join()
        mine.close()
    if kind == "error":
        raise StoreError(f"the query failed ({answer}): correct it")
    return QueryResult(*answer)


def _answer(pipe: Connection, folder: str, text: str, prefixes: dict[str, str]) -> None:
    """What the child process does."""
    try:
        found = ask(folder, text, prefixes)
        pipe.send(("rows", (found.columns, found.rows)))
    except (SyntaxError, OSError, ValueError, RuntimeError) as error:
        pipe.send(("error", " ".join(str(error).split())[:200]))


def ask(folder: str, text: str, prefixes: dict[str, str]) -> QueryResult:
    """Ask the quads in ``folder`` here and now, without a limit; opened like this they cannot be written."""
    from pyoxigraph import Store

    return plain_rows(
        Store.read_only(folder).query(text, prefixes=prefixes, use_default_graph_as_union=True)
    )


def plain_rows(found: Any) -> QueryResult:
    """What pyoxigraph answers as rows: of ASK its answer, of CONSTRUCT and DESCRIBE the triples."""
    from pyoxigraph import QueryBoolean, QuerySolutions

    if isinstance(found, QueryBoolean):
        return QueryResult(["answer"], [[bool(found)]])
    if isinstance(found, QuerySolutions):
        names = [variable.value for variable in found.variables]
        return QueryResult(
            names, [[_plain(solution[name]) for name in names] for solution in found]
        )
    names = ["subject", "predicate", "object"]
    return QueryResult(
        names, [[_plain(getattr(triple, name)) for name in names] for triple in found]
    )


def _plain(term: Any) -> Any:
    """A term as JSON has it: numbers and truth values as such, all else as text."""
    if term is None:
        return None
    kind = getattr(getattr(term, "datatype", None), "value", "").rpartition("#")[2]
    try:
        if kind in ("integer", "int", "long", "short", "byte", "nonNegativeInteger"):
            return int(term.value)
        if kind in ("decimal", "double", "float"):
            return float(term.value)
    except ValueError:
        return term.value
    return term.value == "true" if kind == "boolean" else getattr(term, "value", str(term))
