"""Kill (-9) every command that writes, at random moments.

Half of the moments are spread evenly over the time that the command takes. The others come right
after a change of a file, of which each is as likely as any other: so most of them lie where files
are written, between the commit to the journal and its application, or between two renames.
"""

from __future__ import annotations

import itertools
import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from kg.stores import ladybug_graph
from kg.stores.open import open_store
from kg.stores.protocol import GraphStore, Verifiable
from kg.stores.tables import statements_table
from schema.terms import Provenance, Rank, Statement
from tests.faults.children import Child, run
from tests.faults.former import why_no_former
from tests.faults.trials import Outcome, Plan
from tests.faults.watching import Changes
from tests.faults.write_paths import COLOURS, CommandTrial, WritePath

LONGEST_PAUSE = 0.003
"""Seconds at most from a change of a file to the kill."""
LONGEST_COMMAND = 300.0
PUT_ROWS = 20
GUESSED = Provenance("model", confidence=0.5)
REVIEWED = Provenance("model", confidence=0.5, reviewer="mo")
REVIEWS = (Rank.ACCEPTED, Rank.REJECTED)
MEASURED_WRITES = 40


@dataclass
class Moments:
    """Random moments of a command that takes some ``seconds`` and makes some ``changes``."""

    rng: random.Random
    changes: int
    seconds: float

    def kill(self, child: Child, changes: Changes) -> bool:
        """Kill a command at a random moment; return False if it ended before."""
        if self.rng.random() < 0.5:
            child.process.join(self.rng.uniform(0, self.seconds))
        else:
            self.wait_for_change(child, changes, self.rng.randint(1, max(1, self.changes)))
        return child.kill()

    def wait_for_change(self, child: Child, changes: Changes, count: int) -> None:
        """Wait for a change, and then a moment, or not even that: the next instruction counts."""
        changes.wait_for(count, LONGEST_COMMAND, lambda: child.is_running)
        time.sleep(max(0.0, self.rng.uniform(-LONGEST_PAUSE, LONGEST_PAUSE)))


class KilledCommand(CommandTrial):
    """A command that is killed."""

    def run(self) -> Outcome:
        """Kill the command as often as planned."""
        if self.path.former and (reason := why_no_former()):
            return Outcome(skipped=reason)
        self.prepare()
        before = self.before()
        undisturbed = self.run_undisturbed()
        expected = self.state(self.work)
        rng = random.Random(self.plan.seed)
        moments = Moments(rng, undisturbed.changes, undisturbed.seconds)
        kills = 0
        too_late = 0
        while kills < self.plan.count:
            self.begin()
            with Changes(self.area) as changes, self.start() as child:
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
            self.check_between(name, before, expected)
            self.check_exported(name, before, expected)
            self.check_feed(name, has_ended=False)
            self.check_undo(name, before, expected)
            self.check_end(name, expected)
            self.plan.progress(kills)
        self.outcome.figures |= {
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


def kill_puts(scheme: str, loads: bool = False) -> Callable[[Plan], Outcome]:
    """Return the trial of a store that is written to, write by write, and killed.

    With ``loads``, all rows are new, and wait in Ladybug until some of them are loaded together.
    """
    write = _load_write if loads else _write
    put_for_ever = _load_for_ever if loads else _put_for_ever

    def trial(plan: Plan) -> Outcome:
        rng = random.Random(plan.seed)
        changes_of_puts = _changes_of_puts(scheme, plan.folder / "measured", put_for_ever)
        moments = Moments(rng, changes_of_puts, 0.0)
        outcome = Outcome(figures={"kills": 0, "acknowledged writes": 0})
        for kill in range(plan.count):
            folder = plan.folder / f"{scheme}-{kill}"
            url = f"{scheme}:{folder}"
            folder.mkdir(parents=True)
            with Changes(folder) as changes, Child(put_for_ever, url) as child:
                # From the very first change of all to some after many writes.
                moments.wait_for_change(child, changes, rng.randint(1, moments.changes))
                killed = child.kill()
                acknowledged = max(child.messages(), default=-1)
            if not killed:
                outcome.bad.append(f"{scheme}, kill {kill}: the writer ended by itself")
            problems = run(_check_puts, url, acknowledged, write)
            outcome.bad += [
                f"{scheme}, kill {kill} (seed {plan.seed}): {each}" for each in problems
            ]
            outcome.figures["kills"] += 1
            outcome.figures["acknowledged writes"] += acknowledged + 1
            shutil.rmtree(folder)
            plan.progress(kill + 1)
        return outcome

    return trial


def _changes_of_puts(
    scheme: str, folder: Path, put_for_ever: Callable[[Connection, str], None]
) -> int:
    """Return how many changes of files it takes to make a store and to make some writes."""
    folder.mkdir()
    with Changes(folder) as changes, Child(put_for_ever, f"{scheme}:{folder}") as child:
        acknowledged = 0
        while acknowledged < MEASURED_WRITES and child.is_running:
            # All the time, since a new folder is watched only when it is heard of.
            changes.read()
            if child.received.poll(0.005):
                acknowledged = int(child.received.recv())
    shutil.rmtree(folder)
    return changes.count


@dataclass(frozen=True)
class Write:
    """One write to a store: statements that it puts, and ids of those that it deletes."""

    put: Sequence[Statement] = ()
    deleted: Sequence[str] = ()

    def apply(self, store: GraphStore) -> None:
        """Write to a store."""
        if self.put:
            store.put(None, statements_table(self.put))
        if self.deleted:
            store.retract(self.deleted)

    def follow(self, ranks: dict[str, Rank]) -> None:
        """Do the same to the ranks of statements by their id."""
        ranks.update({statement.id: statement.rank for statement in self.put})
        for id in self.deleted:
            ranks.pop(id, None)


def _write(number: int) -> Write:
    """Return a write: of three, one puts predictions, one deletes and one reviews some of them."""
    batch, part = divmod(number, 3)
    guesses = [
        Statement(f"{batch}-{row}", "colour", COLOURS[row % 6], Rank.PREDICTED, GUESSED)
        for row in range(PUT_ROWS)
    ]
    if part == 1:
        return Write(deleted=[guess.id for guess in guesses[::3]])
    if part == 2:
        return Write(
            [
                replace(guess, rank=rank, provenance=REVIEWED)
                for guess, rank in zip(guesses[1::3], REVIEWS * PUT_ROWS, strict=False)
            ]
        )
    return Write(guesses)


def _load_write(number: int) -> Write:
    """Return a write of new rows."""
    return Write([Statement(f"{number}-{row}", "colour", COLOURS[row % 6]) for row in range(9)])


def _load_for_ever(sender: Connection, url: str) -> None:
    """Write new rows for ever, and have them loaded from time to time."""
    ladybug_graph.COPIED_ROWS = 0
    ladybug_graph.CREATED_ROWS = 0
    with open_store(url) as store:
        for number in itertools.count():
            _load_write(number).apply(store)
            sender.send(number)
            if number % 4 == 3:
                store.counts()


def _put_for_ever(sender: Connection, url: str) -> None:
    """Write for ever, and acknowledge each write."""
    with open_store(url) as store:
        for number in itertools.count():
            _write(number).apply(store)
            sender.send(number)


def _check_puts(url: str, acknowledged: int, write: Callable[[int], Write]) -> list[str]:
    """Return what is wrong with a store whose writer was killed after that write."""
    problems = []
    expected: dict[str, Rank] = {}
    for number in range(acknowledged + 1):
        write(number).follow(expected)
    # The write that was on its way may be there, but not half of it.
    next_one = dict(expected)
    write(acknowledged + 1).follow(next_one)
    store: Any = open_store(url)
    with store:
        found = {
            row["id"]: Rank(row["rank"]) for batch in store.scan() for row in batch.to_pylist()
        }
        if found not in (expected, next_one):
            lost = len(expected.items() - found.items() - next_one.items())
            others = len(found.items() - expected.items() - next_one.items())
            problems.append(
                f"{lost} acknowledged statements or ranks are lost, {others} are there that nobody "
                f"put, or half of the write after number {acknowledged} is there"
            )
        if isinstance(store, Verifiable):
            problems += store.verify()
    return problems
