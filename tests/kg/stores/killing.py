"""Kill a Neo4j server again and again while a process writes to it, and compare what is left."""

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

BATCH_STATEMENTS = 200
TIMEOUT = 300.0
# Arguments: the store's URL, a file that says to stop when it appears, and statements per batch.
WRITER = """
import sys
from pathlib import Path
from kg.stores.open import open_store
from kg.stores.tables import statements_table
from schema.terms import Provenance, Statement

def batch(number):
    for part in range(int(sys.argv[3])):
        item = f"{number}-{part}"
        yield Statement(item, "colour", f"{part % 7}", provenance=Provenance("s"))

number = 0
with open_store(sys.argv[1]) as store:
    while not Path(sys.argv[2]).exists():
        report = store.put(None, statements_table(batch(number)))
        print(number, report.new_items, report.new_statements, flush=True)
        number += 1
"""


def kill_repeatedly(server: Neo4jServer, kills: int, seed: int = 0) -> dict[str, Any]:
    """Kill (-9) and restart the server while a process writes; return figures of what was lost.

    Each batch that the writer reports as acknowledged must be in the store, and be there once.
    """
    rng = random.Random(seed)
    began = time.monotonic()
    stop_file = server.folder / "stop"
    arguments = [server.url, str(stop_file), str(BATCH_STATEMENTS)]
    environment = {**os.environ, "CATALOGRAPH_NEO4J_RETRY": "300"}
    # The writer reports to a file, because a full pipe would stop it.
    report_file = server.folder / "acknowledged"
    with report_file.open("wb") as output:
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, *arguments],
            stdout=output,
            env=environment,
            cwd=HERE.parent,
        )
        try:
            outages = [_cause_outage(server, report_file, writer, rng) for _ in range(kills)]
            stop_file.touch()
            if writer.wait(timeout=TIMEOUT):
                raise RuntimeError("the writer failed")
        finally:
            writer.kill()

    reports = [tuple(map(int, line.split())) for line in report_file.read_text().splitlines()]
    with open_store(server.url, read_only=True) as store:
        counts = store.counts()
        found = {
            row["item"] for batch in store.scan() for row in batch.select(["item"]).to_pylist()
        }
    expected = {f"{number}-{part}" for number, *_ in reports for part in range(BATCH_STATEMENTS)}
    whole = (BATCH_STATEMENTS, BATCH_STATEMENTS)
    return {
        "kills": kills,
        "batches": len(reports),
        "told_whole": sum(report[1:] == whole for report in reports),
        "lost": len(expected - found),
        "beyond": len(found - expected),
        "statements_expected": len(expected),
        "statements_there": counts.statements,
        "longest_outage_seconds": round(max(outages), 1),
        "seconds": round(time.monotonic() - began, 1),
    }


def _cause_outage(
    server: Neo4jServer, report_file: Path, writer: subprocess.Popen[bytes], rng: random.Random
) -> float:
    """Kill the server at a random moment after a batch, and restart it.

    Returns the seconds until the next batch was acknowledged.
    """
    _wait_for_more_batches(report_file, _batches(report_file), writer)
    time.sleep(rng.uniform(0.0, 1.0))
    server.kill()
    batches = _batches(report_file)
    killed = time.monotonic()
    server.start()
    _wait_for_more_batches(report_file, batches, writer)
    return time.monotonic() - killed


def _batches(report_file: Path) -> int:
    return report_file.read_bytes().count(b"\n")


def _wait_for_more_batches(
    report_file: Path, batches: int, writer: subprocess.Popen[bytes]
) -> None:
    deadline = time.monotonic() + TIMEOUT
    while _batches(report_file) <= batches:
        if writer.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the writer stopped after {batches} batches")
        time.sleep(0.01)
