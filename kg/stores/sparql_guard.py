"""The gate that lets only SPARQL pass that reads, and that reads this store alone.

A query is parsed with the grammar in ``sparql_grammar``, which knows no SERVICE and no update, and
written anew from its tokens: what a store gets has been understood as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from kg.stores.query_text import check_depth, check_length, check_operators, shown
from kg.stores.sparql_functions import FUNCTIONS
from kg.stores.sparql_grammar import NotDerivedError, sparql_table
from kg.stores.sparql_tokens import Token, read_tokens, written
from schema.errors import QueryRefusedError
from schema.iris import PREFIXES

CACHED_QUERIES = 64
OPERATORS = frozenset(
    "|| && + - * / | positive negative UNION OPTIONAL MINUS GRAPH FILTER BIND".split()
)


def checked_sparql(text: str, prefixes: Mapping[str, str] = PREFIXES) -> str:
    """Return a query that only reads this store, written anew; raises QueryRefusedError otherwise.

    In the query that is returned all names are full IRIs, so that it has no prologue. ``prefixes``
    are those that a query need not declare.
    """
    return _checked(text, tuple(prefixes.items()))


def chosen_graphs(text: str) -> list[str]:
    """Return the IRIs of the graphs that a checked query chooses itself, with FROM."""
    graphs = []
    follows_from = False
    for token in read_tokens(text, {}):
        if follows_from and token.kind == "iri":
            graphs.append(token.text[1:-1])
        follows_from = token.kind == "FROM" or (follows_from and token.kind == "NAMED")
    return graphs


@lru_cache(CACHED_QUERIES)
def _checked(text: str, prefixes: tuple[tuple[str, str], ...]) -> str:
    check_length(text)
    tokens = read_tokens(text, dict(prefixes))
    check_depth(token.kind for token in tokens)
    check_operators(sum(token.kind in OPERATORS for token in tokens))
    _check_grammar(tokens)
    return written(tokens)


def _check_grammar(tokens: list[Token]) -> None:
    """Raise QueryRefusedError if tokens are no query, or call a function that is not allowed."""
    kinds = [token.kind for token in tokens]
    try:
        for position in sparql_table().function_arguments(kinds):
            name = tokens[position - 1].text[1:-1]
            if name not in FUNCTIONS:
                raise QueryRefusedError(
                    f"the function <{name[:60]}> is not allowed: "
                    "use those of SPARQL, of XPath, or a datatype of XML Schema"
                )
    except NotDerivedError as error:
        raise QueryRefusedError(_message(tokens, error)) from None


def _message(tokens: list[Token], error: NotDerivedError) -> str:
    """Return what is wrong with a query, given the first token that cannot stand where it does."""
    if error.position == 0:
        first = tokens[0].text if tokens else ""
        return (
            f"a query cannot start with {first[:20]!r}: "
            "start it with SELECT, ASK, CONSTRUCT, DESCRIBE or PREFIX"
        )
    before = shown(tokens[error.position - 1].text)
    found = shown(tokens[error.position].text) if error.position < len(tokens) else "the end"
    return f"after {before} the query has {found}, where SPARQL expects {_listed(error.expected)}"


def _listed(kinds: Sequence[str]) -> str:
    """Return a few kinds of tokens in words."""
    shown = [kind.replace("_", " ") for kind in kinds[:6]]
    if len(kinds) > len(shown):
        return f"one of {', '.join(shown)}, …"
    return " or ".join(shown)
