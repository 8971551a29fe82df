"""Kill (-9) every command that writes, at random moments.

Half of the moments are spread evenly over the time that the command takes. The others come right
after a change of a file, of which each is as likely as any other: so most of them lie where files
are written, between the commit to the journal and its application, or between two renames.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from kg.stores.open import open_store
from kg.stores.protocol import Verifiable
from kg.stores.tables import statements_table
from schema.terms import Provenance, Statement
from tests.faults.children import Child, run
from tests.faults.trials import Outcome, Plan
from tests.faults.watching import Changes
from tests.faults.write_paths import COLOURS, CommandTrial, WritePath

LONGEST_PAUSE = 0.003
"""Seconds at most from a change of a file to the kill."""
LONGEST_COMMAND = 300.0
PUT_ROWS = 20
MEASURED_BATCHES = 15


@dataclass
class Moments:
    """Random moments of a command that takes some ``seconds`` and makes some ``changes``."""

    rng: random.Random
    changes: int
    seconds: float

    def kill(self, child: Child, changes: Changes) -> bool:
        """Kill a command at a random moment; return False if it ended before."""
        if self.rng.random() < 0.5:
            time.sleep(self.rng.uniform(0, self.seconds))
        else:
            self.wait_for_change(changes, self.rng.randint(1, max(1, self.changes)))
        return child.kill()

    def wait_for_change(self, changes: Changes, count: int) -> None:
        """Wait for a change, and then a moment, or not even that: the next instruction counts."""
        changes.wait_for(count, LONGEST_COMMAND)
        time.sleep(max(0.0, self.rng.uniform(-LONGEST_PAUSE, LONGEST_PAUSE)))


class KilledCommand(CommandTrial):
    """A command that is killed."""

    def run(self) -> Outcome:
        """Kill the command as often as planned."""
        self.prepare()
        before = self.state(self.base)
        undisturbed = self.run_undisturbed()
        expected = self.state(self.work)
        rng = random.Random(self.plan.seed)
        moments = Moments(rng, undisturbed.changes, undisturbed.seconds)
        kills = 0
        too_late = 0
        while kills < self.plan.count:
            self.begin()
            with Changes(self.work) as changes, self.start() as child:
                killed = moments.kill(child, changes)
            if killed:
                kills += 1
            else:
                too_late += 1
                # The machine may be faster now than when the command was measured.
                moments.seconds *= 0.95
                moments.changes = max(1, int(moments.changes * 0.98))
            name = f"kill {kills}"
            self.check_left(name, before)
            self.check_end(name, expected)
            self.plan.progress(kills)
        self.outcome.figures = {
            "kills": kills,
            "ended before the kill": too_late,
            "changes of files": undisturbed.changes,
            "new statements and items": len(expected.facts - before.facts),
            "seconds": round(undisturbed.seconds, 2),
        }
        return self.outcome


def kill_command(path: WritePath) -> Callable[[Plan], Outcome]:
    """Return the trial of a command."""
    return lambda plan: KilledCommand(path, plan).run()


def kill_puts(scheme: str) -> Callable[[Plan], Outcome]:
    """Return the trial of a store that is written to, batch by batch, and killed."""

    def trial(plan: Plan) -> Outcome:
        rng = random.Random(plan.seed)
        moments = Moments(rng, _changes_of_puts(scheme, plan.folder / "measured"), 0.0)
        outcome = Outcome(figures={"kills": 0, "acknowledged batches": 0})
        for kill in range(plan.count):
            folder = plan.folder / f"{scheme}-{kill}"
            url = f"{scheme}:{folder}"
            folder.mkdir(parents=True)
            with Changes(folder) as changes, Child(_put_for_ever, url) as child:
                # From the very first change of all to some after many batches.
                moments.wait_for_change(changes, rng.randint(1, moments.changes))
                killed = child.kill()
                acknowledged = max(child.messages(), default=-1)
            if not killed:
                outcome.bad.append(f"{scheme}, kill {kill}: the writer ended by itself")
            problems = run(_check_puts, url, acknowledged)
            outcome.bad += [
                f"{scheme}, kill {kill} (seed {plan.seed}): {each}" for each in problems
            ]
            outcome.figures["kills"] += 1
            outcome.figures["acknowledged batches"] += acknowledged + 1
            shutil.rmtree(folder)
            plan.progress(kill + 1)
        return outcome

    return trial


def _changes_of_puts(scheme: str, folder: Path) -> int:
    """Return how many changes of files it takes to make a store and to put some batches."""
    folder.mkdir()
    with Changes(folder) as changes, Child(_put_for_ever, f"{scheme}:{folder}") as child:
        acknowledged = 0
        while acknowledged < MEASURED_BATCHES and child.is_running:
            # All the time, since a new folder is watched only when it is heard of.
            changes.read()
            if child.received.poll(0.005):
                acknowledged = int(child.received.recv())
    shutil.rmtree(folder)
    return changes.count


def _statements(batch: int) -> list[Statement]:
    return [
        Statement(f"{batch}-{part}", "colour", COLOURS[part % 6], provenance=Provenance("s"))
        for part in range(PUT_ROWS)
    ]


def _put_for_ever(sender: Connection, url: str) -> None:
    """Put batches, retract the first statement of each after the next, and acknowledge both."""
    batch = 0
    with open_store(url) as store:
        while True:
            store.put(None, statements_table(_statements(batch)))
            if batch:
                store.retract([_statements(batch - 1)[0].id])
            sender.send(batch)
            batch += 1


def _check_puts(url: str, acknowledged: int) -> list[str]:
    """Return what is wrong with a store whose writer was killed after that batch."""
    problems = []
    store: Any = open_store(url)
    with store:
        found = {id for batch in store.scan() for id in batch["id"].to_pylist()}
        expected = {
            statement.id
            for batch in range(acknowledged + 1)
            for statement in _statements(batch)[0 if batch == acknowledged else 1 :]
        }
        retracted = {_statements(batch)[0].id for batch in range(acknowledged)}
        # The batch that was on its way may be there, or be half done: put, and not yet retracted.
        unknown = {statement.id for statement in _statements(acknowledged + 1)}
        unknown.add(_statements(max(acknowledged, 0))[0].id)
        if expected - found - unknown:
            problems.append(f"{len(expected - found)} acknowledged statements are lost")
        if found & retracted - unknown:
            problems.append(f"{len(found & retracted)} statements that were retracted are back")
        if found - expected - unknown:
            problems.append(f"{len(found - expected - unknown)} statements nobody put are there")
        if len(found & {statement.id for statement in _statements(acknowledged + 1)}) not in (
            0,
            PUT_ROWS,
        ):
            problems.append("half a batch is there")
        if isinstance(store, Verifiable):
            problems += store.verify()
    return problems
