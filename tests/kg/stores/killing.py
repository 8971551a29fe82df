"""A writer to a Neo4j server that is killed again and again, and what is there at the end."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from kg.stores.open import open_store
from tests.servers import HERE, Neo4jServer

ROWS = 200
WRITER = """
import sys
from pathlib import Path
from kg.stores.open import open_store
from kg.stores.tables import statements_table
from schema.terms import Provenance, Statement
number = 0
with open_store(sys.argv[1]) as store:
    while not Path(sys.argv[2]).exists():
        rows = [Statement(f"{number}-{part}", "colour", f"{part % 7}", provenance=Provenance("s")) for part in range(int(sys.argv[3]))]
        report = store.put(None, statements_table(rows))
        print(number, report.new_items, report.new_statements, flush=True)
        number += 1
"""


def outlived(server: Neo4jServer, kills: int, seed: int = 0) -> dict[str, Any]:
    """Kill the server (-9) so many times while a process writes, start it again, and count what was acknowledged and what is there."""
    rng = random.Random(seed)
    began = time.monotonic()
    stop = server.folder / "stop"
    given = [sys.executable, "-c", WRITER, server.url, str(stop), str(ROWS)]
    environment = {**os.environ, "CATALOGRAPH_NEO4J_RETRY": "300"}
    # Batches go to a file, since a full pipe would hold the writer up.
    said = server.folder / "acknowledged"
    with said.open("wb") as out:
        writer = subprocess.Popen(given, stdout=out, env=environment, cwd=HERE.parent)
        try:
            outages = [_outage(server, said, writer, rng) for _ in range(kills)]
            stop.touch()
            if writer.wait(timeout=300):
                raise RuntimeError("the writer failed")
        finally:
            writer.kill()
    reports = [tuple(map(int, line.split())) for line in said.read_text().splitlines()]
    with open_store(server.url, read_only=True) as store:
        counts = store.counts()
        there = {
            row["item"] for batch in store.scan() for row in batch.select(["item"]).to_pylist()
        }
    wanted = {f"{number}-{part}" for number, *_ in reports for part in range(ROWS)}
    return {
        "kills": kills,
        "batches": len(reports),
        "told_whole": sum(report[1:] == (ROWS, ROWS) for report in reports),
        "lost": len(wanted - there),
        "beyond": len(there - wanted),
        "statements_expected": len(wanted),
        "statements_there": counts.statements,
        "longest_outage_seconds": round(max(outages), 1),
        "seconds": round(time.monotonic() - began, 1),
    }


def _outage(
    server: Neo4jServer, said: Path, writer: subprocess.Popen[bytes], rng: random.Random
) -> float:
    """Let some batches through, kill at a random moment, start again; for how long nothing was acknowledged, in seconds."""
    _more_than(said, said.read_bytes().count(b"\n"), writer)
    time.sleep(rng.uniform(0.0, 1.0))
    server.kill()
    before = said.read_bytes().count(b"\n")
    since = time.monotonic()
    server.start()
    _more_than(said, before, writer)
    return time.monotonic() - since


def _more_than(said: Path, count: int, writer: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 300
    while said.read_bytes().count(b"\n") <= count:
        if writer.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"the writer stands still after {count} batches")
        time.sleep(0.01)
