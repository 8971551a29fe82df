"""Images of the product graph."""

from __future__ import annotations

import unicodedata
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kg.analysis import ITEM, VALUE
from kg.image_cache import read_pixels
from schema.errors import UsageError
from schema.terms import Rank

if TYPE_CHECKING:
    import networkx as nx
    from matplotlib.axes import Axes

FORMATS = (".png", ".svg")
COLOURS = {
    Rank.ASSERTED: "#3b6ea8",
    Rank.ACCEPTED: "#3c8d5a",
    Rank.PREDICTED: "#c8742a",
    Rank.REJECTED: "#b8403f",
    Rank.DEPRECATED: "#8a8a8a",
}
INK = "#222222"
FAINT = "#767676"
# inches: the image, a value's row, the least height, a value's text
WIDTH = 12.0
ROW = 0.62
LEAST = 3.8
SPAN = 3.2
CARD = 2.15
LEGEND = 0.45
DPI = 130
VALUES = 40
"""Values that are drawn: more can be read in a list, and not in an image."""


def check_format(path: Path) -> None:
    """Raises UsageError where a file's name does not end like an image's that can be drawn."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(
            f"{path} is no image that can be drawn: name a file that ends in {' or '.join(FORMATS)}"
        )


def draw_ego(graph: nx.Graph[Any], path: Path) -> str:
    """Draw a graph of :func:`kg.drawing.ego.ego` as PNG or SVG; the characters that no font here has, which an SVG leaves to who shows it.

    The item stands in the middle, its values in two columns beside it with lines in the colours of their ranks, and below it the items
    that share most values.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_format(path)
    centre = next(iter(graph))
    values = sorted(
        (n for n in graph[centre] if n[0] == VALUE),
        key=lambda n: (list(COLOURS).index(graph[centre][n]["rank"]), n),
    )
    others = [node for node in graph[centre] if node[0] == ITEM]
    shown = sorted(values[:VALUES], key=lambda node: node[1:])
    foot = LEGEND + (CARD if others else 0)
    height = foot + max(LEAST, ROW * -(-len(shown) // 2) + 0.3)
    families, missing = fonts_for(
        "".join(
            str(part) for node in graph for part in (*node[1:], graph.nodes[node].get("title", ""))
        )
    )
    options: Any = {"svg.fonttype": "none", "svg.hashsalt": "catalograph", "font.family": families}
    with mpl.rc_context(options), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Glyph"
        )  # what is missing is said once, by the caller
        figure = Figure(figsize=(WIDTH, height), dpi=DPI)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height))
        axes.set_axis_off()
        half = -(-len(shown) // 2)
        for side, part in ((-1, shown[:half]), (1, shown[half:])):
            _column(axes, graph, centre, part, (side, (height + foot) / 2))
        _middle(axes, graph.nodes[centre], centre[1], (height + foot) / 2)
        _cards(axes, graph, centre, others)
        _legend(axes, {graph[centre][node]["rank"] for node in values}, len(values) - len(shown))
        figure.savefig(
            path, dpi=DPI, metadata={"Date": None} if path.suffix.lower() == ".svg" else None
        )
    return missing


def fonts_for(text: str) -> tuple[list[str], str]:
    """Installed fonts that have the characters of a text between them, the usual one first; and the characters that none has."""
    from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

    families = ["DejaVu Sans"]
    missing = {ord(char) for char in text if char.isprintable()}
    missing -= set(get_font(findfont(FontProperties(family=families))).get_charmap())
    for entry in sorted(
        fontManager.ttflist,
        key=lambda entry: (entry.weight != 400, entry.style != "normal", entry.name),
    ):
        if not missing:
            break
        if entry.name in families or entry.name.startswith("Last Resort"):
            continue
        found = missing & set(get_font(entry.fname).get_charmap())
        if found:
            families.append(entry.name)
            missing -= found
    return families, "".join(map(chr, sorted(missing)))


def _column(
    axes: Axes, graph: nx.Graph[Any], centre: Any, values: list[Any], place: tuple[int, float]
) -> None:
    """Values above one another, to the left (-1) or to the right (1) of the middle."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    side, middle = place
    x = WIDTH / 2 + side * 2.55
    start = WIDTH / 2
    align = "left" if side > 0 else "right"
    for number, node in enumerate(values):
        y = middle + (len(values) - 1) / 2 * ROW - number * ROW
        edge = graph[centre][node]
        items = graph.nodes[node]["items"]
        colour = COLOURS[edge["rank"]]
        guessed = edge["rank"] == Rank.PREDICTED
        bend = WIDTH / 2 + side * 1.8
        curve = Outline(
            [(start, middle), (bend, middle), (bend, y), (x, y)],
            [Outline.MOVETO, *[Outline.CURVE4] * 3],
        )
        axes.add_patch(
            PathPatch(
                curve,
                fill=False,
                edgecolor=colour,
                linewidth=1.4,
                linestyle="--" if guessed else "-",
                zorder=1,
            )
        )
        axes.plot(
            [x],
            [y],
            "o",
            markersize=6,
            color=colour,
            markerfacecolor="white" if guessed else colour,
            zorder=2,
        )
        said = [short(node[1], 30)]
        if edge["confidence"] is not None:
            said.append(f"{edge['confidence']:.0%}")
        if items:
            said.append(f"{items:,} item{'s' if items > 1 else ''}")
        _text(axes, x + side * 0.14, y + 0.09, short(node[2], 42), size=10.5, ha=align, va="center")
        _text(
            axes,
            x + side * 0.14,
            y - 0.13,
            " · ".join(said),
            size=7.5,
            ha=align,
            va="center",
            color=colour if guessed else FAINT,
        )


def _middle(axes: Axes, about: dict[str, Any], name: str, y: float) -> None:
    """The item's image, or a box where there is none, with title and id below."""
    shown = _image(axes, about["image"], (WIDTH / 2, y + 0.3), 2.0)
    title = wrapped(about["title"] or name, 28, 3)
    below = y - 0.78 if shown else y + 0.12 * (len(title) - 1)
    box = (
        None
        if shown
        else {"boxstyle": "round,pad=0.8", "facecolor": "#f4f4f4", "edgecolor": "#cccccc"}
    )
    if shown:
        axes.text(
            WIDTH / 2,
            below,
            "\n".join(title),
            ha="center",
            va="top",
            fontsize=10,
            fontweight="bold",
            color=INK,
            parse_math=False,
            bbox={
                "boxstyle": "round,pad=0.15",
                "facecolor": "white",
                "edgecolor": "none",
                "alpha": 0.85,
            },
            zorder=5,
        )
        _text(
            axes,
            WIDTH / 2,
            below - 0.2 * len(title),
            short(name, 30),
            size=7.5,
            ha="center",
            va="top",
            color=FAINT,
        )
    else:
        text = "\n".join([*title, short(name, 30)] if about["title"] else title)
        axes.text(
            WIDTH / 2,
            y,
            text,
            ha="center",
            va="center",
            fontsize=10,
            fontweight="bold",
            color=INK,
            parse_math=False,
            bbox=box,
            zorder=5,
        )


def _cards(axes: Axes, graph: nx.Graph[Any], centre: Any, others: list[Any]) -> None:
    """The items that share most values, in a row at the foot."""
    if not others:
        return
    axes.plot([0.6, WIDTH - 0.6], [CARD + LEGEND - 0.1] * 2, color="#dddddd", linewidth=0.8)
    _text(
        axes,
        0.6,
        CARD + LEGEND - 0.28,
        "items that share most of these values",
        size=8,
        ha="left",
        va="center",
        color=FAINT,
    )
    step = (WIDTH - 1.2) / len(others)
    for number, node in enumerate(others):
        x = 0.6 + step * (number + 0.5)
        about = graph.nodes[node]
        shown = _image(axes, about["image"], (x, LEGEND + 1.1), 0.95)
        count = graph[centre][node]["shared"]
        lines = wrapped(about["title"] or node[1], max(14, int(step * 11)), 2 if shown else 3)
        top = LEGEND + (0.56 if shown else 1.2)
        axes.text(
            x,
            top,
            "\n".join(lines),
            ha="center",
            va="top",
            fontsize=7.5,
            color=INK,
            parse_math=False,
            linespacing=1.15,
        )
        _text(
            axes,
            x,
            top - 0.14 * len(lines) - 0.04,
            f"{count} shared",
            size=7,
            ha="center",
            va="top",
            color=FAINT,
        )


def _legend(axes: Axes, ranks: set[str], left_out: int) -> None:
    x = 0.6
    for rank, colour in COLOURS.items():
        if rank in ranks:
            axes.plot(
                [x, x + 0.4],
                [0.22, 0.22],
                color=colour,
                linewidth=1.6,
                linestyle="--" if rank == Rank.PREDICTED else "-",
            )
            _text(axes, x + 0.5, 0.22, str(rank), size=8, ha="left", va="center", color=FAINT)
            x += 1.5
    if left_out:
        _text(
            axes,
            WIDTH - 0.6,
            0.22,
            f"{left_out:,} more values are not drawn",
            size=8,
            ha="right",
            va="center",
            color=FAINT,
        )


def _image(axes: Axes, path: str | None, place: tuple[float, float], inches: float) -> bool:
    """Put an image with its middle at a place; whether there is one that can be read."""
    from matplotlib.patches import Rectangle

    pixels = read_pixels(Path(path), int(inches * DPI)) if path else None
    if pixels is None:
        return False
    x, y, half = *place, inches / 2
    axes.add_patch(
        Rectangle(
            (x - half, y - half),
            inches,
            inches,
            facecolor="white",
            edgecolor="#dddddd",
            linewidth=1.2,
            zorder=3,
        )
    )
    axes.imshow(
        np.moveaxis(pixels, 0, -1),
        extent=(x - half, x + half, y - half, y + half),
        zorder=4,
        aspect="auto",
    )
    return True


def _text(
    axes: Axes, x: float, y: float, text: str, *, size: float, ha: str, va: str, color: str = INK
) -> None:
    # A value may hold a dollar sign, and is no formula.
    made = axes.text(
        x, y, text, ha=ha, va=va, fontsize=size, color=color, parse_math=False, zorder=3
    )
    inches = made.get_window_extent().width / DPI
    if inches > SPAN:  # wide letters
        made.set_text(text[: int(len(text) * SPAN / inches) - 1] + "…")


def short(text: str, most: int) -> str:
    """The text in one line, cut to a width at which a wide character counts two."""
    return (wrapped(text, most, 1) or [""])[0]


def wrapped(text: str, most: int, lines: int) -> list[str]:
    """The text in at most so many lines of a width, cut with an ellipsis where it is longer."""
    words = "".join(char if char.isprintable() else " " for char in text).split()
    found: list[str] = [""]
    for word in words:
        joined = f"{found[-1]} {word}".strip()
        if width(joined) <= most:
            found[-1] = joined
            continue
        found = [*found, word] if found[-1] else [word]
        while width(found[-1]) > most:
            head = _head(found[-1], most)
            found[-1:] = [head, found[-1][len(head) :]]
    if len(found) > lines:
        found[lines - 1] = _head(" ".join(found[lines - 1 :]), most - 1).rstrip() + "…"
    return found[:lines]


def width(text: str) -> int:
    """Columns that a text takes in a type of one width."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _head(text: str, most: int) -> str:
    end = 0
    while end < len(text) and width(text[: end + 1]) <= most:
        end += 1
    return text[: max(1, end)]
