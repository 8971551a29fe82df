"""Measure the API under load: 50 clients at once, a model change, and a kill in the middle.

    python -m benchmarks.serving --home HOME [--clients 50] [--seconds 60] [--json FILE]

Works on a copy of a home that has a model, an index and items. The server is a process of its own
on loopback. Each client asks one thing after another: search 60%, items 20%, completion of a stored
item 15%, decisions 5%. Half-way another model is served, a copy of the first. The same calls are
made through the Python API in this process, one after another. In a second run the server is killed
(-9): every decision that was acknowledged has to be there afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kg.home import Home
from schema.errors import CatalographError
from schema.ledger_proposals import ProposalRecords
from schema.proposals import NewProposal, ProposalFilter, ProposedDecision, ProposedValue
from serving.client import Client, UnreachableError
from serving.review.session import open_review

ROOT = Path(__file__).parents[1]
OUT = ROOT / "benchmarks" / "figures" / "serving.json"
KINDS = ("search", "item", "complete", "review")
SHARES = (60, 20, 15, 5)
OTHER = "other"
"""The name of the copied model."""
SAME_CALLS = 20
"""Calls of each kind that are made through the Python API."""


@dataclass
class Measured:
    """What clients saw: seconds of the calls by kind, and what failed."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failures: Counter[str] = field(default_factory=Counter)
    decided: set[int] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, seconds: float) -> None:
        """Note a call that was answered."""
        with self.lock:
            self.seconds[kind].append(seconds)

    def fail(self, kind: str, error: Exception) -> None:
        """Note a call that failed."""
        with self.lock:
            self.failures[f"{kind}: {str(error)[:150]}"] += 1


@dataclass(frozen=True)
class Work:
    """What can be asked of a home."""

    items: Sequence[str]
    queries: Sequence[str]
    proposals: Sequence[int]


class Server:
    """A server of a home as a process."""

    def __init__(self, home: Path, *options: str) -> None:
        self._log = (home.parent / "server.log").open("a")
        command = [sys.executable, str(ROOT / "cli.py"), "--home", str(home), "--json", "serve"]
        self._process = subprocess.Popen(
            [*command, "--port", "0", "--rate", "100000", *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self._process.stdout is not None
        text = ""
        # The document may have several lines.
        while not text.rstrip().endswith("}"):
            line = self._process.stdout.readline()
            if not line:
                raise RuntimeError(f"the server did not start: see {self._log.name}")
            text += line
        self.url: str = json.loads(text)["url"]
        with Client(self.url) as client:
            client.wait_until_ready(180)

    def memory(self) -> float:
        """Return the megabytes that the server has in memory."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(each for each in status.splitlines() if each.startswith("VmRSS"))
        return round(int(line.split()[1]) / 1000, 1)

    def kill(self) -> None:
        """Kill the server at once."""
        self._process.kill()
        self._end()

    def stop(self) -> int:
        """Ask the server to end, and return its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._end()

    def _end(self) -> int:
        code = self._process.wait(120)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()
        return code


def call(client: Client, kind: str, work: Work, rng: random.Random, number: int) -> None:
    """Make one call."""
    match kind:
        case "search":
            client.search(rng.choice(work.queries), k=10)
        case "item":
            client.item(rng.choice(work.items))
        case "complete":
            client.complete(rng.choice(work.items))
        case _:
            client.decide(number, "accept" if number % 2 else "reject")


def load(
    url: str, work: Work, clients: int, seconds: float, during: Callable[[], None]
) -> Measured:
    """Let clients work for some seconds, and do something meanwhile."""
    measured = Measured()
    deadline = time.monotonic() + seconds
    numbers = iter(work.proposals)

    def one(seed: int) -> None:
        rng = random.Random(seed)
        with Client(url, retries=0, timeout=60) as client:
            while time.monotonic() < deadline:
                kind = rng.choices(KINDS, SHARES)[0]
                with measured.lock:
                    number = next(numbers, 0) if kind == "review" else 0
                if kind == "review" and not number:
                    continue
                began = time.perf_counter()
                try:
                    call(client, kind, work, rng, number)
                except UnreachableError as error:
                    measured.fail(kind, error)
                    return
                except CatalographError as error:
                    measured.fail(kind, error)
                else:
                    measured.add(kind, time.perf_counter() - began)
                    if kind == "review":
                        with measured.lock:
                            measured.decided.add(number)

    threads = [threading.Thread(target=one, args=(seed,)) for seed in range(clients)]
    for each in threads:
        each.start()
    during()
    for each in threads:
        each.join()
    return measured


def table(measured: Measured, seconds: float) -> dict[str, Any]:
    """Return percentiles in milliseconds, and calls a second, of each kind."""
    rows: dict[str, Any] = {}
    every = [each for times in measured.seconds.values() for each in times]
    for kind, times in (*measured.seconds.items(), ("all", every)):
        cuts = statistics.quantiles(times, n=100) if len(times) > 1 else times * 99
        rows[kind] = {
            "calls": len(times),
            "a second": round(len(times) / seconds, 1),
            **{f"p{cut}": round(1000 * cuts[cut - 1], 1) for cut in (50, 95, 99)},
        }
    return rows


def add_proposals(home: Home, items: Sequence[str], count: int) -> list[int]:
    """Add proposals for cells that no source fills; return their numbers."""
    with open_review(home) as review:
        run = review.begin()
        review.add(
            run,
            [
                NewProposal(
                    items[number % len(items)],
                    f"bench {number // len(items)}",
                    ("value",),
                    0.6,
                    candidates=(ProposedValue("value", 0.6),),
                    decision=ProposedDecision.REVIEW,
                    evidence={},
                    model="bench",
                )
                for number in range(count)
            ],
        )
        review.end(run)
    with home.ledger() as ledger:
        return [each.id for each in ProposalRecords(ledger).find(ProposalFilter(run=run.id))]


def prepare(source: Path, folder: Path, proposals: int) -> tuple[Home, Work]:
    """Copy a home, with a copy of its model and with proposals."""
    path = folder / "home"
    shutil.copytree(source, path)
    shutil.rmtree(path / "jobs", ignore_errors=True)
    home = Home.open(path)
    (model,) = sorted(each for each in home.models.iterdir() if each.is_dir())[:1]
    shutil.copytree(model, home.models / OTHER)
    with home.store(read_only=True) as store:
        rows = [
            (id, title)
            for batch in store.items()
            for id, title in zip(batch["id"].to_pylist(), batch["title"].to_pylist(), strict=True)
        ]
    rng = random.Random(0)
    titles = [title for _, title in rows if title]
    queries = [" ".join(rng.sample(words := each.split(), min(3, len(words)))) for each in titles]
    items = [id for id, _ in rows]
    return home, Work(items, queries, add_proposals(home, items, proposals))


def in_process(home: Home, work: Work, calls: int) -> dict[str, float]:
    """Return the median milliseconds of the same calls through the Python API, one at a time."""
    from kg.item_document import item_document
    from serving.home_completion import AskedCells, HomeCompletion
    from serving.search.filters import Filters
    from serving.search.opening import open_searcher

    rng = random.Random(1)
    completion = HomeCompletion.open(home)
    searcher = open_searcher(home)

    def search() -> None:
        searcher.search(rng.choice(work.queries), 10, Filters.parse((), None))

    def item() -> None:
        with home.store(read_only=True) as store:
            entry = store.item(rng.choice(work.items))
        assert entry is not None
        item_document(home, *entry)

    def complete() -> None:
        plan = completion.plan(AskedCells(items=(rng.choice(work.items),)))
        list(completion.complete(plan, top_k=5))

    def review(number: int) -> None:
        with open_review(home) as session:
            session.accept([session.records.get([number])[number]], "bench")

    numbers = iter(reversed(work.proposals))
    acts: dict[str, Callable[[], None]] = {
        "search": search,
        "item": item,
        "complete": complete,
        "review": lambda: review(next(numbers)),
    }
    found = {}
    for kind, act in acts.items():
        times = []
        for _ in range(calls + 2):
            began = time.perf_counter()
            act()
            times.append(time.perf_counter() - began)
        found[kind] = round(1000 * statistics.median(times[2:]), 1)
    searcher.close()
    return found


def measure_load(home: Home, work: Work, clients: int, seconds: float) -> dict[str, Any]:
    """Return the figures of the load with a model change in the middle."""
    alone = in_process(home, work, SAME_CALLS)
    server = Server(home.path)
    memory = {}
    # Search, network and buffers are loaded with the first calls.
    load(server.url, Work(work.items, work.queries, ()), 4, 5, lambda: None)
    memory["begin"] = server.memory()
    one = table(
        load(server.url, Work(work.items, work.queries, work.proposals[:200]), 1, 10, lambda: None),
        10,
    )

    def change_model() -> None:
        time.sleep(seconds / 2)
        memory["half"] = server.memory()
        with Client(server.url, timeout=120) as client:
            client.change_model(OTHER)

    remaining = Work(work.items, work.queries, work.proposals[200:])
    measured = load(server.url, remaining, clients, seconds, change_model)
    memory["end"] = server.memory()
    with Client(server.url) as client:
        model = client.model()["name"]
    code = server.stop()
    rows = table(measured, seconds)
    for kind in KINDS:
        if kind in one:
            rows[kind]["one client p50"] = one[kind]["p50"]
            rows[kind]["Python"] = alone[kind]
            rows[kind]["ratio"] = round(one[kind]["p50"] / alone[kind], 2)
    return {
        "clients": clients,
        "seconds": seconds,
        "calls": rows,
        "failed": dict(measured.failures),
        "memory in MB": memory,
        "model after the change": model,
        "exit code": code,
    }


def measure_kill(home: Home, work: Work, clients: int, seconds: float) -> dict[str, Any]:
    """Kill the server while decisions come in; return which of the acknowledged are missing."""
    server = Server(home.path)

    def kill() -> None:
        time.sleep(seconds / 2)
        server.kill()

    measured = load(server.url, work, clients, seconds, kill)
    began = time.perf_counter()
    again = Server(home.path)
    started = round(time.perf_counter() - began, 1)
    with Client(again.url) as client:
        lost = [
            number
            for number in sorted(measured.decided)
            if client.proposal(number).document["status"] not in ("accepted", "rejected")
        ]
    with suppress(OSError):
        again.stop()
    return {
        "acknowledged decisions": len(measured.decided),
        "lost": len(lost),
        "seconds until it was ready again": started,
    }


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--killed-seconds", type=float, default=20)
    parser.add_argument("--json", type=Path, default=OUT)
    args = parser.parse_args()
    before = os.getloadavg()[0]
    figures: dict[str, Any] = {"load of the machine before": round(before, 2)}
    with tempfile.TemporaryDirectory() as folder:
        home, work = prepare(args.home, Path(folder), 12_000)
        figures["items"] = len(work.items)
        figures |= measure_load(home, work, args.clients, args.seconds)
        # The last ones were decided through the Python API.
        rest = Work(work.items, work.queries, work.proposals[-2000:-100])
        figures["killed"] = measure_kill(home, rest, args.clients, args.killed_seconds)
    print(json.dumps(figures, indent=1))
    args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
