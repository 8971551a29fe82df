"""The log of a run: one JSON line per log step in the model's folder, and TensorBoard's files."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from schema.appended import AppendedFile
from schema.documents import parse_json_object
from training.records import Step, Validated

_NO_STEP = 1 << 62
"""The step number given to a line that cannot be read: higher than any, so the line is dropped."""


class RunLog:
    """Appends to ``log.jsonl``.

    When a run is resumed at a step, the lines of later steps are dropped, since the run writes them
    again. With ``tensorboard``, if it is installed, the same figures and those of validation are
    also written to the folder ``tensorboard`` beside the log.
    """

    def __init__(self, path: Path, step: int = 0, tensorboard: bool = False) -> None:
        self.path = path
        # A killed run may have logged steps after the checkpoint that it is resumed from.
        text = path.read_text(encoding="utf-8", errors="replace") if step and path.exists() else ""
        kept = [line for line in text.splitlines() if _step_of(line) <= step]
        self._file = AppendedFile(path, kept)
        self._board = _open_tensorboard(path.parent / "tensorboard", step) if tensorboard else None

    def write(self, record: Step) -> None:
        """Add one line."""
        line = record.as_dict()
        self._file.append(json.dumps(line) + "\n")
        figures = {f"loss/{name}": value for name, value in line["loss"].items()}
        figures["lr"] = record.learning_rate
        figures["items_per_second"] = record.items_per_second
        self._add_scalars(record.step, figures)

    def write_validation(self, record: Validated) -> None:
        """Write the metrics of a validation for TensorBoard."""
        figures = {f"validation/{name}": value for name, value in record.metrics.items()}
        self._add_scalars(record.step, figures)

    def close(self) -> None:
        """Close TensorBoard's writer."""
        if self._board is not None:
            self._board.close()

    def _add_scalars(self, step: int, figures: dict[str, float]) -> None:
        if self._board is None:
            return
        for name, value in figures.items():
            self._board.add_scalar(name, value, step)
        self._board.flush()


def _open_tensorboard(folder: Path, step: int) -> Any:
    """Return a TensorBoard writer that hides figures of steps after ``step`` from before a resume.

    None if TensorBoard is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)


def _step_of(line: str) -> int:
    try:
        step = parse_json_object(line)["step"]
    except (ValueError, KeyError):
        return _NO_STEP
    return step if type(step) is int else _NO_STEP
