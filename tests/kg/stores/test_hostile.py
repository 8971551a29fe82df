"""Hostile and unusual queries: which the guards let pass, and what stores do without a guard."""

from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from kg.stores.cypher_guard import checked_cypher
from kg.stores.open import open_store
from kg.stores.rdf import RdfStore
from kg.stores.rdf_endpoint import RdfEndpointStore
from kg.stores.sparql import OxigraphAnswers
from kg.stores.sparql_guard import checked_sparql
from kg.stores.tables import statements_table
from schema.errors import CatalographError, QueryRefusedError
from tests.contracts.rows import statement
from tests.faulty import answering_server
from tests.kg.stores import harmless, hostile
from tests.kg.stores.tricks import CYPHER_TRICKS, SPARQL_TRICKS
from tests.servers import emptied

STATEMENTS = statements_table([statement(), statement("b", "size", "3 cm")])


@contextmanager
def without_guard(monkeypatch, guard):
    """Let a module send its queries as they are; ``guard`` is the function, with its module."""
    with monkeypatch.context() as patch:
        patch.setattr(guard, lambda text, *_: text)
        yield


@pytest.fixture
def neo4j_store(neo4j):
    with open_store(emptied(neo4j.url)) as store:
        store.put(None, STATEMENTS)
        yield store


@pytest.fixture
def endpoint(fuseki):
    with open_store(emptied(fuseki.url)) as store:
        store.put(None, STATEMENTS)
        yield store


@pytest.fixture
def rdf_folder(tmp_path):
    with open_store(f"rdf:{tmp_path}/graph") as store:
        store.put(None, STATEMENTS)
    return tmp_path / "graph"


def unguarded(folder):
    """Open an RDF store for queries without a guard, in this process."""
    published = RdfStore.graph_files(folder).published()
    assert published is not None
    return OxigraphAnswers(published, 0)


def test_there_are_many_queries_of_each_kind():
    assert len(hostile.CYPHER) >= 500
    assert len(hostile.SPARQL) >= 400
    assert min(len(harmless.ALL_CYPHER), len(harmless.ALL_SPARQL)) >= 60


@pytest.mark.parametrize("text", CYPHER_TRICKS)
def test_tricks_in_cypher_are_refused(text):
    with pytest.raises(QueryRefusedError):
        checked_cypher(text)


@pytest.mark.parametrize("text", SPARQL_TRICKS)
def test_tricks_in_sparql_are_refused(text):
    with pytest.raises(QueryRefusedError):
        checked_sparql(text)


def test_harmless_queries_pass_the_guards():
    assert all(checked_cypher(text) for text in harmless.ALL_CYPHER)
    assert all(checked_sparql(text) for text in harmless.ALL_SPARQL)


def test_ladybug_answers_harmless_cypher(tmp_path):
    with open_store(f"ladybug:{tmp_path}") as store:
        store.put(None, STATEMENTS)
        assert all(store.query(text).columns for text in harmless.CYPHER)


def test_neo4j_answers_harmless_cypher(neo4j_store):
    assert all(neo4j_store.query(text).columns for text in harmless.CYPHER)


def test_rdf_stores_answer_harmless_sparql(rdf_folder, endpoint):
    answers = unguarded(rdf_folder)
    for text in harmless.SPARQL:
        answer = answers.answer(checked_sparql(text), {})
        list(answer.rows)
        assert answer.columns
    assert all(endpoint.sparql(text).columns for text in harmless.SPARQL)


def test_neo4j_itself_refuses_to_write_in_a_reading_transaction(neo4j_store, monkeypatch):
    before = neo4j_store.content_hash()
    with without_guard(monkeypatch, "kg.stores.neo4j.checked_cypher"):
        for text in hostile.CYPHER:
            with suppress(CatalographError):
                neo4j_store.query(text, timeout=5.0)
        users = neo4j_store.query("SHOW USERS YIELD user RETURN user").rows
        constraints = neo4j_store.query("SHOW CONSTRAINTS YIELD name RETURN name").rows
    assert users == [["neo4j"]]
    assert len([name for (name,) in constraints if name.startswith("catalograph_")]) == 5
    assert neo4j_store.content_hash() == before


def test_endpoint_itself_takes_no_query_for_an_update(endpoint, monkeypatch):
    before = endpoint.content_hash()
    monkeypatch.setattr(
        "kg.stores.rdf_endpoint.chosen_graphs",
        lambda text: ["urn:catalograph:items"] if "FROM" in text.upper() else [],
    )
    with without_guard(monkeypatch, "kg.stores.rdf_endpoint.checked_sparql"):
        for text in hostile.SPARQL:
            with suppress(CatalographError):
                endpoint.sparql(text, timeout=5.0)
    assert endpoint.content_hash() == before


@pytest.mark.parametrize(
    "text",
    [
        "ASK FROM <http://127.0.0.1:1/x> { ?s ?p ?o }",
        "SELECT * FROM rank:asserted FROM NAMED <file:///etc/passwd> { GRAPH ?g { ?s ?p ?o } }",
        "CONSTRUCT FROM NAMED <urn:other> WHERE { ?s ?p ?o }",
        "DESCRIBE item:a FROM <urn:catalograph:journal>",
    ],
)
def test_endpoint_is_asked_for_no_other_graph_than_ours(text):
    with (
        answering_server(200, "application/json", b'{"head": {}, "boolean": true}') as port,
        RdfEndpointStore(f"rdf+http://127.0.0.1:{port}/ds") as store,
    ):
        assert store.sparql("ASK FROM rank:asserted FROM NAMED rank:accepted {}").rows == [[True]]
        with pytest.raises(QueryRefusedError, match=r"FROM <.*> is not allowed: .*leave it out"):
            store.sparql(text)


def test_quads_opened_for_reading_cannot_be_changed(rdf_folder):
    url = f"rdf:{rdf_folder}"
    with open_store(url) as store:
        before = store.content_hash()
    answers = unguarded(rdf_folder)
    for text in hostile.SPARQL:
        with suppress(SyntaxError, OSError, ValueError, RuntimeError, QueryRefusedError):
            list(answers.answer(text, {}).rows)
    # None of them was answered with an error because one before it had broken the store.
    assert list(answers.answer("ASK { ?s ?p ?o }", {}).rows)
    with open_store(url) as store:
        assert store.content_hash() == before


def test_child_process_that_runs_queries_cannot_write(rdf_folder, monkeypatch):
    with (
        RdfStore(Path(rdf_folder), read_only=True) as store,
        without_guard(monkeypatch, "kg.stores.rdf_graph.checked_sparql"),
    ):
        before = store.content_hash()
        for text in ("CLEAR ALL", "INSERT DATA { <urn:x> <urn:y> 1 }", SPARQL_TRICKS[4]):
            with suppress(CatalographError):
                store.sparql(text, timeout=20.0)
        assert store.content_hash() == before
