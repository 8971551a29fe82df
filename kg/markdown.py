"""Tables and texts of the pages in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def cell(text: str) -> str:
    """Return a text that is one cell of a table, whatever it holds."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def row(*cells: str) -> str:
    """Return a row of a table."""
    return "| " + " | ".join(cell(each) for each in cells) + " |"


def section(title: str | None, columns: Sequence[str], sides: str, level: int = 2) -> Iterator[str]:
    """Yield a heading, if any, and the head of a table, whose columns are aligned left or right.

    ``sides`` has "l" or "r" for each column.
    """
    if title is not None:
        yield ""
        yield f"{'#' * level} {title}"
    yield ""
    yield row(*columns)
    yield "|" + "|".join("---" if side == "l" else "---:" for side in sides) + "|"


def more(count: int, what: str) -> Iterator[str]:
    """Yield how many things a table leaves out, if it does."""
    if count > 0:
        yield ""
        yield f"And {count:,} more {what}."
