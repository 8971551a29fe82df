"""Try every kind of fault as often as docs/reliability.md says, and write down the figures.

    python -m tests.faults [--only kill --only disk] [--count 10] [--seed 0] [--resume] [--json]

Each trial's figures are written as soon as it ends, so that a run that was interrupted goes on with
``--resume``: it leaves out the trials that this version of the code has behind it. The exit code is
1 if anything happened that must not.
"""

from __future__ import annotations

import argparse
import dataclasses
import fcntl
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kg.stores.query_child import Engine
from tests.faults.beside import read_beside_writer, write_beside_writer
from tests.faults.checkpoints import kill_checkpoints, kill_training
from tests.faults.configs import fuzz_configs
from tests.faults.flips import flip_bytes
from tests.faults.full_disk import fill_disk, read_from_read_only_disk
from tests.faults.guard_fuzz import try_guards
from tests.faults.image_fuzz import try_images
from tests.faults.indexing import kill_index
from tests.faults.kept_sources import kill_keeping
from tests.faults.kills import kill_command, kill_puts
from tests.faults.object_store import kill_writers, write_together
from tests.faults.query_attacks import CYPHER, SPARQL, attack_queries
from tests.faults.reviewing import kill_review
from tests.faults.trials import Outcome, Plan, Trial
from tests.faults.write_paths import WRITE_PATHS

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "cli.py",
    "commands",
    "encoders",
    "evaluation",
    "fusion",
    "kg",
    "schema",
    "serving",
    "training",
)
FIGURES = ROOT / "benchmarks" / "figures" / "faults.json"
KILLS = 100
SIZES = 20
FLIPS = 400
STORES = ("ladybug", "rdf")
DECLARED = "ontology.declared.toml"
SHOWN = 10
"""Bad tries of a trial to print; the file has all."""

TRIALS = (
    *(Trial(f"kill {path.name}", "kills", KILLS, kill_command(path)) for path in WRITE_PATHS),
    Trial("kill puts into Ladybug", "kills", KILLS, kill_puts("ladybug")),
    Trial("kill loads into Ladybug", "kills", KILLS, kill_puts("ladybug", loads=True)),
    Trial("kill puts into RDF", "kills", KILLS, kill_puts("rdf")),
    Trial("kill review", "kills", KILLS, kill_review),
    Trial("kill index", "kills", KILLS, kill_index),
    Trial("kill keeping of sources", "kills", 2 * KILLS, kill_keeping),
    Trial("kill checkpoints", "kills", KILLS, kill_checkpoints),
    Trial("kill training", "kills", KILLS, kill_training),
    *(Trial(f"full disk, {path.name}", "sizes", SIZES, fill_disk(path)) for path in WRITE_PATHS),
    *(Trial(f"flipped bytes, {name}", "flips", FLIPS, flip_bytes(name)) for name in STORES),
    Trial("flipped bytes, what mappings say", "flips", FLIPS, flip_bytes("ladybug", DECLARED)),
    Trial("readers beside a writer", "writes", 20, read_beside_writer),
    Trial("writers beside each other", "rounds", 20, write_beside_writer),
    Trial("two homes on a faulty object store", "commits", 200, write_together),
    Trial("kill writers to an object store", "kills", KILLS, kill_writers),
    Trial("a read-only disk", "homes", 1, read_from_read_only_disk),
    Trial("wrong configurations", "files", 5_000, fuzz_configs),
    Trial("hostile queries", "texts in each language", 5_000, try_guards),
    Trial("greedy Cypher", "queries", len(CYPHER), attack_queries(Engine.LADYBUG)),
    Trial("greedy SPARQL", "queries", len(SPARQL), attack_queries(Engine.OXIGRAPH)),
    Trial("wrong images", "files", 5_000, try_images),
)


class Report:
    """The outcomes of trials, kept in a file, which several runs of other trials may share."""

    def __init__(self, path: Path, resume: bool) -> None:
        self.path = path
        self.revision = revision()
        self.trials: dict[str, dict[str, Any]] = {}
        if path.exists():
            self.trials = json.loads(path.read_text(encoding="utf-8"))["trials"]
        self._done = {
            name for name, trial in self.trials.items() if trial["revision"] == self.revision
        }
        if not resume:
            self._done = set()

    def has(self, trial: Trial) -> bool:
        """Return whether this version of the code has the trial behind it, to its end."""
        return trial.name in self._done

    def add(self, trial: Trial, plan: Plan, outcome: Outcome, seconds: float) -> None:
        """Write down an outcome."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            self.trials = json.loads(file.read() or '{"trials": {}}')["trials"]
            self.trials[trial.name] = {
                "tries": {trial.tries: plan.count},
                "seed": plan.seed,
                "seconds": round(seconds, 1),
                "revision": self.revision,
                **dataclasses.asdict(outcome),
            }
            # In the order of the trials, so that two files can be compared.
            order = [each.name for each in TRIALS]
            names = sorted(self.trials, key=lambda name: order.index(name) if name in order else 99)
            self.trials = {name: self.trials[name] for name in names}
            text = json.dumps({"trials": self.trials}, indent=1, ensure_ascii=False)
            file.truncate(0)
            file.write(text + "\n")

    def table(self, names: Sequence[str]) -> str:
        """Return a table of the trials with these names, in Markdown."""
        lines = ["| trial | tries | wrong | figures | seconds |", "|---|---|---|---|---|"]
        for name in names:
            if name not in self.trials:
                continue
            trial = self.trials[name]
            tries = ", ".join(f"{count:,} {what}" for what, count in trial["tries"].items())
            figures = ", ".join(
                f"{what} {value:,}" if isinstance(value, int | float) else f"{what} {value}"
                for what, value in trial["figures"].items()
            )
            if trial["skipped"]:
                figures = f"skipped: {trial['skipped']}"
            wrong = "–" if trial["skipped"] else len(trial["bad"])
            lines.append(f"| {name} | {tries} | {wrong} | {figures} | {trial['seconds']:.0f} |")
        return "\n".join(lines)


def revision() -> str:
    """Return what tells this version of what is tried, and of the trials, from others.

    That is the last commit that changed either, and whether there are changes since.
    """
    tests = ("tests/faults/*.py", ":(exclude)tests/faults/test_*.py")
    commit = _git("log", "-1", "--format=%h", "--abbrev=12", "--", *PACKAGES, *tests)
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", *PACKAGES, *tests)
    return f"{commit} and changes" if changes else commit


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def make_trial(
    trial: Trial, count: int, seed: int, show: Callable[[str], None]
) -> tuple[Plan, Outcome]:
    """Make a trial in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        last = [time.monotonic()]

        def progress(done: int) -> None:
            if time.monotonic() - last[0] > 10:
                last[0] = time.monotonic()
                show(f"  {trial.name}: {done:,} of {count:,} {trial.tries}")

        plan = Plan(count, seed, Path(folder), progress)
        try:
            outcome = trial.run(plan)
        except (OSError, RuntimeError) as error:
            # One trial that cannot be made does not end the others.
            outcome = Outcome(bad=[f"the trial could not be made: {error}"])
        return plan, outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the trials and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="TEXT", help="trials with this in their name"
    )
    parser.add_argument("--count", type=int, help="tries of each trial  [default: its own number]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="leave out the trials that are done")
    parser.add_argument("--json", action="store_true", help="print the outcomes as JSON")
    parser.add_argument("--table", action="store_true", help="print the figures of the last run")
    parser.add_argument("--list", action="store_true", help="print the names of the trials")
    parser.add_argument("--out", type=Path, default=FIGURES, help="file of the figures")
    args = parser.parse_args(arguments)

    chosen = [
        trial for trial in TRIALS if not args.only or any(text in trial.name for text in args.only)
    ]
    if args.list:
        print("\n".join(f"{trial.name}: {trial.count:,} {trial.tries}" for trial in chosen))
        return 0
    if not chosen:
        parser.error(f"no trial has {' or '.join(args.only)} in its name: see --list")

    def show(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    report = Report(args.out, args.resume)
    if args.table:
        print(report.table([trial.name for trial in chosen]))
        return 0
    for number, trial in enumerate(chosen, 1):
        if report.has(trial):
            show(f"{number}/{len(chosen)} {trial.name}: done before")
            continue
        count = args.count or trial.count
        show(f"{number}/{len(chosen)} {trial.name}: {count:,} {trial.tries}")
        began = time.monotonic()
        plan, outcome = make_trial(trial, count, args.seed, show)
        report.add(trial, plan, outcome, time.monotonic() - began)
        if outcome.skipped:
            show(f"  skipped: {outcome.skipped}")
        for text in outcome.bad[:SHOWN]:
            show(f"  WRONG: {text}")

    names = [trial.name for trial in chosen]
    outcomes = {name: report.trials[name] for name in names}
    print(json.dumps(outcomes, ensure_ascii=False) if args.json else report.table(names))
    return int(any(outcome["bad"] for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
