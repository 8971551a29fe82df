"""Data loading: edges sampled, batches built, time that a step waits for them, snapshot memory.

    python benchmarks/loader.py [--home DIR] [--split FILE] [--statements 10000000]
        [--only snapshot|edges|batches|feed] [--batch-size 256] [--rate 3300 10600]

- *edges*: edges per second of message flows sampled from a graph of that many statements, against
  bare DGL's frontier of the same items;
- *batches*: items per second of whole batches with images from the cache, against the small model's
  forward and backward;
- *wait*: the share of its time that a training loop waits for its batch, with no worker process
  and with one;
- *feed*: items per second of each preset's batches, at small and base size: built in this process,
  with images read and changed as now and in a loop over a padded copy, in turns; the images' share
  of the time; received from one and two worker processes; and the cores that it takes to build as
  many as a GPU consumes;
- *snapshot*: time and peak memory of reading the statements into memory-mapped arrays, in a process
  of its own.
"""

from __future__ import annotations

import argparse
import itertools
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
    from training.gradient import agree_on_batch
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
                train_step(run, agree_on_batch(run, batch), 1e-4)
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


def looped_images(pixels: Any, index: Any, shift: int, uniform: Any) -> Any:
    """Shift and mirror images one by one, from a padded copy of the batch."""
    import torch
    from torch.nn import functional as F

    images = torch.from_numpy(np.asarray(pixels[index]))
    size = images.shape[-1]
    padded = F.pad(images, (shift,) * 4, value=255)
    places = (uniform[:, :2] * (2 * shift + 1)).astype(np.int64)
    out = torch.empty_like(images)
    for row, (top, left) in enumerate(places.tolist()):
        cut = padded[row, :, top : top + size, left : left + size]
        out[row] = cut.flip(-1) if uniform[row, 2] < 0.5 else cut
    return out


def preset_builder(home: Any, args: argparse.Namespace, name: str, size: str) -> Any:
    """Return the builder of a preset's batches, without its model."""
    from training.config import TrainOptions, read_settings
    from training.inputs import read_inputs
    from training.presets import preset
    from training.processes import Processes
    from training.records import ignore_records
    from training.run import batch_builder
    from training.schedule import make_schedule

    chosen = preset(name, size)
    overrides = (f"batch_size={args.batch_size}",)
    fields = chosen.model.as_dict()
    recipe = read_settings(None, overrides, fields, chosen.recipe.as_settings()).recipe
    options = TrainOptions(preset=name, size=size, steps=1, split=args.split)
    inputs = read_inputs(home, options, recipe, chosen.model, None, ignore_records)
    schedule = make_schedule(recipe.weights, recipe.stages, inputs.log is not None)
    return batch_builder(inputs, recipe, chosen.model, schedule, 0, Processes())


def build_rates(builder: Any, stage: int, steps: int) -> dict[str, float]:
    """Measure seconds per item of whole batches and of their images, as now and in a loop."""
    from unittest import mock

    from training.augment import augmented_images
    from training.loader import BatchRequest

    ways = {"now": augmented_images, "loop": looped_images}
    total = dict.fromkeys(ways, 0.0)
    images = dict.fromkeys(ways, 0.0)
    items = 0
    for step in range(steps + 1):
        # In turns: the second of two equal batches finds its data in the processor's cache.
        for way, read in list(ways.items())[:: 1 if step % 2 else -1]:

            def timed_read(*given: Any, way: str = way, read: Any = read) -> Any:
                began = time.perf_counter()
                found = read(*given)
                images[way] += time.perf_counter() - began
                return found

            with mock.patch("training.data.augmented_images", timed_read):
                began = time.perf_counter()
                batch = builder[BatchRequest(step, stage, 1)]
                total[way] += time.perf_counter() - began
        items += batch.items
        if step == 0:
            # The first batch builds the graph of DGL.
            for seconds in (total, images):
                seconds.update(dict.fromkeys(ways, 0.0))
            items = 0
    found = {f"{way}_items_per_second": round(items / total[way]) for way in ways}
    shares = {f"{way}_image_share": round(images[way] / total[way], 3) for way in ways}
    return {**found, **shares, "ratio": round(total["loop"] / total["now"], 2)}


def received_rate(builder: Any, stage: int, workers: int, steps: int) -> float:
    """Measure items per second that this process receives and does not use."""
    import torch

    from training.loader import PREFETCHED_BATCHES, BatchRequest, prefetch_batches

    # Each worker imports its libraries first, and has filled its queue when it starts to count.
    warm = workers * (PREFETCHED_BATCHES + 2) + 1
    requests = (BatchRequest(step, stage, 1) for step in itertools.count())
    ready = prefetch_batches(builder, requests, workers, torch.device("cpu"))
    for _ in range(warm):
        next(ready)
    began = time.perf_counter()
    items = sum(next(ready).items for _ in range(steps))
    # The time in which the workers end does not count.
    return items / (time.perf_counter() - began)


def bench_feed(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure how many items per second can be prepared, by preset, size, stage and workers."""
    import torch

    from benchmarks.joint_step import shop
    from kg.home import Home
    from schema.memory import keep_freed_memory

    keep_freed_memory()
    # As a worker process, which has one thread.
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        home = Home.open(args.home) if args.home else shop(Path(folder), 2000)
        for size in ("small", "base"):
            for name in args.presets:
                builder = preset_builder(home, args, name, size)
                for stage in range(len(builder.schedule.stages)):
                    found = build_rates(builder, stage, args.steps)
                    row = {"what": "feed", "preset": name, "size": size, "stage": stage + 1}
                    rates = {
                        f"workers_{workers}": round(
                            received_rate(builder, stage, workers, 2 * args.steps)
                        )
                        for workers in args.workers
                    }
                    cores = {
                        f"cores_for_{rate}": round(rate / found["now_items_per_second"], 2)
                        for rate in args.rate
                    }
                    rows.append({**row, **found, **rates, **cores})
                    print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure and print."""
    parser = training_arguments(__doc__, steps=40)
    parser.add_argument("--statements", type=int, default=10_000_000)
    parser.add_argument("--only-snapshot", action="store_true")
    parser.add_argument("--only", choices=("snapshot", "edges", "batches", "feed"))
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument(
        "--presets", nargs="+", default=["joint", "k3m", "mbsd", "vtbert"], help="for feed"
    )
    parser.add_argument(
        "--workers", nargs="*", type=int, default=[0, 1, 2], help="numbers of processes, for feed"
    )
    parser.add_argument(
        "--rate",
        nargs="*",
        type=int,
        default=[3300, 10_600],
        help="items per second that a GPU consumes, for feed",
    )
    args = parser.parse_args()
    if args.only_snapshot:
        read_drawn(args.statements)
        return
    rows: list[dict[str, Any]] = []
    if args.only in (None, "snapshot"):
        rows.append(bench_snapshot(args.statements))
    if args.only in (None, "edges"):
        rows.append(bench_edges(args.statements))
    if args.only in (None, "batches"):
        rows += bench_batches(args)
    if args.only in (None, "feed"):
        rows += bench_feed(args)
    for row in rows:
        print(row)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
