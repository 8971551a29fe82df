"""The figures of ``benchmarks/scale.py``: a file of them, slopes, a table and a plot.

A cost that grows as items^s is a line of slope s where both axes are logarithms. What a process
takes whatever the catalogue's size (start, imports, a model that is loaded) bends the line down, so
slopes are also given for what is left without it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

BASE = 200
"""Items of the catalogue whose figures are those of the start."""
LARGE = 10_000
"""Items from which the start does not count for much."""
NET_SHARE = 0.2
"""What is left without the start counts for a slope if it is at least this share of the whole."""


@dataclass(frozen=True)
class Figure:
    """What a stage took at a size, or why that is not known.

    Attributes:
        seconds: of the wall clock
        cpu_seconds: of all processors together
        peak_mb: the most resident memory of its processes together
        disk_mb: by how much the files of the home have grown
        out_mb: the size of what was written outside it
        load: the machine's load average over a minute when it began
        said: what its JSON says that is of interest
        not_finished_within: the seconds after which it was ended
        left_out: why it was not tried
        failed: how it failed
    """

    seconds: float | None = None
    cpu_seconds: float | None = None
    peak_mb: float | None = None
    disk_mb: float | None = None
    out_mb: float | None = None
    load: float | None = None
    said: dict[str, Any] = field(default_factory=dict)
    not_finished_within: float | None = None
    left_out: str | None = None
    failed: str | None = None


class Figures:
    """The figures of all sizes and stages, kept in a file."""

    def __init__(self, path: Path | None, sizes: dict[int, dict[str, Figure]]) -> None:
        self._path = path
        self.sizes = sizes

    @classmethod
    def open(cls, path: Path) -> Figures:
        """Read a file of figures, which need not be there yet."""
        if not path.exists():
            return cls(path, {})
        document = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            path,
            {
                int(items): {name: Figure(**figure) for name, figure in stages.items()}
                for items, stages in document["sizes"].items()
            },
        )

    def of(self, items: int, stage: str) -> Figure:
        """Return a figure; raises KeyError if there is none."""
        return self.sizes[items][stage]

    def is_done(self, items: int, stage: str) -> bool:
        """Return whether a stage has been measured."""
        figure = self.sizes.get(items, {}).get(stage)
        return figure is not None and figure.seconds is not None

    def is_open(self, items: int, stage: str, limit: float) -> bool:
        """Return whether a stage is to be tried, with a limit of so many seconds."""
        figure = self.sizes.get(items, {}).get(stage)
        if figure is None or figure.left_out is not None or figure.failed is not None:
            return True
        return figure.not_finished_within is not None and figure.not_finished_within < limit

    def keep(self, items: int, stage: str, figure: Figure) -> None:
        """Keep a figure, also in the file."""
        self.sizes.setdefault(items, {})[stage] = figure
        self._write()

    def forget(self, items: int) -> None:
        """Forget the figures of a size."""
        if self.sizes.pop(items, None):
            self._write()

    def _write(self) -> None:
        if self._path is None:
            return
        document = {
            "cores": os.cpu_count(),
            "sizes": {
                str(items): {name: _plain(figure) for name, figure in stages.items()}
                for items, stages in sorted(self.sizes.items())
            },
        }
        temporary = self._path.with_suffix(".new")
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        temporary.replace(self._path)


def _plain(figure: Figure) -> dict[str, Any]:
    return {name: value for name, value in asdict(figure).items() if value not in (None, {})}


@dataclass(frozen=True)
class Point:
    """A cost of a catalogue of so many items."""

    items: int
    cost: float


def slope(points: Sequence[Point]) -> float | None:
    """Return the slope of the least-squares line through log(cost) against log(items).

    None if there are not two sizes, or if a cost is not positive.
    """
    if len({point.items for point in points}) < 2 or any(point.cost <= 0 for point in points):
        return None
    x = [math.log(point.items) for point in points]
    y = [math.log(point.cost) for point in points]
    mean_x = sum(x) / len(x)
    mean_y = sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean_x) ** 2 for a in x)


def net_of_start(points: Sequence[Point]) -> list[Point]:
    """Return the points without the start: the least that any catalogue costs.

    That is the smallest one, unless a larger one was measured at a quieter moment: it cannot take
    less. Points of which nearly all is the start are left out, since their rest is mostly noise.
    """
    if not points:
        return []
    base, *larger = sorted(points, key=lambda point: point.items)
    start = min(point.cost for point in points)
    net = [Point(point.items - base.items, point.cost - start) for point in larger]
    return [
        rest
        for rest, whole in zip(net, larger, strict=True)
        if rest.cost >= NET_SHARE * whole.cost and whole.cost > 0
    ]


Cost = Callable[[Figure], float | None]


def points_of(figures: Figures, stage: str, cost: Cost) -> list[Point]:
    """Return the measured points of a stage, the smallest catalogue first."""
    found = []
    for items, stages in sorted(figures.sizes.items()):
        value = cost(stages[stage]) if stage in stages else None
        if value is not None:
            found.append(Point(items, value))
    return found


def cpu_seconds(figure: Figure) -> float | None:
    """Return the seconds of processors."""
    return figure.cpu_seconds


def peak_mb(figure: Figure) -> float | None:
    """Return the peak memory."""
    return figure.peak_mb


def large_slope(points: Sequence[Point]) -> float | None:
    """Return the slope over the large catalogues, start included."""
    return slope([point for point in points if point.items >= LARGE])


def net_slope(points: Sequence[Point]) -> float | None:
    """Return the slope over all catalogues without the start."""
    return slope(net_of_start(points))


def markdown_table(figures: Figures, stages: Sequence[str]) -> str:
    """Return a table with a row for each stage: seconds of processors and memory by size, slopes.

    The slopes are those over the large sizes, and those over all sizes without the start.
    """
    sizes = [items for items in sorted(figures.sizes) if items != BASE]
    names = ["stage", *(f"{items:,}" for items in sizes), "slope", "memory", "slope"]
    lines = ["| " + " | ".join(names) + " |", "|---|" + "---|" * (len(names) - 1)]
    for stage in stages:
        if not any(stage in figures.sizes[items] for items in sizes):
            continue
        cells = [_cell(figures.sizes[items].get(stage)) for items in sizes]
        time = points_of(figures, stage, cpu_seconds)
        memory = points_of(figures, stage, peak_mb)
        largest = f"{memory[-1].cost:,.0f} MB" if memory else "–"
        cells += [_slopes(time), largest, _slopes(memory)]
        lines.append("| " + " | ".join([stage, *cells]) + " |")
    return "\n".join(lines)


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    if figure.not_finished_within is not None:
        return f"not within {figure.not_finished_within:,.0f} s"
    if figure.cpu_seconds is None:
        return figure.left_out or figure.failed or "–"
    return f"{figure.cpu_seconds:,.1f} s" if figure.cpu_seconds < 100 else _long(figure.cpu_seconds)


def _long(seconds: float) -> str:
    return f"{seconds:,.0f} s"


def _slopes(points: Sequence[Point]) -> str:
    return " / ".join(
        "–" if each is None else f"{each:.2f}" for each in (large_slope(points), net_slope(points))
    )


def plot(figures: Figures, stages: Sequence[str], path: Path) -> None:
    """Draw the seconds of processors and the memory of all stages against the items."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawing, axes = pyplot.subplots(1, 2, figsize=(11, 6), dpi=80, layout="constrained")
    colours = [pyplot.get_cmap("tab20")(number) for number in range(20)]
    for axis, cost, title in zip(
        axes, (cpu_seconds, peak_mb), ("seconds of processors", "peak memory, MB"), strict=True
    ):
        for number, stage in enumerate(stages):
            points = points_of(figures, stage, cost)
            axis.plot(
                [point.items for point in points],
                [point.cost for point in points],
                marker="o" if number < len(colours) else "s",
                markersize=3,
                linewidth=1.2,
                color=colours[number % len(colours)],
                label=stage,
            )
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("items")
        axis.set_title(title)
        axis.grid(which="major", alpha=0.3)
    handles, labels = axes[0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside right center", fontsize=8)
    drawing.savefig(path)
    pyplot.close(drawing)
