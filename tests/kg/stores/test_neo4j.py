import pytest

from kg.stores.open import open_store
from kg.stores.tables import items_table, statements_table
from schema.errors import QueryRefusedError, StoreError, UsageError
from schema.terms import Item
from tests.contracts.cypher_contract import CypherContract
from tests.contracts.store_contract import StoreContract, fact
from tests.servers import emptied


class TestNeo4j(CypherContract, StoreContract):
    scheme = "neo4j"

    @pytest.fixture
    def empty(self, neo4j):
        return lambda: emptied(neo4j.url)

    def test_cypher_that_writes_is_refused_by_the_guard_and_by_the_server(self, store, monkeypatch):
        with pytest.raises(QueryRefusedError):
            store.query("CREATE (i:Item {id: 'x'})")
        monkeypatch.setattr("kg.stores.neo4j.guard", lambda text: text)
        with pytest.raises(StoreError, match="failed"):
            store.query("CREATE (i:Item {id: 'x'})")
        assert store.counts().items == 0

    def test_a_batch_whose_answer_was_lost_is_not_done_twice(self, store):
        table = items_table([Item("a"), Item("b")])
        seen = []

        def repeated(work):
            store.__class__._write(store, work)
            seen.append(store.__class__._write(store, work))
            return seen[-1]

        store._write = repeated
        report = store.put(table, statements_table([fact(), fact("c")]))
        assert (report.new_items, report.new_statements) == (3, 2)


def test_a_wrong_password_is_one_line(neo4j, monkeypatch):
    monkeypatch.setenv("NEO4J_PASSWORD", "not this one")
    with pytest.raises(StoreError, match="refused the user neo4j") as caught:
        open_store(neo4j.url)
    assert "not this one" not in str(caught.value)


def test_a_server_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setenv("NEO4J_PASSWORD", "x")
    with pytest.raises(StoreError, match=r"no Neo4j answers at bolt://127\.0\.0\.1:1"):
        open_store("bolt://127.0.0.1:1")


def test_a_password_in_a_url_is_refused():
    with pytest.raises(UsageError, match="NEO4J_PASSWORD") as caught:
        open_store("neo4j://neo4j:secret@localhost")
    assert "secret" not in str(caught.value)
