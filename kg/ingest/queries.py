"""Load a query log: how often items were shown, clicked and bought for a query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kg.home import Home
from kg.ingest.rows import BadRowError, Batch
from kg.ingest.run_id import new_run_id
from kg.ingest.source import open_source
from kg.ingest.values.text import clean
from schema.errors import MappingError
from schema.ledger import QueryRow
from schema.mapping import Mapping
from schema.rejects import MAX_REJECT_TEXT, RejectedRow

_COUNTS = ("impressions", "clicks", "purchases")
_SPELLINGS = {
    "query": ("query", "search_term", "keyword", "q"),
    "item": ("item", "item_id", "product_id", "id"),
    "impressions": ("impressions", "views"),
    "clicks": ("clicks",),
    "purchases": ("purchases", "orders"),
}
_MAX_COUNT = 2**62  # sums of a few such counts still fit the ledger's 64-bit integers

CountsByPair = dict[tuple[str, str], list[int]]
"""The impressions, clicks and purchases of each (query, item)."""


@dataclass
class QueriesReport:
    """How many rows of a query log were read, stored and rejected."""

    read: int = 0
    stored: int = 0
    rejected: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the fields of the command's JSON."""
        return asdict(self)


def ingest_queries(home: Home, path: Path | str) -> QueriesReport:
    """Load a query log into the home's ledger.

    The counts of rows with the same query and item are added up within a file. Loading the same
    file again replaces its counts, so it changes nothing.
    """
    source = open_source(path)
    file = source.location
    mapping = Mapping("queries", id=("query",))
    columns = _find_columns(source.columns(mapping), str(path))
    report = QueriesReport()
    counts: CountsByPair = {}
    run = new_run_id()
    with home.ledger() as ledger:
        ledger.clear_rejects(file)
        for batch in source.batches(mapping):
            # Records may have counts that the first of them lack.
            columns = _columns_by_field(batch.table.column_names) | columns
            rejects = [*batch.rejects, *_add_counts(batch, columns, counts, file)]
            report.read += batch.rows_read
            report.rejected += len(rejects)
            ledger.add_rejects(run, rejects)
        # Only at the end, because these counts replace earlier ones, and a pair may be spread over
        # the file.
        ledger.put_queries(QueryRow(query, item, *row) for (query, item), row in counts.items())
    report.stored = report.read - report.rejected
    return report


def _columns_by_field(columns: Sequence[str]) -> dict[str, str]:
    """Return the column of each field that a log has."""
    by_spelling = {column.strip().casefold(): column for column in columns}
    column_of = {}
    for field, spellings in _SPELLINGS.items():
        matches = [by_spelling[spelling] for spelling in spellings if spelling in by_spelling]
        if matches:
            column_of[field] = matches[0]
    return column_of


def _find_columns(columns: Sequence[str], file: str) -> dict[str, str]:
    """Return the column of each field of a log, which has to have the query and the item."""
    column_of = _columns_by_field(columns)
    for field in ("query", "item"):
        if field not in column_of:
            raise MappingError(
                f"{file} has no {field} column among {', '.join(columns[:8])}: "
                "the columns of a query log are query,item,impressions,clicks,purchases"
            )
    return column_of


def _add_counts(
    batch: Batch, columns: dict[str, str], counts: CountsByPair, file: str
) -> Iterator[RejectedRow]:
    """Add the rows of a batch to the counts, and yield the rows that cannot be used."""
    empty = [None] * batch.table.num_rows
    cells = [
        batch.table[columns[field]].to_pylist()
        if columns.get(field) in batch.table.column_names
        else empty
        for field in _SPELLINGS
    ]
    for line, query, item, *count_cells in zip(batch.lines.tolist(), *cells, strict=True):
        try:
            pair = (_required_text(query, "query"), _required_text(item, "item"))
            row = [
                _parse_count(cell, field) for cell, field in zip(count_cells, _COUNTS, strict=True)
            ]
        except BadRowError as error:
            text = f"{query or ''} {item or ''}"[:MAX_REJECT_TEXT]
            yield RejectedRow(file, line, str(error), text)
            continue
        total = counts.setdefault(pair, [0, 0, 0])
        for position, count in enumerate(row):
            total[position] += count


def _required_text(cell: str | None, field: str) -> str:
    text = clean(cell) if cell else None
    if text is None:
        raise BadRowError(f"empty {field}")
    return text


def _parse_count(cell: str | None, field: str) -> int:
    text = (cell or "0").strip()
    # isdigit() also accepts digits like "²", which int() does not. The length is checked before
    # int(), which raises ValueError beyond 4,300 digits.
    is_number = text.isascii() and text.isdigit() and len(text) <= 20
    if not is_number or int(text) > _MAX_COUNT:
        raise BadRowError(f"{field} {text[:40]!r} is not a count")
    return int(text)
