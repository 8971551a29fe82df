"""A row of a source that could not be stored."""

from __future__ import annotations

from dataclasses import dataclass

MAX_REJECT_TEXT = 200
"""The number of characters of a rejected row that are kept to recognise it by."""


@dataclass(frozen=True)
class RejectedRow:
    """A row that was rejected: its file and line, the reason, and how its text starts."""

    file: str
    line: int
    reason: str
    text: str = ""
    run: str = ""
    """The run that rejected the row; the ledger fills it in when it records the row."""
