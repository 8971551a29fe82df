"""What the SPARQL guard lets pass, how it writes that anew, and what it refuses."""

import socket
import threading
from contextlib import contextmanager, suppress

import pytest
from pyoxigraph import Literal, NamedNode, Quad, QueryBoolean, Store

from kg.stores.query_text import MAX_CHARACTERS, MAX_DEPTH, MAX_OPERATORS
from kg.stores.sparql_functions import XPATH
from kg.stores.sparql_guard import checked_sparql, chosen_graphs
from kg.stores.sparql_tokens import MAX_WRITTEN_CHARACTERS
from schema.errors import QueryRefusedError
from schema.iris import PREFIXES
from tests.kg.stores.harmless import ALL_SPARQL
from tests.kg.stores.hostile import SPARQL as HOSTILE
from tests.kg.stores.tricks import SPARQL_GLUED

WRITTEN_ANEW = {
    "ask{?s ?p ?o}": "ASK { ?s ?p ?o }",
    "SELECT $x{$x a rank:b}": "SELECT ?x { ?x a <urn:catalograph:rank:b> }",
    "PREFIX : <urn:x:> ASK { : :a\\~b :%20c }": "ASK { <urn:x:> <urn:x:a~b> <urn:x:%20c> }",
    "BASE <http://a/b/c> BASE <../d> PREFIX y: <e/> ASK { <f> y:g <#h> }": (
        "BASE <http://a/d> ASK { <http://a/f> <http://a/e/g> <http://a/d#h> }"
    ),
    "ASK { ?s ?p '''a\"\n'b''', 'c\\td\\'', '', \"\"\"\"\"\" }": (
        'ASK { ?s ?p "a\\"\\n\'b" , "c\\td\'" , "" , "" }'
    ),
    "ASK { ?s ?p 'a' @en-GB, '1' ^^ <urn:t> }": 'ASK { ?s ?p "a"@en-GB , "1"^^<urn:t> }',
    "ASK { _:x ?p _:y . _:x ?q [ ], (# none\n) }": "ASK { _:b0 ?p _:b1 . _:b0 ?q [] , () }",
    "ASK { FILTER(?x-1<2&&!FALSE) }": "ASK { FILTER( ?x -1 < 2 && ! false ) }",
    "ASK { FILTER(CONCAT ('a')IN('a')) }": 'ASK { FILTER( CONCAT( "a" ) IN( "a" ) ) }',
    "\\u0041SK { ?s ?p '\\u00e9\\U0001F600' }": 'ASK { ?s ?p "é😀" }',
    "ASK { ?s <urn:p>*/^<urn:q> 1e5 . ?s ?p -.5 }": (
        "ASK { ?s <urn:p>* / ^ <urn:q> 1e5 . ?s ?p -.5 }"
    ),
    "ASK { ?s (a)? ?o; a+ ?x FILTER(2 * (?x) * 3) }": (
        "ASK { ?s ( a )? ?o ; a+ ?x FILTER( 2 * ( ?x )* 3 ) }"
    ),
}


def refusal(text):
    """Return the one line with which a query is refused."""
    with pytest.raises(QueryRefusedError) as caught:
        checked_sparql(text)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


@contextmanager
def canary():
    """Listen at a local port; yield its address, and the list of what arrives."""
    heard: list[bytes] = []

    def listen():
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                heard.append(connection.recv(100))
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/", heard
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def store():
    quads = Store()
    for number in range(3):
        subject = NamedNode(f"urn:catalograph:item:P{number}")
        for predicate in ("identifier", "name", "category"):
            value = Literal(f"{predicate} {number % 2}")
            quads.add(Quad(subject, NamedNode(f"https://schema.org/{predicate}"), value))
    return quads


def answer(quads, text):
    """Return a store's answer in a form that can be compared."""
    result = quads.query(text, prefixes=PREFIXES, use_default_graph_as_union=True)
    if isinstance(result, QueryBoolean):
        return bool(result)
    rows = []
    try:
        for each in result:
            rows.append(str(each))
    finally:
        # An error's traceback would keep the answer, which only this thread may release.
        del result
    return sorted(rows)


@pytest.mark.parametrize("text", WRITTEN_ANEW)
def test_queries_are_written_anew(text):
    assert checked_sparql(text) == WRITTEN_ANEW[text]


@pytest.mark.parametrize("text", ALL_SPARQL)
def test_what_is_written_means_the_same_and_passes_again(text):
    written = checked_sparql(text)
    assert checked_sparql(written) == written
    quads = store()
    assert answer(quads, written) == answer(quads, text)


def test_words_within_names_stay_names():
    text = "PREFIX x: <urn:> SELECT ?SERVICE { ?SERVICE x:a.SERVICE:x _:SERVICE }"
    assert checked_sparql(text) == "SELECT ?SERVICE { ?SERVICE <urn:a.SERVICE:x> _:b0 }"


def test_listener_hears_a_query_only_without_the_guard():
    with canary() as (address, heard):
        quads = store()
        for text in HOSTILE:
            aimed = text.replace("http://127.0.0.1:1/", address)
            with suppress(QueryRefusedError, SyntaxError, OSError, ValueError, RuntimeError):
                answer(quads, checked_sparql(aimed))
        assert heard == []
        with suppress(OSError):
            answer(quads, SPARQL_GLUED[0].replace("http://127.0.0.1:1/", address))
        assert len(heard) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot start with ''"),
        ("STOP", "STOP is not allowed"),
        ("?x", "cannot start with"),
        ("SELECT * { SERVICE <urn:x> {} }", "SERVICE is not allowed.* only read this store"),
        ("INSERT DATA { <urn:x> <urn:y> 1 }", "INSERT is not allowed in a query: it would write"),
        ("SELECT ?x { ?x", "after .x the query has the end, where SPARQL expects"),
        ("SELECT ?x { GRAPH { } }", "after GRAPH the query has {, where .* iri or variable"),
        ("ASK { ?s x:y ?o }", "prefix 'x' is not declared"),
        ("ASK { ?s <y> ?o }", "<y> is relative"),
        ("BASE <urn:x:> ASK { <_:a:b> ?p ?o }", "cannot be resolved"),
        ("PREFIX x <urn:x> ASK {}", "PREFIX is followed by 'x'"),
        ("PREFIX x:y <urn:x> ASK {}", "PREFIX is followed by 'x:y'"),
        ("BASE x: ASK {}", "in place of an IRI"),
        ("ASK { FILTER(<urn:f>(1)) }", "function <urn:f> is not allowed"),
        ("SELECT (COUNT(<java:java.lang.System>(1)) AS ?x) {}", "run code"),
        ("ASK { ?s <JAVA:x.Y> ?o }", "run code"),
        ("ASK { ?s bif:contains ?o }", "not declared"),
        ("ASK { FILTER(?x<?y&&?z>1) }", "blanks around < and >"),
        ("ASK { ?s ?p '\\\\u0041' }", "two ways"),
        ("ASK { ?s ?p '\\ud800' }", "U\\+D800"),
        ("ASK { ?s ?p '\udcff' }", "U\\+DCFF"),
        ("ASK { ?s ?p '\\U00110000' }", "no escape"),
        ("ASK { ?s ?p 'a }", "check quotes"),
        ("ASK\u00a0{}", "check quotes"),
        ("ASK {}\x0c", "U\\+000C"),
    ],
)
def test_refusals_say_what_is_wrong(text, message):
    with pytest.raises(QueryRefusedError, match=message):
        checked_sparql(text)
    refusal(text)


def test_functions_that_only_compute_pass():
    assert checked_sparql("ASK { FILTER(xsd:integer('1') = 1) }")
    assert checked_sparql(f"PREFIX fn: <{XPATH}> ASK {{ FILTER(fn:starts-with('ab', 'a')) }}")


@pytest.mark.parametrize(
    "call",
    [
        # Jena's: it loads a Java class.
        "fn:apply(IRI(CONCAT('ja', 'va:java.lang.System')), 1)",
        # MarkLogic's.
        "fn:doc('http://127.0.0.1:1/')",
        "fn:collection()",
        "<http://www.w3.org/2005/xpath-functions/math#../x>(1)",
        "xsd:(1)",
    ],
)
def test_functions_that_reach_outside_are_refused(call):
    for text in (
        f"ASK {{ FILTER({call}) }}",
        f"SELECT (COUNT({call}) AS ?n) {{ }}",
        f"SELECT ({call} AS ?x) {{ }}",
        f"ASK {{ BIND({call} AS ?x) }}",
        f"SELECT * {{ }} ORDER BY DESC({call})",
        f"SELECT ?x {{ }} GROUP BY {call} HAVING({call})",
    ):
        assert "is not allowed" in refusal(f"PREFIX fn: <{XPATH}> {text}")


def test_a_query_may_be_long_and_deep_but_not_endless():
    depth = MAX_DEPTH - 1
    assert checked_sparql("ASK " + "{ " * MAX_DEPTH + "} " * MAX_DEPTH)
    assert checked_sparql(f"ASK {{ FILTER{'(' * depth}1{')' * depth} }}")
    assert f"{MAX_DEPTH} deep" in refusal("ASK " + "{" * 60 + "}" * 60)
    assert "flatten" in refusal("ASK { FILTER(" + "!(" * 5_000 + "true" + ")" * 5_000 + ") }")
    assert "flatten" in refusal("ASK { ?s " + "(" * 20_000)
    chain = " || ".join(["?o = 1"] * (MAX_OPERATORS + 2))
    assert f"limit is {MAX_OPERATORS:,}" in refusal(f"ASK {{ ?s ?p ?o FILTER({chain}) }}")
    values = "1 " * 30_000
    assert checked_sparql(f"SELECT * {{ VALUES ?x {{ {values} }} }}")
    assert f"limit is {MAX_CHARACTERS:,}" in refusal("ASK {}" + " " * MAX_CHARACTERS)
    names = f"PREFIX x: <urn:{'x' * 1_000}> ASK {{ ?s ?p {','.join(['x:a'] * 9_000)} }}"
    assert f"{MAX_WRITTEN_CHARACTERS:,}" in refusal(names)


def test_graphs_chosen_by_the_query_are_seen():
    query = checked_sparql("SELECT * from rank:asserted FROM # x\n named<urn:x>{}")
    assert chosen_graphs(query) == ["urn:catalograph:rank:asserted", "urn:x"]
    assert chosen_graphs(checked_sparql("ASK { ?from schema:from 'FROM', <urn:x> } # FROM")) == []
