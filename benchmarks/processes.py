"""Train with several processes, one of which is slow, fails, runs out of memory or is killed.

    python benchmarks/processes.py [--runs 20] [--presets joint,k3m] [--scenarios slow,killed]

Tiny models on a CPU, on a synthetic catalogue with a query log, with gloo. Each scenario is run
``--runs`` times, by two and by three processes in turns:

- ``slow``: one process sleeps in every step; the weights are those of an undisturbed run
- ``clock``: with ``--minutes``, one process began earlier; all have the same learning rates
- ``failing``: one process raises an exception; all end, and each names the reason
- ``failing_sharded``, ``failing_calibration``: the same with a sharded model, and after training
- ``stuck``: besides, a third one waits for something that never comes, as for a GPU
- ``memory``, ``memory_backward``: one process runs out of memory in the middle of a pass; all start
  the step again in micro-batches, and go on
- ``killed``: one process is killed (-9); torchrun starts all again, and they end in the weights of
  an undisturbed run
- ``killed_early``, ``killed_unnamed``: the same before the run has written anything to resume from;
  without ``--name`` it is not taken for another run of the home
- ``killed_twice``: both, one after the other, without ``--name``

Besides, the losses and weights of two and three processes are compared with those of one.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.faults.children import PRELOADED, Child

HERE = Path(__file__).resolve().parent.parent
OUT = HERE / "benchmarks" / "figures" / "processes-cpu.json"
PRELOADED += (
    "commands.models",
    "kg.sampling.sampler",
    "serving.loading",
    "sklearn.metrics",
    "torch.distributed.launcher.api",
    "torch.distributed.run",
    "training.run",
)
SETTINGS = (
    "batch_size=16",
    "precision=fp32",
    "log_every=1",
    "validate_every=4",
    "keep_every=2",
    "warmup_steps=1",
    "dim=16",
    "loss_contrastive=0.5",
)
STILL = ("dropout=0", "drop_tokens=0", "drop_wide=0", "shift=0")
"""Settings without random numbers within the model, which differ from process to process."""

FAULT_STEP = 3
STUCK_SECONDS = 3.0
"""How long the process that is stuck is waited for here, in place of 20 seconds."""
CLOCK_AHEAD = 2.0
"""By how many seconds the clock of one process is ahead."""
CLOCK_STEP = 0.5
"""How many seconds a step takes by the clocks of the scenario ``clock``."""
REASON = "an image cannot be decoded"
"""What the failing process says."""
TIMEOUT = 300
"""Seconds that a scenario may take on a busy machine; it takes about 20 on an idle one."""


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, and what it wrote to standard error."""

    code: int
    errors: str


# A process with a fault


def main_with_fault(fault: str, words: Sequence[str]) -> None:
    """Run ``catalograph`` with a fault in the process of rank 1."""
    import torch

    sys.path.insert(0, str(HERE))
    from cli import main
    from serving import loading
    from training import loop
    from training import processes as training_processes
    from training import run as training_run
    from training.objectives.joint import JointObjective
    from training.optim import Budget
    from training.processes import Processes

    whole_forward = JointObjective.forward
    whole_sum = Processes.sum_in_pass
    whole_gradient = vars(loop)["compute_gradient"]
    start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    is_faulty = os.environ.get("RANK") == "1"
    is_last = int(os.environ.get("RANK", "0")) + 1 == int(os.environ.get("WORLD_SIZE", "1"))
    passes = 0
    exchanges = 0
    items = 0

    def forward(self: Any, batch: Any, shares: Any = None) -> Any:
        nonlocal passes, exchanges, items
        for part in self.modules():
            # The rate of the descriptors' dropout is no setting.
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
        exchanges = 0
        items = 0 if batch.items is None else len(batch.items.items)
        passes += self.training
        if fault == "stuck" and is_last and passes == FAULT_STEP:
            time.sleep(TIMEOUT)
        if is_faulty and self.training:
            if fault == "slow":
                time.sleep(0.2)
            if fault in ("failing", "stuck") and passes == FAULT_STEP:
                raise ValueError(REASON)
            is_killed = (fault, start) in (("killed", "0"), ("killed-twice", "1"))
            if is_killed and passes == FAULT_STEP:
                os.kill(os.getpid(), signal.SIGKILL)
            if fault == "memory-forward" and passes >= FAULT_STEP and items > 4:
                raise torch.OutOfMemoryError("out of memory")
        return whole_forward(self, batch, shares)

    def sum_in_pass(self: Any, values: Any) -> None:
        nonlocal exchanges
        exchanges += 1
        if is_faulty and passes >= FAULT_STEP and items > 4 and fault == f"memory-{exchanges}":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        whole_sum(self, values)

    def gradient(run: Any, batch: Any) -> Any:
        if is_faulty and run.progress.step == FAULT_STEP:
            raise ValueError(REASON)
        return whole_gradient(run, batch)

    if fault == "gathering":
        vars(loop)["compute_gradient"] = gradient
    if fault != "none":
        loading.calibrate_model = lambda *_, **__: None  # it takes as long as the steps
    if fault == "calibrating":
        calibrate: Any = _calibrate_until_one_fails
        loading.calibrate_model = calibrate
    if fault in ("killed-early", "killed-twice") and start == "0":
        vars(training_run)["save_pretrained"] = _make_folder_and_be_killed
    JointObjective.forward = forward  # type: ignore[method-assign]
    Processes.sum_in_pass = sum_in_pass  # type: ignore[method-assign]
    if fault == "stuck":
        vars(training_processes)["STUCK_SECONDS"] = STUCK_SECONDS
    if fault == "clock":
        rates = _written_rates(Path(words[words.index("--home") + 1]))
        # On a busy machine, the first step would come when half of the time is over.
        ahead = CLOCK_AHEAD if is_faulty else 0.0
        clock = property(lambda self: ahead + CLOCK_STEP * (1 + len(rates)))
        Budget.seconds = clock  # type: ignore[assignment, method-assign]
    sys.argv = ["catalograph", *words]
    sys.exit(main())


def _calibrate_until_one_fails(*_: Any, share_out: Any, **__: Any) -> None:
    """Share out work of which the process of rank 1 cannot do its part."""

    def compute(part: int) -> int:
        if os.environ["RANK"] == "1":
            raise ValueError(REASON)
        return part

    share_out(range(int(os.environ["WORLD_SIZE"])), compute)


def _make_folder_and_be_killed(folder: Path, *_: Any) -> None:
    """Be killed where a run is about to write what ``--resume`` rebuilds the model from."""
    folder.mkdir(parents=True)
    os.kill(os.getpid(), signal.SIGKILL)


def _written_rates(home: Path) -> list[float]:
    """Return a list of the learning rates of this process, which are also written to a file."""
    from training import loop

    whole_step = loop.train_step
    path = home / f"rates-{os.environ['RANK']}.txt"
    path.unlink(missing_ok=True)
    rates: list[float] = []

    def train_step(run: Any, batch: Any, rate: float) -> Any:
        rates.append(rate)
        with path.open("a") as file:
            file.write(f"{rate!r}\n")
        return whole_step(run, batch, rate)

    loop.train_step = train_step
    return rates


# Starting processes


def catalogue(folder: Path) -> Path:
    """Make a home with a synthetic catalogue and its query log; return its folder."""
    home = folder / "home"
    for words in (
        ("sample", f"{folder}/shop", "--items", "60", "--seed", "1"),
        ("--home", f"{home}", "ingest", f"{folder}/shop/items.csv", "--max-rejects", "5%"),
        ("--home", f"{home}", "queries", f"{folder}/shop/queries.csv"),
    ):
        subprocess.run(
            [sys.executable, str(HERE / "cli.py"), *words], check=True, capture_output=True
        )
    return home


def words_of(home: Path, name: str, preset: str, steps: int, settings: Sequence[str]) -> list[str]:
    """Return the command line of a training run."""
    asked = [word for setting in settings for word in ("--set", setting)]
    return [
        *("--home", str(home), "--json", "train", "--preset", preset, "--size", "tiny"),
        *("--steps", str(steps), "--name", name, *asked),
    ]


def start(words: Sequence[str], fault: str, world: int) -> list[Ended]:
    """Run the processes of a training run without torchrun; return how each of them ended.

    Raises TimeoutExpired if one of them hangs.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    base = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    with tempfile.TemporaryDirectory() as folder:
        errors = [Path(folder) / str(rank) for rank in range(world)]
        processes = [
            _servers().Process(
                target=_run_one,
                args=(fault, words, {**base, "RANK": str(rank)}, errors[rank]),
            )
            for rank in range(world)
        ]
        for each in processes:
            each.start()
        try:
            until = time.monotonic() + TIMEOUT
            for each in processes:
                each.join(max(0.1, until - time.monotonic()))
            if any(each.is_alive() for each in processes):
                raise subprocess.TimeoutExpired(list(words), TIMEOUT)
        finally:
            for each in processes:
                each.kill()
                each.join()
        codes = [each.exitcode for each in processes]
        return [
            Ended(1 if code is None else code, path.read_text())
            for code, path in zip(codes, errors, strict=True)
        ]


@functools.cache
def _servers() -> Any:
    """Return a multiprocessing context whose processes have imported everything already."""
    # Read when the server of processes starts, which imports PyTorch.
    os.environ["OMP_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("forkserver")
    # There is one such server, which has what the first who asks for it wants.
    context.set_forkserver_preload(PRELOADED)
    return context


def _run_one(fault: str, words: Sequence[str], environment: dict[str, str], errors: Path) -> None:
    os.environ.update(environment)
    descriptor = os.open(errors, os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    main_with_fault(fault, words)


def start_by_torchrun(words: Sequence[str], fault: str, world: int, restarts: int = 0) -> Ended:
    """Run a training run under torchrun, whose processes have imported everything already."""
    program = ("--fault", fault, *words)
    with Child(_torchrun, world, restarts, program) as child:
        ended = child.result(TIMEOUT)
    return Ended(ended.code, ended.err)


def _torchrun(_: object, world: int, restarts: int, program: Sequence[str]) -> None:
    """Do what the program torchrun does, but for its way of starting processes.

    It would start Python anew for each, which takes longer than what they do here. What this spawns
    is forked from the server of processes.
    """
    from torch.distributed.launcher.api import elastic_launch
    from torch.distributed.run import config_from_args, parse_args

    os.environ["OMP_NUM_THREADS"] = "1"
    words = ["--nproc-per-node", str(world), "--max-restarts", str(restarts)]
    # What torchrun makes of --standalone.
    words += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    words += ["--rdzv-id", uuid.uuid4().hex]
    config, _command, _arguments = config_from_args(parse_args([*words, __file__, *program]))
    elastic_launch(config, _run_program)(*program)


def _run_program(*program: str) -> None:
    from training import processes

    # As if it had been imported by this process.
    vars(processes)["THIS_PROCESS"] = uuid.uuid4().hex
    try:
        main_with_fault(program[1], program[2:])
    except SystemExit as ended:
        if ended.code:
            raise


# What a run leaves


def losses(home: Path, name: str) -> list[dict[str, float]]:
    """Return the losses of all steps of a run."""
    lines = (home / "models" / name / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def last_checkpoint(home: Path, name: str) -> Path:
    """Return the folder of a run's last checkpoint."""
    return sorted((home / "models" / name / "checkpoints").glob("step-*"))[-1]


def digest(home: Path, name: str) -> str:
    """Return the sha256 of the last checkpoint's weights, averages and moments."""
    folder = last_checkpoint(home, name)
    files = [folder / f"{part}.safetensors" for part in ("weights", "average", "optimizer")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def largest_difference(home: Path, name: str, other: str) -> float:
    """Return the largest mean absolute difference of a tensor of two runs' weights."""
    from safetensors.torch import load_file

    one, two = (
        load_file(last_checkpoint(home, each) / "weights.safetensors") for each in (name, other)
    )
    return max(float((one[key].float() - two[key].float()).abs().mean()) for key in one)


def largest_loss_difference(home: Path, name: str, other: str) -> float:
    """Return the largest relative difference of any term in any step of two runs."""
    worst = 0.0
    for one, two in zip(losses(home, name), losses(home, other), strict=True):
        if one.keys() != two.keys():
            return float("inf")
        worst = max(
            worst, *(abs(one[term] - two[term]) / max(abs(one[term]), 1e-2) for term in one)
        )
    return worst


# Scenarios: each returns what is wrong, or nothing


def forget(home: Path, name: str) -> None:
    """Remove a model."""
    shutil.rmtree(home / "models" / name, ignore_errors=True)


def undisturbed(home: Path, world: int, steps: int = 6) -> str:
    """Return the name of an undisturbed run, which is made the first time."""
    name = f"undisturbed-{world}-{steps}"
    if not (home / "models" / name / "checkpoints" / f"step-{steps:08d}").exists():
        forget(home, name)
        words = words_of(home, name, "joint", steps, SETTINGS)
        for ended in start(words, "uncalibrated", world):
            if ended.code:
                raise RuntimeError(ended.errors[-2000:])
    return name


def slow(home: Path, world: int) -> str:
    """One process sleeps in every step."""
    forget(home, "slow")
    ends = start(words_of(home, "slow", "joint", 6, SETTINGS), "slow", world)
    if any(each.code for each in ends):
        return f"ended with {[each.code for each in ends]}: {ends[0].errors[-500:]}"
    same = digest(home, "slow") == digest(home, undisturbed(home, world))
    return "" if same else "the weights differ"


def clock(home: Path, world: int) -> str:
    """The clock of one process is ahead of the others', in a run of 6 seconds."""
    forget(home, "clock")
    words = words_of(home, "clock", "mbsd", 10_000, SETTINGS)
    words[words.index("--steps") : words.index("--steps") + 2] = ["--minutes", "0.1"]
    ends = start(words, "clock", world)
    if any(each.code for each in ends):
        return f"ended with {[each.code for each in ends]}: {ends[0].errors[-500:]}"
    rates = {(home / f"rates-{rank}.txt").read_text() for rank in range(world)}
    stages = {
        json.loads(line)["stage"]
        for line in (home / "models" / "clock" / "log.jsonl").read_text().splitlines()
    }
    if stages != {1, 2}:
        return f"the run had the stages {stages}"
    return "" if len(rates) == 1 else "the learning rates differ"


def failing(
    home: Path, world: int, fault: str = "failing", settings: Sequence[str] = SETTINGS
) -> str:
    """One process raises an exception."""
    forget(home, "failing")
    ends = start(words_of(home, "failing", "joint", 6, settings), fault, world)
    for rank, ended in enumerate(ends):
        reason = REASON
        if rank != 1:
            reason = f"process 1 of {world} failed: {reason}"
        if ended.code == 0 or reason not in ended.errors:
            return f"process {rank} ended with {ended.code}: {ended.errors[-500:]}"
    return ""


def failing_sharded(home: Path, world: int) -> str:
    """One process raises an exception while the others gather the weights of a sharded model."""
    return failing(home, world, "gathering", (*SETTINGS, "shard=always"))


def failing_calibration(home: Path, world: int) -> str:
    """One process raises an exception while all calibrate the model."""
    return failing(home, world, "calibrating")


def stuck(home: Path, world: int) -> str:
    """One process raises an exception while another, of at least three, does not come back."""
    return failing(home, max(3, world), "stuck")


def memory(home: Path, world: int, place: int = 4) -> str:
    """One process runs out of memory at its exchange number ``place`` of a pass.

    The joint preset has 18 exchanges forward and 16 backward. The weights are those of a run in
    which the process runs out of memory before the first of them.
    """
    names = (f"memory-before-{world}", "memory")
    digests = []
    for name, where in zip(names, ("forward", str(place)), strict=True):
        if name == "memory" or not (home / "models" / name / "model.safetensors").exists():
            forget(home, name)
            words = words_of(home, name, "joint", 6, SETTINGS)
            ends = start(words, f"memory-{where}", world)
            if any(each.code for each in ends):
                return f"ended with {[each.code for each in ends]}: {ends[0].errors[-500:]}"
        digests.append(digest(home, name))
    if digests[0] == digest(home, undisturbed(home, world)):
        return "memory did not run out"
    return "" if digests[0] == digests[1] else "the weights differ"


def memory_backward(home: Path, world: int) -> str:
    """One process runs out of memory in the middle of its backward pass."""
    return memory(home, world, place=25)


def killed(home: Path, world: int, fault: str = "killed", is_named: bool = True) -> str:
    """One process is killed, and torchrun starts all again."""
    # First, so that there is another run that could be continued.
    expected = digest(home, undisturbed(home, world))
    name = "killed" if is_named else "joint-tiny-1"
    forget(home, name)
    words = words_of(home, name, "joint", 6, SETTINGS)
    if not is_named:
        place = words.index("--name")
        del words[place : place + 2]
    ended = start_by_torchrun(words, fault, world, restarts=2)
    if ended.code:
        return f"ended with {ended.code}: {ended.errors[-1500:]}"
    return "" if digest(home, name) == expected else "the weights differ"


def killed_early(home: Path, world: int) -> str:
    """The first process is killed before there is anything to resume from."""
    return killed(home, world, "killed-early")


def killed_unnamed(home: Path, world: int) -> str:
    """The same without ``--name``."""
    return killed(home, world, "killed-early", is_named=False)


def killed_twice(home: Path, world: int) -> str:
    """One is killed before there is anything, and one after some steps; without ``--name``."""
    return killed(home, world, "killed-twice", is_named=False)


def compare_with_one(home: Path, preset: str, worlds: Sequence[int]) -> list[dict[str, Any]]:
    """Compare runs of several processes with that of one, without dropout."""
    rows = []
    for world in (1, *worlds):
        name = f"{preset}-{world}"
        forget(home, name)
        stages: tuple[str, ...] = ()
        if preset == "mbsd":
            both = "lpm+mlm+mpm:1,lpm+qi+qt+qv+kl+rs+contrastive:1"
            stages = ("loss_lpm=1", f"stages={both}")
        words = words_of(home, name, preset, 4, (*SETTINGS, *STILL, *stages))
        ends = start(words, "none", world)
        if any(each.code for each in ends):
            raise RuntimeError(ends[0].errors[-2000:])
        if world > 1:
            rows.append(
                {
                    "preset": preset,
                    "processes": world,
                    "loss": largest_loss_difference(home, f"{preset}-1", name),
                    "weights": largest_difference(home, f"{preset}-1", name),
                }
            )
            print(rows[-1], flush=True)
    return rows


SCENARIOS = (
    slow,
    clock,
    failing,
    failing_sharded,
    failing_calibration,
    stuck,
    memory,
    memory_backward,
    killed,
    killed_early,
    killed_unnamed,
    killed_twice,
)


def main() -> None:
    """Run the scenarios, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--presets", default="joint,k3m,mbsd,vtbert,fashionbert")
    parser.add_argument("--scenarios", help="only these, beside the figures of the others")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = catalogue(Path(folder))
        figures: dict[str, Any] = {}
        if args.scenarios:
            figures = json.loads(args.out.read_text())
        else:
            rows = []
            for preset in args.presets.split(","):
                rows += compare_with_one(home, preset, (2, 3))
            figures["compared_with_one_process"] = rows
        chosen = args.scenarios.split(",") if args.scenarios else []
        for scenario in SCENARIOS:
            if chosen and scenario.__name__ not in chosen:
                continue
            wrong = []
            began = time.monotonic()
            for number in range(args.runs):
                try:
                    found = scenario(home, 2 + number % 2)
                except subprocess.TimeoutExpired:
                    found = f"hangs for {TIMEOUT} s"
                if found:
                    wrong.append(found)
                    print(scenario.__name__, number, found, flush=True)
            figures[scenario.__name__] = {
                "runs": args.runs,
                "right": args.runs - len(wrong),
                "wrong": wrong,
                "seconds": round((time.monotonic() - began) / max(1, args.runs), 1),
            }
            print(scenario.__name__, figures[scenario.__name__], flush=True)
            # After each scenario: a run of hours that is interrupted has not been in vain.
            args.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--fault"]:
        main_with_fault(sys.argv[2], sys.argv[3:])
    else:
        main()
