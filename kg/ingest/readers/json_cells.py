"""Nested values as cells of text, for the readers of JSON and of Parquet."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from kg.ingest.values.text import LIST_SEPARATOR, number_text

TextCells = dict[str, str | None]
"""The text of each cell of a row, by the name of its column; None for an empty cell."""


def object_cells(members: Mapping[str, Any]) -> TextCells:
    """Return the members of an object as cells; those of nested objects have dotted names."""
    cells: TextCells = {}
    _add_members(members, "", cells)
    return cells


def _add_members(members: Mapping[str, Any], prefix: str, cells: TextCells) -> None:
    for name, value in members.items():
        if isinstance(value, dict):
            _add_members(value, f"{prefix}{name}.", cells)
        else:
            cells[prefix + name] = cell_text(value)


def cell_text(value: Any) -> str | None:
    """Return a value as the text of a cell; None for null, NaN, empty text and empty lists."""
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, list):
        texts = [text for text in map(cell_text, value) if text is not None]
        return LIST_SEPARATOR.join(texts) or None
    if isinstance(value, float):
        return None if math.isnan(value) else number_text(value)
    return json.dumps(value, ensure_ascii=False)
