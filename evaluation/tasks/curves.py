"""Curves over missing and noisy modalities: a drawing, or a table for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from evaluation.runs import PLOT_FORMATS
from evaluation.tasks.running import CurvePoint
from schema.errors import UsageError
from schema.files import write_atomically

COLUMNS = ("model", "task", "fault", "ratio", "metric", "value", "low", "high", "titles", "images")


def write_curves(path: Path, points: Sequence[CurvePoint], metric: str) -> None:
    """Write a metric's curves as a CSV file with a row for each point."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for point in points:
        estimate = point.measured.estimates()[metric]
        writer.writerow(
            (
                point.model,
                point.task,
                point.fault.value,
                point.ratio,
                metric,
                estimate.value,
                estimate.low,
                estimate.high,
                point.titles,
                point.images,
            )
        )
    write_atomically(path, text.getvalue())


def draw_curves(path: Path, points: Sequence[CurvePoint], metric: str) -> None:
    """Draw a metric's curves into a PNG, SVG or PDF file: a panel a fault, a line a model.

    Bands are 95% intervals. Raises UsageError if the file's name ends in something else.
    """
    if path.suffix.lower() not in PLOT_FORMATS:
        raise UsageError(
            f"--curves {path} can be neither drawn nor written: "
            f"name a file that ends in {', '.join(PLOT_FORMATS)} or .csv"
        )
    # Not through pyplot, which would keep the figure and may need a screen.
    from matplotlib.figure import Figure

    faults = list(dict.fromkeys(point.fault for point in points))
    models = list(dict.fromkeys(point.model for point in points))
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    axes = figure.subplots(2, 4, sharex=True, sharey=True).ravel()
    for axis, fault in zip(axes, faults, strict=False):
        for model in models:
            own = [point for point in points if (point.model, point.fault) == (model, fault)]
            estimates = [point.measured.estimates()[metric] for point in own]
            ratios = [100 * point.ratio for point in own]
            (line,) = axis.plot(ratios, [each.value for each in estimates], label=model)
            low, high = [each.low for each in estimates], [each.high for each in estimates]
            axis.fill_between(ratios, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
        axis.set_title(f"{fault.value}: {fault.meaning}", fontsize=8)
        axis.grid(alpha=0.25)
    for axis in axes[len(faults) :]:
        axis.axis("off")
    axes[-1].legend(*axes[0].get_legend_handles_labels(), loc="center", frameon=False)
    figure.supylabel(metric)
    figure.supxlabel("% of the items")
    figure.savefig(path, dpi=120)
