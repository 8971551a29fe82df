"""What the Cypher guard lets pass, what it refuses, and in which words."""

import pytest

from kg.stores.cypher_functions import ANY_STORE, LADYBUG, NEO4J
from kg.stores.cypher_guard import checked_cypher
from kg.stores.ladybug import LadybugStore
from kg.stores.ladybug_graph import LadybugGraph
from kg.stores.query_text import MAX_CHARACTERS, MAX_DEPTH, MAX_OPERATORS
from kg.stores.tables import statements_table
from schema.errors import QueryRefusedError
from tests.contracts.rows import statement
from tests.kg.stores.tricks import CYPHER_SPLIT_IN_TWO_WAYS

READS = [
    "MATCH (i:Item) RETURN count(i)",
    "MATCH (i:Item {id: $id})-[h:HAS]->(v:Value) WHERE h.property = 'set' "
    "RETURN v.text ORDER BY v.text LIMIT 5;",
    "MATCH (i:Item) WHERE i.title CONTAINS 'create' OR i.title = \"it's; DELETE\" RETURN i",
    "OPTIONAL MATCH (i) WITH i, size(i.title) AS length WHERE length > 3 RETURN DISTINCT length",
    "MATCH (i)-[h:HAS]->(v) RETURN h.load, v.`copy`",
    "MATCH (i:Item) WHERE EXISTS { MATCH (i)-[h:HAS]->() WHERE h.row > 1 } RETURN i { .id, x: 1 }",
    "RETURN COUNT { MATCH (i:Item) }, COLLECT { MATCH (i:Item) RETURN i.id } AS ids",
    "RETURN [x IN range(1, 3) WHERE x % 2 = 1 | x * x], [(a:Item)-->(b) | b.text] AS texts",
    "MATCH (n:A|B&!C) WHERE n:A OR n IS NOT NULL RETURN *",
    "MATCH p = (a)-[:HAS*1..3]->(b) RETURN nodes(p)[0..2], p ORDER BY length(p) DESC SKIP 1",
    "RETURN CASE WHEN 1 < 2 THEN 'a' ELSE 'b' END AS x UNION ALL RETURN 'c' AS x",
    "UNWIND [0x1F, 1.5e-3, .5, -1, 017] AS x RETURN x ^ 2, $1, $name.x",
    "RETURN reduce(total = 0, x IN [1, 2] | total + x), all(x IN [1] WHERE x > 0)",
    "RETURN percentileCont(1.5, 0.5), date('2020-01-01'), toBoolean('true'), rand() < 2",
    "RETURN datetime.truncate('day', datetime()), duration.between(date(), date())",
    "CALL { MATCH (i:Item) RETURN i } RETURN i.id",
    "MATCH (i:Item) CALL (i) { RETURN i.id AS id UNION RETURN '' AS id } RETURN id",
    "WITH 1 AS x CALL (*) { RETURN 2 AS y } RETURN x, y",
    "MATCH (a), (b), p = shortestPath((a)-[*]-(b)) RETURN p",
    "MATCH (order:Item) WHERE order.in = 'x' RETURN order, `set` AS `a``b`",
    "RETURN 'back\\\\slash \\n \\'' AS x",
    "RETURN list_transform([1, 2], x -> list_filter([x], y -> y > x))",
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
    "CALL db.labels",
    "EXPORT DATABASE 'x'",
    "INSTALL httpfs",
    "ATTACH 'x' AS y",
    "MATCH (i) RETURN i; MATCH (j) RETURN j",
    "match (i) remove i.title",
    "MATCH (i) CALL { CREATE () } RETURN i",
    "MATCH (i) CALL (i) { SET i.x = 1 } RETURN i",
    "CALL { MATCH (i) RETURN i } IN TRANSACTIONS RETURN i",
    "CALL (i, (j)) { RETURN 1 AS x } RETURN x",
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
    "RETURN nextval('x')",
    "RETURN date.load('x')",
    "RETURN x.date.truncate('day')",
    "RETURN `date`('x')",
    # Ladybug dies of these.
    "RETURN abs(x -> x)",
    "RETURN list_transform(x -> x, [1])",
    "RETURN list_transform([1], abs(x -> x))",
    "RETURN list_transform([1], [(x, y) -> x])",
    "RETURN list_reduce([1], (x, y) -> 'a')",
    "RETURN list_any_value(null)",
    # A clause that no server has yet.
    "MATCH (i) RETURN i ERASE i",
    "MATCH (i) RETURN * ERASE i",
]
MESSAGES = {
    "CREATE (n)": r"CREATE is not allowed: it would write",
    "MATCH (n) SET n.x = 1": r"SET is not allowed: it would write.* backticks",
    "CALL db.labels()": r"CALL is not allowed: a query may use MATCH",
    "STOP DATABASE x": r"cannot start with 'STOP': start it with MATCH",
    "'MATCH' (n)": r"cannot start with",
    "RETURN toStrin(1)": r"no function toStrin that a query may call: use tostring",
    "RETURN apoc.load.json('x')": r"no function apoc.load.json .* docs/cypher.md",
    "RETURN 1 2": r"after 1 the query has 2, where an operator or a clause",
    "RETURN 'it''s'": r"after 'it' the query has 's'",
    "RETURN 1e5x": r"blanks after numbers",
    "RETURN 'a\n\x9b31m' 1": r"after .*a.n.x9b31m.* the query has 1",
    "RETURN 1 /* x": r"check quotes, comments",
    "RETURN '\\u0041'": r"\\u escape .* parameter",
    "RETURN 'C:\\\\users'": r"\\u escape .* parameter",
    "RETURN '\udcff'": r"U\+DCFF",
    "RETURN y\u00b2": r"backticks",
}


@pytest.mark.parametrize("text", READS)
def test_reading_queries_pass_unchanged(text):
    assert checked_cypher(text) == text


@pytest.mark.parametrize("text", [*WRITES, *CYPHER_SPLIT_IN_TWO_WAYS])
def test_all_others_are_refused(text):
    with pytest.raises(QueryRefusedError):
        checked_cypher(text)


@pytest.mark.parametrize("text", MESSAGES)
def test_refusals_say_what_is_wrong(text):
    with pytest.raises(QueryRefusedError, match=MESSAGES[text]) as caught:
        checked_cypher(text)
    assert "\n" not in str(caught.value)


def test_comments_are_not_sent():
    # Ladybug sees no end of a comment in **/, and so would see nothing but "SET i.title = 'x'".
    text = "MATCH (i:Item) /* **/ WHERE i. /* */ SET /* **/ = /* */ i.title = 'x' RETURN 1"
    sent = "MATCH (i:Item)   WHERE i.   SET   =   i.title = 'x' RETURN 1"
    assert checked_cypher(text) == sent
    text = "RETURN /* MERGE **/ 1 // DROP\r\n AS x /**/"
    assert checked_cypher(text) == "RETURN   1  \r\n AS x  "
    assert checked_cypher("RETURN '/* */ // x' AS x") == "RETURN '/* */ // x' AS x"


def test_letters_may_be_written_as_escapes():
    assert checked_cypher("RETURN 'gr\\u00F6\\u00dfe' AS x") == "RETURN 'größe' AS x"


def test_each_store_has_its_own_functions():
    assert checked_cypher("RETURN list_sort([2, 1])", LADYBUG)
    assert checked_cypher(
        "MATCH (i)-[:HAS* TRAIL 1..3]-(j)-[:HAS* ACYCLIC 2]-(k) RETURN i", LADYBUG
    )
    assert checked_cypher("RETURN localtime.realtime()", NEO4J)
    for text, dialect in (
        ("RETURN list_sort([2, 1])", NEO4J),
        ("RETURN rand()", LADYBUG),
        ("RETURN map_keys( null )", LADYBUG),
        ("CALL { RETURN 1 AS x } RETURN x", LADYBUG),
    ):
        assert checked_cypher(text, ANY_STORE)
        with pytest.raises(QueryRefusedError):
            checked_cypher(text, dialect)


def test_a_query_may_be_long_and_deep_but_not_endless():
    depth = MAX_DEPTH
    assert checked_cypher(f"RETURN {'[' * depth}1{']' * depth} AS x")
    numbers = ", ".join(str(number) for number in range(9_000))
    assert checked_cypher(f"MATCH (i) WHERE i.row IN [{numbers}] RETURN i")
    chain = " OR ".join(["i.row = 1"] * MAX_OPERATORS)
    cases = "CASE WHEN true THEN 1 ELSE " * 20
    for text, limit in (
        (f"RETURN {'(' * 51}1{')' * 51} AS x", f"{MAX_DEPTH} deep"),
        (f"MATCH (i) WHERE {chain} RETURN i", f"limit is {MAX_OPERATORS:,}"),
        (f"RETURN {'NOT ' * 5_000}true", f"limit is {MAX_OPERATORS:,}"),
        (f"RETURN {cases}1{' END' * 20} AS x", "CASE"),
        ("RETURN 1" + " " * MAX_CHARACTERS, f"limit is {MAX_CHARACTERS:,}"),
    ):
        with pytest.raises(QueryRefusedError, match=limit):
            checked_cypher(text)


def test_ladybug_has_every_function_that_is_allowed(tmp_path):
    with LadybugStore(tmp_path) as store:
        store.put(None, statements_table([statement()]))
        assert isinstance(store._graph, LadybugGraph)
        rows = store._graph.rows("CALL show_functions() RETURN DISTINCT name, type")
    names = {row["name"].lower() for row in rows if "TABLE" not in row["type"]}
    # Parts of the grammar, which are not listed.
    assert LADYBUG.functions - names == {"range", "cast"} & (LADYBUG.functions - names)
    not_allowed = {name for name in names - LADYBUG.functions if name.isidentifier()}
    assert not_allowed == {
        # State, files, and what only the server itself calls.
        *("nextval", "currval", "setseed", "error", "copy_csv", "copy_parquet", "count_star"),
        *("equals", "not_equals", "less_than", "less_than_equals", "greater_than"),
        *("greater_than_equals", "to_serial"),
        # It dies of some of their arguments.
        *("array_cross_product", "cost", "element_at", "gen_random_uuid", "list_any_value"),
        *("list_reduce",),
        *("repeat", "to_microseconds", "to_uuid", "uuid"),
    }


def test_what_glued_words_would_do_in_ladybug(tmp_path):
    """Without the guard they write: the reason for refusing them."""
    with LadybugStore(tmp_path) as store:
        store.put(None, statements_table([statement()]))
        assert isinstance(store._graph, LadybugGraph)
        for number, text in enumerate(CYPHER_SPLIT_IN_TWO_WAYS[:2]):
            params = {"1": "none"} if "$1" in text else {}
            connection = store._graph.connect()
            connection.execute(text.replace("'x'", f"'{number}'"), params)
            connection.close()
            (item,) = store.query("MATCH (i:Item) RETURN i.title").rows
            assert item == [str(number)]
