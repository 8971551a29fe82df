import time

import pytest

from kg.stores.cypher_functions import NEO4J
from kg.stores.open import open_store
from kg.stores.tables import items_table, statements_table
from schema.errors import QueryRefusedError, QueryTimeoutError, StoreError, UsageError
from schema.terms import Item
from tests.contracts.cypher_contract import CypherContract
from tests.contracts.rows import statement
from tests.contracts.store_contract import StoreContract
from tests.faulty import stalling_proxy
from tests.servers import Neo4jServer, emptied


class TestNeo4j(CypherContract, StoreContract):
    scheme = "neo4j"

    @pytest.fixture
    def empty_url(self, neo4j):
        return lambda: emptied(neo4j.url)

    def test_writing_cypher_is_refused_by_the_guard_and_by_the_server(self, store, monkeypatch):
        with pytest.raises(QueryRefusedError):
            store.query("CREATE (i:Item {id: 'x'})")
        monkeypatch.setattr("kg.stores.neo4j.checked_cypher", lambda text, _: text)
        with pytest.raises(StoreError, match="failed"):
            store.query("CREATE (i:Item {id: 'x'})")
        assert store.counts().items == 0

    def test_functions_of_the_server_are_allowed_if_they_only_compute(self, store):
        rows = store._rows("SHOW BUILT IN FUNCTIONS YIELD name RETURN name")
        names = {row["name"].lower() for row in rows}
        # Patterns, which are not listed, and names that newer versions have.
        assert NEO4J.functions - names <= {"shortestpath", "allshortestpaths", "ceiling", "ln"}
        # LOAD CSV's, and those that choose another graph.
        assert names - NEO4J.functions <= {
            *("file", "linenumber", "graph.byname", "graph.byelementid", "graph.names"),
            *("graph.propertiesbyname", "db.namefromelementid"),
        }

    def test_subqueries_that_read_are_answered(self, store):
        store.put(None, statements_table([statement(), statement("b")]))
        text = (
            "MATCH (i:Item) CALL (i) { MATCH (i)-[h:HAS]->(v) RETURN count(v) AS n } "
            "RETURN i.id, n ORDER BY i.id"
        )
        assert store.query(text).rows == [["a", 1], ["b", 1]]
        assert store.query("RETURN date.truncate('year', date('2020-05-05')).month").rows == [[1]]

    def test_nodes_and_relationships_are_returned_by_their_properties(self, store):
        store.put(items_table([Item("a", "one")]), statements_table([statement()]))
        text = "MATCH (i:Item)-[h:HAS]->(v:Value) RETURN i, [v] AS values, {h: h} AS map"
        ((item, values, map),) = store.query(text).rows
        assert (item["id"], item["title"]) == ("a", "one")
        assert values == [{"text": "red"}]
        assert map["h"]["property"] == "colour"

    def test_values_of_every_type_become_json(self, store, monkeypatch):
        monkeypatch.setattr("kg.stores.neo4j.checked_cypher", lambda text, *_: text)
        text = (
            "RETURN date('2020-01-02'), datetime('2020-01-02T03:04:05.5Z'), "
            "localdatetime('2020-01-02T03:04:00'), duration('P3DT2H'), "
            "point({x: 1, y: 2}), [1.5, null], {a: date('2020-01-02')}"
        )
        day, *others = store.query(text).rows[0]
        assert day == "2020-01-02"
        assert others == [
            "2020-01-02T03:04:05.5+00:00",
            "2020-01-02T03:04:00",
            "P3DT2H",
            {"srid": 7203, "coordinates": [1.0, 2.0]},
            [1.5, None],
            {"a": "2020-01-02"},
        ]

    def test_paths_are_returned_as_nodes_and_relationships(self, store):
        store.put(None, statements_table([statement()]))
        ((path,),) = store.query("MATCH p = (:Item)-[:HAS]->(:Value) RETURN p").rows
        assert [node.get("id", node.get("text")) for node in path["nodes"]] == ["a", "red"]
        assert [each["property"] for each in path["relationships"]] == ["colour"]

    def test_answer_that_stops_coming_is_not_waited_for(self, store):
        rows = [statement(str(number), value="x" * 200) for number in range(400)]
        store.put(None, statements_table(rows))
        with (
            stalling_proxy(int(store.url.rpartition(":")[2]), 20_000) as port,
            open_store(f"bolt://127.0.0.1:{port}", read_only=True) as slow,
        ):
            began = time.monotonic()
            with pytest.raises(QueryTimeoutError, match="limit of 1 s"):
                slow.query("MATCH (i:Item)-[h:HAS]->(v:Value) RETURN i, h, v", timeout=1.0)
            assert time.monotonic() - began < 20.0

    def test_repeated_batch_is_not_carried_out_twice(self, store, monkeypatch):
        write = store._write

        def write_twice(work):
            write(work)
            return write(work)

        monkeypatch.setattr(store, "_write", write_twice)
        items = items_table([Item("a"), Item("b")])
        report = store.put(items, statements_table([statement(), statement("c")]))
        assert (report.new_items, report.new_statements) == (3, 2)


def test_server_with_authentication_refuses_a_connection_without_a_user(neo4j, monkeypatch):
    monkeypatch.setenv("NEO4J_AUTH", "none")
    with pytest.raises(StoreError, match="refused a connection without a user"):
        open_store(neo4j.url)


def test_neo4j_auth_gives_user_and_password(neo4j, monkeypatch):
    monkeypatch.setenv("NEO4J_AUTH", f"neo4j/{Neo4jServer.password}")
    monkeypatch.setenv("NEO4J_PASSWORD", "not this one")
    with open_store(neo4j.url, read_only=True) as store:
        assert store.url == neo4j.url


def test_password_in_a_url_is_refused():
    with pytest.raises(UsageError, match="NEO4J_PASSWORD") as caught:
        open_store("neo4j://neo4j:secret@localhost")
    assert "secret" not in str(caught.value)
