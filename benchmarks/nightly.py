"""Replay ten nights of a drifting catalogue in every store, and take them back one by one.

    python benchmarks/nightly.py [--items 1200] [--nights 10] [--store ladybug] [--out FILE]

Each night 2% of the rows change, 1% are gone and 1% are new. After each night the graph has to
equal a fresh ingest of its file, and the histories have to tell what was changed; in the end each
night has to be as it was. Neo4j needs Java 17 and Maven, and is left out without them. The exit
code is 1 if anything did not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.kg.ingest.nights import Night, Replay, write_nights
from tests.servers import Neo4jServer, emptied, missing_requirement

FIGURES = Path(__file__).parent / "figures" / "nightly.json"
STORES = ("ladybug", "rdf", "neo4j")


def replay(folder: Path, nights: list[Night], store: str) -> dict[str, Any]:
    """Replay the nights in a store, and return the figures."""
    if store != "neo4j":
        numbers = count()
        return _replayed(folder, nights, lambda: f"{store}:{folder}/graph-{next(numbers)}")
    missing = missing_requirement()
    if missing:
        return {"skipped": missing}
    os.environ["NEO4J_AUTH"] = f"neo4j/{Neo4jServer.password}"
    with Neo4jServer(folder / "server") as server:
        return _replayed(folder, nights, lambda: emptied(server.url))


def _replayed(folder: Path, nights: list[Night], empty_url: Callable[[], str]) -> dict[str, Any]:
    made = Replay(folder, nights, empty_url)
    began = time.process_time()
    made.run()
    return {
        "problems": made.problems,
        "processor seconds": round(time.process_time() - began, 1),
        "seconds": {name: [round(each, 2) for each in all] for name, all in made.seconds.items()},
    }


def main() -> int:
    """Measure, print the figures, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, default=1_200)
    parser.add_argument("--nights", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", action="append", choices=STORES, help="[default: all]")
    parser.add_argument("--out", type=Path, default=FIGURES, help="file of the figures")
    args = parser.parse_args()
    report: dict[str, Any] = {
        "items": args.items,
        "nights": args.nights,
        "seed": args.seed,
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "load": round(os.getloadavg()[0], 1),
        "stores": {},
    }
    if args.store and args.out.exists():
        report["stores"] = json.loads(args.out.read_text(encoding="utf-8"))["stores"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        nights = write_nights(folder / "nights", args.items, args.nights, args.seed)
        changed = [len(night.changes) for night in nights[1:]]
        report["items that change, by night"] = changed
        for store in args.store or STORES:
            (folder / store).mkdir()
            found = replay(folder / store, nights, store)
            report["stores"][store] = found
            print(f"{store}: {json.dumps(found)}", flush=True)
            args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return int(any(found.get("problems") for found in report["stores"].values()))


if __name__ == "__main__":
    sys.exit(main())
