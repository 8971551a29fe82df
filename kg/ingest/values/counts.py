"""What cleaning did to the cells of a source, counted by column, and the lines that say it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields

MAX_LISTED = 10


@dataclass
class ColumnCounts:
    """How many cells of a column cleaning changed, left out or found fault with.

    Counters are by the text as it was written, a cell with several values counting each.
    """

    missing: Counter[str] = field(default_factory=Counter)
    """Words for nothing, which are no values."""
    kept: Counter[str] = field(default_factory=Counter)
    """Words that often stand for nothing, but are values in this column."""
    html: int = 0
    """Cells from which markup was removed, or in which entities were resolved."""
    unwrapped: int = 0
    """Cells like ``="00123"`` and ``'00123``."""
    whole: int = 0
    """Identifiers from which ``.0`` was taken off."""
    spoilt: Counter[str] = field(default_factory=Counter)
    """Identifiers that a spreadsheet has rounded, which are no values."""
    gtins: int = 0
    """GTINs that were checked."""
    faulty_gtins: Counter[str] = field(default_factory=Counter)
    """Faults of GTINs, which are kept as they are."""
    faulty_example: str = ""

    def __iadd__(self, more: ColumnCounts) -> ColumnCounts:
        """Add the counts of another batch of the same column."""
        for entry in fields(self):
            mine = getattr(self, entry.name)
            other = getattr(more, entry.name)
            if entry.name == "faulty_example":
                self.faulty_example = mine or other
            else:
                setattr(self, entry.name, mine + other)
        return self


def add_counts(total: dict[str, ColumnCounts], more: Mapping[str, ColumnCounts]) -> None:
    """Add the counts of a batch to those of its source, both by column."""
    for column, counts in more.items():
        total.setdefault(column, ColumnCounts())
        total[column] += counts


def remarks(counts: Mapping[str, ColumnCounts]) -> list[str]:
    """Return a line for each kind of thing that cleaning did to a source."""
    lines = [
        _words(counts, lambda each: each.missing, "left out as missing, being no values"),
        _words(
            counts,
            lambda each: each.kept,
            "kept as values, though such words may stand for missing ones",
        ),
        _cells(counts, lambda each: each.html, "had HTML, of which the text was kept"),
        _cells(
            counts,
            lambda each: each.unwrapped,
            'had a spreadsheet\'s marks of text (="..." or an apostrophe), which were taken off',
        ),
        _cells(
            counts, lambda each: each.whole, 'had ".0" behind an identifier, which was taken off'
        ),
        _words(
            counts,
            lambda each: each.spoilt,
            "left out as identifiers that a spreadsheet has rounded (scientific notation); "
            "export their column as text",
        ),
    ]
    lines += [_gtins(column, each) for column, each in counts.items()]
    return [line for line in lines if line]


def _words(
    counts: Mapping[str, ColumnCounts], of: Callable[[ColumnCounts], Counter[str]], what: str
) -> str:
    """Return how many cells each word was found in, the most frequent words and columns first."""
    by_word: dict[str, Counter[str]] = {}
    for column, each in counts.items():
        for word, number in of(each).items():
            by_word.setdefault(word, Counter())[column] += number
    if not by_word:
        return ""
    total = sum(columns.total() for columns in by_word.values())
    ordered = sorted(by_word.items(), key=lambda pair: (-pair[1].total(), pair[0]))
    listed = [f"{word} ({_places(columns)})" for word, columns in ordered[:MAX_LISTED]]
    if len(ordered) > MAX_LISTED:
        listed.append(f"and {len(ordered) - MAX_LISTED:,} other words")
    return f"{total:,} {'cell' if total == 1 else 'cells'} {what}: {', '.join(listed)}"


def _cells(counts: Mapping[str, ColumnCounts], of: Callable[[ColumnCounts], int], what: str) -> str:
    columns = Counter({column: of(each) for column, each in counts.items() if of(each)})
    if not columns:
        return ""
    total = columns.total()
    return f"{total:,} {'cell' if total == 1 else 'cells'} {what} ({_places(columns)})"


def _places(columns: Counter[str]) -> str:
    ordered = columns.most_common()
    listed = [f"{number:,} in {column}" for column, number in ordered[:MAX_LISTED]]
    if len(ordered) > MAX_LISTED:
        listed.append(f"and {len(ordered) - MAX_LISTED:,} other columns")
    return ", ".join(listed)


def _gtins(column: str, counts: ColumnCounts) -> str:
    faulty = counts.faulty_gtins.total()
    if not faulty:
        return ""
    faults = ", ".join(
        f"{number:,} {fault}" for fault, number in counts.faulty_gtins.most_common(MAX_LISTED)
    )
    return (
        f"{faulty:,} of {counts.gtins:,} GTINs in {column} are faulty, and were kept as they are: "
        f"{faults} (for example {counts.faulty_example})"
    )
