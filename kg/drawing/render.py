"""Draw an item's ego graph as an image."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kg.analysis import ITEM, VALUE
from kg.drawing.text import ELLIPSIS, fonts_for, shorten, wrap
from kg.image_files import ImageFiles, is_address
from schema.errors import UsageError
from schema.terms import Rank

if TYPE_CHECKING:
    import networkx as nx
    from matplotlib.axes import Axes

DRAWING_SUFFIXES = (".png", ".svg")
RANK_COLOURS = {
    Rank.ASSERTED: "#3b6ea8",
    Rank.ACCEPTED: "#3c8d5a",
    Rank.PREDICTED: "#c8742a",
    Rank.REJECTED: "#b8403f",
    Rank.DEPRECATED: "#8a8a8a",
}
DARK = "#222222"
FAINT = "#767676"
PALE = "#dddddd"
TITLE_BACKGROUND = {
    "boxstyle": "round,pad=0.15",
    "facecolor": "white",
    "edgecolor": "none",
    "alpha": 0.85,
}
TITLE_BOX = {"boxstyle": "round,pad=0.8", "facecolor": "#f4f4f4", "edgecolor": "#cccccc"}

# All sizes and positions are in inches, from the lower left corner.
WIDTH = 12.0
MARGIN = 0.6
ROW_HEIGHT = 0.62
MIN_BODY_HEIGHT = 3.8
CARDS_HEIGHT = 2.15
LEGEND_HEIGHT = 0.45
LEGEND_LINE = 0.22
MAX_VALUE_WIDTH = 3.2
DOTS_PER_INCH = 130

MAX_VALUES = 40
"""The number of values that are drawn: more could not be read in an image, only in a list."""


@dataclass(frozen=True, slots=True)
class Point:
    """A position in the drawing."""

    x: float
    y: float


def check_image_suffix(path: Path) -> None:
    """Raise UsageError unless the file's name ends like an image that can be drawn."""
    if path.suffix.lower() not in DRAWING_SUFFIXES:
        raise UsageError(
            f"{path} is not an image that can be drawn: "
            f"name a file that ends in {' or '.join(DRAWING_SUFFIXES)}"
        )


def draw_ego(graph: nx.Graph[Any], path: Path, files: ImageFiles) -> str:
    """Draw a graph made by :func:`kg.drawing.ego.ego_graph` to a PNG or SVG file.

    Images that are not among the home's ``files`` are left out.

    The item is in the middle. Its values are in two columns beside it, with lines in the colours of
    their ranks; below are the items that share most of the values. Returns the characters that no
    installed font has (the fonts of an SVG are those of the program that shows it).
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_image_suffix(path)
    families, missing = fonts_for(_all_text(graph))
    drawing = EgoDrawing.of(graph, files)
    # The fixed salt and the empty date make the SVG of the same graph the same file.
    # With fonttype "none" an SVG contains text as text, and its viewer chooses the fonts.
    options: Any = {"svg.fonttype": "none", "svg.hashsalt": "catalograph", "font.family": families}
    metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
    with mpl.rc_context(options), warnings.catch_warnings():
        # Matplotlib warns at each missing character; the caller reports them once.
        warnings.filterwarnings("ignore", message="Glyph")
        # Not through pyplot, which would keep the figure and may need a screen.
        figure = Figure(figsize=(WIDTH, drawing.height), dpi=DOTS_PER_INCH)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, drawing.height))
        axes.set_axis_off()
        drawing.draw(axes)
        figure.savefig(path, dpi=DOTS_PER_INCH, metadata=metadata)
    return missing


def _all_text(graph: nx.Graph[Any]) -> str:
    texts = []
    for node in graph:
        texts += [*node[1:], graph.nodes[node].get("title", "")]
    return "".join(map(str, texts))


@dataclass(frozen=True)
class EgoDrawing:
    """The part of an ego graph that is drawn: the values that fit, and the neighbours."""

    graph: nx.Graph[Any]
    files: ImageFiles
    centre: tuple[str, str]
    values: list[Any]
    neighbours: list[Any]
    hidden_values: int

    @classmethod
    def of(cls, graph: nx.Graph[Any], files: ImageFiles) -> EgoDrawing:
        """Choose what to draw: of too many values, the ones with the most trusted ranks."""
        centre = next(iter(graph))
        ranks = list(RANK_COLOURS)
        by_rank = sorted(
            (node for node in graph[centre] if node[0] == VALUE),
            key=lambda node: (ranks.index(graph[centre][node]["rank"]), node),
        )
        return cls(
            graph,
            files,
            centre,
            values=sorted(by_rank[:MAX_VALUES], key=lambda node: node[1:]),
            neighbours=[node for node in graph[centre] if node[0] == ITEM],
            hidden_values=max(0, len(by_rank) - MAX_VALUES),
        )

    @property
    def rows(self) -> int:
        """The number of values in the longer of the two columns."""
        return -(-len(self.values) // 2)

    @property
    def foot_height(self) -> float:
        """The height of the legend and of the neighbours above it."""
        return LEGEND_HEIGHT + (CARDS_HEIGHT if self.neighbours else 0)

    @property
    def height(self) -> float:
        """The height of the whole image."""
        return self.foot_height + max(MIN_BODY_HEIGHT, ROW_HEIGHT * self.rows + 0.3)

    def draw(self, axes: Axes) -> None:
        """Draw everything."""
        middle = (self.height + self.foot_height) / 2
        self._draw_values(axes, self.values[: self.rows], middle, side=-1)
        self._draw_values(axes, self.values[self.rows :], middle, side=1)
        self._draw_centre(axes, middle)
        self._draw_neighbours(axes)
        self._draw_legend(axes)

    def _draw_values(self, axes: Axes, nodes: list[Any], middle: float, side: int) -> None:
        """Draw a column of values, to the left (side -1) or to the right (side 1) of the item."""
        top = middle + (len(nodes) - 1) / 2 * ROW_HEIGHT
        align = "left" if side > 0 else "right"
        x = WIDTH / 2 + side * 2.55
        centre = Point(WIDTH / 2, middle)
        for number, node in enumerate(nodes):
            y = top - number * ROW_HEIGHT
            edge = self.graph[self.centre][node]
            is_predicted = edge["rank"] == Rank.PREDICTED
            colour = RANK_COLOURS[edge["rank"]]
            _curve(axes, centre, Point(x, y), side, colour, dashed=is_predicted)
            fill = "white" if is_predicted else colour
            axes.plot([x], [y], "o", markersize=6, color=colour, markerfacecolor=fill, zorder=2)

            details = self._value_details(node)
            details_colour = colour if is_predicted else FAINT
            text_x = x + side * 0.14
            value = shorten(node[2], 42)
            _label(axes, text_x, y + 0.09, value, size=10.5, ha=align)
            _label(axes, text_x, y - 0.13, details, size=7.5, ha=align, colour=details_colour)

    def _value_details(self, node: Any) -> str:
        """Return the line below a value: its property, its probability and its items."""
        details = [shorten(node[1], 30)]
        confidence = self.graph[self.centre][node]["confidence"]
        if confidence is not None:
            details.append(f"{confidence:.0%}")
        items = self.graph.nodes[node]["items"]
        if items:
            details.append(f"{items:,} item{'s' if items > 1 else ''}")
        return " · ".join(details)

    def _draw_centre(self, axes: Axes, middle: float) -> None:
        """Draw the item's image with title and id below it; without an image, both in a box."""
        attributes = self.graph.nodes[self.centre]
        item_id = shorten(self.centre[1], 30)
        title = wrap(attributes["title"] or self.centre[1], 28, 3)
        if self._draw_image(axes, attributes["image"], Point(WIDTH / 2, middle + 0.3), size=2.0):
            top = middle - 0.78
            _boxed_title(axes, top, "\n".join(title), va="top", box=TITLE_BACKGROUND)
            id_y = top - 0.2 * len(title)
            _label(axes, WIDTH / 2, id_y, item_id, size=7.5, ha="center", va="top", colour=FAINT)
        else:
            lines = [*title, item_id] if attributes["title"] else title
            _boxed_title(axes, middle, "\n".join(lines), va="center", box=TITLE_BOX)

    def _draw_neighbours(self, axes: Axes) -> None:
        """Draw the items that share most values, in a row above the legend."""
        if not self.neighbours:
            return
        line_y = CARDS_HEIGHT + LEGEND_HEIGHT - 0.1
        axes.plot([MARGIN, WIDTH - MARGIN], [line_y, line_y], color=PALE, linewidth=0.8)
        heading = "items that share most of these values"
        _label(axes, MARGIN, line_y - 0.18, heading, size=8, ha="left", colour=FAINT)

        step = (WIDTH - 2 * MARGIN) / len(self.neighbours)
        for number, node in enumerate(self.neighbours):
            x = MARGIN + step * (number + 0.5)
            attributes = self.graph.nodes[node]
            centre = Point(x, LEGEND_HEIGHT + 1.1)
            has_image = self._draw_image(axes, attributes["image"], centre, size=0.95)
            columns = max(14, int(step * 11))
            title = wrap(attributes["title"] or node[1], columns, 2 if has_image else 3)
            top = LEGEND_HEIGHT + (0.56 if has_image else 1.2)
            axes.text(
                x,
                top,
                "\n".join(title),
                ha="center",
                va="top",
                fontsize=7.5,
                color=DARK,
                parse_math=False,
                linespacing=1.15,
            )
            shared = f"{self.graph[self.centre][node]['shared']} shared"
            shared_y = top - 0.14 * len(title) - 0.04
            _label(axes, x, shared_y, shared, size=7, ha="center", va="top", colour=FAINT)

    def _draw_image(self, axes: Axes, image: str | None, centre: Point, *, size: float) -> bool:
        """Draw an image file centred at a point; return False if it cannot be read."""
        from matplotlib.patches import Rectangle

        if image is None or is_address(image):
            return False
        pixels = self.files.pixels(image, int(size * DOTS_PER_INCH))
        if pixels is None:
            return False
        left = centre.x - size / 2
        bottom = centre.y - size / 2
        frame = Rectangle(
            (left, bottom), size, size, facecolor="white", edgecolor=PALE, linewidth=1.2, zorder=3
        )
        axes.add_patch(frame)
        axes.imshow(
            np.moveaxis(pixels, 0, -1),
            extent=(left, left + size, bottom, bottom + size),
            zorder=4,
            aspect="auto",
        )
        return True

    def _draw_legend(self, axes: Axes) -> None:
        """Draw the colours of the ranks that occur, and how many values are not drawn."""
        y = LEGEND_LINE
        edges = (self.graph[self.centre][node] for node in self.graph[self.centre])
        ranks = {edge.get("rank") for edge in edges}
        x = MARGIN
        for rank, colour in RANK_COLOURS.items():
            if rank in ranks:
                style = "--" if rank == Rank.PREDICTED else "-"
                axes.plot([x, x + 0.4], [y, y], color=colour, linewidth=1.6, linestyle=style)
                _label(axes, x + 0.5, y, str(rank), size=8, ha="left", colour=FAINT)
                x += 1.5
        if self.hidden_values:
            note = f"{self.hidden_values:,} more values are not drawn"
            _label(axes, WIDTH - MARGIN, y, note, size=8, ha="right", colour=FAINT)


def _boxed_title(axes: Axes, y: float, text: str, *, va: str, box: dict[str, Any]) -> None:
    axes.text(
        WIDTH / 2,
        y,
        text,
        ha="center",
        va=va,
        fontsize=10,
        fontweight="bold",
        color=DARK,
        parse_math=False,
        bbox=box,
        zorder=5,
    )


def _label(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    *,
    size: float,
    ha: str,
    va: str = "center",
    colour: str = DARK,
) -> None:
    """Draw one line of text, cut to the width that a value has room for."""
    # A value may contain dollar signs without being a formula.
    label = axes.text(
        x, y, text, ha=ha, va=va, fontsize=size, color=colour, parse_math=False, zorder=3
    )
    width = label.get_window_extent().width / DOTS_PER_INCH
    if width > MAX_VALUE_WIDTH:
        # Its letters are wider than usual, as in "WWW".
        label.set_text(text[: int(len(text) * MAX_VALUE_WIDTH / width) - 1] + ELLIPSIS)


def _curve(axes: Axes, start: Point, end: Point, side: int, colour: str, *, dashed: bool) -> None:
    """Draw a curve that leaves the item and reaches a value horizontally."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    bend = start.x + side * 1.8
    points = [(start.x, start.y), (bend, start.y), (bend, end.y), (end.x, end.y)]
    codes = [Outline.MOVETO, Outline.CURVE4, Outline.CURVE4, Outline.CURVE4]
    style = "--" if dashed else "-"
    axes.add_patch(
        PathPatch(
            Outline(points, codes),
            fill=False,
            edgecolor=colour,
            linewidth=1.4,
            linestyle=style,
            zorder=1,
        )
    )
