"""The log of a training run: a line of JSON for each step that was logged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from schema.documents import parse_json_object

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
