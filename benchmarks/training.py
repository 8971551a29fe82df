"""Items a second of the whole training loop, data included, against the model's own forward and backward on ready batches.

    python benchmarks/training.py [--home DIR] [--split FILE] [--size small] [--steps 60]

Both run in one process on the same batches, in turns, in fp32 and in bf16; a table and a JSON line come out. On a GPU the same runs there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch

from fusion.presets import preset
from kg.home import Home
from schema.memory import keep_freed_memory
from training.config import TrainOptions, read_settings
from training.gradient import precision
from training.loop import train_step
from training.material import read_material
from training.run import ModelWriter, assemble
from training.views import StepBatch, move

BATCHES = 12


def measure(step: Callable[[int], None], steps: int, items: int, device: torch.device) -> list[float]:
    """Items a second of each of ``steps`` steps."""
    speeds = []
    for number in range(steps):
        began = time.perf_counter()
        step(number)
        if device.type == "cuda":
            torch.cuda.synchronize()
        speeds.append(items / (time.perf_counter() - began))
    return speeds


def bench(home: Home, args: argparse.Namespace, kind: str) -> dict[str, object]:
    """The loop's and the bare model's speed at one precision."""
    options = TrainOptions(size=args.size, steps=1, split=args.split, overrides=(f"precision={kind}",))
    config = preset("joint", args.size)
    settings = read_settings(None, options.overrides, config.as_dict())
    material = read_material(home, options, settings.recipe, config, None, lambda record: None)
    writer = ModelWriter(Path(args.out), config, material, {}, rank=0)
    run = assemble(writer, options, settings.recipe, (0, 1), time.monotonic())
    rng = np.random.default_rng(0)
    device, size = run.device, settings.recipe.batch_size
    ready: list[StepBatch] = [move(run.viewer.batch(run.sampler.batch(n), rng), device) for n in range(BATCHES)]
    run.objective.model.train()

    def bare(number: int) -> None:
        with precision(settings.recipe, device):
            loss = run.objective(ready[number % BATCHES]).total
        loss.backward()
        run.optimizer.zero_grad(set_to_none=True)

    def whole(number: int) -> None:
        train_step(run, run.sampler.batch(number), settings.recipe.learning_rate)
        run.average.update(run.objective.model, number)
        run.progress.step += 1

    for step in (bare, whole):
        measure(step, 3, size, device)
    speeds: dict[str, list[float]] = {"bare": [], "whole": []}
    for _ in range(args.steps // 10):
        speeds["bare"] += measure(bare, 10, size, device)
        speeds["whole"] += measure(whole, 10, size, device)
    # Items over seconds of all steps, not a median: a loop that stalls now and then is slow.
    means = {name: statistics.harmonic_mean(values) for name, values in speeds.items()}
    figures = {name: round(value, 1) for name, value in means.items()}
    return {"precision": kind, "size": args.size, "device": str(device), **figures, "ratio": round(means["whole"] / means["bare"], 3)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--home", default="catalog")
    parser.add_argument("--split", type=Path)
    parser.add_argument("--size", default="small")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--out", default="build/bench")
    args = parser.parse_args()
    keep_freed_memory()
    home = Home.open(args.home)
    rows = [bench(home, args, kind) for kind in ("fp32", "bf16")]
    for row in rows:
        print("{precision}  {size}  {device}  loop {whole:>7} items/s  model {bare:>7} items/s  ratio {ratio}".format(**row))
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
