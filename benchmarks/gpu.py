"""Speed of training steps on a GPU: forward, backward, clipping, optimizer, averaged weights.

    python benchmarks/gpu.py prepare FOLDER [--steps mbsd:base:256:mlm+mpm joint:base:64 ...]
    python benchmarks/gpu.py check FOLDER [--steps ...]
    python benchmarks/gpu.py measure FOLDER [--steps ...] [--modes never layers step] [--out FILE]
    python benchmarks/gpu.py shard FOLDER [--steps ...] [--out FILE]

``prepare`` makes the batches on any machine, the others read them on one with a GPU. A step is
PRESET:SIZE:BATCH[:TERMS]; without terms it has all objectives of the preset. With
PRESET+minilm-frozen or PRESET+minilm-tuned a text model of MiniLM's shape reads the texts.
``check`` compares losses and gradients of the CPU in single precision with those of the card. Each
mode of ``--set compile`` is measured in the same run: the median time of a step, its share of the
card's own measured rate of bf16 matrix products (MFU), peak memory, how often the program waits for
the card, and how many kernels it launches. ``shard`` compares losses, time and memory of steps of a
whole model with those of one that FSDP2 shards over a single process, by NCCL.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.card import matrix_rate
from benchmarks.made_batches import MadeSteps, load_steps, make_steps, save_steps
from benchmarks.reporting import reporter
from training.batches import StepBatch
from training.compilation import compile_objective
from training.gradient import autocast
from training.objectives.joint import JointObjective
from training.optim import AveragedWeights, build_optimizer, step_if_finite
from training.processes import Processes
from training.sharding import clip_gradients, shard

STEPS = (
    "mbsd:base:64:mlm+mpm",
    "mbsd:base:256:mlm+mpm",
    "mbsd:base:256:qi+qt+qv+kl+rs",
    "vtbert:base:64",
    "k3m:base:64",
    "joint:base:64",
    "joint:base:256",
)
DEVICE = torch.device("cuda")
BATCHES = 4
WARM_UP = 4
MEASURED = 12
LONGEST = 18
"""How many kernels are listed by name, with their number and milliseconds."""


def prepare(folder: Path, names: list[str]) -> None:
    """Make the batches of every step and write them to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        preset, size, batch_size, *terms = name.split(":")
        made = make_steps(preset, size, int(batch_size), BATCHES, "".join(terms))
        path = folder / f"{name.replace(':', '_')}.steps"
        save_steps(made, path)
        print(f"{name}: {path.stat().st_size / 1e6:.1f} MB", flush=True)


class TrainingStep:
    """A whole training step but for the loading of its batch."""

    def __init__(
        self, made: MadeSteps, mode: str, device: torch.device, sharded: bool = False
    ) -> None:
        self.made = made
        self.device = device
        self.sharded = sharded
        self.objective: JointObjective = made.objective().to(device).train()
        if sharded:
            shard(self.objective)
        compile_objective(self.objective, mode, device)
        self.optimizer = build_optimizer(self.objective, made.recipe)
        self.average = AveragedWeights(self.objective, made.recipe.ema)
        self.batches = [batch.to(device) for batch in made.batches]

    def backward(self, batch: StepBatch) -> Tensor:
        """Run forward and backward; return the loss."""
        with autocast(self.made.recipe, self.device):
            loss: Tensor = self.objective(batch).total
        loss.backward()
        return loss.detach()

    def __call__(self, number: int) -> Tensor:
        """Run the step of the given number; return its loss."""
        loss = self.backward(self.batches[number % len(self.batches)])
        clip = self.made.recipe.clip or float("inf")
        norm = clip_gradients(self.objective.parameters(), clip, Processes())
        step_if_finite(self.optimizer, norm, self.made.recipe.learning_rate, self.sharded)
        self.optimizer.zero_grad(set_to_none=True)
        self.average.update(self.objective, number)
        return loss

    def tokens(self) -> float:
        """Return the mean number of word pieces and patches of a batch's items and pairs."""
        counts = []
        for batch in self.made.batches:
            total = 0
            views = [view.items for view in (batch.items, batch.pairs) if view is not None]
            for items in views:
                patches = self.made.config.image_grid**2 * items.image_count
                total += items.piece_limit + patches
            counts.append(total)
        return statistics.mean(counts)


def check(made: MadeSteps, modes: list[str]) -> dict[str, Any]:
    """Return the relative differences of total loss and gradient from the CPU's.

    Without dropout; in single precision, and in bf16 with flash attention.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    loss, gradient = _loss_and_gradient(made, "never", torch.device("cpu"), "fp32")
    differences: dict[str, Any] = {}
    for precision in ("fp32", "bf16"):
        for mode in modes:
            torch._dynamo.reset()
            other = _loss_and_gradient(made, mode, DEVICE, precision)
            differences[f"{precision} {mode}"] = {
                "loss": round(abs(other[0] - loss) / loss, 6),
                "gradient": round(float((other[1] - gradient).norm() / gradient.norm()), 6),
            }
    return differences


def _loss_and_gradient(
    made: MadeSteps, mode: str, device: torch.device, precision: str
) -> tuple[float, Tensor]:
    objective = made.objective().to(device).eval()
    compile_objective(objective, mode, device)
    recipe = dataclasses.replace(made.recipe, precision=precision)
    total = 0.0
    for batch in made.batches[:2]:
        with autocast(recipe, device):
            loss = objective(batch.to(device)).total
        loss.backward()
        total += float(loss)
    gradients = [p.grad.flatten().cpu() for p in objective.parameters() if p.grad is not None]
    return total, torch.cat(gradients)


def measure(made: MadeSteps, mode: str, rate: float) -> dict[str, Any]:
    """Return the figures of one step in one mode; ``rate`` is that of matrix products."""
    torch.cuda.reset_peak_memory_stats()
    step = TrainingStep(made, mode, DEVICE)
    began = time.perf_counter()
    for number in range(WARM_UP):
        step(number)
    torch.cuda.synchronize()
    first = time.perf_counter() - began

    times = []
    for number in range(MEASURED):
        start = torch.cuda.Event(enable_timing=True)
        end = torch.cuda.Event(enable_timing=True)
        start.record()
        step(number)
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    seconds = statistics.median(times)
    figures: dict[str, Any] = {
        "mode": mode,
        "ms": round(1e3 * seconds, 2),
        "items_per_second": round(made.recipe.batch_size / seconds),
        "tokens": round(step.tokens()),
        "peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2),
        "first_steps_s": round(first, 1),
        **count_waits(step),
    }
    if mode == "never":
        with FlopCounterMode(display=False) as counter:
            step.backward(step.batches[0])
        figures["tflop"] = round(counter.get_total_flops() / 1e12, 3)
        figures["mfu"] = round(counter.get_total_flops() / seconds / rate, 3)
    return figures


def compare_sharded(made: MadeSteps, device: torch.device) -> dict[str, Any]:
    """Return losses, median time and memory of steps of a whole and of a sharded model.

    Without dropout, in single precision. Both have the whole model in one process: what is measured
    is that it works, and what it costs beside the exchange.
    """
    made = dataclasses.replace(made, recipe=dataclasses.replace(made.recipe, precision="fp32"))
    found: dict[str, Any] = {}
    for name, sharded in (("whole", False), ("sharded", True)):
        step = TrainingStep(made, "never", device, sharded)
        step.objective.eval()
        losses = []
        times = []
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        for number in range(MEASURED):
            began = time.perf_counter()
            # Reading the loss waits for the card.
            losses.append(float(step(number)))
            times.append(time.perf_counter() - began)
        found[name] = {"losses": losses, "ms": round(1e3 * statistics.median(times), 2)}
        if device.type == "cuda":
            found[name]["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
    pairs = zip(found["whole"]["losses"], found["sharded"]["losses"], strict=True)
    found["largest_relative_difference"] = max(abs(a - b) / abs(a) for a, b in pairs)
    return found


def shard_steps(args: argparse.Namespace) -> None:
    """Compare whole and sharded models of all steps, in a process group of one process."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    report = reporter({}, args.out)
    with tempfile.TemporaryDirectory() as folder:
        backend = "nccl" if device.type == "cuda" else "gloo"
        store = f"file://{Path(folder) / 'store'}"
        torch.distributed.init_process_group(backend, init_method=store, rank=0, world_size=1)
        for name in args.steps:
            made = load_steps(args.folder / f"{name.replace(':', '_')}.steps")
            report(name, compare_sharded(made, device))
        torch.distributed.destroy_process_group()


def count_waits(step: Callable[[int], Any]) -> dict[str, Any]:
    """Return how often a step waits for the card, where, and how many kernels it launches."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        step(0)
        torch.cuda.set_sync_debug_mode("default")
    waits = [w for w in caught if "called a synchronizing" in str(w.message)]
    lines = sorted({f"{Path(w.filename).name}:{w.lineno}" for w in waits})
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        step(1)
        torch.cuda.synchronize()
    # The others are the calls that launched them.
    kernels = [event for event in profile.key_averages() if str(event.device_type).endswith("CUDA")]
    kernels.sort(key=lambda event: -event.self_device_time_total)
    busy = sum(event.self_device_time_total for event in kernels) / 1e3
    return {
        "waits": len(waits),
        "wait_lines": lines,
        "kernels": sum(event.count for event in kernels),
        "busy_ms": round(busy, 2),
        "longest": {
            event.key[:90]: [event.count, round(event.self_device_time_total / 1e3, 2)]
            for event in kernels[:LONGEST]
        },
    }


def main() -> None:
    """Prepare batches, or measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("command", choices=["prepare", "check", "measure", "shard"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", nargs="+", default=list(STEPS))
    parser.add_argument("--modes", nargs="+", default=["never", "layers", "step"])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.command == "prepare":
        prepare(args.folder, args.steps)
        return
    if args.command == "shard":
        shard_steps(args)
        return
    if args.command == "check":
        report = reporter({}, args.out)
        for name in args.steps:
            made = load_steps(args.folder / f"{name.replace(':', '_')}.steps")
            report(name, check(made, args.modes))
        return
    rate = matrix_rate(DEVICE)
    card = torch.cuda.get_device_name()
    rows: dict[str, Any] = {"card": card, "matrix_tflops": round(rate / 1e12), "steps": {}}
    print(card, f"{rate / 1e12:.0f} TFLOP/s", flush=True)
    for name in args.steps:
        made = load_steps(args.folder / f"{name.replace(':', '_')}.steps")
        rows["steps"][name] = []
        for mode in args.modes:
            torch._dynamo.reset()
            torch.cuda.empty_cache()
            try:
                figures = measure(made, mode, rate)
            except Exception as error:  # one step's failure must not cost the others' figures
                figures = {"mode": mode, "error": repr(error)[:300]}
                traceback.print_exc()
            rows["steps"][name].append(figures)
            print(name, json.dumps(figures), flush=True)
            if args.out is not None:
                args.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
