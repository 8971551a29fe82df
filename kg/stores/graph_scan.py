"""Reading a graph from end to end: everything that it keeps, and by each way it is looked up.

This is how ``verify`` and ``salvage`` read a graph that may be damaged: in a process of its own
(:mod:`kg.stores.scan_process`), and in parts small enough for memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

from kg.stores.protocol import Counts

ROWS_AT_ONCE = 200_000
"""About how many rows a part has."""


class Content(StrEnum):
    """What a graph keeps, and in which schema it is read."""

    ITEMS = "items"
    """The items, in ITEM_SCHEMA."""
    STATEMENTS = "statements"
    """The statements, in STATEMENT_SCHEMA."""
    SECOND_COPY = "second copy"
    """The statements once more, if the graph keeps them twice, for another way to look them up."""
    VALUES = "values"
    """The texts of values, in VALUE_SCHEMA, if the graph keeps them apart from statements."""


VALUE_SCHEMA = pa.schema([("text", pa.string())])


class Inconsistency(StrEnum):
    """What a graph's own bookkeeping can get wrong while its rows are right."""

    ITEM_NOT_FOUND = "item not found"
    """An item that is read with all others, but not found by its id."""
    VALUE_NOT_FOUND = "value not found"
    """A value that is read with all others, but not found by its text."""
    WRONG_IMAGE = "wrong image"
    """An item whose main image is not the first of its images."""
    FACT_WITHOUT_STATEMENT = "fact without statement"
    """A fact, in the graph of a rank, that no statement in the provenance graph explains."""
    STATEMENT_WITHOUT_FACT = "statement without fact"
    """A statement in the provenance graph whose fact is not in the graph of its rank."""
    STRAY_QUADS = "stray quads"
    """An item or a statement with quads that its row does not account for."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a content: the nodes from ``start`` up to, but not including, ``stop``."""

    content: Content
    start: int
    stop: int

    def halves(self) -> tuple[Part, Part] | None:
        """Return the two halves of the part, or None if it cannot be divided."""
        if self.stop - self.start < 2:
            return None
        middle = (self.start + self.stop) // 2
        return (
            Part(self.content, self.start, middle),
            Part(self.content, middle, self.stop),
        )


class GraphScan(ABC):
    """A graph that is open for reading from end to end.

    ``compared`` are the contents that it keeps and that are compared with the journal row by row,
    even where it has no row of them.
    """

    compared: tuple[Content, ...] = (Content.ITEMS, Content.STATEMENTS)

    @abstractmethod
    def version(self) -> int:
        """Return the journal's version that the graph shows, or -1 if it shows none."""

    @abstractmethod
    def counts(self) -> Counts:
        """Return the sizes of the graph."""

    @abstractmethod
    def parts(self, content: Content) -> list[Part]:
        """Return the parts of a content; none if the graph does not keep it."""

    @abstractmethod
    def read(self, part: Part) -> Iterator[pa.Table]:
        """Yield the rows of a part, in any order."""

    @abstractmethod
    def inconsistencies(self) -> Iterator[tuple[Inconsistency, list[str]]]:
        """Look everything up, and yield the ids or texts for which something is odd.

        It also yields empty lists from time to time, so that one can see that it makes progress.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the graph."""
