"""Compare training runs: a plot with a panel for each term of the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from schema.errors import DataError, UsageError
from schema.training_log import read_training_log

PLOT_FORMATS = (".png", ".svg", ".pdf")
_MAX_COLUMNS = 3


def plot_runs(folders: Sequence[Path], out: Path) -> None:
    """Draw each term of the runs' losses over the steps into a PNG, SVG or PDF file."""
    if out.suffix.lower() not in PLOT_FORMATS:
        raise UsageError(
            f"--plot {out} is not an image file that can be drawn: "
            f"name a file that ends in {', '.join(PLOT_FORMATS)}"
        )
    logs = {folder.name: read_training_log(folder / "log.jsonl") for folder in folders}
    logs = {name: records for name, records in logs.items() if records}
    if not logs:
        raise DataError("no run has a log to plot: train with more steps than log_every")

    from matplotlib.figure import Figure

    terms = list(
        dict.fromkeys(
            term for records in logs.values() for record in records for term in record["loss"]
        )
    )
    columns = min(_MAX_COLUMNS, len(terms))
    rows = -(-len(terms) // columns)
    # Not through pyplot, which would keep the figure and may need a screen.
    figure = Figure(figsize=(4.2 * columns, 2.8 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, term in zip(axes, terms, strict=False):
        _draw_term(axis, term, logs)
    for axis in axes[len(terms) :]:
        axis.set_visible(False)
    axes[0].legend(fontsize="small")
    figure.savefig(out, dpi=120)


def _draw_term(axis: Any, term: str, logs: Mapping[str, list[dict[str, Any]]]) -> None:
    for name, records in logs.items():
        with_term = [record for record in records if term in record["loss"]]
        steps = [record["step"] for record in with_term]
        losses = [record["loss"][term] for record in with_term]
        axis.plot(steps, losses, label=name, linewidth=1)
    axis.set_title(term)
    axis.set_xlabel("step")
