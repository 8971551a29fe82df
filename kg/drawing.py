"""Pictures of the product graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"asserted": "#4c72b0", "accepted": "#55a868", "predicted": "#dd8452", "rejected": "#c44e52", "deprecated": "#999999"}
LONGEST = 28


def draw_ego(graph: nx.Graph[Any], path: Path, image: Path | None = None) -> None:
    """An ego graph of :func:`kg.analysis.ego` as a PNG or SVG: the item's picture in the middle, edges coloured by rank."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    centre = next(node for node in graph if node[0] == "item")
    around: list[Any] = [node for node in graph if node != centre]
    places = nx.circular_layout(nx.empty_graph(around)) | {centre: (0.0, 0.0)} if around else {centre: (0.0, 0.0)}
    figure = Figure(figsize=(9, 9))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.08, 0.08, 0.84, 0.84))
    for _, node, edge in graph.edges(centre, data=True):
        (x, y), sure = places[node], edge["confidence"]
        axes.plot(
            [0, x], [0, y], color=COLOURS[edge["rank"]], linewidth=1.5, linestyle="--" if edge["rank"] == "predicted" else "-", zorder=1
        )
        label = edge["property"] + ("" if sure is None else f" {sure:.2f}")
        axes.text(x * 0.6, y * 0.6, label, ha="center", va="center", fontsize=8, backgroundcolor="white", zorder=2)
        shared = graph.nodes[node]["items"]
        text = _short(graph.nodes[node]["value"]) + (f"\n{shared:,} items" if shared else "")
        box = {"boxstyle": "round", "facecolor": "#f2f2f2", "edgecolor": COLOURS[edge["rank"]]}
        axes.text(x, y, text, ha="center", va="center", fontsize=9, bbox=box, zorder=3)
    _middle(axes, graph.nodes[centre]["title"], image)
    axes.set_xlim(-1.25, 1.25)
    axes.set_ylim(-1.25, 1.25)
    axes.set_axis_off()
    figure.savefig(path, dpi=120)


def _middle(axes: Axes, title: str, image: Path | None) -> None:
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    if image is not None and image.is_file():
        from PIL import Image

        with Image.open(image) as opened:
            picture = opened.convert("RGB")
        picture.thumbnail((160, 160))
        axes.add_artist(AnnotationBbox(OffsetImage(np.asarray(picture), zoom=0.7), (0, 0), zorder=4))
        axes.text(0, -0.3, _short(title), ha="center", va="top", fontsize=10, fontweight="bold", backgroundcolor="white", zorder=4)
    else:
        axes.text(0, 0, _short(title), ha="center", va="center", fontsize=10, bbox={"boxstyle": "round", "facecolor": "white"}, zorder=4)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
