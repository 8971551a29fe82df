"""What a store that answers Cypher must do; each such store inherits this suite beside its own."""

import pytest

from kg.stores.tables import statements_table
from schema.errors import QueryRefusedError, QueryTimeoutError, StoreError
from tests.contracts.store_contract import fact
from tests.kg.stores.hostile import CYPHER


class CypherContract:
    """Mixed into a suite with a fixture ``store``."""

    def test_cypher_answers_with_parameters(self, store):
        store.put(None, statements_table([fact(), fact("b", value="blue")]))
        text = "MATCH (i:Item)-[h:HAS {property: $p}]->(v:Value) RETURN i.id, v.text ORDER BY i.id"
        assert store.query(text, {"p": "colour"}).rows == [["a", "red"], ["b", "blue"]]

    def test_cypher_that_fails_is_one_line(self, store):
        with pytest.raises(StoreError, match="failed") as caught:
            store.query("MATCH (i:Item) RETURN i.id +")
        assert "\n" not in str(caught.value)

    def test_cypher_that_writes_is_refused(self, store):
        with pytest.raises(QueryRefusedError, match="DETACH is not allowed"):
            store.query("MATCH (i) DETACH DELETE i")

    def test_cypher_that_runs_on_is_ended(self, store):
        store.put(None, statements_table([fact(str(number)) for number in range(300)]))
        with pytest.raises(QueryTimeoutError, match=r"limit of 0\.5 s"):
            store.query(
                "MATCH (a:Item) MATCH (b:Item) MATCH (c:Item) MATCH (d:Item) WHERE a.id + b.id > c.id + d.id RETURN count(*)",
                timeout=0.5,
            )

    def test_hostile_cypher_changes_nothing(self, store):
        store.put(None, statements_table([fact(), fact("b", "size", "3 cm")]))
        before = store.content_hash()
        assert len(CYPHER) >= 200
        for text in CYPHER:
            with pytest.raises((StoreError, QueryRefusedError)):
                store.query(text, timeout=5.0)
        assert store.content_hash() == before
