"""Training runs side by side: a panel for each term of the loss."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schema.errors import DataError, UsageError

FORMATS = (".png", ".svg", ".pdf")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; a last line torn by a crash is passed over."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return [record for record in records if isinstance(record, dict) and "loss" in record]


def plot_runs(folders: Sequence[Path], out: Path) -> None:
    """Draw each term of the runs' losses over the steps into a PNG, SVG or PDF file."""
    if out.suffix.lower() not in FORMATS:
        raise UsageError(
            f"--plot {out} is no image that can be drawn: name a file that ends in {', '.join(FORMATS)}"
        )
    logs = {
        folder.name: records for folder in folders if (records := read_log(folder / "log.jsonl"))
    }
    if not logs:
        raise DataError("no run has a log to plot: train with more steps than log_every")
    from matplotlib.figure import Figure

    terms = list(
        dict.fromkeys(
            term for records in logs.values() for record in records for term in record["loss"]
        )
    )
    columns = min(3, len(terms))
    rows = -(-len(terms) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.8 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, term in zip(axes, terms, strict=False):
        _panel(axis, term, logs)
    for axis in axes[len(terms) :]:
        axis.set_visible(False)
    axes[0].legend(fontsize="small")
    figure.savefig(out, dpi=120)


def _panel(axis: Any, term: str, logs: dict[str, list[dict[str, Any]]]) -> None:
    for name, records in logs.items():
        points = [
            (record["step"], record["loss"][term]) for record in records if term in record["loss"]
        ]
        axis.plot(
            [step for step, _ in points], [value for _, value in points], label=name, linewidth=1
        )
    axis.set_title(term)
    axis.set_xlabel("step")
