"""A run of ``complete`` as the home keeps it: what it was called with, and how far it is.

The lines of ``--out`` that are scored are kept in the cache as well, since its file appears only
when it is complete.
"""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from commands.completion_output import Output
from commands.completion_request import CompletionRequest
from commands.completion_summary import Counts
from kg.home import Home
from kg.ingest.run_id import new_run_id
from schema.errors import UsageError
from schema.ledger_proposals import ProposalRecords
from schema.proposals import ProposalRun, RunKind, RunStatus
from schema.terms import now
from serving.cells import Cell
from serving.results import Completion
from serving.review.recorder import LAST_ITEM

_OPTIONS = "options"
_BYTES = "bytes"
_DECISIONS = "decisions"
_PATHS = ("cells_file", "map_file", "llm", "out")
_LISTS = ("items", "properties")


class CompletionRun:
    """A run that begins, or one that goes on; it notes where each item ends."""

    def __init__(self, home: Home, request: CompletionRequest, former: ProposalRun | None) -> None:
        self.request = request
        self.former = former
        self.id = new_run_id() if former is None else former.id
        self.started = now() if former is None else former.started
        self._lines = home.cache / f"complete-{self.id}.jsonl"
        self._file: IO[bytes] | None = None
        self._item: str | None = None
        self._mark: dict[str, Any] = {}

    @classmethod
    def of(cls, home: Home, request: CompletionRequest) -> CompletionRun:
        """Return a new run, or the last one that was cut off if the request resumes.

        Raises UsageError if there is none.
        """
        if not request.resume:
            return cls(home, request, None)
        with home.ledger() as ledger:
            runs = ProposalRecords(ledger).runs(RunKind.COMPLETE)
        cut_off = [each for each in runs if each.status is RunStatus.RUNNING]
        if not cut_off:
            raise UsageError("no run of `complete` was cut off: call it without --resume")
        former = cut_off[-1]
        options = dict(former.report.get(_OPTIONS, {}))
        for name in _PATHS:
            options[name] = None if options.get(name) is None else Path(options[name])
        for name in _LISTS:
            options[name] = tuple(options.get(name) or ())
        # What goes on may do so elsewhere than where it began.
        options |= {"engine": request.engine, "workers": request.workers}
        run = cls(home, CompletionRequest(**options), former)
        run._check_lines()
        return run

    def report(self) -> dict[str, Any]:
        """Return what the ledger has to know of the run."""
        if self.former is not None:
            return dict(self.former.report)
        options: dict[str, Any] = {}
        for field in dataclasses.fields(self.request):
            value = getattr(self.request, field.name)
            options[field.name] = str(value.absolute()) if isinstance(value, Path) else value
        for name in ("resume", "engine", "workers"):
            del options[name]
        return {_OPTIONS: options}

    def left(self, cells: list[Cell], items: list[str]) -> list[Cell]:
        """Return the cells, ordered by their items, that are not completed yet."""
        last = None if self.former is None else self.former.report.get(LAST_ITEM)
        if last is None:
            return cells
        order = list(dict.fromkeys(cell.item for cell in cells))
        done = [place for place, item in enumerate(order) if items[item] == last]
        if not done:
            raise UsageError(
                f"the last item of run {self.id}, {last}, is not asked any more: call `complete` "
                "without --resume"
            )
        behind = set(order[: done[0] + 1])
        return [cell for cell in cells if cell.item not in behind]

    def restore(self, counts: Counts, output: Output | None) -> None:
        """Count and write what was scored before the run was cut off."""
        report = {} if self.former is None else self.former.report
        counts.decisions.update(Counter(report.get(_DECISIONS, {})))
        if self.request.out is None:
            return
        self._lines.parent.mkdir(exist_ok=True)
        self._file = self._lines.open("ab")
        self._file.truncate(int(report.get(_BYTES, 0)))
        if output is not None:
            # Only line feeds end a line: texts may have other separators that Python splits at.
            with self._lines.open(encoding="utf-8", newline="\n") as lines:
                for line in lines:
                    output.add(line)

    def see(self, completion: Completion, counts: Counts) -> None:
        """Note where the cells of an item end, before a completion is counted and written."""
        if completion.item != self._item:
            self._item = completion.item
            size = 0 if self._file is None else self._file.tell()
            self._mark = {_BYTES: size, _DECISIONS: dict(counts.decisions)}

    def keep(self, line: str) -> None:
        """Keep a line of the file of completions."""
        if self._file is not None:
            self._file.write(line.encode())

    def recorded(self) -> dict[str, Any]:
        """Return how far the run is, and sync the lines until there."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
        return self._mark

    def end(self) -> None:
        """Forget the lines: they are in their file."""
        if self._file is not None:
            with suppress(OSError):
                self._lines.unlink()

    def close(self) -> None:
        """Close the file of the lines."""
        if self._file is not None:
            self._file.close()

    def _check_lines(self) -> None:
        size = int(self.former.report.get(_BYTES, 0)) if self.former is not None else 0
        if size and (not self._lines.is_file() or self._lines.stat().st_size < size):
            raise UsageError(
                f"{self._lines} is gone, which has what run {self.id} scored: call `complete` "
                "without --resume"
            )
