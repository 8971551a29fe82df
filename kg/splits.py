"""Assign items to the train, validation and test splits: by a hash of the id, or by a file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from schema.csv_rows import csv_rows
from schema.errors import SourceNotFoundError, SplitError

SPLITS = ("train", "validation", "test")
TRAIN_PERCENT = 90
VALIDATION_PERCENT = 5


def split_of(item: str) -> str:
    """Return an item's default split: 90% train, 5% validation, 5% test, by SHA-1 of the id.

    A hash keeps an item in its split when the catalogue grows, in every home and on every machine.
    """
    # Not a matter of security: this lets SHA-1 work in a Python that is restricted to FIPS.
    bucket = int(hashlib.sha1(item.encode(), usedforsecurity=False).hexdigest(), 16) % 100
    if bucket < TRAIN_PERCENT:
        return "train"
    return "validation" if bucket < TRAIN_PERCENT + VALIDATION_PERCENT else "test"


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


def assign_splits(items: Sequence[str], file: Path | None = None) -> dict[str, str]:
    """Return the split of each item.

    With a file, items that it does not name are in no split. Raises SplitError if that leaves the
    train split empty.
    """
    if file is None:
        return {item: split_of(item) for item in items}
    split_in_file = read_split(file)
    splits = {item: split_in_file[item] for item in items if item in split_in_file}
    if "train" not in splits.values():
        raise SplitError(
            f"{file} puts none of the {len(items)} items into train: name items of this catalogue"
        )
    return splits
