"""Charts as numbers: where lines, points and ticks are in a drawing, which a template draws as SVG.

So they take the page's colours, light or dark, and need no script.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

WIDTH = 360
HEIGHT = 200
LEFT = 56
BOTTOM = 26
TOP = 8
RIGHT = 10
MAX_POINTS = 200
"""Points of a line that are drawn; of more, every second, third ... is."""
_TICKS = 4

Point = tuple[float, float]


@dataclass(frozen=True)
class Tick:
    """A tick: where it is along its axis, and what it says."""

    place: float
    label: str


@dataclass(frozen=True)
class Line:
    """A line: its name, the places of its points as SVG writes them, and its last value."""

    name: str
    points: str
    last: str


@dataclass(frozen=True)
class Bar:
    """A measured share with its interval, over what was promised.

    ``x`` is where it stands, ``low``, ``middle`` and ``high`` are places from the top.
    """

    label: str
    x: float
    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Chart:
    """A drawing of ``width`` x ``height`` with the plot between its margins."""

    title: str
    lines: tuple[Line, ...] = ()
    bars: tuple[Bar, ...] = ()
    x_ticks: tuple[Tick, ...] = ()
    y_ticks: tuple[Tick, ...] = ()
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM
    x_label: str = ""
    diagonal: tuple[float, float, float, float] | None = field(default=None)


def line_chart(title: str, series: Mapping[str, Sequence[Point]], x_label: str = "") -> Chart:
    """Return a chart of named lines of (x, y) points; what is not finite is left out."""
    kept = {name: _thinned(points) for name, points in series.items()}
    every = [point for points in kept.values() for point in points]
    if not every:
        return Chart(title, x_label=x_label)
    x_axis = _Axis.over([x for x, _ in every], LEFT, WIDTH - RIGHT)
    y_axis = _Axis.over([y for _, y in every], HEIGHT - BOTTOM, TOP)
    lines = tuple(
        Line(
            name,
            " ".join(f"{x_axis.place(x):.1f},{y_axis.place(y):.1f}" for x, y in points),
            told(points[-1][1]),
        )
        for name, points in kept.items()
        if points
    )
    return Chart(title, lines, (), x_axis.ticks(), y_axis.ticks(), x_label=x_label)


@dataclass(frozen=True)
class Measured:
    """A share that was measured: what was promised, and the measurement with its interval."""

    label: str
    promised: float
    share: float
    low: float
    high: float


def reliability_chart(title: str, measured: Sequence[Measured], x_label: str = "") -> Chart:
    """Return a chart of shares over what was promised; on the diagonal the two are the same."""
    x_axis = _Axis(0.0, 1.0, LEFT, WIDTH - RIGHT)
    y_axis = _Axis(0.0, 1.0, HEIGHT - BOTTOM, TOP)
    bars = tuple(
        Bar(
            each.label,
            round(x_axis.place(each.promised), 1),
            round(y_axis.place(each.low), 1),
            round(y_axis.place(each.share), 1),
            round(y_axis.place(each.high), 1),
        )
        for each in measured
    )
    ends = (x_axis.place(0.0), y_axis.place(0.0), x_axis.place(1.0), y_axis.place(1.0))
    return Chart(title, (), bars, x_axis.ticks(), y_axis.ticks(), x_label=x_label, diagonal=ends)


@dataclass(frozen=True)
class _Axis:
    """Maps values from ``low`` to ``high`` to places from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> _Axis:
        """Return an axis over values; around a single one there is room on both sides."""
        low, high = min(values), max(values)
        if low == high:
            room = abs(low) or 1.0
            most = sys.float_info.max
            return cls(max(low - room, -most), min(high + room, most), start, end)
        return cls(low, high, start, end)

    def place(self, value: float) -> float:
        # Each part is small, where a difference of two great values could be infinite.
        share = (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> tuple[Tick, ...]:
        shares = [step / _TICKS for step in range(_TICKS + 1)]
        # A sum of two parts, where the difference of two great values could be infinite.
        values = [self.low * (1 - share) + self.high * share for share in shares]
        return tuple(Tick(round(self.place(value), 1), told(value)) for value in values)


def told(value: float) -> str:
    """Return a number as an axis shows it, in at most six characters or so."""
    size = abs(value)
    if size >= 1_000_000 or (size and size < 0.001):
        return f"{value:.1e}"
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _thinned(points: Sequence[Point]) -> list[Point]:
    finite = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    step = max(1, math.ceil(len(finite) / MAX_POINTS))
    kept = finite[::step]
    if finite and kept[-1] != finite[-1]:
        kept.append(finite[-1])
    return kept
