"""Files of pairs: CSV with the columns ``left,right`` and, if they are labelled, ``label``."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from schema.csv_rows import csv_rows, limited_lines
from schema.errors import SourceNotFoundError, UsageError
from schema.settings import shown

MATCHING = frozenset({"1", "true", "yes", "match"})
DISTINCT = frozenset({"0", "false", "no", "distinct"})

Pair = tuple[str, str]
"""The ids of two items."""


@dataclass(frozen=True)
class LabelledFile:
    """The M pairs of a labelled file, each once.

    Attributes:
        path: of the file
        pairs: of ids [M]
        labels: which are the same product [M]
        repeated: rows that said again what an earlier one had said
        contradictory: pairs that have both labels, which are left out
    """

    path: Path
    pairs: tuple[Pair, ...]
    labels: tuple[bool, ...]
    repeated: int = 0
    contradictory: int = 0

    def __len__(self) -> int:
        return len(self.pairs)

    def without(self, other: LabelledFile) -> LabelledFile:
        """Return the file without the pairs that another has, whichever item is named first."""
        known = {frozenset(pair) for pair in other.pairs}
        kept = [place for place, pair in enumerate(self.pairs) if frozenset(pair) not in known]
        return LabelledFile(
            self.path,
            tuple(self.pairs[place] for place in kept),
            tuple(self.labels[place] for place in kept),
        )

    def notes(self) -> Iterator[str]:
        """Yield a line for each kind of rows that were not taken as they are."""
        if self.repeated:
            yield f"{self.path}: {self.repeated:,} rows repeat another one, and count once"
        if self.contradictory:
            yield (
                f"{self.path}: {self.contradictory:,} pairs are labelled 1 in one row and 0 in "
                "another, and are left out"
            )


def read_pairs(path: Path) -> list[Pair]:
    """Read the pairs of a file, one for each row.

    Raises SourceNotFoundError if there is no such file, and UsageError if a row cannot be used: an
    id is missing, or an item is paired with itself.
    """
    return [pair for _, pair, _ in _rows(path, labelled=False)]


def read_matching_pairs(path: Path) -> list[Pair]:
    """Read the pairs that are the same product: of a file with labels, those with 1.

    Raises what :func:`read_pairs` does, and UsageError if a label is missing where others are not.
    """
    labelled = _has_labels(path)
    rows = _rows(path, labelled=labelled)
    return [pair for where, pair, cell in rows if not labelled or _label(cell, where)]


def read_labelled_pairs(path: Path) -> LabelledFile:
    """Read the pairs and labels of a file; raises what :func:`read_pairs` does."""
    labels: dict[Pair, bool] = {}
    contradictory: set[Pair] = set()
    rows = 0
    for where, pair, cell in _rows(path, labelled=True):
        label = _label(cell, where)
        known = pair[::-1] if pair[::-1] in labels else pair
        if labels.setdefault(known, label) is not label:
            contradictory.add(known)
        rows += 1
    # The two rows of a contradiction are no repetition.
    repeated = rows - len(labels) - len(contradictory)
    for pair in contradictory:
        del labels[pair]
    return LabelledFile(
        path, tuple(labels), tuple(labels.values()), max(repeated, 0), len(contradictory)
    )


def _has_labels(path: Path) -> bool:
    """Return whether a file has a column of labels; what is wrong with it is said as it is read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return "label" in (csv.DictReader(limited_lines(stream)).fieldnames or ())
    except (OSError, ValueError, csv.Error):
        return False


def _rows(path: Path, *, labelled: bool) -> Iterator[tuple[str, Pair, str]]:
    """Yield where each row is, its pair and the cell of its label."""
    columns = ("left", "right", "label") if labelled else ("left", "right")
    is_empty = True
    try:
        for line, row in csv_rows(path, columns, ("label",)):
            where = f"{path}, line {line}"
            pair = (row["left"].strip(), row["right"].strip())
            if not all(pair):
                raise UsageError(f"{where}: an id is empty: fill in left and right")
            if pair[0] == pair[1]:
                raise UsageError(f"{where}: {shown(pair[0])} is paired with itself: remove the row")
            is_empty = False
            yield where, pair, row["label"]
    except (FileNotFoundError, IsADirectoryError):
        raise SourceNotFoundError(
            f"no file of pairs {path}: name a CSV file with the columns {','.join(columns)}"
        ) from None
    except ValueError as error:
        raise UsageError(f"{path} {error}") from None
    if is_empty:
        raise UsageError(f"{path} has no pair: write one in each row, under {','.join(columns)}")


def _label(cell: str, where: str) -> bool:
    text = cell.strip().casefold()
    if text in MATCHING:
        return True
    if text in DISTINCT:
        return False
    raise UsageError(
        f"{where}: {shown(cell)} is no label: write 1 for the same product and 0 for others"
    )
