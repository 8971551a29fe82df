"""The run's log: a JSON line a log step in the model's folder, and the same for TensorBoard where it is installed."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Report = Callable[[dict[str, Any]], None]
"""Hears of a run's progress."""


class RunLog:
    """Appends to ``log.jsonl``; opened again at a step, it drops the lines past it, which the resumed run writes anew.

    With ``tensorboard``, where that is installed, the same figures, and those of validation, go to the folder ``tensorboard`` beside it.
    """

    def __init__(self, path: Path, step: int = 0, tensorboard: bool = False) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = (
            [line for line in path.read_text().splitlines() if _step(line) <= step]
            if step and path.exists()
            else []
        )
        path.write_text("".join(line + "\n" for line in kept))
        self._board = _open_board(path.parent / "tensorboard", step) if tensorboard else None

    def write(self, record: dict[str, Any]) -> None:
        """Add one line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        self._show(
            record["step"], {f"loss/{name}": value for name, value in record["loss"].items()}
        )
        self._show(record["step"], {name: record[name] for name in ("lr", "items_per_second")})

    def validated(self, step: int, metrics: dict[str, float]) -> None:
        """Show a validation's figures."""
        self._show(step, {f"validation/{name}": value for name, value in metrics.items()})

    def close(self) -> None:
        """Let TensorBoard's writer go."""
        if self._board is not None:
            self._board.close()

    def _show(self, step: int, figures: dict[str, float]) -> None:
        if self._board is None:
            return
        for name, value in figures.items():
            self._board.add_scalar(name, value, step)
        self._board.flush()


def _open_board(folder: Path, step: int) -> Any:
    """A writer of TensorBoard's files that hides what an earlier start wrote past ``step``; None where it is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)


def _step(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError):
        return 1 << 62
