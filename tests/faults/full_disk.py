"""Fill the disk: commands that write on disks of many sizes, each too small in another place.

A disk is a tmpfs of a fixed size. On every size up to what the command needs, the command ends with
one line that says that the disk is full; readers read what was there before, on the full disk; and
with more room the command, called again, comes to its end.

    python -m tests.faults --only 'full disk'
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.faults.children import call
from tests.faults.former import why_no_former
from tests.faults.trials import Outcome, Plan
from tests.faults.write_paths import WRITE_PATHS, CommandTrial, WritePath

ROOT = Path(__file__).parents[2]
LARGE = 1 << 30
"""Bytes of a disk that is never full."""
ITEMS = 1_200
"""Items of a table: it takes files of more than a few blocks to fill a disk in many places."""
READERS = (
    ("stats",),
    ("show", "item-1"),
    ("schema",),
    ("rejects",),
    ("cypher", "MATCH (i:Item) RETURN count(*)"),
)
WRITERS = (("ingest", "{sources}/again.csv"), ("queries", "{sources}/queries.csv"), ("rebuild",))
WORDS = ("space", "full", "room", "quota")
"""Words of which a message about a full disk has one."""


class Disk:
    """A tmpfs of a size that can be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self._mount(f"size={LARGE}")

    def protect(self) -> None:
        """Make the disk read-only."""
        self._mount("remount,ro")

    def resize(self, size: int) -> None:
        """Change the size; what is on the disk stays."""
        self._mount(f"remount,size={size}")

    @property
    def used(self) -> int:
        """Bytes that are used."""
        status = os.statvfs(self.folder)
        return (status.f_blocks - status.f_bfree) * status.f_frsize

    def _mount(self, options: str) -> None:
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)]
        subprocess.run(words, check=True, capture_output=True)


class ReadOnlyDisk(CommandTrial):
    """Commands that only read, on a disk that cannot be written."""

    def run(self) -> Outcome:
        """Read a home on a read-only disk."""
        disk = Disk(self.plan.folder / "disk")
        self.area = disk.folder / "area"
        self.prepare()
        self.begin()
        disk.protect()
        for words in READERS:
            result = call(*words, home=self.work)
            if result.code:
                self.bad("a read-only disk", f"{' '.join(words)} fails: {result}")
        for words in WRITERS:
            result = call(*self._words(words, self.work), home=self.work)
            if result.code == 0 or not result.is_explained:
                self.bad("a read-only disk", f"{words[0]} does not say so: {result}")
        self.outcome.figures = {"reading commands": len(READERS), "writing commands": len(WRITERS)}
        return self.outcome


class CommandOnFullDisk(CommandTrial):
    """A command on disks of many sizes."""

    def run(self) -> Outcome:
        """Run the command on as many sizes as planned."""
        if self.path.former and (reason := why_no_former()):
            return Outcome(skipped=reason)
        disk = Disk(self.plan.folder / "disk")
        self.area = disk.folder / "area"
        self.prepare()
        before = self.before()
        self.begin()
        least = disk.used
        most = self._most_used(disk)
        expected = self.state(self.work)
        rng = random.Random(self.plan.seed)
        finished = 0
        for number in range(self.plan.count):
            disk.resize(LARGE)
            self.begin()
            size = least + int((most - least) * (number + rng.random()) / self.plan.count)
            disk.resize(size)
            result = self.again()
            name = f"a disk of {size:,} bytes, {most:,} are needed"
            finished += result.code == 0
            if not result.is_explained:
                self.bad(name, f"the command ends without an explanation: {result}")
            elif result.code and not any(word in result.err for word in WORDS):
                self.bad(name, f"the command does not say that the disk is full: {result}")
            self.check_left(name, before)
            self.check_between(name, before, expected)
            self.check_exported(name, before, expected)
            self.check_feed(name, has_ended=False)
            disk.resize(LARGE)
            self.check_end(name, expected)
            self.plan.progress(number + 1)
        self.outcome.figures |= {
            "sizes": self.plan.count,
            "finished all the same": finished,
            "bytes before": least,
            "bytes needed": most,
        }
        return self.outcome

    def _most_used(self, disk: Disk) -> int:
        """Return how many bytes are used at most while the command runs."""
        most = 0
        with self.start() as child:
            while child.is_running:
                most = max(most, disk.used)
                child.process.join(0.002)
            result = child.result()
        if result.code:
            raise RuntimeError(f"{self.path.name} fails on a large disk: {result}")
        return most


def why_not() -> str:
    """Return why no disk can be made on this machine; empty if one can."""
    done = subprocess.run([*_own_mounts(), "true"], capture_output=True, text=True, check=False)
    reason = done.stderr.strip() or "not permitted"
    return f"no disk of its own can be mounted here: {reason}" if done.returncode else ""


def fill_disk(path: WritePath, items: int = ITEMS) -> Callable[[Plan], Outcome]:
    """Return the trial of a command that reads tables of some items."""
    return lambda plan: _with_own_mounts("full", path.name, replace(plan, items=items))


def read_from_read_only_disk(plan: Plan) -> Outcome:
    """Read a home on a disk that cannot be written."""
    return _with_own_mounts("read-only", "ingest again", plan)


def _with_own_mounts(kind: str, command: str, plan: Plan) -> Outcome:
    """Make a trial in a process with mounts of its own, which are gone with it."""
    reason = why_not()
    if reason:
        return Outcome(skipped=reason)
    numbers = (plan.count, plan.seed, plan.items)
    words = [kind, command, *map(str, numbers), str(plan.folder)]
    with subprocess.Popen(
        [*_own_mounts(), sys.executable, "-m", "tests.faults.full_disk", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        last = "{}"
        for line in process.stdout:
            last = line
            if line.strip().isdigit():
                plan.progress(int(line))
    if process.returncode:
        raise RuntimeError(f"the trial on a disk of its own ended with {process.returncode}")
    return Outcome(**json.loads(last))


def _own_mounts() -> list[str]:
    """Return the beginning of a command that runs with mounts of its own."""
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *as_root, "--mount"]


def main() -> None:
    """Make the trial of the command that the arguments name, and print its outcome as JSON."""
    kind, name, count, seed, items, folder = sys.argv[1:]
    (path,) = (path for path in WRITE_PATHS if path.name == name)
    plan = Plan(
        int(count),
        int(seed),
        Path(folder),
        lambda done: print(done, flush=True),
        items=int(items),
    )
    trial = ReadOnlyDisk(path, plan) if kind == "read-only" else CommandOnFullDisk(path, plan)
    outcome = trial.run()
    print(json.dumps(dataclasses.asdict(outcome)))


if __name__ == "__main__":
    main()
