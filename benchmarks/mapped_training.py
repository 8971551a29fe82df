"""Training from memory-mapped arrays: memory by the size of the catalogue, speed, pages read.

    python benchmarks/mapped_training.py [--items 10000 100000 1000000] [--steps 100]
        [--folder DIR] [--only write|train|limit|shards]

The catalogues are made: ten properties, nine words a title, no images, a tiny joint model. Each
measurement is a process of its own; memory is ``RssAnon`` of ``/proc/self/status``, which leaves
out what is mapped from files.

- *write*: seconds and peak of anonymous memory to write the arrays, and their bytes;
- *train*: anonymous memory of inputs and model, how much it grows while batches are built, and how
  much copies of the arrays would add; items per second of batches from files against batches from
  those copies, and of whole steps, in turns;
- *limit*: batches built under a limit on anonymous memory (RLIMIT_DATA) that leaves half of what
  the arrays take, and whether copies of them fit under it;
- *shards*: bytes read from the disk per item, none of the arrays being in the page cache, with one
  shard and with 512.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import mmap
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import pyarrow as pa

from kg.home import Home
from schema.errors import CatalographError

if TYPE_CHECKING:
    from fusion.config import ModelConfig
    from training.data import TrainingData
    from training.inputs import TrainingInputs
    from training.loader import BatchBuilder
    from training.state import Run

PROPERTIES = 10
WORDS = 20_000
ROWS = 10_000
BATCH_SIZE = 64
LEFT_FREE = 0.5
SHARDS = 512


class MadeStore:
    """A store of made items, drawn batch by batch and never held."""

    url = "made:"

    def __init__(self, items: int) -> None:
        self.count = items
        self.sizes = np.geomspace(4, 2000, PROPERTIES).astype(int)
        letters = np.array(list("abcdefghijklmnoprstuvw"))
        rng = np.random.default_rng(0)
        self.words = np.array(
            ["".join(rng.choice(letters, rng.integers(3, 9))) for _ in range(WORDS)]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def revision(self) -> str:
        """Return what the arrays are of."""
        return f"made {self.count}"

    def sources(self) -> list[str]:
        """Return the only source."""
        return ["made"]

    def _starts(self) -> Iterator[tuple[int, int]]:
        for first in range(0, self.count, ROWS):
            yield first, min(ROWS, self.count - first)

    def items(self) -> Iterator[pa.RecordBatch]:
        """Yield items with titles, in forty categories."""
        from kg.stores.tables import ITEM_SCHEMA

        for first, size in self._starts():
            rng = np.random.default_rng([1, first])
            lengths = rng.normal(9, 3, size).round().clip(3, 20).astype(int)
            chosen = np.minimum(rng.zipf(1.2, (size, 20)), WORDS) - 1
            rows = [
                {
                    "id": f"P{first + number:09d}",
                    "title": " ".join(self.words[chosen[number, : lengths[number]]]),
                    "category": f"Shop / {(first + number) % 40}",
                }
                for number in range(size)
            ]
            yield pa.RecordBatch.from_pylist(rows, schema=ITEM_SCHEMA)

    def triples(self, ranks: Sequence[Any]) -> Iterator[pa.RecordBatch]:
        """Yield nine statements in ten of each item, of values that are more and less frequent."""
        from kg.stores.tables import TRIPLE_SCHEMA

        for first, size in self._starts():
            rng = np.random.default_rng([2, first])
            for number, high in enumerate(self.sizes.tolist()):
                items = first + np.flatnonzero(rng.random(size) < 0.9)
                values = np.minimum(rng.zipf(1.3, len(items)), high) - 1
                columns = (
                    [f"P{item:09d}" for item in items.tolist()],
                    [f"property {number}"] * len(items),
                    [self.value(number, value) for value in values.tolist()],
                )
                yield pa.record_batch([pa.array(each) for each in columns], schema=TRIPLE_SCHEMA)

    def value(self, property: int, number: int) -> str:
        """Return the text of a value."""
        return f"{self.words[(31 * property + number) % WORDS]} {number}"


class MadeHome(Home):
    """A home whose store is made."""

    made: MadeStore

    def store(self, read_only: bool = False) -> Any:
        """Return the made store."""
        return self.made


def made_home(folder: Path, items: int) -> MadeHome:
    """Return the home of so many made items in a folder, with its ontology."""
    from schema.ontology import Ontology, PropertySpec

    home = MadeHome.open(folder / str(items), create=True)
    made = MadeHome(home.path)
    made.made = MadeStore(items)
    if not made.ontology_path.exists():
        specs = []
        for number, high in enumerate(made.made.sizes.tolist()):
            values = tuple(made.made.value(number, value) for value in range(high))
            counts = tuple(max(2, items // (value + 2)) for value in range(high))
            specs.append(PropertySpec(f"property {number}", values=values, counts=counts))
        Ontology(specs).save(made.ontology_path)
    return made


def _load_libraries() -> None:
    """Load what a training needs, so that it does not count as memory of the data."""
    import pandas.util

    import kg.sampling.hetero
    import training.run

    assert pandas.util, (kg.sampling.hetero, training.run)


def anonymous() -> int:
    """Return the bytes of anonymous memory that this process occupies."""
    from schema.memory import return_freed_memory

    return_freed_memory()
    return _status("RssAnon")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


class Peak:
    """The most anonymous memory in a ``with`` block, looked at fifty times a second."""

    def __enter__(self) -> Self:
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.bytes = max(self.bytes, _status("RssAnon"))

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def read(folder: Path, items: int) -> TrainingInputs:
    """Read the inputs of a run, writing the arrays if they are not there."""
    from training.config import TrainOptions
    from training.inputs import read_inputs
    from training.presets import preset
    from training.records import ignore_records

    chosen = preset("joint", "tiny")
    config = dataclasses.replace(chosen.model, image_encoder="none")
    options = TrainOptions(size="tiny")
    home = made_home(folder, items)
    return read_inputs(home, options, chosen.recipe, config, None, ignore_records)


def tiny_config(inputs: TrainingInputs) -> ModelConfig:
    """Return the configuration of the tiny joint model without images."""
    from training.presets import preset

    model = preset("joint", "tiny").model
    pieces = inputs.tokenizer.vocab_size
    return dataclasses.replace(model, image_encoder="none", vocab_size=pieces)


def run_of(folder: Path, inputs: TrainingInputs, shards: int = 1) -> Run:
    """Put a run of the tiny joint model together."""
    from training.config import TrainOptions
    from training.presets import preset
    from training.processes import Processes
    from training.run import ModelWriter, assemble

    config = tiny_config(inputs)
    recipe = dataclasses.replace(
        preset("joint", "tiny").recipe, batch_size=BATCH_SIZE, data_shards=shards, workers=0
    )
    options = TrainOptions(size="tiny", steps=1_000_000)
    writer = ModelWriter(folder / "run", config, inputs, {}, Processes())
    return assemble(writer, options, recipe, Processes(), time.monotonic())


def in_memory(data: TrainingData) -> TrainingData:
    """Return the same data with copies of its arrays in memory."""
    titles = data.titles
    assert titles is not None
    words = titles.words
    copied = dataclasses.replace(
        words,
        pieces=_copied(words.pieces),
        ngrams=_copied(words.ngrams),
        pair_keys=np.array(words.pair_keys),
        pair_ngrams=np.array(words.pair_ngrams),
    )
    return dataclasses.replace(
        data,
        indptr=np.array(data.indptr),
        property=np.array(data.property, np.int32),
        candidate=np.array(data.candidate),
        category=np.array(data.category),
        titles=dataclasses.replace(titles, titles=_copied(titles.titles), words=copied),
    )


def _copied(ragged: Any) -> Any:
    return type(ragged)(np.array(ragged.indptr), np.array(ragged.values))


def bench_write(folder: Path, items: int, _: int) -> dict[str, Any]:
    """Measure writing the arrays."""
    before = anonymous()
    began = time.perf_counter()
    with Peak() as peak:
        inputs = read(folder, items)
    sizes = {
        each.folder.name.partition("-")[0]: sum(a.nbytes for a in each.arrays.values())
        for each in inputs.folders
    }
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "peak_mb": round((peak.bytes - before) / 1e6),
        "left_mb": round((anonymous() - before) / 1e6),
        "bytes_per_item": {name: round(size / items) for name, size in sizes.items()},
        "statements": len(inputs.data.candidate),
    }


def bench_train(folder: Path, items: int, steps: int) -> dict[str, Any]:
    """Measure memory and speed of batches from files and from copies."""
    from benchmarks.training import in_turns, whole_step
    from training.collate import Collator
    from training.flows import TrainingFlows
    from training.loader import BatchBuilder

    nothing = anonymous()
    inputs = read(folder, items)
    run = run_of(folder, inputs)
    build = batch_step(run.batches)
    build(0)
    read_mb = anonymous() - nothing
    for number in range(1, steps):
        build(number)
    after = anonymous()
    data = in_memory(inputs.data)
    copies = anonymous() - after
    old = run.batches.collator
    collator = Collator(
        data,
        inputs.tokenizer,
        run.recipe,
        TrainingFlows(data, run.recipe.max_known),
        tiny_config(inputs),
        train=old.train,
        string_lengths=old.string_lengths,
    )
    builder = BatchBuilder(collator, run.schedule, run.seed, run.batches.items, None)
    speed = in_turns(
        {
            "files": batch_step(run.batches),
            "memory": batch_step(builder),
        },
        steps,
        BATCH_SIZE,
        run.device,
    )
    whole = {}
    for name, batches in (("files", run.batches), ("memory", builder)):
        whole[name] = whole_step(dataclasses.replace(run, batches=batches))
    steps_speed = in_turns(whole, steps, BATCH_SIZE, run.device)
    return {
        "inputs_and_model_mb": round(read_mb / 1e6),
        "grown_mb": round((after - nothing - read_mb) / 1e6, 1),
        "copies_mb": round(copies / 1e6),
        "batches": {**speed, "ratio": round(speed["files"] / speed["memory"], 3)},
        "steps": {**steps_speed, "ratio": round(steps_speed["files"] / steps_speed["memory"], 3)},
    }


def batch_step(builder: BatchBuilder) -> Callable[[int], None]:
    """Return what builds the batch of a step."""
    from training.loader import BatchRequest

    def build(number: int) -> None:
        builder[BatchRequest(number, 0, 1)]

    return build


def bench_limit(folder: Path, items: int, steps: int) -> dict[str, Any]:
    """Build batches under a limit on anonymous memory, and try to copy the arrays under it."""
    inputs = read(folder, items)
    build = batch_step(run_of(folder, inputs).batches)
    build(0)
    size = inputs.mapped_bytes + inputs.data.category.nbytes
    limit = _status("VmData") + int(LEFT_FREE * size)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    for number in range(1, steps):
        build(number)
    try:
        copy = in_memory(inputs.data)
        copies = f"fit ({copy.indptr.nbytes:,} bytes)"
    except MemoryError:
        copies = "do not fit"
    return {
        "arrays_mb": round(size / 1e6),
        "free_mb": round(LEFT_FREE * size / 1e6),
        "batches_from_files": steps,
        "copies": copies,
    }


def bench_shards(folder: Path, items: int, steps: int) -> dict[str, Any]:
    """Measure what is read from the disk in an order with one shard and with many."""
    from training.loader import BatchRequest

    inputs = read(folder, items)
    found: dict[str, Any] = {"arrays_bytes_per_item": round(inputs.mapped_bytes / items)}
    for shards in (1, SHARDS):
        run = run_of(folder, inputs, shards)
        run.batches[BatchRequest(0, 0, 1)]
        _forget(inputs)
        began, before = time.perf_counter(), _read_bytes()
        for number in range(steps):
            run.batches[BatchRequest(number, 0, 1)]
        seconds = time.perf_counter() - began
        found[f"{shards} shards"] = {
            "read_bytes_per_item": round((_read_bytes() - before) / (steps * BATCH_SIZE)),
            "items_per_second": round(steps * BATCH_SIZE / seconds),
        }
    return found


def _forget(inputs: TrainingInputs) -> None:
    """Drop the arrays from the page cache."""
    for folder in inputs.folders:
        for name, array in folder.arrays.items():
            if isinstance(array.base, mmap.mmap):
                array.base.madvise(mmap.MADV_DONTNEED)
            handle = os.open(folder.folder / name, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def _read_bytes() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


BENCHES = {
    "write": bench_write,
    "train": bench_train,
    "limit": bench_limit,
    "shards": bench_shards,
}


def main() -> None:
    """Run each measurement in a process of its own and print a line of JSON for it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", choices=list(BENCHES))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        _load_libraries()
        found = BENCHES[args.only](args.folder, args.items[0], args.steps)
        print(json.dumps({"what": args.only, "items": args.items[0], **found}))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        for items in args.items:
            for name in [args.only] if args.only else list(BENCHES):
                command = [sys.executable, __file__, "--child", "--only", name]
                command += ["--items", str(items), "--steps", str(args.steps)]
                command += ["--folder", str(folder)]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    raise CatalographError(f"{name} failed: {done.stderr[-2000:]}")
                print(done.stdout.splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
