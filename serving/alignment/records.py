"""The items that alignment compares, read from a home or from tables that no home holds."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import blake2b
from pathlib import Path

from kg.home import Home
from kg.ingest.pipeline import ingest
from kg.snapshot import GraphSnapshot
from schema.errors import UsageError
from schema.terms import SAME_AS


class Side(IntEnum):
    """Which of two catalogues an item belongs to; an item of ``EITHER`` may match any other."""

    LEFT = 0
    RIGHT = 1
    EITHER = 2


@dataclass(frozen=True)
class Record:
    """An item as alignment sees it: its texts, and its values by property."""

    id: str
    title: str = ""
    description: str = ""
    category: str = ""
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All that is known of the item, as one text."""
        said = [text for texts in self.values.values() for text in texts]
        return " ".join(
            part for part in (self.title, self.description, self.category, *said) if part
        )

    @property
    def digest(self) -> bytes:
        """A digest of the id and of all that is known of the item."""
        values = [(name, *texts) for name, texts in self.values.items()]
        known = json.dumps([self.id, self.title, self.description, self.category, values])
        return blake2b(known.encode(), digest_size=16).digest()


@dataclass(frozen=True)
class Records:
    """N items to compare: their ``records`` [N] and ``sides`` [N]."""

    records: tuple[Record, ...]
    sides: tuple[Side, ...]

    def __post_init__(self) -> None:
        if len(self.records) != len(self.sides):
            raise ValueError("there are not as many sides as records")

    def __len__(self) -> int:
        return len(self.records)

    @classmethod
    def with_sides(cls, records: Sequence[Record], sides: Mapping[str, Side]) -> Records:
        """Take the sides of items by id; those without one may match any other."""
        return cls(tuple(records), tuple(sides.get(each.id, Side.EITHER) for each in records))


def _records(snapshot: GraphSnapshot) -> list[Record]:
    records = []
    for index, id in enumerate(snapshot.items):
        values: dict[str, tuple[str, ...]] = {}
        for property, value in snapshot.statements_of(index):
            if property == SAME_AS:
                # What is known to match already is no reason to match.
                continue
            values[property] = (*values.get(property, ()), value)
        description = None if snapshot.details is None else snapshot.details.description(index)
        records.append(
            Record(
                id,
                snapshot.titles[index] or "",
                description or "",
                " ".join(snapshot.category_path(index)),
                values,
            )
        )
    return records


def records_of_home(home: Home) -> list[Record]:
    """Read all items of a home's catalogue, with what is asserted or accepted of them."""
    return _records(home.snapshot(details=True))


def records_of_table(path: Path, mapping: str | None = None) -> tuple[list[Record], list[str]]:
    """Read the items of a file as ``ingest`` would, without a home; return notes on it as well.

    Raises what :func:`kg.ingest.pipeline.ingest` raises.
    """
    with tempfile.TemporaryDirectory(prefix="catalograph-") as folder:
        home = Home.open(Path(folder) / "home", create=True)
        report = ingest(home, [path], mapping=mapping)
        records = records_of_home(home)
    if not records:
        raise UsageError(f"{path} has no item: name a file with a product in each row")
    notes = [*report.reasons, *report.notes]
    if report.rejected:
        notes.append(
            f"{path}: {report.rejected:,} of {report.read:,} rows are rejected, and left out"
        )
    if len(records) < report.stored:
        notes.append(f"{path}: {report.stored:,} rows are of {len(records):,} items")
    return records, notes
