"""The lookups of docs/cypher.md and docs/sparql.md: one answer, whichever store and language is asked."""

import pytest

from kg.stores.cypher_guard import guard as cypher_guard
from kg.stores.open import open_store
from kg.stores.rdf_graph import FOLDER
from kg.stores.rdf_terms import PREFIXES
from kg.stores.sparql import ask
from kg.stores.sparql import guard as sparql_guard
from tests.kg.stores.lookups import fill, read_lookups, shown
from tests.servers import emptied

CYPHER = {each.question: each for each in read_lookups("cypher")}
SPARQL = {each.question: each for each in read_lookups("sparql")}


def filled(url):
    """An open store with the drawn catalogue."""
    store = open_store(url)
    fill(store)
    return store


@pytest.fixture(scope="module")
def ladybug(tmp_path_factory):
    with filled(f"ladybug:{tmp_path_factory.mktemp('lookups')}") as store:
        yield store


@pytest.fixture(scope="module")
def neo4j_store(neo4j):
    emptied(neo4j.url)
    with filled(neo4j.url) as store:
        yield store


@pytest.fixture(scope="module")
def quads(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lookups-rdf")
    filled(f"rdf:{folder}").close()
    return str(folder / FOLDER)


@pytest.fixture(scope="module")
def endpoint(fuseki):
    emptied(fuseki.url)
    with filled(fuseki.url) as store:
        yield store


def asked(store, question):
    return store.query(CYPHER[question].query, CYPHER[question].params)


def test_there_are_enough_and_the_documents_ask_the_same():
    assert len(CYPHER) >= 24
    assert list(SPARQL) == list(CYPHER)


@pytest.mark.parametrize("question", CYPHER)
def test_a_lookup_passes_the_guards_as_it_stands(question):
    assert cypher_guard(CYPHER[question].query) == CYPHER[question].query
    assert sparql_guard(SPARQL[question].query) == SPARQL[question].query


@pytest.mark.parametrize("question", CYPHER)
def test_the_document_shows_the_answer(ladybug, question):
    found = asked(ladybug, question)
    assert found.rows
    assert (CYPHER[question].columns, CYPHER[question].rows) == (found.columns, shown(found))


@pytest.mark.parametrize("question", CYPHER)
def test_neo4j_answers_as_the_embedded_graph(ladybug, neo4j_store, question):
    assert asked(neo4j_store, question) == asked(ladybug, question)


@pytest.mark.parametrize("question", SPARQL)
def test_rdf_answers_as_the_embedded_graph(ladybug, quads, question):
    assert ask(quads, SPARQL[question].query, PREFIXES) == asked(ladybug, question)


@pytest.mark.parametrize("question", SPARQL)
def test_an_endpoint_answers_as_the_embedded_graph(ladybug, endpoint, question):
    assert endpoint.sparql(SPARQL[question].query) == asked(ladybug, question)


def test_a_command_asks_what_the_document_says(ladybug, capsys, tmp_path, monkeypatch):
    from cli import main

    question = CYPHER["Which predictions are unsure?"]
    with open_store(f"ladybug:{tmp_path}/catalog/graph") as store:
        fill(store)
    monkeypatch.chdir(tmp_path)
    main(["init"])
    params = [
        word for name, value in question.params.items() for word in ("--param", f"{name}:={value}")
    ]
    assert main(["cypher", question.query, *params]) == 0
    assert question.rows[0][0] in capsys.readouterr().out
