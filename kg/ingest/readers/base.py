"""The base class of readers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from kg.ingest.files import SourceFile
from kg.ingest.rows import Batch
from schema.errors import DataError
from schema.mapping import Head, Mapping


class Reader(ABC):
    """Reads the files of one format as batches of text.

    Every ingest imports all readers, so import expensive libraries inside the methods.
    """

    suffixes: ClassVar[tuple[str, ...]]
    """The file name suffixes of the format, lower case, each with its dot."""

    is_divided: ClassVar[bool] = False
    """Whether rows are found in less time than it takes to see what they say."""

    ambiguous_suffixes: ClassVar[tuple[str, ...]] = ()
    """Those of ``suffixes`` that other kinds of files have too, like ``README.txt``.

    Such a file is read if it is named, but it is not taken for the table of a folder.
    """

    @abstractmethod
    def head(self, file: SourceFile, mapping: Mapping | None = None) -> Head:
        """Read the names of a file's columns, or its first rows if the format has no names.

        What ``mapping`` says about the layout of the file is not guessed. Raises DataError if the
        file is empty or not of this format.
        """

    @abstractmethod
    def batches(
        self, file: SourceFile, head: Head, mapping: Mapping, batch_rows: int
    ) -> Iterator[Batch]:
        """Read a file in batches of at most ``batch_rows`` rows, in the order of the file.

        Every row of the file is in exactly one batch: in its table, as text with the number of its
        line, or among its rejected rows. Raises DataError if the rest of the file cannot be read.
        """

    def reading(self, head: Head) -> dict[str, Any]:
        """Return what was found out about the form of a file, as JSON can hold it."""
        return {}

    def columns(self, head: Head, mapping: Mapping) -> tuple[str, ...]:
        """Return the names of a file's columns: those in the file, or else the mapping's."""
        if not head.named and not head.header:
            return mapping.columns
        return unique_column_names(head.rows[0])


def check_column_count(
    columns: Sequence[str], width: int, file: SourceFile, mapping: Mapping
) -> None:
    """Raise DataError unless each column of a table has a name in it or in the mapping."""
    if not columns:
        raise DataError(
            f"mapping {mapping.name!r} has header = false and no columns: name them there"
        )
    if len(columns) != width:
        raise DataError(
            f"{file.name} has {width} columns and {len(columns)} names for them: "
            "name each in the mapping (columns = [...])"
        )


def unique_column_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return stripped and distinct column names.

    A column without a name is called after its position, and a repeated name gets a number.
    """
    stripped = [
        raw.strip().strip("\ufeff").strip() or f"column_{position}"
        for position, raw in enumerate(names, 1)
    ]
    taken = set(stripped)
    counts: dict[str, int] = {}
    unique = []
    for name in stripped:
        counts[name] = counts.get(name, 0) + 1
        numbered = name
        # Another column may have the numbered name of its own.
        while counts[name] > 1 and numbered in taken:
            numbered = f"{name}_{counts[name]}"
            counts[name] += numbered in taken
        taken.add(numbered)
        unique.append(numbered)
    return tuple(unique)
