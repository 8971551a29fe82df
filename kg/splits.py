"""Assign items to the train, validation and test splits: by a hash of the id, or by a file."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from schema.csv_rows import csv_rows
from schema.errors import SourceNotFoundError, SplitError, UsageError
from schema.settings import shown

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Shares:
    """How many of a hundred items each split has."""

    train: int = 90
    validation: int = 5
    test: int = 5

    @classmethod
    def parse(cls, text: str) -> Shares:
        """Read ``90/5/5``; raises UsageError if these are not three percentages."""
        parts = text.split("/")
        if not all(part.isascii() and part.isdigit() and len(part) <= 3 for part in parts):
            parts = []
        numbers = [int(part) for part in parts]
        if len(numbers) != len(SPLITS) or sum(numbers) != 100 or not numbers[0]:
            raise UsageError(
                f"{shown(text)} are no shares: give whole percentages of train, validation and "
                "test, which add up to 100, such as 80/10/10"
            )
        return cls(*numbers)

    def of(self, split: str) -> float:
        """Return the share of a split, between 0 and 1."""
        return int(astuple(self)[SPLITS.index(split)]) / 100


DEFAULT_SHARES = Shares()


def split_of(name: str, shares: Shares = DEFAULT_SHARES, seed: int = 0) -> str:
    """Return the split of an item, or of a group of items, by SHA-1 of its id or name.

    A hash keeps an item in its split when the catalogue grows, in every home and on every machine.
    """
    text = f"{seed}:{name}" if seed else name
    # Not a matter of security: this lets SHA-1 work in a Python that is restricted to FIPS.
    bucket = int(hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), 16) % 100
    if bucket < shares.train:
        return "train"
    return "validation" if bucket < shares.train + shares.validation else "test"


def write_split(path: Path, splits: Mapping[str, str]) -> None:
    """Write the split of each item as a CSV file with the columns item and split."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("item", "split"))
        writer.writerows(splits.items())


def read_split(path: Path) -> dict[str, str]:
    """Read a CSV file with the columns item and split, and return the split of each item.

    Raises SplitError if it has other columns, an unknown split, or an item in two splits.
    """
    if not path.is_file():
        raise SourceNotFoundError(f"no split file {path}: name a CSV file with columns item,split")
    splits: dict[str, str] = {}
    try:
        for line, row in csv_rows(path, ("item", "split")):
            item = row["item"]
            split = row["split"]
            if split not in SPLITS:
                raise SplitError(
                    f"{path}:{line} puts {item!r} into {split!r}: use one of {', '.join(SPLITS)}"
                )
            if splits.setdefault(item, split) != split:
                raise SplitError(
                    f"{path}:{line} puts {item!r} into {split!r} and {splits[item]!r}: "
                    "keep one of the two lines"
                )
    except ValueError as error:
        raise SplitError(f"{path} {error}") from None
    return splits


def splitter(file: Path | None = None) -> Callable[[str], str | None]:
    """Return the function that gives the split of an item; None if a file does not name it."""
    return split_of if file is None else read_split(file).get


def assign_splits(items: Sequence[str], file: Path | None = None) -> dict[str, str]:
    """Return the split of each item.

    With a file, items that it does not name are in no split. Raises SplitError if that leaves the
    train split empty.
    """
    find = splitter(file)
    found = ((item, find(item)) for item in items)
    splits = {item: split for item, split in found if split is not None}
    if file is not None and "train" not in splits.values():
        raise no_train_items(file, len(items))
    return splits


def no_train_items(file: Path, items: int) -> SplitError:
    """Return the error of a split file that names none of a catalogue's items for training."""
    return SplitError(
        f"{file} puts none of the {items} items into train: name items of this catalogue"
    )
