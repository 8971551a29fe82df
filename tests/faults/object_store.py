"""Let two homes write to one journal on an object store that fails again and again, and kill them.

Whatever the store does, what a writer was told to be stored is there, once; both homes show the
same in the end, and so does a graph that is made anew of the journal.
"""

from __future__ import annotations

import http.client
import itertools
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from kg.stores import journaled, shared_journal
from kg.stores.journal import Journal
from kg.stores.open import open_store
from kg.stores.protocol import GraphStore
from kg.stores.references import statement_references
from kg.stores.shared_journal import share
from kg.stores.tables import statements_table
from schema.errors import StoreUnavailableError
from schema.terms import Provenance, Statement
from tests.faults.children import Child
from tests.faults.trials import Outcome, Plan
from tests.servers import ObjectStoreServer

WRITERS = ("here", "there")
SHARED_ITEMS = 5
MAX_DELAY = 0.1
LONGEST_WRITER = 600.0
FAULTS = {
    # The share of requests that each befalls.
    "refused": 0.06,
    "delayed": 0.06,
    "dropped": 0.04,
    "answer lost": 0.06,
    "answered wrong": 0.03,
}
"""Refused: answered 503, and not carried out. Dropped: the connection ends before, and after it was
carried out the answer is lost, or it is answered 500."""
_REFUSAL = b"<Error><Code>SlowDown</Code></Error>"
_ERROR = b"<Error><Code>InternalError</Code></Error>"


@dataclass
class FaultyStore:
    """A proxy in front of an object store: what it does wrong, and what it has done.

    It carries out one conditional request at a time, as the store itself should.
    """

    endpoint: str
    rng: random.Random
    rates: dict[str, float] = field(default_factory=lambda: dict(FAULTS))
    done: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    forgets_conditions: bool = False
    """Whether it carries out conditional requests whatever the condition."""
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _conditional: threading.Lock = field(default_factory=threading.Lock)

    def next_fault(self, request: str) -> str:
        """Count a request, and return what befalls it; empty if nothing does."""
        with self._changed:
            self.requests += 1
            self._changed.notify_all()
            fault, *_ = self.rng.choices(
                [*self.rates, ""], [*self.rates.values(), 1 - sum(self.rates.values())]
            )
            if fault:
                self.done[fault] += 1
                if fault == "answer lost" and "_delta_log" in request and "PUT" in request:
                    self.done["answers lost to a commit"] += 1
            return fault

    def wait_for(self, requests: int, seconds: float) -> None:
        """Wait for that many more requests, at most some seconds."""
        with self._changed:
            wanted = self.requests + requests
            self._changed.wait_for(lambda: self.requests >= wanted, seconds)

    def carry_out(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and content of the store's answer to a request."""
        conditions = [name for name in headers if name.lower().startswith("if-")]
        if self.forgets_conditions:
            headers = {name: text for name, text in headers.items() if name not in conditions}
        address = self.endpoint.removeprefix("http://")
        with ExitStack() as stack:
            if conditions:
                stack.enter_context(self._conditional)
            connection = http.client.HTTPConnection(address, timeout=60)
            stack.callback(connection.close)
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()


class _Handler(BaseHTTPRequestHandler):
    """Forwards requests to the store, as far as it is not to fail."""

    protocol_version = "HTTP/1.1"
    store: FaultyStore

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.store.next_fault(f"{self.command} {self.path}")
        if fault == "refused":
            self._answer(503, {}, _REFUSAL)
            return
        if fault == "dropped":
            self.close_connection = True
            return
        if fault == "delayed":
            time.sleep(self.store.rng.uniform(0, MAX_DELAY))
        status, headers, content = self.store.carry_out(
            self.command, self.path, dict(self.headers.items()), body
        )
        if fault == "answer lost":
            self.close_connection = True
        elif fault == "answered wrong":
            self._answer(500, {}, _ERROR)
        else:
            self._answer(status, headers, content)

    def do_GET(self) -> None:
        self._forward()

    def do_PUT(self) -> None:
        self._forward()

    def do_POST(self) -> None:
        self._forward()

    def do_DELETE(self) -> None:
        self._forward()

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        with suppress(OSError):
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing on stderr."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing about a client that was killed."""


@contextmanager
def faulty_store(endpoint: str, seed: int) -> Iterator[tuple[FaultyStore, str]]:
    """Run a proxy in front of an object store that fails now and then; yield it and its address."""
    store = FaultyStore(endpoint, random.Random(seed))
    handler = type("Handler", (_Handler,), {"store": store})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield store, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def statements_of(writer: str, number: int) -> list[Statement]:
    """Return what a write puts: of an item of the writer's own, and of one that all describe."""
    source = Provenance(writer)
    shared = f"shared-{number % SHARED_ITEMS}"
    return [
        Statement(f"{writer}-{number}", "colour", "red", provenance=source),
        Statement(shared, "colour", f"{writer} {number}", provenance=source),
        Statement(shared, "material", "wool", provenance=source),
    ]


def put(store: GraphStore, writer: str, number: int) -> None:
    """Make a write: what the writer has said of the shared item before is replaced."""
    table = statements_table(statements_of(writer, number))
    store.put(None, table, replaces=writer, run=f"{writer}-{number}")


def write_all(
    sender: Connection,
    variables: dict[str, str],
    url: str,
    writer: str,
    first: int,
    count: int,
    barrier: Path | None,
) -> None:
    """Make some writes, and acknowledge each; where one fails the store is opened anew.

    With a ``barrier``, a folder, the writes begin when all writers are there. These are so polite
    that the short ones of a test take turns, as long ones do of themselves.
    """
    os.environ.update(variables)
    journaled.PATIENT_TRIES = 0
    shared_journal.LOOK_SECONDS = 0.0
    if barrier is not None:
        (barrier / f"{writer}.ready").touch()
        while len(list(barrier.glob("*.ready"))) < len(WRITERS):
            time.sleep(0.01)
    number = first
    while number < first + count:
        try:
            with open_store(url) as store:
                while number < first + count:
                    put(store, writer, number)
                    sender.send(number)
                    number += 1
        except StoreUnavailableError as error:
            sender.send(str(error))


class TwoWriters:
    """Two homes that share a journal behind a proxy, and what they were told to be stored."""

    def __init__(self, plan: Plan, server: ObjectStoreServer) -> None:
        self.plan = plan
        self.server = server
        self.outcome = Outcome()
        self.acknowledged: dict[str, list[int]] = {writer: [] for writer in WRITERS}
        self.failures: list[str] = []
        self.urls = {writer: f"ladybug:{plan.folder / writer}" for writer in WRITERS}
        self.place = server.url
        os.environ.update(server.environment(server.endpoint))
        for writer in WRITERS:
            share(Journal(plan.folder / writer / "journal"), self.place)

    def start(
        self, writer: str, address: str, first: int, count: int, barrier: Path | None = None
    ) -> Child:
        """Start a writer, which reaches the store at an address."""
        variables = self.server.environment(address)
        return Child(write_all, variables, self.urls[writer], writer, first, count, barrier)

    def note(self, writer: str, child: Child) -> None:
        """Note what a writer that has ended was told."""
        for message in child.messages():
            if isinstance(message, int):
                self.acknowledged[writer].append(message)
            else:
                self.failures.append(message)

    def check(self, name: str) -> None:
        """Check that all is there, once, in both homes, and that nothing is damaged."""
        hashes = set()
        for writer in WRITERS:
            with open_store(self.urls[writer], read_only=True) as store:
                hashes.add(store.content_hash())
                self._check_batches(name, store)
                self._check_rows(name, store)
        made: Any = open_store(self.urls[WRITERS[0]])
        with made:
            self.bad(name, *made.verify())
            made.rebuild()
            hashes.add(made.content_hash())
            self.bad(name, *made.verify())
        if len(hashes) > 1:
            self.bad(name, "the homes, or a graph made anew, show something else")

    def bad(self, name: str, *problems: str) -> None:
        """Note what must not be."""
        self.outcome.bad += [f"{name}: {problem}" for problem in problems]

    def _check_batches(self, name: str, store: GraphStore) -> None:
        runs = Counter(batch.run for batch in store.changes())
        for writer, numbers in self.acknowledged.items():
            for number in numbers:
                if runs[f"{writer}-{number}"] != 1:
                    times = runs[f"{writer}-{number}"]
                    self.bad(name, f"write {number} of {writer} is there {times} times, not once")

    def _check_rows(self, name: str, store: GraphStore) -> None:
        """Check that each writer's last word on each item stands, beside the other's."""
        expected: dict[str, set[str]] = {}
        for writer, numbers in self.acknowledged.items():
            last = {number % SHARED_ITEMS: number for number in sorted(numbers)}
            for number in numbers:
                own, shared, wool = statements_of(writer, number)
                expected.setdefault(own.id, set()).add(writer)
                if last[number % SHARED_ITEMS] == number:
                    expected.setdefault(shared.id, set()).add(writer)
                    expected.setdefault(wool.id, set()).add(writer)
        found = {
            row["id"]: {each["source"] for each in statement_references(row)}
            for batch in store.scan()
            for row in batch.to_pylist()
        }
        if found != expected:
            lost = sum(found.get(id) != sources for id, sources in expected.items())
            more = len(found.keys() - expected.keys())
            self.bad(name, f"{lost} statements are lost or of other sources, {more} are too many")


def write_together(plan: Plan) -> Outcome:
    """Let two homes make some commits together, half of them each, while the store fails."""
    with ObjectStoreServer(plan.folder / "server") as server:
        return write_to(plan, server)


def write_to(plan: Plan, server: ObjectStoreServer) -> Outcome:
    """Let two homes write to a store that runs; see :func:`write_together`."""
    writers = TwoWriters(plan, server)
    each = plan.count // len(WRITERS)
    with faulty_store(server.endpoint, plan.seed) as (store, address), ExitStack() as stack:
        children = {
            writer: stack.enter_context(writers.start(writer, address, 0, each, plan.folder))
            for writer in WRITERS
        }
        for writer, child in children.items():
            result = child.result(LONGEST_WRITER)
            writers.note(writer, child)
            if result.code:
                writers.bad(writer, f"the writer fails: {result}")
            if writers.acknowledged[writer] != list(range(each)):
                writers.bad(
                    writer, f"{len(writers.acknowledged[writer])} of {each} writes are made"
                )
    writers.check("after all writes")
    with open_store(writers.urls[WRITERS[0]], read_only=True) as reader:
        runs = [batch.run.partition("-")[0] for batch in reader.changes()]
    changed = sum(one != other for one, other in itertools.pairwise(runs))
    writers.outcome.figures |= {
        "commits": sum(map(len, writers.acknowledged.values())),
        "requests": store.requests,
        **dict(sorted(store.done.items())),
        "times that the writer changed": changed,
        "writes that failed and were made again": len(writers.failures),
    }
    return writers.outcome


def kill_writers(plan: Plan) -> Outcome:
    """Kill writers after random requests to the store, each of which was carried out or not."""
    with ObjectStoreServer(plan.folder / "server") as server:
        return kill_writers_of(plan, server)


def kill_writers_of(plan: Plan, server: ObjectStoreServer) -> Outcome:
    """Kill writers to a store that runs; see :func:`kill_writers`."""
    writers = TwoWriters(plan, server)
    rng = random.Random(plan.seed)
    first = 0
    for number in range(plan.count):
        writer = WRITERS[number % len(WRITERS)]
        with faulty_store(server.endpoint, plan.seed + number) as (store, address):
            store.rates.clear()
            with writers.start(writer, address, first, 1_000) as child:
                store.wait_for(rng.randint(4, 40), LONGEST_WRITER)
                time.sleep(rng.uniform(0, 0.01))
                if not child.kill():
                    writers.bad(f"kill {number}", f"the writer has ended: {child.result()}")
                writers.note(writer, child)
        # What was on its way is made again: it is there then, and once.
        last = max([first - 1, *writers.acknowledged[writer]]) + 1
        with open_store(writers.urls[writer]) as store_:
            put(store_, writer, last)
        writers.acknowledged[writer].append(last)
        first = last + 1
        plan.progress(number + 1)
    writers.check("after all kills")
    writers.outcome.figures |= {
        "kills": plan.count,
        "commits": sum(map(len, writers.acknowledged.values())),
    }
    return writers.outcome
