"""Ingest with the help of a Ray cluster beside ingest in one process.

    python benchmarks/ray_ingest.py [--items 100000] [--records 4000] [--workers 1,2]
        [--out FILE]

It loads two made-up catalogues: the table of ``catalograph sample``, whose rows cost little
before they are written, and records of JSONL with 40 of 800 properties each, whose values cost
much. Each load is a process of its own, which is timed as a whole, with the start of a cluster of
this machine; ``own cpu`` is what that process itself takes of the processors, and so what does not
get faster with more nodes. All contents have to be equal. On a machine that does other work, only
the ratios of one run mean something, and they not much.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

PROPERTIES = 800
FILLED = 40
UNITS = "mm cm kg W V GHz MB".split()
WORDS = "yes no n/a black white USB HDMI <b>LED</b> Wi-Fi 802.11n 16:9 A++ IP67 Core".split()


@dataclass(frozen=True)
class Measured:
    """One load: seconds from the process's start to its end, and those of its own processor."""

    seconds: float
    own_cpu: float
    content: str


def write_table(path: Path, items: int) -> None:
    """Write the table of a sample."""
    from kg.sample import write_sample

    write_sample(path.parent / "sample", items, 0)
    (path.parent / "sample" / "items.csv").rename(path)


def write_records(path: Path, records: int) -> None:
    """Write records of JSONL with some of many properties."""
    rng = random.Random(records)
    with path.open("w", encoding="utf-8") as stream:
        for number in range(records):
            record: dict[str, Any] = {"id": f"R{number:06}", "title": f"Device {number}"}
            for name in rng.sample(range(PROPERTIES), FILLED):
                kind = name % 3
                amount = f"{rng.randrange(1, 9000) / 10} {UNITS[name % len(UNITS)]}"
                words = ", ".join(rng.sample(WORDS, 1 + name % 4))
                record[f"Property {name}"] = (amount, words, rng.choice(WORDS))[kind]
            stream.write(json.dumps(record) + "\n")


def ingest(source: Path, folder: Path, workers: int) -> Measured:
    """Ingest a file in a process of its own, by a number of workers of Ray or, with 0, by none."""
    home = folder / f"home-{source.stem}-{workers}"
    words = [sys.executable, str(ROOT / "cli.py"), "--home", str(home), "ingest", str(source)]
    if workers:
        words += ["--engine", "ray", "--workers", str(workers)]
    environment = {name: text for name, text in os.environ.items() if name != "RAY_ADDRESS"}
    # Others are at work on this machine, too: none of ours waits for them more than another.
    environment["RAY_worker_niceness"] = "0"
    started = time.perf_counter()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit((folder / "log").read_text())
    return Measured(round(seconds, 1), round(usage.ru_utime + usage.ru_stime, 1), _content(home))


def _content(home: Path) -> str:
    """Return a digest of what a home says, without times and runs."""
    import hashlib

    from kg.home import Home

    digest = hashlib.sha256()
    with Home.open(home).store(read_only=True) as store:
        for batch in store.items():
            names = ("id", "title", "description", "category", "images", "row")
            digest.update(json.dumps(batch.select(names).to_pylist()).encode())
        rows = [row["id"] for batch in store.scan() for row in batch.select(["id"]).to_pylist()]
    digest.update("\n".join(sorted(rows)).encode())
    return digest.hexdigest()


def compare(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of both catalogues, each in one process and by some workers."""
    counts = [0, *map(int, arguments.workers.split(","))]
    figures: dict[str, Any] = {"processors": os.cpu_count(), "load": os.getloadavg()}
    for name, write, size in (
        ("table.csv", write_table, arguments.items),
        ("records.jsonl", write_records, arguments.records),
    ):
        if not size:
            continue
        source = folder / name
        write(source, size)
        measured = {count: ingest(source, folder, count) for count in counts}
        local = measured[0]
        for count, each in measured.items():
            if each.content != local.content:
                raise SystemExit(f"{name}: {count} workers have made another catalogue")
            print(
                f"{name:<14} {size:>8,} {f'{count} workers' if count else 'one process':<12} "
                f"{each.seconds:>7.1f} s ({each.seconds / local.seconds:.2f})   own cpu "
                f"{each.own_cpu:>6.1f} s ({each.own_cpu / local.own_cpu:.2f})",
                flush=True,
            )
        figures[name] = {str(count): asdict(each) for count, each in measured.items()}
    return figures


def main() -> None:
    """Compare, and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--records", type=int, default=4_000)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        figures = compare(Path(temporary), arguments)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
