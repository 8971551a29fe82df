"""An item's neighbourhood as shapes of an SVG, in the layout of the drawings that `show` writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kg.drawing.render import EgoDrawing
from kg.drawing.text import shorten, wrap
from serving.pages.rendering import item_url, percent, with_query

WIDTH = 900.0
ROW = 44.0
COLUMN = 205.0
"""From the middle to the columns of values."""
CARD = 96.0
"""The height of the row of other items."""
MIN_BODY = 220.0


@dataclass(frozen=True)
class DrawnValue:
    """A value beside the item: where it is, the curve to it, and what it says."""

    x: float
    y: float
    curve: str
    anchor: str
    text: str
    details: str
    rank: str
    url: str
    text_x: float


@dataclass(frozen=True)
class DrawnItem:
    """Another item below: its place, the lines of its title, and how many values are shared."""

    x: float
    lines: tuple[str, ...]
    shared: int
    url: str


@dataclass(frozen=True)
class Drawing:
    """What is drawn, in a picture of a width and a height."""

    width: float
    height: float
    middle: float
    title: tuple[str, ...]
    values: tuple[DrawnValue, ...]
    items: tuple[DrawnItem, ...]
    items_y: float
    hidden: int
    ranks: tuple[str, ...]


def drawing_of(ego: EgoDrawing) -> Drawing:
    """Return the shapes of an ego graph: values in two columns, other items below."""
    body = max(MIN_BODY, ROW * ego.rows + 20)
    height = body + (CARD if ego.neighbours else 0)
    middle = body / 2
    values = [
        *_column(ego, ego.values[: ego.rows], middle, -1),
        *_column(ego, ego.values[ego.rows :], middle, 1),
    ]
    items = []
    step = WIDTH / max(1, len(ego.neighbours))
    for place, node in enumerate(ego.neighbours):
        title = ego.graph.nodes[node]["title"] or node[1]
        lines = tuple(wrap(title, max(14, int(step / 8.5)), 2))
        shared = ego.graph[ego.centre][node]["shared"]
        items.append(DrawnItem(step * (place + 0.5), lines, shared, item_url(node[1])))
    title = ego.graph.nodes[ego.centre]["title"] or ego.centre[1]
    ranks = tuple(dict.fromkeys(each.rank for each in values))
    return Drawing(
        WIDTH,
        height,
        middle,
        tuple(wrap(title, 26, 3)),
        tuple(values),
        tuple(items),
        body + 30,
        ego.hidden_values,
        ranks,
    )


def _column(ego: EgoDrawing, nodes: list[Any], middle: float, side: int) -> list[DrawnValue]:
    """Return a column of values, to the left (side -1) or to the right (side 1) of the item."""
    top = middle - (len(nodes) - 1) / 2 * ROW
    centre = WIDTH / 2
    x = centre + side * COLUMN
    bend = centre + side * 0.66 * COLUMN
    found = []
    for place, (_, name, value) in enumerate(nodes):
        node = nodes[place]
        y = top + place * ROW
        edge = ego.graph[ego.centre][node]
        details = [shorten(name, 30)]
        if edge["confidence"] is not None:
            details.append(percent(edge["confidence"]))
        items = ego.graph.nodes[node]["items"]
        if items:
            details.append(f"{items:,} item{'s' if items > 1 else ''}")
        found.append(
            DrawnValue(
                x,
                y,
                f"M{centre:g} {middle:g}C{bend:g} {middle:g} {bend:g} {y:g} {x:g} {y:g}",
                "start" if side > 0 else "end",
                shorten(value, 34),
                " · ".join(details),
                str(edge["rank"]),
                with_query("/items", property=name, value=value),
                x + side * 12,
            )
        )
    return found
