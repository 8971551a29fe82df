"""What the batches of a journal add up to: the newest row of every item and of every statement.

It is worked out without the code of any store, whose faults would repeat themselves, and in flat
memory: of each row only its record is kept, on the disk if they are many.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.fingerprints import NO_DIGEST, Fingerprints, Partitions, Records, Total, newest
from kg.stores.graph_scan import Content
from kg.stores.scan_tasks import Found
from kg.stores.tables import statement_ids

ROWS_AT_ONCE = 100_000
"""Rows of the journal's batches that are dealt with together."""
COUNTED_COLUMNS = ("operation", "id", "statement")
"""The columns of a batch on which the numbers of items and statements depend."""


class Replay:
    """The records of a journal's batches; use it in a ``with`` statement.

    With ``only_count``, only the numbers of items and statements are right, and the batches need
    not have more columns than COUNTED_COLUMNS.
    """

    def __init__(self, only_count: bool = False) -> None:
        self._only_count = only_count
        self._misnamed = Found()
        self._waiting: list[pa.Table] = []
        self._totals: dict[Content, Total] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._prints = stack.enter_context(Fingerprints())
            self._records = {
                content: stack.enter_context(Partitions())
                for content in (Content.ITEMS, Content.STATEMENTS, Content.VALUES)
            }
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, changes: pa.Table) -> None:
        """Add a batch of the journal, the next one in order."""
        # Small batches are dealt with together: a query takes a millisecond, however few rows it
        # has. In a batch the rows that are retracted come last.
        self._waiting.append(changes)
        self._totals.clear()
        if sum(table.num_rows for table in self._waiting) >= ROWS_AT_ONCE:
            self._add_waiting()

    def _add_waiting(self) -> None:
        if not self._waiting:
            return
        changes = pa.concat_tables(self._waiting)
        self._waiting = []
        if self._only_count:
            items = self._prints.journal_items(changes, NO_DIGEST)
            statements = self._prints.journal_statements(changes, NO_DIGEST)
            self._records[Content.ITEMS].add(items)
            self._records[Content.STATEMENTS].add(statements)
            return
        self._records[Content.ITEMS].add(self._prints.journal_items(changes))
        self._records[Content.STATEMENTS].add(self._prints.journal_statements(changes))
        rows = changes.filter(pc.equal(changes["operation"], "statement"))
        self._records[Content.VALUES].add(self._prints.texts(pc.unique(rows["value"])))
        self._misnamed = self._misnamed.plus(misnamed(rows, "statement"))

    @property
    def misnamed(self) -> Found:
        """The statements whose id is not that of their item, property, value and language."""
        self._add_waiting()
        return self._misnamed

    def parts(self, content: Content) -> Iterator[Records]:
        """Yield the newest records of a content, a partition at a time.

        The values are those of all statements that there ever were: a graph may keep the value of a
        statement that was retracted.
        """
        self._add_waiting()
        for records in self._records[_kept_as(content)].parts():
            yield newest(records)

    def total(self, content: Content) -> Total:
        """Return the total of a content; it is worked out once."""
        kept = _kept_as(content)
        if kept not in self._totals:
            total = Total()
            for records in self.parts(kept):
                total.add(records)
            self._totals[kept] = total
        return self._totals[kept]


def _kept_as(content: Content) -> Content:
    """Return the content that has the same rows and is kept."""
    return Content.STATEMENTS if content is Content.SECOND_COPY else content


def misnamed(statements: pa.Table, column: str = "id") -> list[str]:
    """Return the ids of statements that are not those of their item, property, value and language.

    ``column`` is the name of the column of the ids.
    """
    item, name, value, language = (
        statements[field].combine_chunks() for field in ("item", "property", "value", "language")
    )
    expected = statement_ids(item, name, value, language)
    ids = statements[column].combine_chunks()
    if ids.equals(expected):
        return []
    is_wrong = pc.fill_null(pc.not_equal(ids, expected), True)
    return [str(id) for id in ids.filter(is_wrong).to_pylist()]
