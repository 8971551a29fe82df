"""Kill training runs (-9) at random moments, resume them, and compare the resulting weights.

A killed run has to end in the weights of an uninterrupted one, byte for byte.

    python benchmarks/kills.py [--runs 20] [--steps 24]

Tiny models on a CPU on a synthetic catalogue: fp32 and bf16, with no worker process and with two,
MBSD's two stages and the joint preset in turns.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
SETTINGS = ("batch_size=8", "log_every=1", "validate_every=5", "keep_every=3", "warmup_steps=2")
KINDS = [
    (precision, workers, preset)
    for precision in ("fp32", "bf16")
    for workers in (0, 2)
    for preset in ("mbsd", "joint")
]


def catalograph(home: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start a command on a home, in a process group of its own."""
    command = [sys.executable, str(HERE / "cli.py"), "--home", str(home), *words]
    # Runs are comparable bit for bit only with the same number of threads.
    environment = {"OMP_NUM_THREADS": str(os.cpu_count()), **os.environ}
    # Killing the group kills the run's worker processes as well.
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=environment,
    )


def made_home(folder: Path) -> Path:
    """Make a home of a synthetic catalogue in a folder."""
    home = folder / "home"
    for words in (
        ("sample", f"{folder}/shop", "--items", "80"),
        ("ingest", f"{folder}/shop/items.csv", "--max-rejects", "5%"),
        ("queries", f"{folder}/shop/queries.csv"),
    ):
        finish(catalograph(home, *words))
    return home


def train(home: Path, name: str, kind: tuple[str, int, str], steps: int) -> list[str]:
    """Return the command of a run."""
    precision, workers, preset = kind
    settings = [*SETTINGS, f"precision={precision}", f"workers={workers}"]
    return [
        "train",
        "--preset",
        preset,
        "--size",
        "tiny",
        "--steps",
        str(steps),
        "--name",
        name,
        *(word for setting in settings for word in ("--set", setting)),
    ]


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for a run that nobody kills; raises RuntimeError with its output if it fails."""
    _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(errors.decode()[-2000:])


def digest(home: Path, name: str) -> str:
    """Return the sha256 of the last checkpoint's weights, averages and moments."""
    newest = sorted((home / "models" / name / "checkpoints").glob("step-*"))[-1]
    return hashlib.sha256(
        b"".join(
            (newest / f"{part}.safetensors").read_bytes()
            for part in ("weights", "average", "optimizer")
        )
    ).hexdigest()


def killed_run(
    home: Path, name: str, kind: tuple[str, int, str], steps: int, rng: random.Random
) -> int:
    """Start a run and kill it, its workers too, up to three times; return the number of kills."""
    words = train(home, name, kind, steps)
    kills = 0
    while True:
        # A run that was killed before it wrote what --resume builds from starts again.
        started = any((home / "models" / name / "checkpoints").glob("*/manifest.json"))
        process = catalograph(home, *words, *(["--resume"] if started else []))
        wait = float("inf") if kills >= 3 else rng.uniform(3.0, 14.0)
        try:
            process.wait(None if wait == float("inf") else wait)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        if process.returncode:
            assert process.stderr is not None
            raise RuntimeError(process.stderr.read().decode()[-2000:])
        return kills


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        home = made_home(Path(folder))
        whole: dict[tuple[str, int, str], str] = {}
        for number in range(args.runs):
            kind = KINDS[number % len(KINDS)]
            if kind not in whole:
                finish(catalograph(home, *train(home, f"whole{number}", kind, args.steps)))
                whole[kind] = digest(home, f"whole{number}")
            began = time.monotonic()
            kills = killed_run(home, f"killed{number}", kind, args.steps, rng)
            rows.append(
                {
                    "run": number,
                    "kind": kind,
                    "kills": kills,
                    "same": digest(home, f"killed{number}") == whole[kind],
                }
            )
            print(rows[-1], f"{time.monotonic() - began:.0f} s", flush=True)
    print(
        json.dumps(
            {
                "runs": len(rows),
                "kills": sum(int(str(row["kills"])) for row in rows),
                "same": sum(bool(row["same"]) for row in rows),
            }
        )
    )


if __name__ == "__main__":
    main()
