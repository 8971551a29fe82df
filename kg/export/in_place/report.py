"""What became of the values that were to be filled in."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kept(StrEnum):
    """Why a value was not filled in, in words that follow the number of values."""

    OTHER_VALUE = "have a cell that says something else"
    NO_COLUMN = "have a property for which the table has no column or no empty place"
    NO_ROW = "need a row of their own, which a workbook does not get"
    ONE_VALUE = "are further values of a cell that holds one"
    READ_OTHERWISE = "would be read otherwise by an ingest"
    NOT_IN_ENCODING = "have characters that the file's encoding does not have"
    NOT_IN_DIALECT = "hold the separator, which the file has no way to write in a cell"
    TOO_LONG = "have more characters than a cell of a workbook may have"
    ROW_UNCLEAR = "belong into a row that is not written as it is read"
    FORMULA = "belong into a cell that holds a formula"


_WAYS_ON = {
    Kept.NO_COLUMN: "add one to the file and load it again, or use --format csv --wide",
    Kept.NO_ROW: "add rows that name them and load the file again, or use --format csv --wide",
    Kept.READ_OTHERWISE: "see what they say with `catalograph show`",
    Kept.NOT_IN_ENCODING: "save the file in UTF-8 and load it again",
}


@dataclass
class Filled:
    """How many values were filled in by property, and why others were not.

    ``already`` are those that the source states by now; ``others`` belong to items that it lacks.
    """

    filled: Counter[str] = field(default_factory=Counter)
    kept: Counter[tuple[str, Kept]] = field(default_factory=Counter)
    already: int = 0
    others: int = 0
    defused: int = 0

    def keep(self, property: str, why: Kept, count: int = 1) -> None:
        """Count values that were not filled in."""
        self.kept[property, why] += count

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON has them."""
        return {
            "filled": dict(sorted(self.filled.items())),
            "not_filled": [
                {"property": property, "why": str(why), "values": count}
                for (property, why), count in sorted(self.kept.items())
            ],
            "already_there": self.already,
            "of_other_items": self.others,
        }

    def lines(self, others: bool = True) -> list[str]:
        """Return what to say of the values that were not filled in, with or without ``others``."""
        by_reason: dict[Kept, Counter[str]] = {}
        for (property, why), count in self.kept.items():
            by_reason.setdefault(why, Counter())[property] += count
        lines = []
        for why, counts in by_reason.items():
            names = ", ".join(f"{name} {count:,}" for name, count in counts.most_common(5))
            more = ", …" if len(counts) > 5 else ""
            go_on = f" ({_WAYS_ON[why]})" if why in _WAYS_ON else ""
            lines.append(f"{counts.total():,} values {why.value}{go_on}: {names}{more}")
        if self.others and others:
            lines.append(f"{self.others:,} values are of items that the source does not have")
        return lines
