"""The values of a store that a source may lack: those that were accepted, or predicted.

Where people rejected what a source states of a cell, these stand in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.item_categories import own_category_rows
from kg.stores.protocol import GraphStore, Pattern
from kg.stores.references import INHERITED
from kg.stores.sorting import sorting_errors, temporary_database
from kg.stores.tables import STATEMENT_SCHEMA
from schema.terms import Rank

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_COLUMNS = ("item", "property", "value", "language", "rank", "confidence")

Cell = tuple[str, str]
"""An item and a property."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The values of an item's property, the most certain first.

    Where people accepted some, ``others`` counts the predictions beside them, and ``rejected`` are
    the values that sources state and people rejected.
    """

    item: str
    property: str
    values: tuple[str, ...]
    language: str | None = None
    others: int = 0
    rejected: frozenset[str] = frozenset()

    def in_place_of(self, before: set[str]) -> Wanted:
        """Return the same values with those of the source in whose place they stand."""
        return replace(self, rejected=self.rejected & before) if self.rejected else self

    def kept(self, before: set[str]) -> set[str]:
        """Return those of the values of the source that stay beside the wanted ones."""
        return before - self.rejected


class WantedValues:
    """The values to fill in, in a database on the disk: there may be millions.

    ``count`` is their number.
    """

    def __init__(self, database: DuckDBPyConnection) -> None:
        self._database = database
        self.count = 0
        database.execute(
            "CREATE TABLE wanted (item VARCHAR, property VARCHAR, value VARCHAR, "
            "language VARCHAR, rank VARCHAR, confidence DOUBLE)"
        )
        database.execute(
            "CREATE TABLE rejected (item VARCHAR, property VARCHAR, value VARCHAR, "
            "language VARCHAR)"
        )
        database.execute("CREATE TABLE met (item VARCHAR)")
        database.execute("CREATE TABLE stated (item VARCHAR, property VARCHAR)")

    def add(self, statements: pa.RecordBatch) -> None:
        """Add statements, but for those that are inherited."""
        evidence = pc.fill_null(statements["evidence"], "")
        own = statements.filter(pc.invert(pc.starts_with(evidence, INHERITED)))
        self._insert("wanted", pa.table(own).select(list(_COLUMNS)))
        self.count += own.num_rows

    def reject(self, statements: pa.RecordBatch) -> None:
        """Add rejected statements; those count that a source makes all the same."""
        stated = statements.filter(statements["references"].is_valid())
        self._insert("rejected", pa.table(stated).select(list(_COLUMNS[:4])))

    def of_items(self, items: Iterable[str]) -> dict[str, list[Wanted]]:
        """Return what some items want, by item, but for cells that are marked as stated."""
        self._register("asked", pa.table({"item": pa.array(set(items), pa.string())}))
        rows = self._rows(
            "SELECT item, property, language, rank, value FROM wanted SEMI JOIN asked USING (item) "
            "ANTI JOIN stated USING (item, property) "
            # What people accepted comes first.
            "ORDER BY item, property, language, rank, confidence DESC NULLS LAST, value"
        )
        refused: dict[tuple[str, str, str | None], set[str]] = {}
        for item, property, language, value in self._rows(
            "SELECT item, property, language, value FROM rejected SEMI JOIN asked USING (item)"
        ):
            refused.setdefault((item, property, language), set()).add(value)
        self._database.unregister("asked")
        values: dict[tuple[str, str, str | None], dict[str, str]] = {}
        for item, property, language, rank, value in rows:
            values.setdefault((item, property, language), {}).setdefault(value, rank)
        found: dict[str, list[Wanted]] = {}
        for (item, property, language), ranks in values.items():
            best = next(iter(ranks.values()))
            texts = tuple(value for value, rank in ranks.items() if rank == best)
            wanted = Wanted(item, property, texts, language, len(ranks) - len(texts))
            if best == Rank.ACCEPTED:
                rejected = frozenset(refused.get((item, property, language), ()))
                wanted = replace(wanted, rejected=rejected)
            found.setdefault(item, []).append(wanted)
        if found:
            self._insert("met", pa.table({"item": pa.array(found, pa.string())}))
        return found

    def mark_stated(self, cells: Sequence[Cell]) -> None:
        """Mark cells that the source fills in some row, so that no other row is filled."""
        if cells:
            items, properties = zip(*cells, strict=True)
            table = pa.table({"item": items, "property": properties})
            self._insert("stated", table)

    def stated_count(self) -> int:
        """Return the number of values whose cells are marked as stated."""
        query = "SELECT count(*) FROM wanted SEMI JOIN stated USING (item, property)"
        return self._number(query)

    def count_of_others(self) -> int:
        """Return the number of values of items that the source does not have."""
        return self._number("SELECT count(*) FROM wanted ANTI JOIN met USING (item)")

    def _insert(self, name: str, table: pa.Table) -> None:
        self._register("new_rows", table)
        self._rows(f"INSERT INTO {name} FROM new_rows")
        self._database.unregister("new_rows")

    def _register(self, name: str, table: pa.Table) -> None:
        self._database.register(name, table)

    def _number(self, query: str) -> int:
        ((number,),) = self._rows(query)
        return int(number)

    def _rows(self, query: str) -> list[tuple]:  # type: ignore[type-arg]
        with sorting_errors():
            return self._database.execute(query).fetchall()


@contextmanager
def wanted_values(
    store: GraphStore, ranks: Sequence[Rank], beside: pa.Table | None = None
) -> Iterator[WantedValues]:
    """Read the values of some ranks that a store has, and statements ``beside`` it.

    Categories that a model or a reviewer gave to items are among them, as values of a property.
    """
    with temporary_database() as database:
        wanted = WantedValues(database)
        for batch in store.scan(Pattern(ranks=tuple(ranks))):
            wanted.add(batch)
        for batch in store.scan(Pattern(ranks=(Rank.REJECTED,))):
            wanted.reject(batch)
        categories = [row for row in own_category_rows(store.items()) if row["rank"] in ranks]
        if categories:
            (of_items,) = pa.Table.from_pylist(categories, schema=STATEMENT_SCHEMA).to_batches()
            wanted.add(of_items)
        for batch in () if beside is None else beside.to_batches():
            wanted.add(batch)
        yield wanted
