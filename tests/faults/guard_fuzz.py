"""Send hostile texts through the guards to real stores, with nothing else in between.

What passes a guard is run by a process that may write to the graph, read files and open
connections: so what the figures say was not done was kept from happening by the guards alone.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from kg.stores.cypher_functions import ANY_STORE, LADYBUG, NEO4J
from kg.stores.cypher_guard import checked_cypher
from kg.stores.ladybug_graph import FILE
from kg.stores.open import open_store
from kg.stores.rdf_graph import FOLDER
from kg.stores.sparql_guard import checked_sparql
from kg.stores.tables import items_table, statements_table
from schema.errors import QueryRefusedError
from schema.iris import PREFIXES
from schema.memory import resident_bytes
from schema.terms import Item, Statement
from tests.faults.guard_texts import CypherTexts, SparqlTexts, Texts
from tests.faults.trials import Outcome, Plan

SECRET = "the-content-of-a-file-outside"
BATCH = 100
"""Texts after which it is looked whether anything was written."""
SECONDS = 5.0
BYTES = 4 << 30
"""What a text may take before its process is killed, as a user's would be."""
ALL = ""
"""What a worker is asked for everything that its store has."""
FAILURES = ("error", "died", "killed")
ROWS = 1_000


@dataclass(slots=True)
class GuardFigures:
    """What became of the texts in one language; those in lists must not exist."""

    texts: int = 0
    refused: int = 0
    answered: int = 0
    failed: int = 0
    """Texts that passed the guard, and for which the store had an error."""
    killed: int = 0
    """Texts that passed the guard, and ran past their limits of time or memory."""
    died: list[str] = field(default_factory=list)
    wrote: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)
    """Texts that were not refused by one line of ours, but by another error or several lines."""

    def harm(self) -> list[str]:
        """Return the texts that did what none may do."""
        return [*self.died, *self.wrote, *self.read, *self.sent, *self.unclear]


@dataclass(frozen=True, slots=True)
class Language:
    """A query language: its guard, its texts, and the store that they are sent to."""

    name: str
    url: str
    file: str
    guard: Callable[[str], str]
    others: tuple[Callable[[str], str], ...]
    texts: type[Texts]
    answer: Callable[[str, str], str]
    controls: tuple[str, ...]
    """Texts that write, read OUTSIDE, or ask ADDRESS where there is no guard."""


def fuzz_guards(seed: int, count: int, folder: Path) -> dict[str, GuardFigures]:
    """Send ``count`` texts in each language through its guard; return the figures by language.

    ``folder`` is an empty one, for the stores. Raises RuntimeError if a store does not do, without
    its guard, what the guard has to prevent.
    """
    return {each.name: _fuzz(each, seed, count, folder / each.name) for each in LANGUAGES}


def try_guards(plan: Plan) -> Outcome:
    """Send as many texts as planned, in each language, through its guard."""
    outcome = Outcome()
    for name, figures in fuzz_guards(plan.seed, plan.count, plan.folder).items():
        outcome.figures[f"{name}: refused"] = figures.refused
        outcome.figures[f"{name}: answered"] = figures.answered
        outcome.figures[f"{name}: failed"] = figures.failed
        outcome.figures[f"{name}: killed"] = figures.killed
        outcome.bad += [f"{name} (seed {plan.seed}): {text[:500]!r}" for text in figures.harm()]
    return outcome


def _fuzz(language: Language, seed: int, count: int, folder: Path) -> GuardFigures:
    folder.mkdir()
    outside = folder / "outside"
    outside.mkdir()
    (outside / "secret.csv").write_text(f"{SECRET}\n")
    figures = GuardFigures()
    with _listener() as (address, heard):
        texts = language.texts(random.Random(seed), str(outside / "secret.csv"), address)
        with _Worker(language, folder / "control") as worker:
            _check_controls(texts, worker, heard)
        with _Worker(language, folder / "store") as worker:
            content = worker.content_hash()
            before = worker.traces()
            while figures.texts < count:
                batch = [texts.draw() for _ in range(min(BATCH, count - figures.texts))]
                for text in batch:
                    _send(text, worker, figures)
                    if heard:
                        figures.sent.append(text)
                        heard.clear()
                after = worker.traces()
                if after != before:
                    figures.wrote.append("\n---\n".join(batch))
                    before = after
            if worker.content_hash() != content:
                figures.wrote.append("some of all texts")
    return figures


def _send(text: str, worker: _Worker, figures: GuardFigures) -> None:
    """Send a text through the guard, and to the store if it passes."""
    language = worker.language
    figures.texts += 1
    for guard in language.others:
        _passed(guard, text, figures)
    checked = _passed(language.guard, text, figures)
    if checked is None:
        figures.refused += 1
        return
    outcome = worker.ask(checked)
    if outcome == "killed":
        figures.killed += 1
    elif outcome == "died":
        figures.died.append(text)
    elif outcome.startswith("error"):
        figures.failed += 1
    else:
        figures.answered += 1
    if SECRET in outcome:
        figures.read.append(text)


def _passed(guard: Callable[[str], str], text: str, figures: GuardFigures) -> str | None:
    """Return what a guard lets pass, or None; note a refusal that is not one line of ours."""
    try:
        return guard(text)
    except QueryRefusedError as error:
        message = str(error)
        if "\n" in message or "\r" in message or not 20 < len(message) < 400:
            figures.unclear.append(text)
    except Exception:
        figures.unclear.append(text)
    return None


def _check_controls(texts: Texts, worker: _Worker, heard: list[bytes]) -> None:
    """Raise RuntimeError if a control, sent without the guard, leaves no trace."""
    before = worker.traces()
    for control in worker.language.controls:
        text = control.replace("OUTSIDE", texts.outside).replace("ADDRESS", texts.address)
        outcome = worker.ask(text)
        after = worker.traces()
        if after == before and not heard and SECRET not in outcome:
            raise RuntimeError(f"{text!r} did nothing where there is no guard: {outcome}")
        before = after
        heard.clear()


@contextmanager
def _listener() -> Iterator[tuple[str, list[bytes]]]:
    """Listen at a local port; yield its URL, and the list of what is sent to it."""
    heard: list[bytes] = []

    def listen() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection:
                    heard.append(connection.recv(1_000))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/", heard
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


class _Worker:
    """A store of a few items, and a process that runs what it is sent on the store's files.

    The process is started anew when it has ended.
    """

    def __init__(self, language: Language, folder: Path) -> None:
        self.language = language
        self._folder = folder
        self._process: Any = None
        self._pipe: Any = None
        values = {"a": "red", "b": "set", "c": "'; DROP"}
        with open_store(f"{language.url}:{folder}") as store:
            store.put(
                items_table([Item("a", "one"), Item("b", "two")]),
                statements_table([Statement(id, "colour", text) for id, text in values.items()]),
            )

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def ask(self, text: str) -> str:
        """Return an answer as text, or ``error …``, ``died`` or ``killed``."""
        if self._process is None:
            self._start()
        self._pipe.send(text)
        deadline = time.monotonic() + SECONDS
        try:
            while time.monotonic() < deadline and resident_bytes(self._process.pid) < BYTES:
                if self._pipe.poll(0.1):
                    return str(self._pipe.recv())
            outcome = "killed"
        except EOFError:
            outcome = "died"
        self._stop()
        return outcome

    def traces(self) -> str:
        """Return a hash of all that a query could have changed: the store, and other files."""
        everything = self.ask(ALL)
        if everything.startswith(FAILURES):
            raise RuntimeError(f"the store cannot say what it has: {everything}")
        parts = [everything]
        for folder in (self._folder / "journal", self._folder.parent / "outside"):
            for path in sorted(folder.rglob("*")):
                parts.append(str(path))
                if path.is_file():
                    parts.append(hashlib.sha256(path.read_bytes()).hexdigest())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def content_hash(self) -> str:
        """Return the hash that the store itself computes."""
        self._stop()
        with open_store(f"{self.language.url}:{self._folder}", read_only=True) as store:
            return store.content_hash()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, child = context.Pipe()
        path = self._folder / self.language.file
        self._process = context.Process(
            target=_work, args=(child, self.language.answer, str(path)), daemon=True
        )
        self._process.start()
        child.close()
        self._pipe.recv()

    def _stop(self) -> None:
        """End the process, so that nothing of it is open."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None


def _work(pipe: Connection, answer: Callable[[str, str], str], path: str) -> None:
    """Run in the process of a worker: answer what comes through the pipe."""
    # A relative name in a query is one outside, too.
    os.chdir(Path(path).parents[1] / "outside")
    pipe.send("ready")
    while True:
        text = pipe.recv()
        try:
            outcome = answer(path, text)
        except Exception as error:
            outcome = f"error {type(error).__name__} {error}"
        pipe.send(outcome)


_opened: dict[str, Any] = {}
LADYBUG_HAS = (
    "CALL show_tables() RETURN *",
    "CALL show_macros() RETURN *",
    "CALL show_sequences() RETURN *",
    "CALL show_indexes() RETURN *",
    "CALL show_attached_databases() RETURN *",
    "CALL table_info('Item') RETURN *",
    "MATCH (n) RETURN n",
    "MATCH ()-[h]->() RETURN h",
)


def _ladybug(path: str, text: str) -> str:
    """Answer Cypher, or ALL."""
    import ladybug

    if path not in _opened:
        _opened[path] = ladybug.Database(path, buffer_pool_size=1 << 28)
    if text == ALL:
        return "".join(_ladybug(path, each) for each in LADYBUG_HAS)
    connection = ladybug.Connection(_opened[path])
    try:
        connection.set_query_timeout(int(1000 * SECONDS))
        result: Any = connection.execute(text, {"x": 1, "1": 1} if "$" in text else {})
        rows: list[Any] = []
        while result.has_next() and len(rows) < ROWS:
            rows.append(result.get_next())
        return str(sorted(str(row) for row in rows))
    finally:
        connection.close()


def _oxigraph(path: str, text: str) -> str:
    """Answer SPARQL, or ALL."""
    from pyoxigraph import Store

    if path not in _opened:
        _opened[path] = Store(path)
    quads = _opened[path]
    if text == ALL:
        return "\n".join(sorted(str(quad) for quad in quads))
    if text.startswith("UPDATE "):
        quads.update(text.removeprefix("UPDATE "))
        return ""
    result: Any = quads.query(text, prefixes=PREFIXES, use_default_graph_as_union=True)
    try:
        return str([str(row) for row, _ in zip(result, range(ROWS), strict=False)])
    except TypeError:
        return str(bool(result))


LANGUAGES = (
    Language(
        "cypher",
        "ladybug",
        FILE,
        lambda text: checked_cypher(text, LADYBUG),
        (lambda text: checked_cypher(text, NEO4J), lambda text: checked_cypher(text, ANY_STORE)),
        CypherTexts,
        _ladybug,
        (
            "MATCH (i:Item) SET i.title = 'written'",
            "MATCH (i:Item) WHERE 1.0 < 1e5SET i.title = 'written twice'",
            "CREATE SEQUENCE written",
            "CREATE MACRO written(x) AS x",
            "LOAD FROM 'OUTSIDE' RETURN *",
            "COPY (MATCH (n:Item) RETURN n.id) TO 'written.csv'",
        ),
    ),
    Language(
        "sparql",
        "rdf",
        FOLDER,
        checked_sparql,
        (),
        SparqlTexts,
        _oxigraph,
        (
            "UPDATE INSERT DATA { <urn:x> <urn:y> 'written' }",
            "SELECT * { SERVICE <ADDRESS> { ?s ?p ?o } }",
            "PREFIX : <ADDRESS> ASK { OPTIONAL { SERVICESILENT:x { ?s ?p ?o } } }",
        ),
    ),
)
