"""The processes that answer queries: their answers, their limits, and how they end."""

import gc
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kg.stores import query_pool, query_process
from kg.stores.open import open_store
from kg.stores.query_child import Engine, duration_text
from kg.stores.query_limits import QueryLimits
from kg.stores.query_pool import QueryPool
from kg.stores.query_process import GraphSource
from kg.stores.tables import items_table, statements_table
from schema.errors import (
    CatalographWarning,
    QueryLimitError,
    QueryTimeoutError,
    StoreError,
    UsageError,
)
from schema.terms import Item
from tests.contracts.rows import statement
from tests.faults.query_attacks import children

LIMITS = QueryLimits(memory_bytes=400_000_000)
ENDLESS = {
    Engine.LADYBUG: "MATCH (a:Item) MATCH (b:Item) MATCH (c:Item) MATCH (d:Item) "
    "WHERE a.id + b.id > c.id + d.id RETURN count(*)",
    Engine.OXIGRAPH: "SELECT (COUNT(*) AS ?n) { ?a ?b ?c . ?d ?e ?f . ?g ?h ?i . ?j ?k ?l }",
}
ONE = {Engine.LADYBUG: "RETURN 1 AS one", Engine.OXIGRAPH: "SELECT (1 AS ?one) { }"}
PARENT = """
import sys
from pathlib import Path
from typing import Any
from kg.stores.query_child import Engine
from kg.stores.query_limits import QueryLimits
from kg.stores.query_pool import QueryPool
from kg.stores.query_process import GraphSource
processes = QueryPool(GraphSource(Engine(sys.argv[1]), Path(sys.argv[2])))
processes.answer(sys.argv[3], {}, 60.0, QueryLimits())
print("ready", flush=True)
processes.answer(sys.argv[4], {}, 60.0, QueryLimits())
"""


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Return the graph's path for each engine, with 300 items."""
    folder = tmp_path_factory.mktemp("graphs")
    found = {}
    for engine, scheme in ((Engine.LADYBUG, "ladybug"), (Engine.OXIGRAPH, "rdf")):
        url = f"{scheme}:{folder / scheme}"
        with open_store(url) as store:
            statements = [statement(f"{number}") for number in range(300)]
            store.put(items_table([Item("0", "a title")]), statements_table(statements))
        with open_store(url, read_only=True) as opened:
            reader: Any = opened
            found[engine] = reader._graph.queries._source.path
    return found


@pytest.fixture(params=Engine)
def engine(request):
    return request.param


@pytest.fixture
def processes(engine, paths):
    found = QueryPool(GraphSource(engine, paths[engine]))
    yield found
    found.close()


@pytest.fixture
def ladybug(paths):
    found = QueryPool(GraphSource(Engine.LADYBUG, paths[Engine.LADYBUG]))
    yield found
    found.close()


def ask(processes, text, params=None, timeout=20.0, limits=LIMITS):
    return processes.answer(text, params or {}, timeout, limits)


def wait_for_end(process_id):
    """Wait until a process has ended, and return the seconds that this took."""
    began = time.monotonic()
    while time.monotonic() - began < 30:
        try:
            state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            break
        if state in "ZX":
            break
        time.sleep(0.01)
    return time.monotonic() - began


def wait_until(holds):
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_for_child():
    """Wait until a process has been started for a query, and return its id."""
    wait_until(children)
    return int(children()[0])


def processor_ticks(process_id):
    """Return how long a process has computed, in hundredths of a second."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


# Answers


def test_process_is_kept_for_the_next_query(processes, engine):
    assert ask(processes, ONE[engine]).rows == [[1]]
    (first,) = children()
    assert ask(processes, ONE[engine]).rows == [[1]]
    assert children() == [first]
    processes.close()
    assert children() == []


def test_failed_query_does_not_end_the_process(processes, engine):
    with pytest.raises(StoreError, match="the query failed") as caught:
        ask(processes, "RETURN nothing")
    assert "\n" not in str(caught.value)
    (first,) = children()
    assert ask(processes, ONE[engine]).rows == [[1]]
    assert children() == [first]


def test_what_was_put_is_seen_by_the_next_query(tmp_path):
    for scheme, method, text in (
        ("ladybug", "query", "MATCH (i:Item) RETURN i.id ORDER BY i.id"),
        ("rdf", "sparql", "SELECT ?id { ?i schema:identifier ?id } ORDER BY ?id"),
    ):
        with open_store(f"{scheme}:{tmp_path / scheme}") as store:
            for number in range(3):
                store.put(items_table([Item(f"{number}")]), None)
                assert getattr(store, method)(text).rows == [[f"{n}"] for n in range(number + 1)]


def test_values_of_every_type_become_json(ladybug):
    text = (
        "RETURN date('2020-01-02'), timestamp('2020-01-02 03:04:05'), interval('3 days 2 hours'), "
        "cast('1.50', 'DECIMAL(5,2)'), cast(7, 'DECIMAL(5,2)'), blob('\\\\xAA'), 2.5, true, NULL, "
        "[1, NULL], {a: 'x', b: [date('2020-01-02')]}, map([1], ['y']), $text, "
        "cast('ea4a8ea8-60c9-4e3b-bbd0-a4d5c3dd8a0f', 'UUID'), 'grün\N{BELL}\\n'"
    )
    assert ask(ladybug, text, {"text": "ä'\"\\"}).rows == [
        [
            "2020-01-02",
            "2020-01-02T03:04:05",
            "P3DT7200S",
            1.5,
            7,
            "aa",
            2.5,
            True,
            None,
            [1, None],
            {"a": "x", "b": ["2020-01-02"]},
            {"1": "y"},
            "ä'\"\\",
            "ea4a8ea8-60c9-4e3b-bbd0-a4d5c3dd8a0f",
            "grün\N{BELL}\n",
        ]
    ]


def test_nodes_and_statements_are_returned_without_internals(ladybug):
    text = "MATCH (i:Item {id: '0'})-[h:HAS]->(v:Value) RETURN i, h.property, v"
    ((item, property, value),) = ask(ladybug, text).rows
    assert item == {"id": "0", "title": "a title", "images": []}
    assert (property, value) == ("colour", {"text": "red"})


def test_paths_are_returned_as_nodes_and_relationships(ladybug):
    ((path,),) = ask(ladybug, "MATCH p = (:Item {id: '0'})-[:HAS*1..1]->(:Value) RETURN p").rows
    assert [node.get("id", node.get("text")) for node in path["nodes"]] == ["0", "red"]
    assert [each["property"] for each in path["relationships"]] == ["colour"]


def test_durations_are_written_as_iso_8601():
    from datetime import timedelta

    assert duration_text(timedelta(days=3, seconds=4, microseconds=500_000)) == "P3DT4.5S"
    assert duration_text(timedelta(seconds=-10)) == "-P0DT10S"


def test_reader_keeps_the_graph_that_it_opened(tmp_path):
    url = f"ladybug:{tmp_path / 'graph'}"
    with open_store(url) as store:
        store.put(items_table([Item("1")]), None)
    with open_store(url, read_only=True) as opened:
        reader: Any = opened
        path = reader._graph.queries._source.path
        path.rename(path.with_name("other"))
        path.write_bytes(b"nonsense")
        assert reader.query("MATCH (i:Item) RETURN i.id").rows == [["1"]]


def test_reader_whose_standard_streams_are_closed_keeps_the_graph(tmp_path):
    with open_store(f"ladybug:{tmp_path / 'graph'}") as store:
        store.put(items_table([Item("1")]), None)
    script = (
        "import os, sys; os.close(0); os.close(1)\n"
        "from kg.stores.open import open_store\n"
        "with open_store(sys.argv[1], read_only=True) as store:\n"
        "    rows = store.query('MATCH (i:Item) RETURN i.id').rows\n"
        "sys.exit(0 if rows == [['1']] else 3)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, f"ladybug:{tmp_path / 'graph'}"],
        stderr=subprocess.PIPE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_files_that_vanish_while_they_are_looked_at_do_no_harm(tmp_path, monkeypatch):
    paths = [tmp_path / "there", tmp_path / "gone"]
    paths[0].write_text("x")
    monkeypatch.setattr(query_process, "_with_content", lambda path: paths)
    state = GraphSource(Engine.OXIGRAPH, tmp_path).state()
    assert [name for name, *_ in state] == ["there"]


def test_parameters_that_json_cannot_hold_are_refused(ladybug):
    for value in (object(), {1, 2}, b"x"):
        with pytest.raises(UsageError, match="parameters"):
            ask(ladybug, "RETURN $x", {"x": value})


def test_large_parameters_are_taken_up_to_a_limit(ladybug, monkeypatch):
    value = "x" * 1_000_000
    assert ask(ladybug, "RETURN size($x)", {"x": value}).rows == [[1_000_000]]
    monkeypatch.setattr(query_pool, "MOST_REQUEST_BYTES", 1_000_000)
    with pytest.raises(UsageError, match="more than 1 MB"):
        ask(ladybug, "RETURN size($x)", {"x": value})


def test_parameters_that_need_too_much_memory_are_refused(ladybug, monkeypatch):
    monkeypatch.setattr(query_pool, "MOST_REQUEST_BYTES", 10**9)
    with pytest.raises(QueryLimitError, match="more than 400 MB of memory"):
        ask(ladybug, "RETURN size($x)", {"x": [[]] * 10_000_000}, timeout=60.0)


def test_process_whose_store_was_closed_meanwhile_is_not_kept(ladybug):
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, ladybug, ENDLESS[Engine.LADYBUG], timeout=1.0)
        wait_for_child()
        ladybug.close()
        assert isinstance(answer.exception(), QueryTimeoutError)
    ask(ladybug, "RETURN 1")
    assert children() == []


def test_queries_run_at_the_same_time(ladybug):
    with ThreadPoolExecutor(3) as pool:
        slow = pool.submit(ask, ladybug, ENDLESS[Engine.LADYBUG], timeout=60.0)
        busy = wait_for_child()
        quick = pool.submit(ask, ladybug, "RETURN 1")
        assert quick.result().rows == [[1]]
        assert not slow.done()
        os.kill(busy, signal.SIGKILL)
        assert isinstance(slow.exception(), StoreError)


def test_query_waits_no_longer_than_its_time_limit_for_others(ladybug, monkeypatch):
    monkeypatch.setattr(query_pool, "MOST_PROCESSES", 1)
    processes = QueryPool(GraphSource(Engine.LADYBUG, ladybug._source.path))
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(ask, processes, ENDLESS[Engine.LADYBUG], timeout=2.0)
        wait_for_child()
        with pytest.raises(QueryTimeoutError, match=r"1 other queries .* 0\.3 s"):
            ask(processes, "RETURN 1", timeout=0.3)
        assert isinstance(slow.exception(), QueryTimeoutError)
    assert ask(processes, "RETURN 1").rows == [[1]]
    processes.close()


# Limits


def test_query_is_stopped_at_its_time_limit(processes, engine):
    ask(processes, ONE[engine])
    began = time.monotonic()
    with pytest.raises(QueryTimeoutError, match=r"limit of 0\.5 s"):
        ask(processes, ENDLESS[engine], timeout=0.5)
    assert time.monotonic() - began < 15
    assert children() == []
    assert ask(processes, ONE[engine]).rows == [[1]]


def test_time_limit_holds_while_rows_are_read(ladybug):
    limits = QueryLimits(rows=10**9, answer_bytes=10**12, memory_bytes=2_000_000_000)
    ask(ladybug, "RETURN 1", limits=limits)
    began = time.monotonic()
    with pytest.raises(QueryTimeoutError):
        ask(ladybug, "UNWIND range(1, 50000000) AS x RETURN x, x, x", timeout=1.5, limits=limits)
    # All rows take minutes.
    assert time.monotonic() - began < 15


def test_answer_may_have_as_many_rows_as_its_limit(processes, engine):
    limits = QueryLimits(rows=300)
    texts = {
        Engine.LADYBUG: "MATCH (i:Item) RETURN i.id",
        Engine.OXIGRAPH: "SELECT ?i { ?i a schema:Product }",
    }
    assert len(ask(processes, texts[engine], limits=limits).rows) == 300
    limits = QueryLimits(rows=299)
    with pytest.raises(QueryLimitError, match=r"more than 299 rows: add LIMIT"):
        ask(processes, texts[engine], limits=limits)


def test_one_large_row_is_refused_before_it_is_read(ladybug):
    limits = QueryLimits(answer_bytes=1_000_000, memory_bytes=400_000_000)
    with pytest.raises(QueryLimitError, match="larger than 1 MB"):
        ask(ladybug, "RETURN repeat('x', 2000000)", limits=limits)


def test_answer_of_many_small_values_counts_what_they_take_in_memory(ladybug):
    limits = QueryLimits(answer_bytes=1_000_000, memory_bytes=400_000_000)
    text = "RETURN list_transform(range(1, 200000), x -> {a: x})"
    assert len(json.dumps({"a": 1})) * 80_000 < 1_000_000
    with pytest.raises(QueryLimitError, match="larger than 1 MB"):
        ask(ladybug, "UNWIND range(1, 80000) AS x RETURN {a: 1}", limits=limits)
    with pytest.raises(QueryLimitError):
        ask(ladybug, text, limits=limits)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Engine.LADYBUG, "RETURN size(list_transform(range(1, 50000000), x -> x * x))"),
        (Engine.LADYBUG, "WITH 'ab' AS t " + "WITH t + t AS t " * 40 + "RETURN size(t)"),
        (Engine.OXIGRAPH, "SELECT * { ?a ?b ?c . ?d ?e ?f . ?g ?h ?i } ORDER BY ?c ?f LIMIT 5"),
    ],
)
def test_query_that_needs_too_much_memory_is_ended(paths, number, text):
    processes = QueryPool(GraphSource(number, paths[number]))
    with pytest.raises(QueryLimitError, match=r"more than 400 MB of memory: .*--max-memory"):
        ask(processes, text, timeout=60.0)
    assert ask(processes, ONE[number]).rows == [[1]]
    processes.close()


def test_process_that_grew_large_is_not_kept(ladybug, monkeypatch):
    monkeypatch.setattr(query_process, "MOST_KEPT_BYTES", 1)
    assert ask(ladybug, "RETURN 1").rows == [[1]]
    assert children() == []


# Ends


def test_process_that_was_killed_is_replaced(processes, engine):
    ask(processes, ONE[engine])
    (child,) = children()
    os.kill(int(child), signal.SIGKILL)
    # Its last thread has to be gone: until then nothing tells it from one that lives.
    processes._idle[0]._process.wait()
    assert ask(processes, ONE[engine]).rows == [[1]]


def test_process_that_is_killed_within_a_query_gives_one_line(processes, engine):
    ask(processes, ONE[engine])
    (child,) = children()
    with ThreadPoolExecutor(1) as pool:
        before = processor_ticks(int(child))
        answer = pool.submit(ask, processes, ENDLESS[engine])
        wait_until(lambda: processor_ticks(int(child)) > before + 5)
        os.kill(int(child), signal.SIGKILL)
        with pytest.raises(StoreError, match=r"ended its process .SIGKILL.") as caught:
            answer.result()
    assert "\n" not in str(caught.value)
    assert ask(processes, ONE[engine]).rows == [[1]]


def test_query_that_crashes_its_process_gives_one_line(paths):
    processes = QueryPool(GraphSource(Engine.OXIGRAPH, paths[Engine.OXIGRAPH]))
    with pytest.raises(StoreError, match=r"ended its process .SIGSEGV."):
        ask(processes, f"SELECT ({'(' * 20_000}1{')' * 20_000} AS ?x) {{ }}")
    assert ask(processes, ONE[Engine.OXIGRAPH]).rows == [[1]]
    processes.close()


@pytest.mark.parametrize("is_busy", [False, True])
def test_process_ends_when_its_parent_is_killed(engine, paths, is_busy):
    second = ENDLESS[engine] if is_busy else ONE[engine]
    # Otherwise the parent would end in good order before it is killed.
    script = PARENT if is_busy else f"{PARENT}\nimport time; time.sleep(60)\n"
    parent = subprocess.Popen(
        [sys.executable, "-c", script, engine, str(paths[engine]), ONE[engine], second],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    (child,) = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    time.sleep(0.3)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_for_end(child) < 5


def test_store_that_is_never_closed_leaves_no_process_behind(paths):
    processes = QueryPool(GraphSource(Engine.LADYBUG, paths[Engine.LADYBUG]))
    ask(processes, "RETURN 1")
    assert len(children()) == 1
    del processes
    gc.collect()
    assert children() == []


def test_graph_that_cannot_be_opened_gives_one_line(tmp_path):
    path = tmp_path / "graph.lbug"
    path.write_bytes(b"nonsense" * 1000)
    with path.open("rb") as file:
        for source in (
            GraphSource(Engine.LADYBUG, path),
            GraphSource(Engine.LADYBUG, path, file.fileno()),
        ):
            with pytest.raises(StoreError, match=f"{path} is damaged .*rebuild") as caught:
                ask(QueryPool(source), "RETURN 1")
            assert "\n" not in str(caught.value)
    assert children() == []


def test_quads_that_cannot_be_opened_give_one_line(tmp_path):
    with pytest.raises(StoreError, match=str(tmp_path)) as caught:
        ask(QueryPool(GraphSource(Engine.OXIGRAPH, tmp_path)), ONE[Engine.OXIGRAPH])
    assert "\n" not in str(caught.value)
    assert children() == []


def test_process_gets_no_environment(ladybug, monkeypatch):
    monkeypatch.setenv("NEO4J_PASSWORD", "secret")
    ask(ladybug, "RETURN 1")
    (child,) = children()
    assert b"secret" not in Path(f"/proc/{child}/environ").read_bytes()


# A process that lies


READY = "send(b'=', b'[]'); "
LIAR = """
import json, os, struct, sys, time
def send(kind, data):
    os.write(1, struct.pack('>cI', kind, len(data)) + data)
def read():
    header = os.read(0, 5)
    return os.read(0, struct.unpack('>cI', header)[1]) if header else sys.exit()
read()
{lies}
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("lies", "message"),
    [
        ("", "did not start within"),
        ("sys.exit()", "ended while it opened"),
        ("send(b'F', b'\"broken\"')", "no query can be answered: broken"),
        ("send(b'=', b'{')", "no valid answer"),
        (READY + "read(); sys.exit()", "ended its process .exit code 0."),
        (READY + "read()", "ran past its limit of 1 s"),
        (READY + "read(); os.close(1)", "ended its process .SIGKILL."),
        (READY + "read(); os.write(1, b'nonsense, and more of it')", "larger than|valid answer"),
        (READY + "read(); send(b'x', b'[]')", "no valid answer"),
        (READY + "read(); send(b'C', b'1')", "no valid answer"),
        (READY + "read(); send(b'C', b'[1'); send(b'.', b'')", "no valid answer"),
        (READY + "read(); send(b'C', b'[1]'); send(b'R', b'[[1, 2]]')", "no valid answer"),
        (READY + "read(); send(b'C', b'[1]'); send(b'R', b'{\"a\": 1}')", "no valid answer"),
        (READY + "read(); send(b'C', b'[1]'); send(b'R', b'[' * 100000)", "no valid answer"),
        (READY + "read(); send(b'C', b'[1]'); send(b'R', b'\\xff')", "no valid answer"),
        (READY + "read(); os.write(1, struct.pack('>cI', b'R', 4000000000))", "larger than"),
        (READY + "read()\nwhile True: send(b'R', b'[]')", "ran past|larger than"),
        (READY + "read(); send(b'F', b'{}')", "the query failed"),
        (
            READY + "read(); send(b'F', json.dumps('a\\nb ' * 999).encode())",
            r"\(a b a [ab ]{,195}\)",
        ),
    ],
)
def test_process_that_lies_gives_one_line(ladybug, monkeypatch, lies, message):
    monkeypatch.setattr(query_process, "_program", lambda: LIAR.format(lies=lies))
    monkeypatch.setattr(query_process, "START_SECONDS", 2.0)
    with pytest.raises(StoreError, match=message) as caught:
        ask(ladybug, "RETURN 1", timeout=1.0)
    assert "\n" not in str(caught.value)


def test_what_the_system_cannot_take_away_is_said(ladybug, monkeypatch):
    lies = "send(b'=', b'[\"the network\"]'); read(); send(b'C', b'[]'); send(b'.', b'')"
    monkeypatch.setattr(query_process, "_program", lambda: LIAR.format(lies=lies))
    with pytest.warns(CatalographWarning, match="cannot take the network from the process"):
        ask(ladybug, "RETURN 1")
