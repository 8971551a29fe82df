"""Curves over missing and noisy modalities: a drawing, or a table for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.modality_faults import ModalityFault
from evaluation.runs import PLOT_FORMATS
from evaluation.tasks.running import CurvePoint
from schema.errors import UsageError
from schema.files import write_atomically

COLUMNS = ("model", "task", "fault", "ratio", "value", "low", "high")


@dataclass(frozen=True)
class Curve:
    """The values of a model's metric under a fault, with 95% intervals, by the ratio of items."""

    model: str
    task: str
    fault: ModalityFault
    ratios: tuple[float, ...]
    values: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def curves_of(points: Sequence[CurvePoint], metric: str) -> list[Curve]:
    """Return the curves of a metric: one for each model and fault."""
    curves = []
    for model, fault in dict.fromkeys((point.model, point.fault) for point in points):
        own = [point for point in points if (point.model, point.fault) == (model, fault)]
        estimates = [point.measured.estimates()[metric] for point in own]
        curves.append(
            Curve(
                model,
                own[0].task,
                fault,
                tuple(point.ratio for point in own),
                tuple(each.value for each in estimates),
                tuple(each.low for each in estimates),
                tuple(each.high for each in estimates),
            )
        )
    return curves


def write_curves(path: Path, curves: Sequence[Curve]) -> None:
    """Write curves as a CSV file with a row for each point."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in curves:
        points = zip(each.ratios, each.values, each.low, each.high, strict=True)
        for ratio, value, low, high in points:
            row = (each.model, each.task, each.fault.value, ratio, value, low, high)
            writer.writerow(row)
    write_atomically(path, text.getvalue())


def draw_curves(path: Path, curves: Sequence[Curve], metric: str) -> None:
    """Draw curves into a PNG, SVG or PDF file.

    Raises UsageError if the file's name ends in something else.
    """
    if path.suffix.lower() not in PLOT_FORMATS:
        raise UsageError(
            f"--curves {path} can be neither drawn nor written: "
            f"name a file that ends in {', '.join(PLOT_FORMATS)} or .csv"
        )
    figure_of(curves, metric).savefig(path, dpi=120)


def figure_of(curves: Sequence[Curve], metric: str) -> Any:
    """Return a figure of matplotlib: a panel a fault, a line with a band a model."""
    # Not through pyplot, which would keep the figure and may need a screen.
    from matplotlib.figure import Figure

    faults = list(dict.fromkeys(each.fault for each in curves))
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    axes = figure.subplots(2, 4, sharex=True, sharey=True).ravel()
    for axis, fault in zip(axes, faults, strict=False):
        for each in curves:
            if each.fault is fault:
                percent = [100 * ratio for ratio in each.ratios]
                (line,) = axis.plot(percent, each.values, label=each.model, linewidth=1.3)
                colour = line.get_color()
                axis.fill_between(
                    percent, each.low, each.high, color=colour, alpha=0.1, linewidth=0
                )
        axis.set_title(fault.value, fontsize=10)
        axis.grid(alpha=0.25)
    for axis in axes[len(faults) :]:
        axis.axis("off")
    handles, labels = axes[0].get_legend_handles_labels()
    axes[-1].legend(handles, labels, loc="center", fontsize="small", frameon=False)
    figure.supylabel(metric, fontsize=10)
    figure.supxlabel("% of the items", fontsize=10)
    return figure
