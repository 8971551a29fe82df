"""Fit text into a drawing: line breaks, ellipses, and fonts that have its characters."""

from __future__ import annotations

from rich.cells import set_cell_size
from rich.console import Console
from rich.text import Text

ELLIPSIS = "…"
DEFAULT_FONT = "DejaVu Sans"


def shorten(text: str, width: int) -> str:
    """Return a text as one line, cut to ``width`` columns with an ellipsis."""
    return wrap(text, width, 1)[0]


def wrap(text: str, width: int, max_lines: int) -> list[str]:
    """Break a text into at most ``max_lines`` lines of ``width`` columns each.

    Lines break at words if possible; the last one gets an ellipsis if there is more. A wide (East
    Asian) character takes two columns. An empty text is one empty line.
    """
    printable = "".join(char if char.isprintable() else " " for char in text)
    one_line = Text(" ".join(printable.split()))
    # Unlike textwrap, rich counts a wide character as two columns and a combining one as none.
    lines = [line.plain.strip() for line in one_line.wrap(Console(), width, overflow="fold")]
    if len(lines) > max_lines:
        rest = " ".join(lines[max_lines - 1 :])
        lines[max_lines - 1 :] = [set_cell_size(rest, width - 1).rstrip() + ELLIPSIS]
    return lines


def fonts_for(text: str) -> tuple[list[str], str]:
    """Return installed fonts that together have a text's characters, and those that none has.

    The default font comes first, and others are added only for what it lacks.
    """
    from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

    families = [DEFAULT_FONT]
    missing = {ord(char) for char in text if char.isprintable()}
    missing -= set(get_font(findfont(FontProperties(family=families))).get_charmap())

    # Regular upright fonts first.
    candidates = sorted(
        fontManager.ttflist,
        key=lambda font: (font.weight != 400, font.style != "normal", font.name),
    )
    for font in candidates:
        if not missing:
            break
        # "Last Resort" has a placeholder for every character, which is as good as none.
        if font.name in families or font.name.startswith("Last Resort"):
            continue
        found = missing & set(get_font(font.fname).get_charmap())
        if found:
            families.append(font.name)
            missing -= found
    return families, "".join(map(chr, sorted(missing)))
