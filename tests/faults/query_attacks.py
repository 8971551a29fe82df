"""Queries that want all time, all memory or an endless answer, and what becomes of them.

Each is sent past the guards, which refuse some of them, to a process like those that answer users'
queries. Whatever it does, it has to end within its limits, and the next query has to be answered.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kg.stores.open import open_store
from kg.stores.query_child import Engine
from kg.stores.query_limits import QueryLimits
from kg.stores.query_pool import QueryPool
from kg.stores.tables import items_table, statements_table
from schema.errors import CatalographError
from schema.terms import Item, Statement
from tests.faults.trials import Outcome, Plan

ITEMS = 1_000
PROPERTIES = 6
SPARE_SECONDS = 1.0
"""How long after its time limit a query may end."""
SPARE_BYTES = 150_000_000
"""What a process may have besides its limit of memory: what it begins with, and a margin."""
PARENT_BYTES = 400_000_000
"""How much the process that asks may grow by an answer."""
TIMEOUT = 5.0
LIMITS = QueryLimits(memory_bytes=1_000_000_000)


def crossed(*names: str) -> str:
    """Return MATCH clauses whose answers are all combinations of items."""
    return " ".join(f"MATCH ({name}:Item)" for name in names)


def doubled(times: int) -> str:
    """Return WITH clauses that double the length of a text."""
    return "WITH 'ab' AS t " + "WITH t + t AS t " * times


def nested(opening: str, inner: str, closing: str, depth: int) -> str:
    """Return a text within as many pairs of others."""
    return opening * depth + inner + closing * depth


ALL = "MATCH (i:Item)-[h:HAS]->(v:Value)"
HUGE = "range(1, 1000000000)"
LARGE = "range(1, 3000000)"
MILLION = "range(1, 1000000)"
PARTNERS = "MATCH (a:Item)-[:HAS]-(b)-[:HAS]-(c)-[:HAS]-(d)"

CYPHER = {
    # Products
    "product": f"{crossed(*'abcd')} RETURN count(*)",
    "product with a condition": f"{crossed(*'abc')} WHERE a.id + b.id > c.id RETURN count(*)",
    "product of nodes": f"{crossed(*'abc')} RETURN a, b, c",
    "product of ids": f"{crossed(*'abc')} RETURN a.id, b.id, c.id",
    "product, distinct": f"{crossed(*'ab')} RETURN DISTINCT a.id + b.id + a.title",
    "product, ordered": f"{crossed(*'abc')} RETURN a.id AS x ORDER BY x + b.id + c.id LIMIT 5",
    "product, grouped": f"{crossed(*'ab')} RETURN a.title + b.title AS x, count(*) ORDER BY x",
    "product, collected": f"{crossed(*'abc')} RETURN collect(a.title + b.title + c.title)",
    "product, skipped": f"{crossed(*'abc')} RETURN a.id SKIP 900000000",
    "product of optional matches": "MATCH (a:Item) OPTIONAL MATCH (b:Item) OPTIONAL MATCH (c:Item) "
    "OPTIONAL MATCH (d:Item) WHERE d.id > a.id RETURN max(a.id + b.id + c.id + d.id)",
    "product of statements": "MATCH (a)-[x:HAS]->(b) MATCH (c)-[y:HAS]->(d) "
    "MATCH (e)-[z:HAS]->(f) RETURN count(DISTINCT x.id + y.id + z.id)",
    # Paths
    "paths of any length": "MATCH (a:Item)-[*1..30]-(b) RETURN count(*)",
    "paths returned": "MATCH p = (a:Item)-[:HAS*2..8]-(b:Item) RETURN p",
    "paths' nodes": "MATCH p = (a:Item)-[:HAS*1..10]-(b) RETURN nodes(p), rels(p)",
    "trails": "MATCH p = (a:Item)-[:HAS* TRAIL 1..12]-(b) RETURN length(p), count(*)",
    "all shortest paths": "MATCH p = (a:Item)-[:HAS* ALL SHORTEST 1..20]-(b:Item) RETURN count(p)",
    "shortest paths": "MATCH p = (a)-[:HAS* SHORTEST 1..30]-(b) RETURN p",
    "chain counted": f"{PARTNERS}-[:HAS]-(e)-[:HAS]-(f) RETURN count(*)",
    "chain returned": f"{PARTNERS} RETURN a, b, c, d",
    # Lists
    "range unwound": f"UNWIND {HUGE} AS x RETURN count(x)",
    "two ranges unwound": f"UNWIND {MILLION} AS x UNWIND {MILLION} AS y RETURN count(x + y)",
    "rows without end": f"UNWIND {LARGE} AS x RETURN x, 'some text'",
    "huge range returned": f"RETURN {HUGE}",
    "large range returned": f"RETURN {LARGE}",
    "ranges of ranges": f"UNWIND {LARGE} AS x RETURN range(1, x)",
    "range for each item": f"MATCH (i:Item) RETURN i.id, {LARGE}",
    "range collected": "UNWIND range(1, 100000000) AS x RETURN collect(x)",
    "collections collected": f"{crossed(*'ab')} WITH a, collect(b) AS l RETURN collect(l)",
    "all collected": f"{ALL} WITH collect(i) AS a, collect(h) AS b UNWIND a AS x UNWIND b AS y "
    "RETURN x, y, a",
    "range sorted": f"RETURN list_sort(list_transform({LARGE}, x -> cast(x * 7, 'STRING')))",
    "range transformed": f"RETURN size(list_transform({HUGE}, x -> x * x))",
    "range made texts": f"RETURN list_transform({LARGE}, x -> 'text ' + cast(x, 'STRING'))",
    "range filtered": f"RETURN list_filter({HUGE}, x -> x = 0)",
    "list doubled": "WITH [1, 2] AS l " + "WITH l + l AS l " * 40 + "RETURN size(l)",
    "lists collected": f"UNWIND {MILLION} AS x WITH collect([x, x]) AS l UNWIND l AS m RETURN l, m",
    "lists, distinct": f"UNWIND {LARGE} AS x RETURN DISTINCT [x, x + 1, x + 2]",
    "texts, unique": f"RETURN list_unique(list_transform({LARGE}, x -> cast(x, 'STRING')))",
    "range, distinct": "UNWIND range(1, 200000000) AS x RETURN count(DISTINCT x)",
    "range, ordered": "UNWIND range(1, 50000000) AS x WITH x ORDER BY x % 1000 RETURN x",
    # Texts
    "text doubled": f"{doubled(40)} RETURN size(t)",
    "doubled text returned": f"{doubled(28)} RETURN t",
    "text reduced": f"RETURN size(list_reduce(list_transform({MILLION}, x -> 'text'), "
    "(a, b) -> a + b))",
    "text repeated": "RETURN size(repeat('x', 2000000000))",
    "repeated text returned": "RETURN repeat('some text', 100000000)",
    "text padded": "RETURN size(lpad('x', 2000000000, 'y'))",
    "padded text returned": "RETURN rpad('x', 500000000, 'yz')",
    "long text in each row": f"UNWIND {LARGE} AS x RETURN repeat('x', 1000000)",
    "long texts collected": f"UNWIND {MILLION} AS x RETURN collect(repeat('x', 100000))",
    "text replaced": "WITH repeat('x', 1000000) AS t RETURN size(replace(t, 'x', t))",
    "text split": "RETURN size(string_split(repeat('a,', 100000000), ','))",
    "text reversed": "UNWIND range(1, 1000) AS x RETURN reverse(repeat('äöü', 10000000))",
    "titles joined": f"{ALL} WITH collect(i.title + v.text) AS l UNWIND l AS x UNWIND l AS y "
    "RETURN collect(x + y)",
    "expression backtracks": "RETURN regexp_matches(repeat('a', 5000) + '!', '^(a+)+$')",
    "expression counts": "RETURN regexp_matches(repeat('a', 99999), '((a{0,99}){0,99}){0,99}')",
    "expression on pairs": f"{crossed(*'abc')} WHERE regexp_matches(a.title + b.title + c.id, "
    "'(.*a.*)*(.*b.*)*c') RETURN count(*)",
    "expression's matches": "RETURN regexp_extract_all(repeat('a', 50000000), 'a')",
    # Answers
    "whole graph twice": f"{ALL} MATCH (j:Item)-[k:HAS]->(w:Value) RETURN i, h, v, j, k, w",
    "wide rows": f"{crossed(*'ab')} RETURN {', '.join(f'a AS a{n}, b AS b{n}' for n in range(99))}",
    "maps": f"UNWIND {LARGE} AS x RETURN {{a: x, b: {{c: x, d: [x, x]}}}}",
    "unions": " UNION ALL ".join([f"{crossed(*'abc')} RETURN a.id + b.id + c.id AS x"] * 20),
    "unions, distinct": " UNION ".join(f"UNWIND {LARGE} AS x RETURN x + {n} AS x" for n in "12345"),
    "many unions": " UNION ALL ".join(["MATCH (i:Item) RETURN i.id AS x"] * 2000),
    # The text itself
    "brackets": f"RETURN {nested('(', '1', ')', 20_000)}",
    "lists in lists": f"RETURN {nested('[', '1', ']', 5_000)}",
    "maps in maps": f"RETURN {nested('{a: ', '1', '}', 3_000)}",
    "CASE in CASE": f"RETURN {nested('CASE WHEN true THEN ', '1', ' ELSE 0 END', 2_000)}",
    "NOT of NOT": f"RETURN {'NOT ' * 20_000} true",
    "functions of functions": f"RETURN {nested('abs(', '1', ')', 5_000)}",
    "EXISTS in EXISTS": "MATCH (a:Item) WHERE "
    + nested("EXISTS { MATCH (a)-[:HAS]->(b) WHERE ", "true", " }", 100)
    + " RETURN a.id",
    "long sum": f"RETURN {' + '.join(['1'] * 50_000)}",
    "long condition": f"MATCH (i:Item) WHERE {' AND '.join(['i.id > $x'] * 20_000)} RETURN i.id",
    "long text": f"RETURN '{'x' * 20_000_000}'",
    "many WITH": "WITH 1 AS x " + "WITH x + 1 AS x " * 20_000 + "RETURN x",
    "many patterns": f"MATCH {', '.join(f'(a{n}:Item)' for n in range(500))} RETURN count(*)",
    "long chain": f"MATCH (a:Item){''.join(f'-[:HAS]-(a{n})' for n in range(60))} RETURN count(*)",
}
"""Cypher by name. Some fail at once, because Ladybug has no such function or reads no such text."""

PAIRS = "?a ?b ?c . ?d ?e ?f"
THREE = f"{PAIRS} . ?g ?h ?i"
STEP = "(!<urn:x>|^!<urn:x>)"
"""A path from a node to any that it is connected with."""


def combined(columns: int) -> str:
    """Return patterns whose answers are all combinations of a hundred numbers."""
    numbers = " ".join(map(str, range(100)))
    return " ".join(f"VALUES ?n{each} {{ {numbers} }}" for each in range(columns))


def bound(times: int) -> str:
    """Return BINDs that double the length of a text."""
    binds = " ".join(f"BIND(CONCAT(?t{n}, ?t{n}) AS ?t{n + 1})" for n in range(times))
    return f"BIND('ab' AS ?t0) {binds}"


SPARQL = {
    # Products
    "product": f"SELECT (COUNT(*) AS ?n) {{ {THREE} }}",
    "product returned": f"SELECT * {{ {THREE} }}",
    "product, distinct": f"SELECT DISTINCT ?a ?d ?f {{ {THREE} }}",
    "product, ordered": f"SELECT * {{ {THREE} }} ORDER BY ?c ?f ?i LIMIT 5",
    "product, ordered by text": f"SELECT ?a {{ {THREE} }} ORDER BY CONCAT(STR(?c), STR(?f))",
    "product, grouped": f"SELECT ?c ?f (COUNT(*) AS ?n) {{ {THREE} }} GROUP BY ?c ?f",
    "product, grouped by text": f"SELECT ?t (COUNT(*) AS ?n) {{ {PAIRS} "
    "BIND(CONCAT(STR(?a), STR(?d), STR(?c)) AS ?t) } GROUP BY ?t",
    "product, filtered": f"SELECT * {{ {THREE} FILTER(CONCAT(STR(?a), STR(?d)) = STR(?g)) }}",
    "product, skipped": f"SELECT * {{ {THREE} }} OFFSET 2000000000",
    "product in EXISTS": "SELECT * { ?x ?y ?z "
    f"FILTER NOT EXISTS {{ {THREE} FILTER(?a = ?i && ?c = ?x) }} }}",
    "product in MINUS": f"SELECT * {{ {PAIRS} MINUS {{ {THREE} }} }}",
    "product in OPTIONAL": "SELECT * { ?a ?b ?c OPTIONAL { ?d ?e ?f OPTIONAL { ?g ?h ?i } } }",
    "product of numbers": f"SELECT * {{ {combined(8)} }}",
    "product of numbers, summed": f"SELECT (SUM(?n0 * ?n7) AS ?s) {{ {combined(8)} }}",
    "product asked for": f"ASK {{ {THREE} FILTER(?a = 1 && ?d = 2) }}",
    "product of graphs": "SELECT * "
    "{ GRAPH ?p { ?a ?b ?c } GRAPH ?q { ?d ?e ?f } GRAPH ?r { ?g ?h ?i } }",
    "product of subqueries": "SELECT * "
    "{ { SELECT * { ?a ?b ?c } } { SELECT * { ?d ?e ?f } } { SELECT * { ?g ?h ?i } } }",
    # Paths
    "paths": "SELECT * { ?a (!<urn:x>)* ?b }",
    "paths back and forth": f"SELECT * {{ ?a {STEP}* ?b }}",
    "paths of paths": f"SELECT * {{ ?a ({STEP}*/{STEP}*)* ?b }}",
    "paths counted": f"SELECT (COUNT(*) AS ?n) {{ ?a {STEP}+ ?b . ?b {STEP}+ ?c }}",
    "long path": f"SELECT * {{ ?a {'/'.join([STEP] * 12)} ?b }}",
    "nested path": f"SELECT * {{ ?a {nested('(', '<urn:x>', ')*', 500)} ?b }}",
    # Texts
    "text doubled": f"SELECT (STRLEN(?t40) AS ?n) {{ {bound(40)} }}",
    "doubled text returned": f"SELECT ?t29 {{ {bound(29)} }}",
    "doubled text in each row": f"SELECT ?t20 {{ ?a ?b ?c {bound(20)} }}",
    "texts joined": f"SELECT (GROUP_CONCAT(STR(?a)) AS ?t) {{ {THREE} }}",
    "joined texts joined": "SELECT (GROUP_CONCAT(?t) AS ?u) "
    f"{{ ?x ?y ?z {{ SELECT (GROUP_CONCAT(STR(?a)) AS ?t) {{ {PAIRS} }} }} }}",
    "text replaced": f"SELECT (STRLEN(REPLACE(?t20, 'a', ?t20)) AS ?n) {{ {bound(20)} }}",
    "text multiplied": f"SELECT (REPLACE(?t20, '(.)', '{'$1' * 20}') AS ?n) "
    f"{{ ?a ?b ?c {bound(20)} }}",
    "text encoded": "SELECT (ENCODE_FOR_URI(ENCODE_FOR_URI(ENCODE_FOR_URI(?t26))) AS ?u) "
    f"{{ {bound(26)} }}",
    "expression backtracks": f"SELECT * {{ {bound(20)} FILTER(REGEX(?t20, '^(a|b|ab)+c$')) }}",
    "expression counts": f"SELECT * {{ {bound(20)} "
    "FILTER(REGEX(?t20, '((a{0,99}){0,99}){0,99}b')) }",
    "expressions made": f"SELECT * {{ {THREE} "
    "FILTER(REGEX(STR(?c), CONCAT(STR(?f), '.*', STR(?i)))) }",
    "hashes": f"SELECT (COUNT(DISTINCT SHA512(CONCAT(STR(?a), STR(?d)))) AS ?n) {{ {PAIRS} }}",
    "random identifiers": f"SELECT DISTINCT (UUID() AS ?u) {{ {PAIRS} }}",
    # Answers
    "triples made": f"CONSTRUCT {{ ?a ?b ?i . ?d ?e ?c . ?g ?h ?f }} WHERE {{ {THREE} }}",
    "nodes made": f"CONSTRUCT {{ [] ?b ?c . [] ?e ?f }} WHERE {{ {PAIRS} }}",
    "all described": f"DESCRIBE ?a ?d ?g {{ {THREE} }}",
    "wide rows": f"SELECT {' '.join(f'(?a AS ?x{n}) (?f AS ?y{n})' for n in range(100))} "
    f"{{ {PAIRS} }}",
    "unions": f"SELECT * {{ {' UNION '.join([f'{{ {THREE} }}'] * 100)} }}",
    # The text itself
    "groups in groups": f"SELECT * {{ {nested('{ ', '?a ?b ?c', ' }', 10_000)} }}",
    "brackets": f"SELECT ({nested('(', '1', ')', 20_000)} AS ?x) {{ }}",
    "NOT of NOT": f"SELECT ({'!' * 20_000} true AS ?x) {{ }}",
    "functions of functions": f"SELECT ({nested('ABS(', '1', ')', 5_000)} AS ?x) {{ }}",
    "subqueries in subqueries": nested("SELECT * { { ", "ASK", " } }", 300).replace(
        "ASK", "?a ?b 1"
    ),
    "OPTIONAL in OPTIONAL": f"SELECT * {{ {nested('OPTIONAL { ?a ?b ?c ', '', ' }', 3_000)} }}",
    "EXISTS in EXISTS": "SELECT * { ?a ?b ?c "
    f"{nested('FILTER EXISTS { ?a ?b ?c ', '', ' }', 300)} }}",
    "long sum": f"SELECT ({' + '.join(['1'] * 50_000)} AS ?x) {{ }}",
    "long text": f"SELECT ('{'x' * 20_000_000}' AS ?x) {{ }}",
    "many values": f"SELECT * {{ VALUES ?x {{ {' '.join(map(str, range(200_000)))} }} ?a ?b ?c }}",
    "many patterns": f"SELECT * {{ {' . '.join(f'?a{n} ?b{n} ?c{n}' for n in range(200))} }}",
}
"""SPARQL by name."""

FIRST_QUERY = {Engine.LADYBUG: "RETURN 1 AS one", Engine.OXIGRAPH: "SELECT (1 AS ?one) { }"}
ATTACKS: dict[Engine, Mapping[str, str]] = {Engine.LADYBUG: CYPHER, Engine.OXIGRAPH: SPARQL}
SCHEMES = {Engine.LADYBUG: "ladybug", Engine.OXIGRAPH: "rdf"}


@dataclass(frozen=True, slots=True)
class Attacked:
    """What became of a query: "answer" or its error's class, and what it took."""

    name: str
    ended: str
    seconds: float
    process_bytes: int
    parent_bytes: int

    def broken_limits(self, timeout: float, limits: QueryLimits) -> list[str]:
        """Return the limits that the query broke; the parent's growth counts as one."""
        broken = []
        if self.seconds > timeout + SPARE_SECONDS:
            broken.append(f"{self.seconds:.1f} s")
        if self.process_bytes > limits.memory_bytes + SPARE_BYTES:
            broken.append(f"{self.process_bytes / 1e6:.0f} MB")
        if self.parent_bytes > PARENT_BYTES:
            broken.append(f"{self.parent_bytes / 1e6:.0f} MB in the process that asked")
        return broken


class MemoryWatch:
    """Watches the memory of this process's children in a thread."""

    def __init__(self) -> None:
        self._most = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def most_bytes(self) -> int:
        """Return the most memory that a child had since the last call."""
        with self._lock:
            most = self._most
            self._most = 0
        return most

    def end(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.01):
            for child in children():
                # RssAnon and not VmHWM, which right after the start is the parent's.
                size = status_bytes(child, "RssAnon")
                with self._lock:
                    self._most = max(self._most, size)


def children() -> list[str]:
    """Return the ids of this process's children that answer queries; tests have others, too."""
    ids: list[str] = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            ids += (task / "children").read_text().split()
    return [id for id in ids if _answers_queries(id)]


def _answers_queries(process: str) -> bool:
    with suppress(OSError):
        return b"query_child" in Path(f"/proc/{process}/cmdline").read_bytes()
    return False


def status_bytes(process: str, name: str) -> int:
    """Return a size from the status of a process, or 0 if it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) << 10
    return 0


@contextmanager
def attacked_graph(engine: Engine, folder: Path) -> Iterator[QueryPool]:
    """Make a graph of some thousand statements; yield the processes that answer queries on it."""
    url = f"{SCHEMES[engine]}:{folder / engine}"
    with open_store(url) as store:
        items = [Item(f"i{n}", f"item number {n}", f"c{n % 20}") for n in range(ITEMS)]
        statements = [
            Statement(f"i{n}", f"p{k}", f"value {n % (k + 3)}")
            for n in range(ITEMS)
            for k in range(PROPERTIES)
        ]
        store.put(items_table(items), statements_table(statements))
    with open_store(url, read_only=True) as store:
        processes: Any = store
        yield processes._graph.queries


def attack(
    pool: QueryPool,
    engine: Engine,
    names: list[str],
    timeout: float,
    limits: QueryLimits,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Attacked]:
    """Send attacks one after another; raises CatalographError if a harmless query then fails."""
    attacked = []
    watch = MemoryWatch()
    try:
        for number, name in enumerate(names):
            progress(number)
            # Also starts a process, so that its start does not count.
            pool.answer(FIRST_QUERY[engine], {}, 30.0, limits)
            watch.most_bytes()
            before = status_bytes("self", "VmRSS")
            params = {"x": ""} if "$x" in ATTACKS[engine][name] else {}
            began = time.monotonic()
            try:
                pool.answer(ATTACKS[engine][name], params, timeout, limits)
                ended = "answer"
            except CatalographError as error:
                ended = type(error).__name__
            seconds = time.monotonic() - began
            grown = status_bytes("self", "VmRSS") - before
            attacked.append(Attacked(name, ended, seconds, watch.most_bytes(), grown))
        pool.answer(FIRST_QUERY[engine], {}, 30.0, limits)
    finally:
        watch.end()
    return attacked


def sample(engine: Engine, number: int, seed: int) -> list[str]:
    """Return the names of some attacks, or of all."""
    names = sorted(ATTACKS[engine])
    return random.Random(seed).sample(names, min(number, len(names)))


def attack_queries(engine: Engine) -> Callable[[Plan], Outcome]:
    """Return the trial that sends attacks to a library."""

    def send(plan: Plan) -> Outcome:
        """Send as many attacks as planned."""
        names = sample(engine, plan.count, plan.seed)
        with attacked_graph(engine, plan.folder) as pool:
            attacked = attack(pool, engine, names, TIMEOUT, LIMITS, plan.progress)
        ended = Counter(each.ended for each in attacked)
        bad = [(each.name, each.broken_limits(TIMEOUT, LIMITS)) for each in attacked]
        return Outcome(
            figures={
                **ended,
                "longest seconds": round(max(each.seconds for each in attacked), 2),
                "most MB": round(max(each.process_bytes for each in attacked) / 1e6),
                "most MB in the process that asked": round(
                    max(each.parent_bytes for each in attacked) / 1e6
                ),
            },
            bad=[f"{name}: {', '.join(broken)}" for name, broken in bad if broken],
        )

    return send
