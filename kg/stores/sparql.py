"""Run read-only SPARQL over a quad store on disk, in a child process that a time limit can end."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pyoxigraph import Literal, QueryBoolean, QuerySolutions, Triple

from kg.stores.oxigraph_files import open_for_reading
from kg.stores.protocol import QueryResult
from kg.stores.sparql_guard import checked_sparql
from schema.errors import QueryTimeoutError, StoreError

INTEGER_TYPES = ("integer", "int", "long", "short", "byte", "nonNegativeInteger")
FLOAT_TYPES = ("decimal", "double", "float")


def query_in_child_process(
    folder: Path, text: str, prefixes: Mapping[str, str], timeout: float
) -> QueryResult:
    """Query the quad store in ``folder``, with a time limit in seconds.

    A query that names no graph reads all graphs as one. Raises QueryTimeoutError, or StoreError if
    the query fails.
    """
    # Oxigraph cannot stop a query, so its process is killed. It is spawned: a forked one would
    # inherit the store's files and locks.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(
        target=_answer,
        args=(sender, str(folder), checked_sparql(text), dict(prefixes)),
        daemon=True,
    )
    child.start()
    # While this process has a copy of the sending end, a child that died would not cause an
    # EOFError.
    sender.close()
    try:
        # The limit includes the start of the child process, which takes about a second.
        if not receiver.poll(timeout):
            raise QueryTimeoutError(f"the query ran past its limit of {timeout:g} s: narrow it")
        error, answer = receiver.recv()
    except EOFError:
        raise StoreError(
            "the query ended without an answer: narrow it, it may need too much memory"
        ) from None
    finally:
        child.kill()
        child.join()
        receiver.close()
    if error is not None:
        raise StoreError(f"the query failed ({error}): correct it")
    return QueryResult(*answer)


def _answer(pipe: Connection, folder: str, text: str, prefixes: dict[str, str]) -> None:
    """Run in the child process: send (None, answer) or (error, None) through the pipe."""
    try:
        result = query_directly(folder, text, prefixes)
        pipe.send((None, (result.columns, result.rows)))
    except (SyntaxError, OSError, ValueError, RuntimeError) as error:
        pipe.send((" ".join(str(error).split())[:200], None))


def query_directly(folder: str, text: str, prefixes: dict[str, str]) -> QueryResult:
    """Query the quad store in ``folder`` in this process, without a guard or a time limit.

    The store is opened for reading only, so that an update fails.
    """
    store = open_for_reading(folder)
    return query_result(store.query(text, prefixes=prefixes, use_default_graph_as_union=True))


def query_result(answer: Any) -> QueryResult:
    """Convert an answer of pyoxigraph's to rows.

    ASK gives one row with its answer, CONSTRUCT and DESCRIBE give a row for each triple.
    """
    if isinstance(answer, QueryBoolean):
        return QueryResult(["answer"], [[bool(answer)]])
    if isinstance(answer, QuerySolutions):
        names = [variable.value for variable in answer.variables]
        rows = [[_json_value(solution[name]) for name in names] for solution in answer]
        return QueryResult(names, rows)
    triples = [
        [_json_value(term) for term in (triple.subject, triple.predicate, triple.object)]
        for triple in answer
    ]
    return QueryResult(["subject", "predicate", "object"], triples)


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
