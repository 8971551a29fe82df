"""What readers hand on: batches of rows as text, each with its line, and the rows that could not be read."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa


@dataclass(frozen=True)
class Reject:
    """A row that was put aside: where it stands, why, and how it starts."""

    file: str
    line: int
    reason: str
    text: str = ""


@dataclass
class Batch:
    """Rows as they were read: string columns [N], the line of each row [N], and rejected rows."""

    table: pa.Table
    lines: npt.NDArray[np.int64]
    rejects: list[Reject] = field(default_factory=list)


def new_run() -> str:
    """A name for a run: its time, and something that no other run of that second has."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


Record = tuple[int, "Sequence[str | None] | str", str]
"""(line, cells or the reason why there are none, the text as it stood)"""


def batches_of(
    records: Iterable[Record], names: Sequence[str], file: str, batch_rows: int
) -> Iterator[Batch]:
    """Records gathered into batches."""
    rows: list[Sequence[str | None]] = []
    lines: list[int] = []
    rejects: list[Reject] = []
    for line, cells, text in records:
        if isinstance(cells, str):
            rejects.append(Reject(file, line, cells, text))
        else:
            rows.append(cells)
            lines.append(line)
        if len(rows) + len(rejects) >= batch_rows:
            yield _batch(rows, lines, rejects, names)
            rows = []
            lines = []
            rejects = []
    if rows or rejects:
        yield _batch(rows, lines, rejects, names)


def _batch(
    rows: list[Sequence[str | None]], lines: list[int], rejects: list[Reject], names: Sequence[str]
) -> Batch:
    columns = zip(*rows, strict=True) if rows else ((),) * len(names)
    table = pa.table(
        {name: pa.array(cells, pa.string()) for name, cells in zip(names, columns, strict=True)}
    )
    return Batch(table, np.asarray(lines, np.int64), rejects)
