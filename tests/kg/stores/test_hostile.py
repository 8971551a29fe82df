"""Hostile queries and odd ones: what the guards let through, and what the stores do where no guard stands before them."""

from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from kg import cypher_guard, sparql
from kg.stores.open import open_store
from kg.stores.rdf import RdfStore
from kg.stores.rdf_graph import FOLDER
from kg.stores.rdf_terms import PREFIXES
from kg.stores.tables import statements_table
from schema.errors import CatalographError, QueryRefusedError
from tests.contracts.store_contract import fact
from tests.kg.stores import harmless, hostile
from tests.kg.stores.tricks import CYPHER_TRICKS, SPARQL_TRICKS
from tests.servers import emptied

FACTS = statements_table([fact(), fact("b", "size", "3 cm")])


@contextmanager
def unguarded(monkeypatch, module):
    """A module's queries go to its server as they are."""
    with monkeypatch.context() as patch:
        patch.setattr(f"{module}.guard", lambda text: text)
        yield


@pytest.fixture
def neo4j_store(neo4j):
    with open_store(emptied(neo4j.url)) as store:
        store.put(None, FACTS)
        yield store


@pytest.fixture
def endpoint(fuseki):
    with open_store(emptied(fuseki.url)) as store:
        store.put(None, FACTS)
        yield store


@pytest.fixture
def rdf(tmp_path):
    with open_store(f"rdf:{tmp_path}/graph") as store:
        store.put(None, FACTS)
    return f"rdf:{tmp_path}/graph"


def ask(url, text):
    """An RDF folder's answer without a process of its own, which would take a second a query."""
    return sparql.ask(f"{url.removeprefix('rdf:')}/{FOLDER}", text, PREFIXES)


def test_there_are_many_of_both_kinds():
    assert len(hostile.CYPHER) >= 500
    assert len(hostile.SPARQL) >= 400
    assert min(len(harmless.ALL_CYPHER), len(harmless.ALL_SPARQL)) >= 60


@pytest.mark.parametrize("text", CYPHER_TRICKS)
def test_a_trick_in_cypher_is_refused(text):
    with pytest.raises(QueryRefusedError):
        cypher_guard.guard(text)


@pytest.mark.parametrize("text", SPARQL_TRICKS)
def test_a_trick_in_sparql_is_refused(text):
    with pytest.raises(QueryRefusedError):
        sparql.guard(text)


def test_what_only_looks_dangerous_passes():
    assert [text for text in harmless.ALL_CYPHER if cypher_guard.guard(text) != text] == []
    assert [text for text in harmless.ALL_SPARQL if sparql.guard(text) != text] == []


def test_what_only_looks_dangerous_is_cypher_of_the_embedded_graph(tmp_path):
    with open_store(f"ladybug:{tmp_path}") as store:
        store.put(None, FACTS)
        assert all(store.query(text).columns for text in harmless.CYPHER)


def test_what_only_looks_dangerous_is_cypher_of_neo4j(neo4j_store):
    assert all(neo4j_store.query(text).columns for text in harmless.CYPHER)


def test_what_only_looks_dangerous_is_sparql(rdf, endpoint):
    assert all(ask(rdf, text).columns for text in harmless.SPARQL)
    assert all(endpoint.sparql(text).columns for text in harmless.SPARQL)


def test_without_the_guard_neo4j_itself_keeps_a_reader_from_writing(neo4j_store, monkeypatch):
    before = neo4j_store.content_hash()
    with unguarded(monkeypatch, "kg.stores.neo4j"):
        for text in hostile.CYPHER:
            with suppress(CatalographError):
                neo4j_store.query(text, timeout=5.0)
        users = neo4j_store.query("SHOW USERS YIELD user RETURN user").rows
        constraints = neo4j_store.query("SHOW CONSTRAINTS YIELD name RETURN name").rows
    assert users == [["neo4j"]]
    assert len([name for (name,) in constraints if name.startswith("catalograph_")]) == 4
    assert neo4j_store.content_hash() == before


def test_without_the_guard_an_endpoint_takes_no_query_for_an_update(endpoint, monkeypatch):
    before = endpoint.content_hash()
    with unguarded(monkeypatch, "kg.stores.rdf_endpoint"):
        for text in hostile.SPARQL:
            with suppress(CatalographError):
                endpoint.sparql(text, timeout=5.0)
    assert endpoint.content_hash() == before


def test_without_the_guard_quads_that_are_only_read_stay(rdf):
    with open_store(rdf) as store:
        before = store.content_hash()
    for text in hostile.SPARQL:
        with suppress(SyntaxError, OSError, ValueError, RuntimeError):
            ask(rdf, text)
    with open_store(rdf) as store:
        assert store.content_hash() == before


def test_without_the_guard_the_process_that_asks_cannot_write(rdf, monkeypatch):
    with (
        RdfStore(Path(rdf.removeprefix("rdf:")), read_only=True) as store,
        unguarded(monkeypatch, "kg.stores.sparql"),
    ):
        before = store.content_hash()
        for text in ("CLEAR ALL", "INSERT DATA { <urn:x> <urn:y> 1 }", SPARQL_TRICKS[4]):
            with suppress(CatalographError):
                store.sparql(text, timeout=20.0)
        assert store.content_hash() == before
