"""The queries of docs/cypher.md and docs/sparql.md give the same answers in every store."""

import pytest

from kg.stores.cypher_guard import checked_cypher
from kg.stores.open import open_store
from kg.stores.protocol import QueryResult
from kg.stores.rdf import RdfStore
from kg.stores.sparql import OxigraphAnswers
from kg.stores.sparql_guard import checked_sparql
from tests.kg.stores.lookups import displayed_rows, fill, read_lookups
from tests.servers import emptied

CYPHER = {each.question: each for each in read_lookups("cypher")}
SPARQL = {each.question: each for each in read_lookups("sparql")}


def open_filled(url):
    """Open a store and put the sample catalogue into it."""
    store = open_store(url)
    fill(store)
    return store


@pytest.fixture(scope="module")
def ladybug(tmp_path_factory):
    with open_filled(f"ladybug:{tmp_path_factory.mktemp('lookups')}") as store:
        yield store


@pytest.fixture(scope="module")
def neo4j_store(neo4j):
    with open_filled(emptied(neo4j.url)) as store:
        yield store


@pytest.fixture(scope="module")
def quads(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lookups-rdf")
    open_filled(f"rdf:{folder}").close()
    published = RdfStore.graph_files(folder).published()
    assert published is not None
    return OxigraphAnswers(published, 0)


@pytest.fixture(scope="module")
def endpoint(fuseki):
    with open_filled(emptied(fuseki.url)) as store:
        yield store


def answer(store, question):
    return store.query(CYPHER[question].query, CYPHER[question].params)


def test_both_documents_have_the_same_questions():
    assert len(CYPHER) >= 24
    assert list(SPARQL) == list(CYPHER)


@pytest.mark.parametrize("question", CYPHER)
def test_queries_pass_the_guards(question):
    assert checked_cypher(CYPHER[question].query) == CYPHER[question].query
    assert checked_sparql(SPARQL[question].query)


@pytest.mark.parametrize("question", CYPHER)
def test_document_shows_the_answer(ladybug, question):
    result = answer(ladybug, question)
    assert result.rows
    assert CYPHER[question].columns == result.columns
    assert CYPHER[question].rows == displayed_rows(result)


@pytest.mark.parametrize("question", CYPHER)
def test_neo4j_gives_the_same_answer(ladybug, neo4j_store, question):
    assert answer(neo4j_store, question) == answer(ladybug, question)


@pytest.mark.parametrize("question", SPARQL)
def test_rdf_store_gives_the_same_answer(ladybug, quads, question):
    result = quads.answer(checked_sparql(SPARQL[question].query), {})
    assert QueryResult(result.columns, list(result.rows)) == answer(ladybug, question)


@pytest.mark.parametrize("question", SPARQL)
def test_endpoint_gives_the_same_answer(ladybug, endpoint, question):
    assert endpoint.sparql(SPARQL[question].query) == answer(ladybug, question)


def test_cypher_command_runs_a_query_of_the_document(capsys, tmp_path, monkeypatch):
    from cli import main

    lookup = CYPHER["Which predictions are uncertain?"]
    open_filled(f"ladybug:{tmp_path}/catalog/graph").close()
    monkeypatch.chdir(tmp_path)
    main(["init"])
    params = []
    for name, value in lookup.params.items():
        params += ["--param", f"{name}:={value}"]
    assert main(["cypher", lookup.query, *params]) == 0
    assert lookup.rows[0][0] in capsys.readouterr().out
