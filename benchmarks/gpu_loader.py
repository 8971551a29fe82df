"""Training with its real loader on a GPU, against the step alone on batches that are ready.

    python benchmarks/gpu_loader.py [--presets vtbert joint] [--workers 8 14] [--items 10000]
        [--steps 20] [--out FILE]

A made catalogue with images and a query log lies in memory-mapped arrays, as in every training.
*Ready* takes steps on batches that are on the card already. The others get their batches from
worker processes, packed, pinned and copied while the step before is computed: ``mapped`` from
arrays in the page cache, ``memory`` with all arrays but the images copied to memory, ``shards``
sampled by shards, with the page cache emptied before the first step. Each has items/s over whole
steps, the share of the time in which the loop waits for its batch, and, in a second window with
PyTorch's profiler, the share in which the card computes, and in which it copies.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch

from benchmarks.mapped_training import in_memory, made_home
from benchmarks.reporting import reporter
from fusion.config import ModelConfig
from kg.image_cache import ImageCache
from training.config import TrainOptions
from training.gradient import agree_on_batch
from training.inputs import TrainingInputs, read_inputs
from training.loader import PREFETCHED_BATCHES, BatchRequest, PreparedBatch, prefetch_batches
from training.loop import train_step
from training.presets import preset
from training.processes import Processes
from training.queries import LoggedQuery, read_log
from training.records import ignore_records
from training.run import ModelWriter, assemble
from training.state import Run

READY = 8
PROFILED = 10
SHARDS = 32
IMAGES_AT_ONCE = 64
LOGGED = 20_000
"""Rows of the query log."""
RATE = 1e-5


def write_images(path: Path, count: int, size: int) -> ImageCache:
    """Write as many images to a file, of which 64 differ, and map it."""
    block = np.random.default_rng(1).integers(0, 256, (IMAGES_AT_ONCE, 3, size, size), np.uint8)
    with path.open("wb") as file:
        for first in range(0, count, IMAGES_AT_ONCE):
            file.write(block[: count - first].tobytes())
    array = np.memmap(path, np.uint8, "r", shape=(count, 3, size, size))
    return ImageCache(array, np.ones(count, dtype=bool), [])


def made_inputs(
    folder: Path, name: str, size: str, count: int
) -> tuple[TrainingInputs, ModelConfig]:
    """Return the inputs of a training, and the configuration of its model."""
    chosen = preset(name, size)
    config = dataclasses.replace(chosen.model, image_encoder="none")
    options = TrainOptions(preset=name, size=size)
    home = made_home(folder, count)
    inputs = read_inputs(home, options, chosen.recipe, config, None, ignore_records)
    images = write_images(folder / "images", count, chosen.model.image_size)
    data = dataclasses.replace(inputs.data, images=images)
    # Each item was bought for two words of its title.
    rows = [
        LoggedQuery(" ".join(data.words[item][:2]), data.items[item], clicks=2, purchases=1)
        for item in inputs.splits["train"][:LOGGED].tolist()
    ]
    inputs = dataclasses.replace(inputs, data=data, log=read_log(data.items, rows))
    pieces = inputs.tokenizer.vocab_size
    return inputs, dataclasses.replace(chosen.model, vocab_size=pieces)


class Training:
    """A run of a preset whose batches come from this or that loader."""

    def __init__(
        self,
        folder: Path,
        name: str,
        size: str,
        made: tuple[TrainingInputs, ModelConfig],
        batch: int,
    ) -> None:
        self.folder = folder
        self.name = name
        self.size = size
        self.batch = batch
        self.inputs, self.config = made
        self.run = self.assembled(self.inputs, 1)

    def assembled(self, inputs: TrainingInputs, shards: int) -> Run:
        """Put a run together."""
        recipe = dataclasses.replace(
            preset(self.name, self.size).recipe,
            batch_size=self.batch,
            data_shards=shards,
            workers=0,
        )
        options = TrainOptions(preset=self.name, size=self.size, steps=1_000_000)
        writer = ModelWriter(self.folder / "run", self.config, inputs, {}, Processes())
        return assemble(writer, options, recipe, Processes(), time.monotonic())

    def ready(self) -> Iterator[PreparedBatch]:
        """Yield batches that are on the device already, again and again."""
        batches = [
            self.run.batches[BatchRequest(number, 0, 1)].to(self.run.device)
            for number in range(READY)
        ]
        yield from itertools.cycle(batches)

    def loaded(self, source: str, workers: int) -> Iterator[PreparedBatch]:
        """Yield batches of the loader."""
        builder = self.run.batches
        if source == "memory":
            copied = dataclasses.replace(
                in_memory(self.inputs.data), images=self.inputs.data.images
            )
            inputs = dataclasses.replace(self.inputs, data=copied)
            builder = self.assembled(inputs, 1).batches
        if source == "shards":
            builder = self.assembled(self.inputs, SHARDS).batches
            self.forget()
        requests = (BatchRequest(step, 0, 1) for step in itertools.count())
        return prefetch_batches(builder, requests, workers, self.run.device)

    def forget(self) -> None:
        """Drop the arrays from the page cache, as far as the system does so."""
        files = [self.folder / "images"]
        files += [each.folder / name for each in self.inputs.folders for name in each.arrays]
        for file in files:
            handle = os.open(file, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)

    def step(self, batch: PreparedBatch) -> None:
        """Take a whole step."""
        train_step(self.run, agree_on_batch(self.run, batch), RATE)
        self.run.average.update(self.run.objective, self.run.progress.step)
        self.run.progress.step += 1


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done everything."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def measure(training: Training, batches: Iterator[PreparedBatch], warm: int, steps: int) -> Any:
    """Measure a loop over batches; the first ones do not count."""
    device = training.run.device
    began = time.perf_counter()
    for _ in range(warm):
        training.step(next(batches))
    synchronize(device)
    figures: dict[str, Any] = {"first_steps_s": round(time.perf_counter() - began, 1)}

    def window(count: int) -> tuple[float, float, int]:
        waited = 0.0
        items = 0
        began = time.perf_counter()
        for _ in range(count):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            items += batch.items
            training.step(batch)
        synchronize(device)
        return time.perf_counter() - began, waited, items

    seconds, waited, items = window(steps)
    figures |= {
        "items_per_second": round(items / seconds, 1),
        "step_ms": round(1e3 * seconds / steps, 1),
        "waiting_for_batches": round(waited / seconds, 3),
    }
    if device.type == "cuda":
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            seconds, _, _ = window(PROFILED)
        events = [each for each in profile.key_averages() if str(each.device_type).endswith("CUDA")]
        copies = [each for each in events if "Memcpy HtoD" in each.key]
        total = sum(each.self_device_time_total for each in events) / 1e6
        copied = sum(each.self_device_time_total for each in copies) / 1e6
        figures |= {
            "profiled_step_ms": round(1e3 * seconds / PROFILED, 1),
            "card_computes": round((total - copied) / seconds, 3),
            "card_copies": round(copied / seconds, 4),
            "peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2),
        }
    return figures


def bench(
    folder: Path, name: str, args: argparse.Namespace, report: Callable[[str, Any], None]
) -> None:
    """Measure a preset with each loader."""
    began = time.perf_counter()
    made = made_inputs(folder, name, args.size, args.items)
    training = Training(folder, name, args.size, made, args.batch_size)
    report(f"{name} made", {"seconds": round(time.perf_counter() - began, 1)})
    report(f"{name} ready", measure(training, training.ready(), 3, args.steps))
    cases = [("mapped", args.workers[0])]
    if name == args.presets[0]:
        cases += [("memory", args.workers[0]), ("shards", args.workers[0])]
        cases += [("mapped", workers) for workers in args.workers[1:]]
    for source, workers in cases:
        batches = training.loaded(source, workers)
        # Each worker imports its libraries first, and has filled its queue when it counts. A loop
        # without workers is slow, and needs few steps.
        warm = workers * (PREFETCHED_BATCHES + 1) + 3
        steps = args.steps if workers else max(2, args.steps // 4)
        report(f"{name} {source} {workers} workers", measure(training, batches, warm, steps))
        batches.close()  # type: ignore[attr-defined]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--presets", nargs="+", default=["vtbert", "joint"])
    parser.add_argument("--size", default="base")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--workers", type=int, nargs="+", default=[8, 14])
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    rows: dict[str, Any] = {"device": name, "cores": os.cpu_count(), "items": args.items}
    report = reporter(rows, args.out)
    with tempfile.TemporaryDirectory() as folder:
        for preset_name in args.presets:
            bench(Path(folder), preset_name, args, report)


if __name__ == "__main__":
    main()
