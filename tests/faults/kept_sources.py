"""Kill (-9) a process that keeps the files of a source, run after run, at random moments.

Afterwards the newest run that is kept is the last one that was acknowledged, or that of the write
that was on its way; all its files are there, as they were read; and nothing is left that grows.
"""

from __future__ import annotations

import itertools
import random
import shutil
from multiprocessing.connection import Connection
from pathlib import Path

from kg.ingest.files import SourceFile
from kg.sources import KEPT_RUNS, KeptSource, KeptSources, ReadSource
from tests.faults.children import Child, run
from tests.faults.kills import Moments
from tests.faults.trials import Outcome, Plan
from tests.faults.watching import Changes

FILES = 2
"""Files of the source in each run."""
MEASURED_WRITES = 30


def kill_keeping(plan: Plan) -> Outcome:
    """Kill the process as often as planned."""
    rng = random.Random(plan.seed)
    moments = Moments(rng, _changes_of_writes(plan.folder / "measured"), 0.0)
    outcome = Outcome(figures={"kills": 0, "acknowledged writes": 0})
    for kill in range(plan.count):
        folder = plan.folder / f"sources-{kill}"
        folder.mkdir(parents=True)
        with Changes(folder) as changes, Child(_keep_for_ever, str(folder)) as child:
            moments.wait_for_change(child, changes, rng.randint(1, moments.changes))
            killed = child.kill()
            acknowledged = max(child.messages(), default=-1)
        if not killed:
            outcome.bad.append(f"kill {kill}: the process ended by itself")
        problems = run(_check, str(folder), acknowledged)
        outcome.bad += [f"kill {kill} (seed {plan.seed}): {each}" for each in problems]
        outcome.figures["kills"] += 1
        outcome.figures["acknowledged writes"] += acknowledged + 1
        shutil.rmtree(folder)
        plan.progress(kill + 1)
    return outcome


def _changes_of_writes(folder: Path) -> int:
    """Return how many changes of files some writes take."""
    folder.mkdir(parents=True)
    acknowledged = -1
    with Changes(folder) as changes, Child(_keep_for_ever, str(folder)) as child:
        while acknowledged < MEASURED_WRITES:
            changes.read()
            if child.received.poll(0.005):
                acknowledged = int(child.received.recv())
    shutil.rmtree(folder)
    return changes.count


def _content(number: int, file: int) -> bytes:
    """Return what a file has in the run of a write; the second one never changes."""
    if file:
        return b"id,title\n1,Mug\n" * 200
    return b"".join(b"%d,Mug %d,%d\n" % (row, number, row * number) for row in range(2_000))


def _write(sources: KeptSources, number: int) -> None:
    for file in range(FILES):
        copy = sources.begin()
        content = _content(number, file)
        for position in range(0, len(content), 10_000):
            copy.record(position, content[position : position + 10_000])
        copy.record(len(content), b"")
        read = SourceFile(Path("none"), None, f"{file}.csv", ".csv")
        kept = ReadSource("feed", f"run-{number}", FILES, "2026-01-31", read, {})
        sources.keep(copy, kept, None)
        copy.discard()


def _keep_for_ever(sender: Connection, folder: str) -> None:
    """Keep run after run, and acknowledge each."""
    sources = KeptSources(Path(folder))
    for number in itertools.count():
        _write(sources, number)
        sender.send(number)


def _newest(sources: KeptSources) -> list[KeptSource]:
    return sources.newest().get("feed", [])


def _check(folder: str, acknowledged: int) -> list[str]:
    """Return what is wrong with what a killed process has left after a write."""
    sources = KeptSources(Path(folder))
    problems = sources.problems()
    found = _newest(sources)
    number = int(found[0].run.removeprefix("run-")) if found else None
    if number not in (None if acknowledged < 0 else acknowledged, acknowledged + 1):
        problems.append(f"the newest run is {number} after write {acknowledged}")
    if number is not None:
        contents = []
        for each in found:
            with each.file.open() as stream:
                contents.append(stream.read())
        if contents != [_content(number, file) for file in range(FILES)]:
            problems.append(f"run {number} is not kept as it was read")
    # What goes on afterwards leaves nothing behind.
    for more in range(1, KEPT_RUNS + 1):
        _write(sources, acknowledged + 1 + more)
    if left := [path.name for path in Path(folder).glob(".writing.*")]:
        problems.append(f"{left} are left for ever")
    folders = list(Path(folder).glob("[!.]*/*"))
    if len(folders) != KEPT_RUNS * FILES:
        problems.append(f"{len(folders)} files are kept, and not {KEPT_RUNS * FILES}")
    return problems
