"""What a user can say of an export of a source in its own form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from schema.terms import Rank


@dataclass(frozen=True)
class SourceExport:
    """What to export.

    Attributes:
        source: the name of a source; it may be left out where the home keeps only one
        template: a file to fill in place of what is kept
        mapping: the mapping of the template; guessed without one
        predicted: whether predictions that nobody reviewed are filled in as well
        keep_formulas: whether texts are filled in that a spreadsheet would run
    """

    source: str | None = None
    template: Path | None = None
    mapping: str | None = None
    predicted: bool = False
    keep_formulas: bool = False

    @property
    def ranks(self) -> tuple[Rank, ...]:
        """The ranks of the values that are filled in."""
        return (Rank.ACCEPTED, Rank.PREDICTED) if self.predicted else (Rank.ACCEPTED,)


NO_OPTIONS = SourceExport()
"""The only source of a home, with what was accepted."""
