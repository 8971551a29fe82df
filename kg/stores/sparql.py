"""Answer users' SPARQL on a quad store, in the process that this is left to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyoxigraph import Literal, QueryBoolean, QuerySolutions, Triple

from kg.stores.answer import Answer, Rows
from kg.stores.oxigraph_database import open_for_reading, oxigraph_errors
from schema.iris import PREFIXES

INTEGER_TYPES = ("integer", "int", "long", "short", "byte", "nonNegativeInteger")
FLOAT_TYPES = ("decimal", "double", "float")


class OxigraphAnswers:
    """A folder of quads as they are when it is opened, for reading: an update fails.

    It reserves no memory, and so does not look at ``memory``. Raises StoreError if the files cannot
    be opened.
    """

    reserved_bytes = 0

    def __init__(self, path: Path, memory: int) -> None:
        with oxigraph_errors(path):
            self._quads = open_for_reading(str(path))

    def answer(self, text: str, params: dict[str, Any]) -> Answer:
        """Start to answer a query, which has no parameters.

        A query that names no graph reads all graphs as one.
        """
        return answer_of(
            self._quads.query(text, prefixes=PREFIXES, use_default_graph_as_union=True)
        )


def answer_of(answer: Any) -> Answer:
    """Convert an answer of pyoxigraph's to rows of values that JSON can hold.

    ASK gives one row with its answer, CONSTRUCT and DESCRIBE give a row for each triple.
    """
    if isinstance(answer, QueryBoolean):
        return Answer(["answer"], ([each] for each in (bool(answer),)))
    if isinstance(answer, QuerySolutions):
        names = [variable.value for variable in answer.variables]
        return Answer(names, _solution_rows(answer, names))
    return Answer(["subject", "predicate", "object"], _triple_rows(answer))


def _solution_rows(solutions: Any, names: list[str]) -> Rows:
    for solution in solutions:
        yield [_json_value(solution[name]) for name in names]


def _triple_rows(triples: Any) -> Rows:
    for triple in triples:
        yield [_json_value(term) for term in (triple.subject, triple.predicate, triple.object)]


def _json_value(term: Any) -> Any:
    """Convert an RDF term to a value of JSON: a number, a truth value, or text."""
    if term is None:
        return None
    if isinstance(term, Triple):
        return str(term)
    text: str = term.value
    if not isinstance(term, Literal):
        return text
    datatype = term.datatype.value.rpartition("#")[2]
    try:
        if datatype in INTEGER_TYPES:
            return int(text)
        if datatype in FLOAT_TYPES:
            return float(text)
    except ValueError:
        return text
    return text == "true" if datatype == "boolean" else text
