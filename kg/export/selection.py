"""The part of a store that is exported, counted while it is read."""

from __future__ import annotations

import builtins
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import pyarrow as pa
import pyarrow.compute as pc

from kg.export.separators import Separators
from kg.stores.protocol import GraphStore, Pattern
from kg.stores.sorting import sorted_batches
from kg.stores.tables import PLAIN_STATEMENT_SCHEMA, Row
from schema.identifiers import names_identifier
from schema.progress import ProgressCallback, no_progress
from schema.spreadsheets import defused, defused_column
from schema.terms import Rank

SHEET_NUMBER = r"^-?(?:0|[1-9]\d{0,14})(?:\.\d{0,8}[1-9])?$"
"""Numbers as programs write them, which are the same number in any spreadsheet."""


ItemValue = tuple[str, str | None, str]
"""A property, a language and a value of an item."""
VALUE_SCHEMA = pa.schema(
    [PLAIN_STATEMENT_SCHEMA.field(name) for name in ("item", "property", "language", "value")]
)


@dataclass(frozen=True)
class PropertyColumn:
    """A property, the language of its values if it is not the leading one, and whether all of its
    values are numbers and no identifiers."""

    property: str
    language: str | None = None
    is_numeric: bool = False

    # For mypy the plain name means the field `property` in this class.
    @builtins.property
    def name(self) -> str:
        """The name of its column: ``title@de`` in a language."""
        return self.property if self.language is None else f"{self.property}@{self.language}"


class Selection:
    """A store's items, and its statements of some ranks; without ranks, all statements.

    ``item_count`` and ``statement_count`` are the numbers of rows read so far, and ``defused`` is
    the number of their texts that were defused for spreadsheets. With ``keep_formulas`` none is.
    ``separators`` stand between the values of a cell. Statements whose ids are ``left_out`` are not
    part of it, and those ``beside`` the store, in STATEMENT_SCHEMA, are among what is shown.
    ``notes`` count what a format cannot hold, in words that follow the number, and
    ``lacking`` the items without what a format requires.
    """

    def __init__(
        self,
        store: GraphStore,
        ranks: Sequence[Rank] = (),
        progress: ProgressCallback = no_progress,
        keep_formulas: bool = False,
        separators: Separators | None = None,
        left_out: Collection[str] = frozenset(),
        beside: pa.Table | None = None,
    ) -> None:
        counts = store.counts()
        self.item_count = 0
        self.statement_count = 0
        self.defused = 0
        self.keep_formulas = keep_formulas
        self.separators = separators or Separators()
        self.notes: Counter[str] = Counter()
        self.lacking: Counter[str] = Counter()
        self._store = store
        self._ranks = tuple(ranks) or None
        self._left_out = left_out
        self._beside = beside
        self._total = counts.items + counts.statements
        self._progress = progress

    def item_batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the items, ordered by id."""
        for batch in self._store.items():
            self.item_count += batch.num_rows
            self._report_progress()
            yield batch

    def statement_batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the statements, ordered by id."""
        for batch in self._without_hidden(self._store.scan(Pattern(ranks=self._ranks))):
            self.statement_count += batch.num_rows
            self._report_progress()
            yield batch

    def shown_batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the statements that the catalogue shows, in PLAIN_STATEMENT_SCHEMA, in any order.

        Without order and provenance they are read much faster.
        """
        for batch in self._shown():
            self.statement_count += batch.num_rows
            self._report_progress()
            yield batch

    def items_with_values(self) -> Iterator[tuple[Row, list[ItemValue]]]:
        """Yield each item with the values that the catalogue shows, in their order."""
        batches = (batch.select(VALUE_SCHEMA.names) for batch in self.shown_batches())
        columns = (
            [column.to_pylist() for column in batch.columns]
            for batch in sorted_batches(batches, VALUE_SCHEMA, VALUE_SCHEMA.names)
        )
        values = (row for each in columns for row in zip(*each, strict=True))
        groups = groupby(values, key=itemgetter(0))
        group = next(groups, None)
        for item in self.item_rows():
            # No group is left behind: a store creates the item of every statement.
            if group is None or group[0] != item["id"]:
                yield item, []
                continue
            yield item, [(property, language, value) for _, property, language, value in group[1]]
            group = next(groups, None)

    def _shown(self) -> Iterator[pa.RecordBatch]:
        yield from self._without_hidden(self._store.plain_statements(self._ranks))
        if self._beside is not None:
            yield from self._beside.select(PLAIN_STATEMENT_SCHEMA.names).to_batches()

    def _without_hidden(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if self._left_out:
                is_shown = [id not in self._left_out for id in batch["id"].to_pylist()]
                batch = batch.filter(pa.array(is_shown, pa.bool_()))
            yield batch

    def properties(self) -> list[PropertyColumn]:
        """Return the properties that are shown, each language for itself, by name.

        The statements are read for it, and not counted.
        """
        numeric: dict[tuple[str, str | None], bool] = {}
        for batch in self._shown():
            numbers = pc.match_substring_regex(batch["value"], SHEET_NUMBER)
            table = pa.table([batch["property"], batch["language"], numbers], ["p", "l", "n"])
            groups = table.group_by(["p", "l"]).aggregate([("n", "all")])
            rows = zip(*(groups[name].to_pylist() for name in ("p", "l", "n_all")), strict=True)
            for name, language, are_numbers in rows:
                key = name, language
                numeric[key] = bool(are_numbers) and numeric.get(key, True)
        ordered = sorted(numeric, key=lambda key: (key[0].casefold(), key[0], key[1] or ""))
        return [
            PropertyColumn(name, language, numeric[name, language] and not names_identifier(name))
            for name, language in ordered
        ]

    def safe(self, text: str) -> str:
        """Return a text that no spreadsheet takes for a formula, and count it if it was one."""
        if self.keep_formulas:
            return text
        changed = defused(text)
        self.defused += changed != text
        return changed

    def item_rows(self) -> Iterator[Row]:
        """Yield the items one by one."""
        return (row for batch in self.item_batches() for row in batch.to_pylist())

    def statement_rows(self) -> Iterator[Row]:
        """Yield the statements one by one."""
        return (row for batch in self.statement_batches() for row in batch.to_pylist())

    def for_spreadsheets(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return a batch whose texts no spreadsheet takes for formulas, see ``defused_column``."""
        if self.keep_formulas:
            return batch
        columns = []
        for column in batch.columns:
            if pa.types.is_string(column.type):
                changed = defused_column(column)
                self.defused += changed.changed
                column = changed.column
            columns.append(column)
        return pa.record_batch(columns, schema=batch.schema)

    def _report_progress(self) -> None:
        self._progress(self.item_count + self.statement_count, self._total)
