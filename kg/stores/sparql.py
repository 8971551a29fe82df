"""Answer users' SPARQL on a quad store, in the process that this is left to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyoxigraph import Literal, QueryBoolean, QuerySolutions, Triple

from kg.stores.answer import Answer, Rows
from kg.stores.oxigraph_database import open_for_reading, oxigraph_errors
from kg.stores.sparql_guard import chosen_graphs
from schema.iris import PREFIXES, XSD

INTEGER_TYPES = frozenset(
    f"{XSD}{name}"
    for name in (
        "integer",
        "nonPositiveInteger",
        "negativeInteger",
        "long",
        "int",
        "short",
        "byte",
        "nonNegativeInteger",
        "unsignedLong",
        "unsignedInt",
        "unsignedShort",
        "unsignedByte",
        "positiveInteger",
    )
)
FLOAT_TYPES = frozenset(f"{XSD}{name}" for name in ("decimal", "double", "float"))
BOOLEAN = f"{XSD}boolean"
TRUTH_VALUES = {"true": True, "1": True, "false": False, "0": False}


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
        """Start to answer a query that has passed the guard; it has no parameters.

        A query that chooses no graph reads all graphs as one.
        """
        # Oxigraph would read all of them in spite of FROM. Most queries are not looked through.
        as_one = "FROM" not in text or not chosen_graphs(text)
        return answer_of(
            self._quads.query(text, prefixes=PREFIXES, use_default_graph_as_union=as_one)
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
    """Convert an RDF term to a value of JSON: a number, a truth value, or text.

    A literal that is not what its datatype says is text.
    """
    if term is None:
        return None
    if isinstance(term, Triple):
        return str(term)
    text: str = term.value
    # Python also takes digits of other scripts, and underscores between digits.
    if not isinstance(term, Literal) or not text.isascii() or "_" in text:
        return text
    datatype = term.datatype.value
    try:
        if datatype in INTEGER_TYPES:
            return int(text)
        if datatype in FLOAT_TYPES:
            return float(text)
    except ValueError:
        return text
    return TRUTH_VALUES.get(text, text) if datatype == BOOLEAN else text
