"""Use a catalogue in many processes at once: readers beside a writer, writers beside others.

A reader beside a writer answers, and sees the catalogue as it was after some commit: never half of
one, and never an older one than it saw before. Of several writers each either comes to its end or
says that another one writes; together they end in the same catalogue as one after another.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

from tests.faults.children import Result, call
from tests.faults.trials import Outcome, Plan
from tests.faults.write_paths import CommandTrial, WritePath

INGEST = "{sources}/again.csv"
AGAIN = WritePath(
    "ingest again",
    ("ingest", INGEST, "--max-rejects", "50%"),
    prepare=(("ingest", "{sources}/first.csv", "--max-rejects", "50%"),),
)
READERS = (("stats", "--json"), ("show", "item-1", "--json"), ("schema", "--json"))
WRITERS = 3


class ReadersBesideWriter(CommandTrial):
    """Readers that are called all the time while a command writes."""

    def run(self) -> Outcome:
        """Let a command write as often as planned, with readers beside it."""
        self.prepare()
        self.begin()
        before = call("stats", "--json", home=self.work).json
        reads = 0
        slowest = 0.0
        for number in range(self.plan.count):
            self.begin()
            seen = before["statements"]
            with self.start() as writer:
                while writer.is_running:
                    for words in READERS:
                        began = time.monotonic()
                        result = call(*words, home=self.work)
                        slowest = max(slowest, time.monotonic() - began)
                        reads += 1
                        seen = self._check(f"write {number}", words, result, seen)
                ended = writer.result()
            if ended.code:
                self.bad(f"write {number}", f"the writer fails: {ended}")
            self.plan.progress(number + 1)
        self.outcome.figures = {
            "writes": self.plan.count,
            "reads beside them": reads,
            "slowest read, seconds": round(slowest, 2),
        }
        return self.outcome

    def _check(self, name: str, words: tuple[str, ...], result: Result, seen: int) -> int:
        """Check an answer; return how many statements there were at least by now."""
        if result.code:
            self.bad(name, f"{words[0]} fails beside the writer: {result}")
            return seen
        if words[0] != "stats":
            return seen
        statements = int(result.json["statements"])
        if statements < seen:
            self.bad(name, f"a reader sees {statements} statements after {seen}")
        return max(seen, statements)


class WritersBesideEachOther(CommandTrial):
    """The same command in several processes at once."""

    def run(self) -> Outcome:
        """Start writers together as often as planned."""
        self.prepare()
        self.run_undisturbed()
        expected = self.state(self.work)
        finished = 0
        refused = 0
        for number in range(self.plan.count):
            self.begin()
            with ExitStack() as stack:
                writers = [stack.enter_context(self.start()) for _ in range(WRITERS)]
                results = [writer.result() for writer in writers]
            for result in results:
                finished += result.code == 0
                refused += result.code == 1
                if result.code and not (result.is_explained and "in use" in result.err):
                    self.bad(f"round {number}", f"a writer fails: {result}")
            self.check_end(f"round {number}", expected)
            self.plan.progress(number + 1)
        self.outcome.figures = {
            "rounds": self.plan.count,
            "writers that came to their end": finished,
            "writers that were told of another": refused,
        }
        return self.outcome


def read_beside_writer(plan: Plan) -> Outcome:
    """Read all the time while a command writes."""
    return ReadersBesideWriter(AGAIN, plan).run()


def write_beside_writer(plan: Plan) -> Outcome:
    """Write in several processes at once."""
    return WritersBesideEachOther(AGAIN, plan).run()
