"""Data loading: edges sampled, batches built, time that a step waits for them, snapshot memory.

    python benchmarks/loader.py [--home DIR] [--split FILE] [--statements 10000000]

- *edges*: edges per second of message flows sampled from a graph of that many statements, against
  bare DGL's frontier of the same items;
- *batches*: items per second of whole batches with images from the cache, against the small model's
  forward and backward;
- *wait*: the share of its time that a training loop waits for its batch, with no worker process
  and with one;
- *snapshot*: time and peak memory of reading the statements into memory-mapped arrays, in a process
  of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import pyarrow as pa

from benchmarks.arguments import training_arguments

PROPERTIES = 20
VALUES = 100_000
BATCH_ROWS = 100_000


class DrawnStore:
    """A synthetic store of ten statements an item, generated batch by batch, never held."""

    def __init__(self, statements: int) -> None:
        self.statements = statements
        self.count = statements // 10

    def items(self) -> Iterator[pa.RecordBatch]:
        """Yield items with titles, in a hundred categories."""
        from kg.stores.tables import ITEM_SCHEMA

        for start in range(0, self.count, BATCH_ROWS):
            number = np.arange(start, min(start + BATCH_ROWS, self.count))
            columns = [
                [f"P{n:09d}" for n in number],
                [f"a thing of kind {n % 977} for the house" for n in number],
            ]
            rest: list[Any] = [
                [f"Shop / {n % 100}" for n in number],
                [[f"/images/{n}.jpg"] for n in number],
            ]
            yield pa.record_batch(
                [pa.array(c, t) for c, t in zip(columns + rest, ITEM_SCHEMA.types, strict=True)],
                schema=ITEM_SCHEMA,
            )

    def triples(self, ranks: Sequence[Any]) -> Iterator[pa.RecordBatch]:
        """Yield statements in random order."""
        from kg.stores.tables import TRIPLE_SCHEMA

        rng = np.random.default_rng(0)
        for start in range(0, self.statements, BATCH_ROWS):
            size = min(BATCH_ROWS, self.statements - start)
            item, known, value = (
                rng.integers(0, high, size) for high in (self.count, PROPERTIES, VALUES)
            )
            texts = (
                [f"P{n:09d}" for n in item],
                [f"property {n}" for n in known],
                [f"value {n}" for n in value],
            )
            yield pa.record_batch([pa.array(text) for text in texts], schema=TRIPLE_SCHEMA)


def read_drawn(statements: int) -> None:
    """Read a synthetic store, and print time and memory; run in a process of its own."""
    import resource

    from kg.snapshot import read_snapshot

    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        snapshot = read_snapshot(DrawnStore(statements), Path(folder))  # type: ignore[arg-type]
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        found = {
            "statements": len(snapshot.triples),
            "items": len(snapshot.items),
            "seconds": round(seconds, 1),
            "peak_gb": round(peak, 2),
        }
    print(json.dumps(found))


def bench_snapshot(statements: int) -> dict[str, Any]:
    """Measure the snapshot's time, generation included, and its peak memory."""
    command = [sys.executable, __file__, "--statements", str(statements), "--only-snapshot"]
    found: dict[str, Any] = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    )
    return {"what": "snapshot", **found}


def bench_edges(statements: int, items: int = 512, steps: int = 200) -> dict[str, Any]:
    """Measure edges per second of our flows and of bare DGL over the same items.

    There is a cell for every statement, which knows all other statements of its item.
    """
    # Imported here and below: the process whose memory is measured needs neither torch nor dgl.
    import torch

    from kg.sampling.dgl_compat import dgl
    from kg.sampling.hetero import OF, heterograph
    from kg.sampling.keyed_random import KeyedRandom
    from kg.sampling.sampler import CellSampler

    rng = np.random.default_rng(0)
    count = statements // 10
    known = np.tile(np.arange(10), count)
    value = known * (VALUES // 10) + rng.integers(0, VALUES // 10, statements)
    graph = heterograph(
        np.repeat(np.arange(count), 10), known, value, item_count=count, candidate_count=VALUES
    )
    sampler = CellSampler(graph, 24)
    only = graph[OF]
    cell_item = np.repeat(np.arange(items), 10)
    cell_property = np.tile(np.arange(10), items)
    shares = np.ones(len(cell_item))
    edges = {"ours": 0, "dgl": 0}
    seconds = {"ours": 0.0, "dgl": 0.0}
    for step in range(steps):
        index = rng.choice(count, items, replace=False)
        began = time.perf_counter()
        edges["ours"] += len(
            sampler(index, cell_item, cell_property, shares, KeyedRandom(0, step)).edge_cell
        )
        middle = time.perf_counter()
        frontier = dgl.sampling.sample_neighbors(
            only, {"item": torch.from_numpy(np.sort(index))}, -1, copy_ndata=False
        )
        edges["dgl"] += len(frontier.edges()[0])
        seconds["ours"] += middle - began
        seconds["dgl"] += time.perf_counter() - middle
    speed = {name: round(edges[name] / seconds[name]) for name in edges}
    calls = {f"{name}_items_per_second": round(items * steps / seconds[name]) for name in seconds}
    return {
        "what": "edges",
        "statements": statements,
        **speed,
        **calls,
        "ratio": round(speed["ours"] / speed["dgl"], 2),
    }


def bench_batches(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure batches built against batches consumed, and the loop's wait."""
    from benchmarks.joint_step import shop
    from benchmarks.training import BEGUN, bench_loop, prepared
    from kg.home import Home
    from training.loader import BatchRequest, prefetch_batches
    from training.loop import train_step

    with tempfile.TemporaryDirectory() as folder:
        home = Home.open(args.home) if args.home else shop(Path(folder), 1000)
        consumed = float(bench_loop(home, args, "bf16")["bare"])
        run = prepared(home, args, "joint")
        # The first batch builds the graph of DGL.
        for step in range(3):
            run.batches[BatchRequest(step, 0, 1)]
        began = time.perf_counter()
        items = sum(run.batches[BatchRequest(step, 0, 1)].items for step in range(60))
        speed = items / (time.perf_counter() - began)
        rows: list[dict[str, Any]] = [
            {
                "what": "batches",
                "made": round(speed),
                "eaten": round(consumed),
                "ratio": round(speed / consumed, 1),
            }
        ]
        for workers in (0, 1):
            waited = 0.0
            began = 0.0
            steps = 40
            ready = prefetch_batches(
                run.batches,
                (BatchRequest(step, 0, 1) for step in range(steps + 5)),
                workers,
                run.device,
            )
            for step in range(steps + 5):
                # The worker processes start during the first five steps.
                if step == 5:
                    waited = 0.0
                    began = time.perf_counter()
                requested = time.perf_counter()
                batch = next(ready)
                waited += time.perf_counter() - requested
                train_step(run, batch, 1e-4)
                run.average.update(run.objective, BEGUN + step)
            total = time.perf_counter() - began
            rows.append(
                {
                    "what": "wait",
                    "workers": workers,
                    "share": round(waited / total, 4),
                    "items_per_second": round(steps * batch.items / total, 1),
                }
            )
    return rows


def main() -> None:
    """Measure and print."""
    parser = training_arguments(__doc__, steps=40)
    parser.add_argument("--statements", type=int, default=10_000_000)
    parser.add_argument("--only-snapshot", action="store_true")
    args = parser.parse_args()
    if args.only_snapshot:
        read_drawn(args.statements)
        return
    rows = [bench_snapshot(args.statements), bench_edges(args.statements), *bench_batches(args)]
    for row in rows:
        print(row)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
