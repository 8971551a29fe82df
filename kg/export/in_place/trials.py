"""Values that are tried out: a text goes into a cell only if it is read as what it should say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from kg.export.in_place.report import Filled, Kept
from kg.export.in_place.wanted import Wanted
from kg.ingest.values.text import clean

EditT = TypeVar("EditT")
CellKey = tuple[str, str, str | None]
"""An item, a property and a language."""

MAX_ROUNDS = 40
"""How often the values of one batch are tried in other ways before the rest is given up."""


@dataclass(frozen=True)
class Way(Generic[EditT]):
    """A way to write values into the source.

    Attributes:
        edits: what changes
        places: what no other value may change as well
        values: what an ingest has to read then
        count: how many of the wanted values these are
        fault: why the way is closed, if it is
    """

    edits: tuple[EditT, ...]
    places: frozenset[object]
    values: frozenset[str]
    count: int = 1
    fault: Kept | None = None


@dataclass
class Attempt(Generic[EditT]):
    """The ways to write the values of one cell, of which the current one is tried."""

    wanted: Wanted
    ways: list[Way[EditT]]
    at: int = 0
    fault: Kept = Kept.NO_COLUMN

    @property
    def way(self) -> Way[EditT] | None:
        """The current way; None if all have failed."""
        return self.ways[self.at] if self.at < len(self.ways) else None

    def advance(self, fault: Kept) -> None:
        """Go on to the next way."""
        self.fault = fault
        self.at += 1


def statements_by_cell(statements: pa.Table) -> dict[CellKey, set[str]]:
    """Return the values of statements by item, property and language."""
    found: dict[CellKey, set[str]] = {}
    names = ("item", "property", "language", "value")
    columns = (statements[name].to_pylist() for name in names)
    for item, property, language, value in zip(*columns, strict=True):
        found.setdefault((item, property, language), set()).add(value)
    return found


@dataclass
class Trials(Generic[EditT]):
    """Tries the values of one batch until all that remain are read as they should be.

    ``read`` returns the statements of the batch with some edits, ``before`` are those without any,
    and ``cells`` the values of some ``items`` among them, by item, property and language.
    """

    before: pa.Table
    items: Collection[str]
    read: Callable[[Sequence[EditT]], pa.Table]
    filled: Filled
    attempts: list[Attempt[EditT]] = field(default_factory=list)

    def __post_init__(self) -> None:
        wanted = pa.array(self.items, pa.string())
        of_items = self.before.filter(pc.is_in(self.before["item"], value_set=wanted))
        self.cells = statements_by_cell(of_items)
        self._ids = self.before["id"].combine_chunks()

    def add(self, wanted: Wanted, ways: Iterable[Way[EditT]]) -> None:
        """Add values to write; without any way, they are counted as such that have no column."""
        if wanted.others:
            self.filled.keep(wanted.property, Kept.OTHER_VALUE, wanted.others)
        attempt = Attempt(wanted, list(ways))
        if attempt.ways:
            self.attempts.append(attempt)
        else:
            fault = Kept.OTHER_VALUE if wanted.rejected else Kept.NO_COLUMN
            self.filled.keep(wanted.property, fault, len(wanted.values))

    def run(self) -> TrialResult[EditT]:
        """Return the edits that hold, and count what was filled in and what was not."""
        new = lost = pa.table({"id": pa.array([], pa.string())})
        for _ in range(MAX_ROUNDS):
            chosen = self._choose()
            if not chosen:
                break
            after = self.read(_edits(chosen))
            added = after.filter(pc.invert(pc.is_in(after["id"], value_set=self._ids)))
            ids = after["id"].combine_chunks()
            gone = self.before.filter(pc.invert(pc.is_in(self.before["id"], value_set=ids)))
            if not self._judge(chosen, statements_by_cell(added), statements_by_cell(gone)):
                new, lost = added.select(["id"]), gone.select(["id"])
                break
        else:
            for attempt in self.attempts:
                while attempt.way is not None:
                    attempt.advance(Kept.READ_OTHERWISE)
            chosen = []
        self._count(chosen)
        made = [(attempt.wanted, attempt.way) for attempt in chosen if attempt.way is not None]
        return TrialResult(made, new, lost)

    def _choose(self) -> list[Attempt[EditT]]:
        """Return the attempts whose current ways can all be gone at once."""
        taken: set[object] = set()
        chosen = []
        for attempt in self.attempts:
            while (way := attempt.way) is not None:
                if way.fault is None and taken.isdisjoint(way.places):
                    break
                attempt.advance(way.fault or Kept.NO_COLUMN)
            if way is not None:
                taken |= way.places
                chosen.append(attempt)
        return chosen

    def _judge(
        self,
        chosen: Sequence[Attempt[EditT]],
        added: dict[CellKey, set[str]],
        gone: dict[CellKey, set[str]],
    ) -> bool:
        """Let the ways go on of the attempts that were read otherwise; return if there are any.

        ``added`` and ``gone`` are the values that the edits add to what is read, and take from it.
        """
        others = {*added, *gone}
        failed = []
        for attempt in chosen:
            wanted = attempt.wanted
            cell = wanted.item, wanted.property, wanted.language
            others.discard(cell)
            before = self.cells.get(cell, set())
            found = before - gone.get(cell, set()) | added.get(cell, set())
            way = attempt.way
            if way is not None and found != {*map(clean, way.values)} | wanted.kept(before):
                failed.append(attempt)
        if not failed and others:
            # What one text changes beside its own cell is that of any in the rows of the item.
            items = {item for item, _, _ in others}
            failed = [each for each in chosen if each.wanted.item in items] or list(chosen)
        for attempt in failed:
            attempt.advance(Kept.READ_OTHERWISE)
        return bool(failed)

    def _count(self, chosen: Sequence[Attempt[EditT]]) -> None:
        held = set(map(id, chosen))
        for attempt in self.attempts:
            count = len(attempt.wanted.values)
            property = attempt.wanted.property
            way = attempt.way
            if way is None or id(attempt) not in held:
                self.filled.keep(property, attempt.fault, count)
                continue
            self.filled.filled[property] += way.count
            if way.count < count:
                self.filled.keep(property, Kept.ONE_VALUE, count - way.count)


@dataclass(frozen=True)
class TrialResult(Generic[EditT]):
    """The ways that hold, with the values that they write; the ids of statements made and gone."""

    made: list[tuple[Wanted, Way[EditT]]]
    statements: pa.Table
    gone: pa.Table

    def after(self, statements: pa.Table) -> pa.Table:
        """Return the ids of the statements of a batch with the edits, given those without."""
        ids = self.gone["id"].combine_chunks()
        left = statements.filter(pc.invert(pc.is_in(statements["id"], value_set=ids)))
        return pa.concat_tables([left, self.statements])

    @property
    def edits(self) -> list[EditT]:
        """The edits that hold."""
        return [edit for _, way in self.made for edit in way.edits]


def _edits(chosen: Iterable[Attempt[EditT]]) -> list[EditT]:
    return [edit for attempt in chosen if attempt.way for edit in attempt.way.edits]


def is_stated(wanted: Wanted, before: set[str], filled: Filled) -> bool:
    """Return whether a source says something in a cell already, and count its values then.

    What people rejected does not count.
    """
    if not before or before & wanted.rejected:
        return False
    if wanted.others:
        filled.keep(wanted.property, Kept.OTHER_VALUE, wanted.others)
    for value in wanted.values:
        if clean(value) in before:
            filled.already += 1
        else:
            filled.keep(wanted.property, Kept.OTHER_VALUE)
    return True


def first_ways(ways: Iterator[Way[EditT]], most: int = 200) -> list[Way[EditT]]:
    """Return the first of some ways: a wide table has thousands of empty places."""
    return [way for way, _ in zip(ways, range(most), strict=False)]
