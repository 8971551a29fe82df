"""Marks beside the cells that were filled: how probable a value is, and what was decided."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

_ABOUT = (" (probability)", " (decision)")
_ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True)
class Mark:
    """How probable the best value of a cell is, None without one, and what was decided."""

    probability: float | None
    decision: str

    @property
    def texts(self) -> tuple[str, str]:
        """What stands in the two columns; "" without a probability."""
        known = self.probability is not None
        return (f"{self.probability:.6g}" if known else "", self.decision)


Marks = Mapping[str, Mapping[str, Mark]]
"""The marks of cells, by property and item."""


def mark_names(property: str, taken: Collection[str]) -> tuple[str, str]:
    """Return the names of the two columns of a property's marks, which are none of those taken."""
    names = []
    for about in _ABOUT:
        name = f"{property}{about}"
        while name in taken:
            name += " (mark)"
        names.append(name)
    return names[0], names[1]


def mark_columns(columns: Sequence[str]) -> Iterator[str]:
    """Yield the columns that are marks of another: its probability and, next to it, its decision.

    They say nothing of the items, so that a marked table can be read like the one it was made of.
    """
    known = set(columns)
    for name, following in pairwise(columns):
        marked = name.removesuffix(_ABOUT[0])
        if marked != name and marked in known and following == f"{marked}{_ABOUT[1]}":
            yield name
            yield following


@dataclass
class Marking:
    """The marks of cells that are filled, and the columns given to them so far, by property."""

    marks: Marks
    columns: dict[str, tuple[str, str]] = field(default_factory=dict)

    def name(self, property: str, taken: Collection[str]) -> tuple[str, str]:
        """Return the names of a property's columns, which stay the same."""
        if property not in self.columns:
            self.columns[property] = mark_names(property, taken)
        return self.columns[property]

    def mark(self, item: str, property: str) -> Mark:
        """Return the mark of a cell that was filled: now, or else what was accepted before."""
        found = self.marks.get(property, {}).get(item)
        return found if found is not None and found.decision == "fill" else Mark(None, _ACCEPTED)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns so far."""
        return tuple(name for names in self.columns.values() for name in names)
