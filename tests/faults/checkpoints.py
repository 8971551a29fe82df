"""Kill (-9) what writes models: the writer of checkpoints, and whole training runs."""

from __future__ import annotations

import random
import shutil
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.kills import KINDS, digest, train
from tests.faults.children import PRELOADED, Child, Result, ServerLostError, call, command
from tests.faults.kills import Moments
from tests.faults.trials import Outcome, Plan
from tests.faults.watching import Changes
from training.setup import has_begun

NAMES = ("weights", "average", "optimizer")
SIZE = 20_000
"""Numbers in a checkpoint's tensor: some writes take a moment."""
CHANGES = 60
"""Changes of files after which a writer is killed at the latest: some six checkpoints."""
STEPS = 12
KILLS_OF_A_RUN = 3

# If this is imported before the first process is started, each has PyTorch at once.
PRELOADED += (
    "fusion.pretrained",
    "kg.sampling.dgl_compat",
    "kg.sampling.hetero",
    "scipy.sparse",
    "serving.completion",
    "serving.loading",
    "serving.writeback",
    "training.checkpoints",
    "training.run",
)


def kill_checkpoints(plan: Plan) -> Outcome:
    """Kill the writer of checkpoints; the last that it acknowledged, or a later one, is whole."""
    moments = Moments(random.Random(plan.seed), 0, 0.0)
    outcome = Outcome(figures={"kills": 0, "acknowledged checkpoints": 0})
    for kill in range(plan.count):
        folder = plan.folder / f"checkpoints-{kill}"
        folder.mkdir(parents=True)
        with Changes(folder) as changes, Child(_write_for_ever, str(folder)) as child:
            moments.wait_for_change(child, changes, moments.rng.randint(1, CHANGES))
            child.kill()
            acknowledged = max(child.messages(), default=-1)
        problem = check_checkpoints(folder, acknowledged)
        if problem:
            outcome.bad.append(f"checkpoints, kill {kill} (seed {plan.seed}): {problem}")
        outcome.figures["kills"] += 1
        outcome.figures["acknowledged checkpoints"] += acknowledged + 1
        shutil.rmtree(folder)
        plan.progress(kill + 1)
    return outcome


def _write_for_ever(sender: Connection, folder: str) -> None:
    import torch

    from training.checkpoints import CopiedState, write_checkpoint
    from training.state import RunProgress

    step = 0
    while True:
        tensors = {f"{name}.safetensors": {"a": torch.full((SIZE,), step)} for name in NAMES}
        progress = vars(RunProgress(step=step)).copy()
        write_checkpoint(Path(folder), CopiedState(progress, tensors, "adamw"))
        sender.send(step)
        step += 1


def check_checkpoints(folder: Path, acknowledged: int) -> str:
    """Return what is wrong with checkpoints whose writer was killed; empty if nothing is."""
    from schema.errors import TrainingError
    from training.checkpoints import load_checkpoint

    try:
        found = load_checkpoint(folder)
    except TrainingError as error:
        return str(error)
    if found is None:
        return "there is no checkpoint" if acknowledged >= 0 else ""
    step = found.progress.step
    if step not in (acknowledged, acknowledged + 1):
        return f"step {step} is the last one, and {acknowledged} was acknowledged"
    for tensors in (found.weights, found.average, found.moments):
        if set(tensors["a"].tolist()) != {step}:
            return f"the checkpoint of step {step} has tensors of another one"
    return ""


def kill_training(plan: Plan) -> Outcome:
    """Kill training runs and resume them, until there were so many kills.

    Each ends in the weights of one that was not killed, byte for byte.
    """
    rng = random.Random(plan.seed)
    outcome = Outcome()
    kills = 0
    runs = 0
    home = plan.folder / "home"
    source = plan.folder / "shop"
    for words in (
        ("sample", source, "--items", "80"),
        ("ingest", source / "items.csv", "--max-rejects", "5%"),
        ("queries", source / "queries.csv"),
    ):
        finished(call(*words, home=home))
    whole: dict[tuple[str, int, str], WholeRun] = {}
    while kills < plan.count:
        kind = KINDS[runs % len(KINDS)]
        if kind not in whole:
            whole[kind] = _whole_run(home, kind)
        name = f"killed{runs}"
        killed, problem = _killed_run(home, name, kind, whole[kind], rng)
        kills += killed
        if not problem and digest(home, name) != whole[kind].digest:
            problem = "other weights"
        if problem:
            outcome.bad.append(f"training {kind}, run {runs} (seed {plan.seed}): {problem}")
        shutil.rmtree(home / "models" / name, ignore_errors=True)
        runs += 1
        plan.progress(min(kills, plan.count))
    outcome.figures = {"kills": kills, "runs": runs, "kinds of runs": len(whole)}
    return outcome


@dataclass(frozen=True)
class WholeRun:
    """A run that was not killed: the hash of its last checkpoint, its changes of files, seconds."""

    digest: str
    changes: int
    seconds: float


def _whole_run(home: Path, kind: tuple[str, int, str]) -> WholeRun:
    # Twice, since the first one also fills the caches.
    for name in ("warm", "whole"):
        with (
            Changes(home / "models") as changes,
            command(*train(home, name, kind, STEPS), home=home) as child,
        ):
            while child.is_running:
                changes.wait_for(changes.count + 1, 0.01)
            seconds = time.monotonic() - child.began
            finished(child.result())
            changes.read()
        run = WholeRun(digest(home, name), changes.count, seconds)
        shutil.rmtree(home / "models" / name)
    return run


def _killed_run(
    home: Path, name: str, kind: tuple[str, int, str], whole: WholeRun, rng: random.Random
) -> tuple[int, str]:
    """Start a run, kill it some times, and let it end; return the kills and what is wrong."""
    moments = Moments(rng, whole.changes, whole.seconds)
    kills = 0
    while True:
        # A run that was killed before it wrote what --resume builds from starts again.
        started = has_begun(home / "models" / name)
        words = [*train(home, name, kind, STEPS), *(["--resume"] if started else [])]
        with Changes(home / "models") as changes, command(*words, home=home) as child:
            if kills < KILLS_OF_A_RUN and moments.kill(child, changes):
                kills += 1
                continue
            try:
                result = child.result()
            except ServerLostError:
                continue
        return kills, str(result) if result.code else ""


def finished(result: Result) -> None:
    """Raise RuntimeError if a command failed that nobody killed."""
    if result.code:
        raise RuntimeError(str(result))
