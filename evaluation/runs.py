"""Compare training runs: a plot with a panel for each term of the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from schema.documents import parse_json_object
from schema.errors import DataError, UsageError

PLOT_FORMATS = (".png", ".svg", ".pdf")
_MAX_COLUMNS = 3
_MAX_TERMS = 100
_MAX_NAME = 100
_MAX_WHOLE = 10**15


def read_training_log(path: Path) -> list[dict[str, Any]]:
    """Read the steps of a run's log.

    What is no step is skipped, such as a last line that a crash cut off. A step has its number and
    the terms of its loss.
    """
    if not path.is_file():
        return []
    records = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                record = parse_json_object(line)
                if _is_step(record):
                    records.append(record)
            except (ValueError, KeyError, AttributeError):
                continue
    return records


def _is_step(record: dict[str, Any]) -> bool:
    """Return whether a line of a log is a step that can be drawn.

    Raises KeyError or AttributeError if it is far from being one.
    """
    terms = record["loss"]
    numbers = [record["step"], *(value for value in terms.values() if value is not None)]
    return (
        len(terms) <= _MAX_TERMS
        and all(len(name) <= _MAX_NAME and name.isprintable() for name in terms)
        and all(type(number) in (int, float) for number in numbers)
        # Infinite and NaN losses are part of a log; whole numbers beyond all floats are not.
        and not any(isinstance(number, int) and abs(number) > _MAX_WHOLE for number in numbers)
    )


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
