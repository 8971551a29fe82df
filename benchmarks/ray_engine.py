"""What a Ray cluster takes in place of one process: wall time and processor time.

    python benchmarks/ray_engine.py --home DIR [--only complete] [--workers 1 2] [--repeat 1]

Each command runs as users call it, in turn in one process and on a cluster of two nodes of this
machine, each time on a copy of the home. The processor time of a cluster is that of all of its
processes, the workers' included. Other programs change the wall time, and hardly the processor
time; the load tells how many there were.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.run_command import ROOT
from tests.ray_cluster import TwoNodes

TICKS = os.sysconf("SC_CLK_TCK")
LOOK_SECONDS = 0.2
STEPS = 60
"""Steps of a training."""


@dataclass(frozen=True)
class Run:
    """What a command took, in seconds, and the mean number of programs that wanted a processor."""

    wall: float
    processor: float
    load: float


@dataclass(frozen=True)
class Measured:
    """A command to measure.

    Attributes:
        name: its name
        words: the command's words for a copy of the home and a file to write
        result: the file by which runs are compared, in the copy; None for the one to write
    """

    name: str
    words: Callable[[Path, Path], list[str]]
    result: str | None = None


def complete(home: Path, out: Path) -> list[str]:
    """Complete every missing cell."""
    return ["--home", str(home), "complete", "--out", str(out)]


def train(home: Path, out: Path) -> list[str]:
    """Train a tiny network, whose weights depend on the number of workers."""
    settings = ("batch_size=32", "precision=fp32", "validate_every=1000")
    words = ["--home", str(home), "train", "--preset", "joint", "--size", "tiny", "--name", "ray"]
    return [*words, "--steps", str(STEPS), *(f"--set={each}" for each in settings)]


COMMANDS = (
    Measured("complete", complete),
    Measured("train", train, "models/ray/model.safetensors"),
)


def timed(words: list[str], nodes: TwoNodes | None) -> Run:
    """Run a command, by itself or on a cluster."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if nodes is not None:
        environment["RAY_ADDRESS"] = nodes.address
    began = time.monotonic()
    before = seconds_of_processes(nodes)
    command = subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    after: dict[int, float] = {}
    while command.poll() is None:
        # The last figures of those that end, such as workers, are kept.
        after |= seconds_of_processes(nodes)
        time.sleep(LOOK_SECONDS)
    if command.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with code {command.returncode}")
    wall = time.monotonic() - began
    seconds = sum(found - before.get(process, 0.0) for process, found in after.items())
    return Run(wall, seconds, os.getloadavg()[0])


def seconds_of_processes(nodes: TwoNodes | None) -> dict[int, float]:
    """Return the processor seconds of this process's descendants and of a cluster's workers."""
    parents: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            stat = path.read_text().rpartition(")")[2].split()
            process = int(path.parent.name)
            parents[process] = int(stat[1])
            seconds[process] = sum(map(int, stat[11:13])) / TICKS
    own = {os.getpid(), *(nodes.processes() if nodes is not None else ())}
    found: dict[int, float] = {}
    for process in parents:
        ancestor = process
        while ancestor in parents and ancestor not in own:
            ancestor = parents[ancestor]
        if ancestor in own and process != os.getpid():
            found[process] = seconds[process]
    return found


def difference(one: Path, other: Path) -> str:
    """Say how far two files are from each other, and how far completions in them are."""
    if filecmp.cmp(one, other, shallow=False):
        return "the same bytes"
    if one.suffix != ".jsonl":
        return "OTHER BYTES"
    greatest = 0.0
    decided = 0
    for left, right in zip(one.open(), other.open(), strict=True):
        first, second = json.loads(left), json.loads(right)
        if (first["item"], first["property"]) != (second["item"], second["property"]):
            return "OTHER CELLS"
        decided += first["decision"] != second["decision"]
        theirs = {each["value"]: each["probability"] for each in second["candidates"]}
        for each in first["candidates"]:
            greatest = max(greatest, abs(each["probability"] - theirs.get(each["value"], 0.0)))
    return f"probabilities within {greatest:.1e}, {decided} other decisions"


def main() -> None:
    """Measure, and print a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--only", choices=[each.name for each in COMMANDS])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()
    nodes = TwoNodes()
    nodes.start()
    try:
        with tempfile.TemporaryDirectory(prefix="ray-engine-") as folder:
            for command in COMMANDS:
                if options.only in (None, command.name):
                    for _ in range(options.repeat):
                        measure(command, options, nodes, Path(folder))
    finally:
        nodes.stop()


def measure(command: Measured, options: argparse.Namespace, nodes: TwoNodes, folder: Path) -> None:
    """Run a command in one process, and with each number of workers."""
    local: Run | None = None
    print(f"{command.name:10} {'wall':>8} {'ratio':>6} {'processor':>10} {'ratio':>6} {'load':>6}")
    for workers in (None, *options.workers):
        home = folder / "home"
        shutil.copytree(options.home, home)
        kind = ".jsonl" if command.result is None else Path(command.result).suffix
        out = folder / f"{'local' if workers is None else 'ray'}{kind}"
        words = command.words(home, out)
        if workers is not None:
            words += ["--engine", "ray", "--workers", str(workers)]
        run = timed(words, None if workers is None else nodes)
        if command.result is not None:
            shutil.copyfile(home / command.result, out)
        shutil.rmtree(home)
        local = local or run
        label = "local" if workers is None else f"{workers} worker{'s' * (workers > 1)}"
        told = "" if workers is None else f"  {difference(out.with_stem('local'), out)}"
        print(
            f"{label:10} {run.wall:7.1f}s {run.wall / local.wall:6.2f} {run.processor:9.1f}s "
            f"{run.processor / local.processor:6.2f} {run.load:6.1f}{told}",
            flush=True,
        )


if __name__ == "__main__":
    main()
