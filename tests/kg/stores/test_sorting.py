"""Streams of batches in order."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pytest

from kg.stores.sorting import sorted_batches

SCHEMA = pa.schema([("id", pa.string()), ("item", pa.string())])
ROWS = [("c", "1"), ("a", "é"), ("b", "Z"), ("d", "1"), ("e", "z")]


def in_order(parts: Sequence[Sequence[tuple[str, str]]], by: Sequence[str]) -> list[str]:
    batches = [
        pa.RecordBatch.from_pylist(
            [{"id": name, "item": item} for name, item in part], schema=SCHEMA
        )
        for part in parts
    ]
    return [
        name
        for batch in sorted_batches(iter(batches), SCHEMA, by)
        for name in batch["id"].to_pylist()
    ]


@pytest.mark.parametrize("parts", [[ROWS], [ROWS[:2], ROWS[2:]], [[row] for row in ROWS]])
def test_batches_are_ordered_by_the_bytes_of_one_column_or_of_several(
    parts: list[list[tuple[str, str]]],
) -> None:
    assert in_order(parts, ("id",)) == ["a", "b", "c", "d", "e"]
    assert in_order(parts, ("item", "id")) == ["c", "d", "b", "e", "a"]


def test_no_batch_is_none() -> None:
    assert in_order([], ("id",)) == []
