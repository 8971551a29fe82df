"""Measure training alone and beside other programs, by the settings of OpenMP's threads.

    python benchmarks/neighbours.py [--busy 2] [--steps 40] [--rounds 2] [--size small]

Each setting trains the joint preset on a drawn catalogue in a process of its own, first alone, then
beside ``--busy`` processes that do nothing but count. The share that is fair beside them is
cores / (cores + busy) of the speed alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORES = str(len(os.sched_getaffinity(0)))
SETTINGS: dict[str, dict[str, str]] = {
    "libgomp's default": {"GOMP_SPINCOUNT": "300000", "OMP_NUM_THREADS": CORES},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "OMP_NUM_THREADS": CORES},
    "spin 1000": {"GOMP_SPINCOUNT": "1000", "OMP_NUM_THREADS": CORES},
    "spin 10000": {"GOMP_SPINCOUNT": "10000", "OMP_NUM_THREADS": CORES},
    "one thread": {"OMP_NUM_THREADS": "1"},
    "as catalograph sets it": {},
}
"""300,000 is what libgomp spins if nothing is set, by its manual."""
LOG_EVERY = 10
SETTLE_SECONDS = 75


def catalograph(home: Path, *words: str, **environment: str) -> None:
    """Run a command on a home; raises CalledProcessError if it fails."""
    subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), "--home", str(home), *words],
        check=True,
        capture_output=True,
        env={**os.environ, **environment},
    )


@contextmanager
def busy_processes(count: int, settle: float) -> Iterator[None]:
    """Keep ``count`` processes busy, from ``settle`` seconds before the ``with`` block begins."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        time.sleep(settle if count else 0)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def items_per_second(
    home: Path,
    name: str,
    args: argparse.Namespace,
    environment: dict[str, str],
) -> float:
    """Train, and return the speed without the first log interval, which warms up."""
    catalograph(
        home,
        *(
            "train",
            "--preset",
            "joint",
            "--size",
            args.size,
            "--steps",
            str(args.steps),
            "--name",
            name,
        ),
        *("--set", f"log_every={LOG_EVERY}", "--set", "validate_every=1000000"),
        **environment,
    )
    lines = (home / "models" / name / "log.jsonl").read_text().splitlines()
    speeds = [json.loads(line)["items_per_second"] for line in lines][1:]
    # Every line counts as many items: the mean speed is the harmonic mean.
    return len(speeds) / sum(1 / speed for speed in speeds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--busy", type=int, default=2)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--size", default="small")
    parser.add_argument("--only", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    speeds: dict[str, dict[str, list[float]]] = {
        name: {"alone": [], "beside": []} for name in args.only
    }
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        catalograph(home, "sample", f"{folder}/shop", "--items", "1500")
        catalograph(home, "ingest", f"{folder}/shop/items.csv", "--max-rejects", "5%")
        catalograph(home, "queries", f"{folder}/shop/queries.csv")
        number = 0
        # In turns: a machine's speed drifts.
        for _ in range(args.rounds):
            for name in args.only:
                for place, busy in (("alone", 0), ("beside", args.busy)):
                    number += 1
                    # Only our own setting looks at the load of the last minute.
                    settle = 0 if "OMP_NUM_THREADS" in SETTINGS[name] else SETTLE_SECONDS
                    with busy_processes(busy, settle):
                        speed = items_per_second(home, f"run{number}", args, SETTINGS[name])
                    speeds[name][place].append(speed)
                    print(f"{name}, {place}: {speed:.1f} items/s", flush=True)
    fair = cores / (cores + args.busy)
    best = max(sum(each["alone"]) / args.rounds for each in speeds.values())
    rows = []
    for name, each in speeds.items():
        alone = sum(each["alone"]) / args.rounds
        beside = sum(each["beside"]) / args.rounds
        rows.append(
            {
                "setting": name,
                "alone": round(alone, 1),
                "beside": round(beside, 1),
                "alone / fastest": round(alone / best, 3),
                "beside / fair share": round(beside / (best * fair), 3),
            }
        )
        print(rows[-1])
    print(json.dumps({"cores": cores, "busy": args.busy, "size": args.size, "rows": rows}))


if __name__ == "__main__":
    main()
