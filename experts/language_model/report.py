"""What a run of questions did: how many cells were answered, what it took, and why it ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from experts.language_model.answers import Flaw
from experts.language_model.client import Failure


class Stop(StrEnum):
    """Why a run ended before everything was asked."""

    BUDGET = "budget"
    """Another call may exceed the budget of calls or of money."""
    WAIT = "wait"
    """The server asks for a longer pause than the settings allow."""
    REFUSED = "refused"
    """The server refuses the key or sends us elsewhere, or has no such model."""
    FAILING = "failing"
    """Several requests in a row gave no usable answer."""


@dataclass
class AskingReport:
    """The counts of a run. Each of its cells is in one of the first five.

    Attributes:
        answered: cells with a value of the vocabulary
        open: cells with another value
        untold: cells of which the model says that the item does not tell
        unusable: cells that were asked, without a usable answer
        not_asked: cells that were not asked because the run had ended
        from_cache: of the cells with an answer, those that an earlier run had asked
        calls: requests that were sent, repeated ones included
        retries: requests that were sent again
        failures: why requests had no answer
        flaws: what was wrong with answers
        input_tokens, output_tokens: tokens, as far as the server told
        cost: what the calls took of the budget of money
        texts_cut: texts that were too long to be sent whole
        images: images that were sent, or would have been if the answers were not known
        stopped: why the run ended early, or None
        trouble: the last failure, for a person
    """

    answered: int = 0
    open: int = 0
    untold: int = 0
    unusable: int = 0
    not_asked: int = 0
    from_cache: int = 0
    calls: int = 0
    retries: int = 0
    failures: Counter[Failure] = field(default_factory=Counter)
    flaws: Counter[Flaw] = field(default_factory=Counter)
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    texts_cut: int = 0
    images: int = 0
    stopped: Stop | None = None
    trouble: str = ""

    def add(self, more: AskingReport) -> None:
        """Add the counts of a further run, which says whether and why the runs ended early."""
        for name, value in vars(more).items():
            if isinstance(value, Counter):
                getattr(self, name).update(value)
            elif isinstance(value, int | float):
                setattr(self, name, getattr(self, name) + value)
        self.stopped = more.stopped
        self.trouble = more.trouble or self.trouble

    @property
    def cells(self) -> int:
        """The cells of the run."""
        return self.answered + self.open + self.untold + self.unusable + self.not_asked

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for the JSON of a command."""
        return {
            "cells": self.cells,
            "answered": self.answered,
            "open": self.open,
            "untold": self.untold,
            "unusable": self.unusable,
            "not_asked": self.not_asked,
            "from_cache": self.from_cache,
            "calls": self.calls,
            "retries": self.retries,
            "failures": {str(each): count for each, count in sorted(self.failures.items())},
            "flaws": {str(each): count for each, count in sorted(self.flaws.items()) if count},
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost": round(self.cost, 6),
            "texts_cut": self.texts_cut,
            "images": self.images,
            "stopped": None if self.stopped is None else str(self.stopped),
        }

    def lines(self) -> Iterator[str]:
        """Yield lines for a person."""
        parts = [f"{self.answered:,} with a value of the vocabulary", f"{self.open:,} with another"]
        parts += [f"{self.untold:,} that the items do not tell"]
        if self.unusable:
            parts.append(f"{self.unusable:,} without a usable answer")
        if self.not_asked:
            parts.append(f"{self.not_asked:,} not asked")
        yield f"language model: {self.cells:,} cells ({', '.join(parts)})"
        spent = f"{self.calls:,} calls ({self.retries:,} repeated), "
        spent += f"{self.input_tokens:,} + {self.output_tokens:,} tokens"
        if self.cost:
            spent += f", cost {self.cost:.4f}"
        yield f"language model: {self.from_cache:,} answers from the cache; {spent}"
        wrong = [f"{each.replace('_', ' ')} {n:,}" for each, n in sorted(self.flaws.items()) if n]
        wrong += [f"{each.replace('_', ' ')} {n:,}" for each, n in sorted(self.failures.items())]
        if wrong:
            yield f"language model: faults: {', '.join(wrong)}"
        match self.stopped:
            case Stop.BUDGET:
                yield "language model: the budget is spent: raise it in the file to ask the rest"
            case Stop.WAIT | Stop.REFUSED | Stop.FAILING:
                yield f"language model: given up: {self.trouble}"
