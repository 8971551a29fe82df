"""What ``complete`` prints: counts of decisions, and of what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commands.base import table
from experts.language_model.asking import LanguageModel
from schema.unasked import Unasked
from serving.asking import CellPlan, Refusal
from serving.provable import ProvableTargets
from serving.results import Completion
from serving.review.recorder import ProposalRecorder
from serving.review.session import NotWritten

DECISIONS = ("fill", "review", "abstain")
SHOWN = 20
"""Completions to print if they are not written to a file."""


@dataclass
class Counts:
    """What was decided of the completions so far, and the ``first`` of them."""

    provable: ProvableTargets
    decisions: Counter[str] = field(default_factory=Counter)
    contradicting: int = 0
    first: list[Completion] = field(default_factory=list)

    def add(self, completion: Completion) -> None:
        """Count a completion."""
        self.decisions[completion.decision] += 1
        self.contradicting += completion.contradicts is not None
        self.provable.add(completion)
        if len(self.first) < SHOWN:
            self.first.append(completion)

    def as_dict(self) -> dict[str, int]:
        """Return the fields of the command's JSON that count cells."""
        return {
            "cells": self.decisions.total(),
            **{decision: self.decisions[decision] for decision in DECISIONS},
        }

    def line(self) -> str:
        """Return a line for a person."""
        counts = ", ".join(f"{decision} {self.decisions[decision]:,}" for decision in DECISIONS)
        return f"cells: {self.decisions.total():,} ({counts})"


@dataclass(frozen=True)
class LeftOut:
    """What was not asked, what was refused, and what was not written."""

    not_asked: Mapping[Unasked, int]
    refused: Sequence[Refusal]
    not_written: Mapping[NotWritten, int]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields of the command's JSON."""
        return {
            "not_asked": {str(reason): count for reason, count in sorted(self.not_asked.items())},
            "refused": [
                {"item": each.item, "property": each.property, "reason": str(each.reason)}
                for each in self.refused
            ],
            "not_written": {str(reason): count for reason, count in self.not_written.items()},
        }

    def lines(self) -> Iterator[str]:
        """Yield lines for a person."""
        if self.not_asked:
            total = sum(self.not_asked.values())
            by_count = sorted(self.not_asked.items(), key=lambda pair: (-pair[1], pair[0]))
            parts = ", ".join(f"{reason.told()} {count:,}" for reason, count in by_count)
            yield f"missing and not asked: {total:,} ({parts})"
        for each in self.refused[:SHOWN]:
            named = ", ".join(filter(None, (each.item, each.property)))
            yield f"refused: {named}: {each.reason.told()}"
        if len(self.refused) > SHOWN:
            yield f"refused: {len(self.refused) - SHOWN:,} more"
        if self.not_written:
            parts = ", ".join(
                f"{reason.value.replace('_', ' ')} {count:,}"
                for reason, count in self.not_written.items()
            )
            yield f"not written: {sum(self.not_written.values()):,} ({parts})"


@dataclass(frozen=True)
class Result:
    """What a run of ``complete`` has done.

    Attributes:
        counts: of the completions
        plan: which cells were asked
        recorder: what kept proposals and wrote to the graph, if the home can be written
        language_model: the one that was asked, if any was
        out: the file of the completions, if there is one
    """

    counts: Counts
    plan: CellPlan
    recorder: ProposalRecorder | None
    language_model: LanguageModel | None
    out: Path | None

    @property
    def written(self) -> int:
        """How many statements were written to the graph."""
        return 0 if self.recorder is None else self.recorder.written

    @property
    def left_out(self) -> LeftOut:
        """What was not asked, refused or not written."""
        not_written = Counter() if self.recorder is None else self.recorder.not_written
        return LeftOut(self.plan.not_asked, self.plan.refused, not_written)

    def as_dict(self) -> dict[str, Any]:
        """Return the command's JSON."""
        model = self.language_model
        return {
            **self.counts.as_dict(),
            "provable": self.counts.provable.as_dict(),
            "run": None if self.recorder is None else self.recorder.run.id,
            "proposed": 0 if self.recorder is None else self.recorder.proposed,
            "written": self.written,
            "contradicting": self.counts.contradicting,
            **self.left_out.as_dict(),
            "language_model": None if model is None else model.total.as_dict(),
            "out": None if self.out is None else str(self.out),
        }

    def lines(self) -> list[Any]:
        """Describe it for a person; without a file, with the first completions."""
        lines: list[Any] = [self.counts.line(), *self.left_out.lines()]
        if self.written:
            lines.append(f"written to the graph: {self.written:,}")
        if self.out is not None:
            lines.append(f"completions: {self.out}")
        else:
            lines += self._first()
        if self.language_model is not None:
            lines += self.language_model.total.lines()
        contradicting = self.counts.contradicting
        if contradicting:
            lines.append(
                f"not filled, because they contradict others of their item: {contradicting:,}"
            )
        if self.plan.cells and self.counts.provable.is_little:
            lines.append(self.counts.provable.explanation())
        if self.recorder is not None and self.recorder.proposed:
            lines.append(
                f"proposals: {self.recorder.proposed:,}; `catalograph review list` shows them, and "
                f"`catalograph undo {self.recorder.run.id}` takes this back"
            )
        return lines

    def _first(self) -> list[Any]:
        """Return a table of the first completions."""
        lines: list[Any] = []
        first = self.counts.first
        if first:
            columns = ("item", "property", "value", "probability", "decision")
            lines.append(table(columns, map(_row, first), right=("probability",)))
        total = self.counts.decisions.total()
        if total > len(first):
            lines.append(f"the first {len(first)} of {total:,}; --out FILE writes them all")
        return lines


def _row(completion: Completion) -> list[object]:
    value = None
    probability = ""
    if completion.candidates:
        best = completion.candidates[0]
        value = best.value
        probability = f"{best.probability:.1%}"
    return [completion.item, completion.property, value, probability, completion.decision]
