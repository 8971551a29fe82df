"""Kill (-9) what writes models: the writer of checkpoints, and whole training runs."""

from __future__ import annotations

import random
import shutil
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks import kills as training_kills
from tests.faults.children import PRELOADED, Child
from tests.faults.kills import Moments
from tests.faults.trials import Outcome, Plan
from tests.faults.watching import Changes

NAMES = ("weights", "average", "optimizer")
SIZE = 20_000
"""Numbers in a checkpoint's tensor: some writes take a moment."""
CHANGES = 60
"""Changes of files after which a writer is killed at the latest: some six checkpoints."""
STEPS = 12

# If this is imported before the first process is started, each has PyTorch at once.
PRELOADED.append("training.checkpoints")


def kill_checkpoints(plan: Plan) -> Outcome:
    """Kill the writer of checkpoints; the last that it acknowledged, or a later one, is whole."""
    moments = Moments(random.Random(plan.seed), 0, 0.0)
    outcome = Outcome(figures={"kills": 0, "acknowledged checkpoints": 0})
    for kill in range(plan.count):
        folder = plan.folder / f"checkpoints-{kill}"
        folder.mkdir(parents=True)
        with Changes(folder) as changes, Child(_write_for_ever, str(folder)) as child:
            moments.wait_for_change(changes, moments.rng.randint(1, CHANGES))
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
    whole: dict[tuple[str, int, str], str] = {}
    with tempfile.TemporaryDirectory(dir=plan.folder) as folder:
        home = training_kills.made_home(Path(folder))
        while kills < plan.count:
            kind = training_kills.KINDS[runs % len(training_kills.KINDS)]
            if kind not in whole:
                name = f"whole{runs}"
                words = training_kills.train(home, name, kind, STEPS)
                training_kills.finish(training_kills.catalograph(home, *words))
                whole[kind] = training_kills.digest(home, name)
            name = f"killed{runs}"
            kills += training_kills.killed_run(home, name, kind, STEPS, rng)
            if training_kills.digest(home, name) != whole[kind]:
                outcome.bad.append(f"training {kind} (seed {plan.seed}): other weights")
            shutil.rmtree(home / "models" / name)
            runs += 1
            plan.progress(min(kills, plan.count))
    outcome.figures = {"kills": kills, "runs": runs, "kinds of runs": len(whole)}
    return outcome
