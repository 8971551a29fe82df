"""Which part an item belongs to: by its id's hash, or by a file."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path

from schema.errors import SourceNotFoundError, SplitError

PARTS = ("train", "validation", "test")


def split_of(item: str) -> str:
    """90% train, 5% validation, 5% test, by sha1 of the id."""
    bucket = int(hashlib.sha1(item.encode(), usedforsecurity=False).hexdigest(), 16) % 100
    return "train" if bucket < 90 else "validation" if bucket < 95 else "test"


def read_split(path: Path) -> dict[str, str]:
    """A CSV file with columns item and split; raises SplitError on another layout, an unknown part or an item in two parts."""
    if not path.is_file():
        raise SourceNotFoundError(f"no split file {path}: name a CSV file with columns item,split")
    parts: dict[str, str] = {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if not {"item", "split"} <= set(rows.fieldnames or ()):
            raise SplitError(f"{path} has columns {rows.fieldnames}: it needs item,split")
        for number, row in enumerate(rows, 2):
            item = row["item"]
            part = row["split"]
            if part not in PARTS:
                raise SplitError(
                    f"{path}:{number} puts {item!r} into {part!r}: use one of {', '.join(PARTS)}"
                )
            if parts.setdefault(item, part) != part:
                raise SplitError(
                    f"{path}:{number} puts {item!r} into {part!r} and {parts[item]!r}: keep one of the two lines"
                )
    return parts


def assign(items: Sequence[str], file: Path | None = None) -> dict[str, str]:
    """Each item's part; with a file, items that it does not name belong to none. Raises SplitError where no item is left to train on."""
    if file is None:
        return {item: split_of(item) for item in items}
    named = read_split(file)
    parts = {item: named[item] for item in items if item in named}
    if "train" not in parts.values():
        raise SplitError(
            f"{file} puts none of the {len(items)} items into train: name items of this catalogue"
        )
    return parts
