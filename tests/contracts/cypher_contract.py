"""The tests that every store that answers Cypher must pass besides those of StoreContract."""

import math

import pytest

from kg.stores.query_limits import QueryLimits
from kg.stores.tables import statements_table
from schema.errors import (
    QueryLimitError,
    QueryRefusedError,
    QueryTimeoutError,
    StoreError,
    UsageError,
)
from tests.contracts.rows import statement
from tests.kg.stores.hostile import CYPHER


class CypherContract:
    """A mix-in for suites with a fixture ``store``."""

    def test_cypher_takes_parameters(self, store):
        store.put(None, statements_table([statement(), statement("b", value="blue")]))
        text = "MATCH (i:Item)-[h:HAS {property: $p}]->(v:Value) RETURN i.id, v.text ORDER BY i.id"
        assert store.query(text, {"p": "colour"}).rows == [["a", "red"], ["b", "blue"]]

    def test_unusable_parameters_give_one_line(self, store):
        nested: list[object] = []
        for _ in range(5_000):
            nested = [nested]
        for value in (nested, 10**100, 10**5_000, "\ud800", {"a": object()}, {1: {2, 3}}):
            with pytest.raises((StoreError, UsageError)) as caught:
                store.query("RETURN $x", {"x": value})
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 500
        assert store.query("RETURN $x", {"x": [1, 2]}).rows == [[[1, 2]]]

    def test_failing_cypher_gives_one_line(self, store):
        with pytest.raises(StoreError, match="failed") as caught:
            store.query("MATCH (i:Item) RETURN i.id +")
        assert "\n" not in str(caught.value)

    def test_writing_cypher_is_refused(self, store):
        with pytest.raises(QueryRefusedError, match="DETACH is not allowed"):
            store.query("MATCH (i) DETACH DELETE i")

    def test_slow_cypher_is_stopped(self, store):
        store.put(None, statements_table([statement(str(number)) for number in range(300)]))
        matches = " ".join(f"MATCH ({name}:Item)" for name in "abcd")
        with pytest.raises(QueryTimeoutError, match=r"limit of 0\.5 s"):
            store.query(f"{matches} WHERE a.id + b.id > c.id + d.id RETURN count(*)", timeout=0.5)

    @pytest.mark.parametrize("timeout", [0, -1, math.nan, math.inf])
    def test_impossible_time_limit_of_cypher_is_refused(self, store, timeout):
        with pytest.raises(UsageError, match="time limit"):
            store.query("MATCH (i:Item) RETURN i.id", timeout=timeout)

    def test_cypher_is_stopped_at_a_number_of_rows(self, store):
        store.put(None, statements_table([statement(str(number)) for number in range(30)]))
        text = "MATCH (i:Item) RETURN i.id"
        assert len(store.query(text, limits=QueryLimits(rows=30)).rows) == 30
        with pytest.raises(QueryLimitError, match="more than 29 rows"):
            store.query(text, limits=QueryLimits(rows=29))

    def test_cypher_is_stopped_at_a_size_of_the_answer(self, store):
        store.put(None, statements_table([statement(str(number)) for number in range(100)]))
        text = "MATCH (a:Item)-[h:HAS]->(v:Value) RETURN a, h, v"
        with pytest.raises(QueryLimitError, match="larger than 2 KB"):
            store.query(text, limits=QueryLimits(answer_bytes=2000))

    def test_hostile_cypher_changes_nothing(self, store):
        store.put(None, statements_table([statement(), statement("b", "size", "3 cm")]))
        before = store.content_hash()
        assert len(CYPHER) >= 200
        for text in CYPHER:
            with pytest.raises((StoreError, QueryRefusedError)):
                store.query(text, timeout=5.0)
        assert store.content_hash() == before
