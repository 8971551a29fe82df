"""The whole training loop, data included, against the model alone and against named peers.

    python benchmarks/training.py [--home DIR] [--split FILE] [--size small] [--steps 60]
        [--only loop|stages|links]

- *loop*: items per second of the joint preset's loop, against its own forward and backward on the
  same batches, prepared beforehand;
- *stages*: MBSD's stage II, pairs per second, against a plain loop of the same equations
  (``plain_mbsd.py``: transformers' BERT, three padded passes, AdamW), on a synthetic query log;
- *links*: statements per second of link prediction (``links.py``) against PyKEEN's sLCWA loop.

All run in one process, in turns. The output is a table and a JSON line. On a GPU it runs there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

from benchmarks.arguments import training_arguments
from benchmarks.joint_step import shop
from benchmarks.links import MARGIN, NEGATIVES, bench_links
from benchmarks.model import stage_two_loss
from benchmarks.plain_mbsd import PlainMBSD
from encoders.patches import ConvPatches
from fusion.architectures.bert_stream import BertStream
from kg.home import Home
from schema.memory import keep_freed_memory
from training.config import TrainOptions, read_settings
from training.gradient import agree_on_batch, autocast
from training.inputs import read_inputs
from training.loader import BatchRequest, PreparedBatch
from training.loop import train_step
from training.presets import preset
from training.processes import Processes
from training.records import ignore_records
from training.run import ModelWriter, assemble
from training.state import Run

WARM = 5
"""Steps of each kind that come first and do not count."""

BEGUN = 100
"""The step at which a run begins: past the first ones, in which averages are updated each time."""

STAGE_TWO = "stages=qi+qt+qv+kl+rs:1"

Step = Callable[[int], None]


def timed(step: Step, number: int, device: torch.device) -> float:
    """Return the seconds that a step takes."""
    began = time.perf_counter()
    step(number)
    # A GPU works on when its calls have returned.
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def in_turns(
    steps: dict[str, Step], count: int, items: int, device: torch.device
) -> dict[str, float]:
    """Return items over seconds of ``count`` steps of each.

    Not a median: a loop that stalls now and then is slow. The steps alternate in a changing order:
    a machine's speed drifts, and the first one to see a shape prepares its matrix products for the
    others.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for number in range(WARM + count):
        for name in names if number % 2 else names[::-1]:
            seconds[name].append(timed(steps[name], number, device))
    return {name: round(items * count / sum(each[WARM:]), 1) for name, each in seconds.items()}


def prepared(home: Home, args: argparse.Namespace, name: str, *overrides: str) -> Run:
    """Put a run of a preset together, ready to begin."""
    options = TrainOptions(
        preset=name, size=args.size, steps=1_000_000, split=args.split, overrides=overrides
    )
    chosen = preset(name, args.size)
    config = chosen.model
    settings = read_settings(None, overrides, config.as_dict(), chosen.recipe.as_settings())
    inputs = read_inputs(home, options, settings.recipe, config, None, ignore_records)
    return assemble(
        ModelWriter(Path(args.out), config, inputs, {}, Processes()),
        options,
        settings.recipe,
        Processes(),
        time.monotonic(),
    )


def whole_step(run: Run) -> Step:
    """Return a whole step of the loop: batch, forward, backward, optimizer, averages."""
    run.progress.step = BEGUN

    def step(number: int) -> None:
        train_step(
            run,
            agree_on_batch(run, run.batches[BatchRequest(run.progress.step, 0, 1)].to(run.device)),
            run.recipe.learning_rate,
        )
        run.average.update(run.objective, run.progress.step)
        run.progress.step += 1

    return step


def bench_loop(home: Home, args: argparse.Namespace, kind: str) -> dict[str, Any]:
    """Measure the joint loop and the bare model on the same batches at one precision."""
    run = prepared(home, args, "joint", f"precision={kind}")
    ready: list[PreparedBatch] = [
        run.batches[BatchRequest(BEGUN + number, 0, 1)].to(run.device)
        for number in range(WARM + args.steps)
    ]
    run.objective.model.train()

    def bare(number: int) -> None:
        with autocast(run.recipe, run.device):
            loss = run.objective(ready[number].micro_batches[0]).total
        loss.backward()
        run.optimizer.zero_grad(set_to_none=True)

    speed = in_turns(
        {"bare": bare, "whole": whole_step(run)}, args.steps, run.recipe.batch_size, run.device
    )
    return {
        "what": "loop",
        "precision": kind,
        **speed,
        "ratio": round(speed["whole"] / speed["bare"], 3),
    }


def plain_step(run: Run) -> Step:
    """Return a step of a plain loop over the same pairs.

    Texts as lists, three padded passes in fp32, AdamW, nothing shared between the passes.
    """
    model = run.objective.model
    device = run.device
    patches = model.images.get_submodule("encoder")
    assert isinstance(patches, ConvPatches)
    stream = model.fusion.get_submodule("stream")
    assert isinstance(stream, BertStream)
    plain = PlainMBSD(stream, patches, model.match_head, 0.1).to(device)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-3)

    def step(number: int) -> None:
        (batch,) = run.batches[BatchRequest(number, 0, 1)].micro_batches
        match = batch.pairs
        assert match is not None
        assert match.items.pixels is not None
        # As lists, the padding left out: padding them again is part of what a plain loop does.
        queries = [[piece for piece in row if piece] for row in match.query.tolist()]
        titles = [[piece for piece in row if piece] for row in match.items.pieces.tolist()] * 2
        views = plain(queries, titles, torch.cat([match.items.pixels] * 2).to(device))
        stage_two_loss(views, plain.head, match.label.to(device)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def bench_stages(args: argparse.Namespace) -> dict[str, Any]:
    """Measure MBSD's stage II: our loop at both precisions, the plain one in fp32."""
    with tempfile.TemporaryDirectory() as folder:
        home = shop(Path(folder), 600)
        chosen = argparse.Namespace(**{**vars(args), "split": None})
        runs = {
            kind: prepared(home, chosen, "mbsd", f"precision={kind}", STAGE_TWO)
            for kind in ("fp32", "bf16")
        }
        steps = {kind: whole_step(run) for kind, run in runs.items()} | {
            "plain": plain_step(runs["fp32"])
        }
        speed = in_turns(
            steps, max(1, args.steps // 2), runs["fp32"].recipe.batch_size, runs["fp32"].device
        )
    return {
        "what": "stages",
        **speed,
        **{f"{kind} / plain": round(speed[kind] / speed["plain"], 2) for kind in ("fp32", "bf16")},
    }


def main() -> None:
    """Measure and print."""
    parser = training_arguments(__doc__, steps=60)
    parser.add_argument("--only", choices=("loop", "stages", "links"))
    args = parser.parse_args()
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        home = Home.open(args.home) if args.home else shop(Path(folder), 2000)
        rows: list[dict[str, Any]] = []
        if args.only in (None, "loop"):
            rows += [bench_loop(home, args, kind) for kind in ("fp32", "bf16")]
        if args.only in (None, "stages"):
            rows.append(bench_stages(args))
        if args.only in (None, "links"):
            run = prepared(
                home,
                args,
                "k3m",
                f"negatives={NEGATIVES}",
                f"margin={MARGIN}",
                "corruption=uniform",
                "max_cells=64",
            )
            rows.append({"what": "links", **bench_links(run.batches.collator, run.device)})
    for row in rows:
        print(row)
    print(
        json.dumps(
            {
                "size": args.size,
                "device": "cuda" if torch.cuda.is_available() else "cpu",
                "rows": rows,
            }
        )
    )


if __name__ == "__main__":
    main()
