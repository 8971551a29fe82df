import pytest

from kg.stores.cypher_guard import checked_cypher
from schema.errors import QueryRefusedError

READS = [
    "MATCH (i:Item) RETURN count(i)",
    "MATCH (i:Item {id: $id})-[h:HAS]->(v:Value) WHERE h.property = 'set' "
    "RETURN v.text ORDER BY v.text LIMIT 5;",
    "MATCH (i:Item) WHERE i.title CONTAINS 'create' OR i.title = \"it's; DELETE\" RETURN i",
    "OPTIONAL MATCH (i) WITH i, size(i.title) AS length WHERE length > 3 "
    "RETURN DISTINCT length // comment; DROP",
    "UNWIND [1, 2] AS x RETURN x /* MERGE */",
    "MATCH (i)-[h:HAS]->(v) RETURN h.load, v.`copy`",
]
WRITES = [
    "CREATE (:Item {id: 'x'})",
    "MATCH (i) SET i.title = 'x'",
    "MATCH (i) DETACH DELETE i",
    "MERGE (i:Item {id: 1})",
    "DROP TABLE Item",
    "COPY Item FROM 'x.csv'",
    "LOAD FROM 'x.csv' RETURN *",
    "CALL show_tables() RETURN *",
    "EXPORT DATABASE 'x'",
    "INSTALL httpfs",
    "ATTACH 'x' AS y",
    "MATCH (i) RETURN i; MATCH (j) RETURN j",
    "match (i) remove i.title",
    "MATCH (i) CALL { CREATE () } RETURN i",
    "",
    "   ;",
    "// nothing",
    "MATCH (i) RETURN read_csv('x')",
    "CHECKPOINT",
    "MATCH (i) /* */ /**/ DELETE i",
    "MATCH (i) RETURN 'open",
    "BEGIN TRANSACTION",
    "ALTER TABLE Item DROP title",
    "MATCH (i)\x00 RETURN i",
    "EXPLAIN MATCH (i) RETURN i",
    "IMPORT DATABASE 'x'",
    "USE other",
    "WHERE 1 RETURN 1",
    "MATCH (i) RETURN i UNION CALL x()",
    "FOREACH (x IN [1] | CREATE ())",
]


@pytest.mark.parametrize("text", READS)
def test_reading_queries_pass_unchanged(text):
    assert checked_cypher(text) == text


@pytest.mark.parametrize("text", WRITES)
def test_all_others_are_refused(text):
    with pytest.raises(QueryRefusedError):
        checked_cypher(text)
