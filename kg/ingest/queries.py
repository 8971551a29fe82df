"""The query log: which items were shown, clicked and bought for a query."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kg.home import Home
from kg.ingest.normalize import clean
from kg.ingest.readers import columns_of, open_source, read
from kg.ingest.rows import Batch, Reject, new_run
from schema.errors import MappingError
from schema.ledger import QueryRow, RejectedRow
from schema.mapping import Mapping

_NAMES = {
    "query": ("query", "search_term", "keyword", "q"),
    "item": ("item", "item_id", "product_id", "id"),
    "impressions": ("impressions", "views"),
    "clicks": ("clicks",),
    "purchases": ("purchases", "orders"),
}
_MAX = 2**62


@dataclass
class QueriesReport:
    """How many rows of a query log were read, stored and rejected."""

    read: int = 0
    stored: int = 0
    rejected: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The fields of the command's JSON."""
        return asdict(self)


def ingest_queries(home: Home, src: Path | str) -> QueriesReport:
    """Load a query log. Rows of one query and item add up within a file; loading it again changes nothing."""
    source = open_source(src)
    layout = Mapping("queries", id=("query",))
    columns = _columns(columns_of(source, layout), str(src))
    report = QueriesReport()
    counts: dict[tuple[str, str], list[int]] = {}
    run = new_run()
    with home.ledger() as ledger:
        ledger.clear_rejects(str(source.path))
        for batch in read(source, layout):
            rejects = [*batch.rejects, *_add(batch, columns, counts, str(source.path))]
            report.read += batch.table.num_rows + len(batch.rejects)
            report.rejected += len(rejects)
            ledger.add_rejects(
                run, (RejectedRow(r.file, r.line, r.reason, r.text) for r in rejects)
            )
        ledger.put_queries(
            QueryRow(query, item, *numbers) for (query, item), numbers in counts.items()
        )
    report.stored = report.read - report.rejected
    return report


def _columns(columns: tuple[str, ...], name: str) -> dict[str, str]:
    plain = {column.strip().casefold(): column for column in columns}
    found = {
        role: plain[spelling]
        for role, spellings in _NAMES.items()
        for spelling in reversed(spellings)
        if spelling in plain
    }
    for role in ("query", "item"):
        if role not in found:
            mend = "a query log is query,item,impressions,clicks,purchases"
            raise MappingError(
                f"{name} has no {role} column among {', '.join(columns[:8])}: {mend}"
            )
    return found


def _add(
    batch: Batch, columns: dict[str, str], counts: dict[tuple[str, str], list[int]], file: str
) -> Iterator[Reject]:
    none = [None] * batch.table.num_rows
    cells = [batch.table[columns[role]].to_pylist() if role in columns else none for role in _NAMES]
    for line, query, item, *numbers in zip(batch.lines.tolist(), *cells, strict=True):
        try:
            row = (_text(query, "query"), _text(item, "item"))
            given = [
                _count(text, role) for text, role in zip(numbers, list(_NAMES)[2:], strict=True)
            ]
        except ValueError as error:
            yield Reject(file, line, str(error), f"{query or ''} {item or ''}"[:200])
            continue
        total = counts.setdefault(row, [0, 0, 0])
        for place, number in enumerate(given):
            total[place] += number


def _text(cell: str | None, role: str) -> str:
    text = clean(cell) if cell else None
    if text is None:
        raise ValueError(f"empty {role}")
    return text


def _count(cell: str | None, role: str) -> int:
    text = (cell or "0").strip()
    if not text.isascii() or not text.isdigit() or int(text[:20]) > _MAX:
        raise ValueError(f"{role} {text[:40]!r} is not a count")
    return int(text)
