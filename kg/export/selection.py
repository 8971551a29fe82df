"""The part of a store that is exported, counted while it is read."""

from __future__ import annotations

import builtins
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from kg.export.separators import Separators
from kg.stores.protocol import GraphStore, Pattern
from kg.stores.tables import Row
from schema.identifiers import names_identifier
from schema.progress import ProgressCallback, no_progress
from schema.spreadsheets import defused, defused_column
from schema.terms import Rank

SHEET_NUMBER = r"^-?(?:0|[1-9]\d{0,14})(?:\.\d{0,8}[1-9])?$"
"""Numbers as programs write them, which are the same number in any spreadsheet."""


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
    ``separators`` stand between the values of a cell. ``notes`` count what a format cannot hold, in
    words that follow the number, and ``lacking`` the items without what a format requires.
    """

    def __init__(
        self,
        store: GraphStore,
        ranks: Sequence[Rank] = (),
        progress: ProgressCallback = no_progress,
        keep_formulas: bool = False,
        separators: Separators | None = None,
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
        self._pattern = Pattern(ranks=tuple(ranks) or None)
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
        for batch in self._store.scan(self._pattern):
            self.statement_count += batch.num_rows
            self._report_progress()
            yield batch

    def properties(self) -> list[PropertyColumn]:
        """Return the properties that the statements have, each language for itself, by name.

        The statements are read for it, and not counted.
        """
        numeric: dict[tuple[str, str | None], bool] = {}
        for batch in self._store.scan(self._pattern):
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
