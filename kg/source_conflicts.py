"""Where sources state different values of a property of which an item has one.

All of them stay asserted in the store. What is shown, trained on and completed from are those of
one *side*: what a reviewer accepted comes before what sources state, and that before what an item
inherits; of the sources that comes first which the declared order names first, and else the one
whose statement is the newest. Of equally new ones it is that which described the item last. A side
may itself state several values, which are all shown, and so is what another side states equally,
such as 1200 g beside 1.2 kg.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.references import (
    INHERITED,
    Origin,
    Reference,
    SourceOrder,
    item_references,
    statement_references,
)
from kg.stores.sorting import sorting_errors, temporary_database
from kg.stores.tables import BATCH_ROWS, SOURCED_TRIPLE_SCHEMA, TRIPLE_SCHEMA, Row
from schema.ontology_counts import STATED_BY
from schema.terms import TRUSTED_RANKS, Rank

if TYPE_CHECKING:
    from kg.stores.protocol import GraphStore
    from schema.ontology import Ontology, PropertySpec

MAX_LISTED = 5
"""Properties that a note on conflicts names."""
STATED_SCHEMA = pa.schema([*TRIPLE_SCHEMA, pa.field(STATED_BY, pa.string())])
"""A triple and the label of a side that states it."""

# A statement is looked at only if there is another value beside it; with a run, only if this run
# has written one of them.
_CONTESTED = """
SELECT rows.* FROM rows JOIN (
    SELECT item, property FROM rows GROUP BY ALL HAVING count(DISTINCT value) > 1 AND (
        $run = '' OR bool_or(batch = $run OR contains(coalesce("references", ''), $run)))
) USING (item, property) ORDER BY item, property, value
"""


class Standing(IntEnum):
    """Why a value is stated; the first counts before the others."""

    ACCEPTED = 0
    STATED = 1
    INHERITED = 2


@dataclass(frozen=True, slots=True)
class Side:
    """Who states a value; all that reviewers accepted is one side."""

    standing: Standing
    source: str

    @classmethod
    def of(cls, reference: Reference) -> Side:
        """Return whose reference it is."""
        if reference["rank"] == Rank.ACCEPTED:
            return cls(Standing.ACCEPTED, "")
        if Origin.of(reference).is_inherited:
            return cls(Standing.INHERITED, reference["source"] or "")
        return cls(Standing.STATED, reference["source"] or "")

    @property
    def label(self) -> str:
        """A name that no other side has."""
        return f"{self.standing.name} {self.source}".rstrip(" ")

    def __str__(self) -> str:
        if self.standing is Standing.ACCEPTED:
            return "the accepted values"
        return self.source or "an unknown source"


@dataclass(frozen=True, slots=True)
class Conflict:
    """Statements about one property of an item that not all come from the same sides.

    Attributes:
        side: the one that counts
        shown: the rows that it states
        equal: rows of others that state the same in another way
        losing: rows of others that state something else
    """

    side: Side
    shown: list[Row]
    equal: list[Row]
    losing: list[Row]

    @property
    def item(self) -> str:
        """The item that it is about."""
        return str(self.shown[0]["item"])

    @property
    def property(self) -> str:
        """The property that it is about."""
        return str(self.shown[0]["property"])

    def told(self) -> str:
        """Return the values with their sources, as in ``9.90 in master.csv, 8.90 in b.csv``."""
        parts = [f"{row['value']!r} in {self.side}" for row in self.shown]
        for row in self.losing:
            names = dict.fromkeys(str(side) for side, _ in stating_sides(row))
            parts.append(f"{row['value']!r} in {' and '.join(names)}")
        return ", ".join(parts)


@dataclass
class _Counted:
    """Counts by property, with the first case as an example."""

    counts: Counter[str] = field(default_factory=Counter)
    example: str = ""

    def add(self, item: str, property: str, told: str) -> None:
        if not self.example:
            self.example = f"{item}, {property}: {told}"
        self.counts[property] += 1

    def listed(self) -> str:
        """Return the properties with the most, and the example."""
        most = self.counts.most_common(MAX_LISTED)
        listed = ", ".join(f"{name} {count:,}" for name, count in most)
        if len(most) < len(self.counts):
            listed += f" and {len(self.counts) - len(most):,} more properties"
        return f"{listed}; the first: {self.example}"


@dataclass
class ConflictCounts:
    """How many conflicts there are by property, with the first as an example.

    Those in which sources contradict each other, those in which they contradict what a reviewer
    accepted, and values that they state and a reviewer has rejected.
    """

    sources: _Counted = field(default_factory=_Counted)
    accepted: _Counted = field(default_factory=_Counted)
    rejected: _Counted = field(default_factory=_Counted)

    def add(self, conflict: Conflict) -> None:
        """Count a conflict in which something loses."""
        is_decided = conflict.side.standing is Standing.ACCEPTED
        counted = self.accepted if is_decided else self.sources
        counted.add(conflict.item, conflict.property, conflict.told())

    def add_rejected(self, row: Row) -> None:
        """Count a statement that is rejected, and that a source makes all the same."""
        names = " and ".join(dict.fromkeys(str(side) for side, _ in stating_sides(row)))
        self.rejected.add(row["item"], row["property"], f"{row['value']!r} in {names}")

    def notes(self, order: SourceOrder) -> Iterator[str]:
        """Yield a line for each kind that there is, which says what is shown."""
        if self.sources.counts:
            yield (
                f"sources state {self.sources.counts.total():,} values differently "
                f"({self.sources.listed()}): all are kept, and {order.told()} is shown and trained "
                "on; `catalograph sources --order` changes that"
            )
        if self.accepted.counts:
            yield (
                f"sources contradict {self.accepted.counts.total():,} values that reviewers "
                f"accepted ({self.accepted.listed()}): all are kept, and the accepted one is shown "
                "and trained on; `catalograph validate` lists them"
            )
        if self.rejected.counts:
            yield (
                f"sources state {self.rejected.counts.total():,} values that reviewers rejected "
                f"({self.rejected.listed()}): they stay rejected"
            )


Arrival = Callable[[], Sequence[str]]
"""Returns the sources that describe an item, in the order in which they arrived."""


def conflict_between(
    rows: Sequence[Row], spec: PropertySpec, order: SourceOrder, arrival: Arrival
) -> Conflict | None:
    """Return the conflict between statements about one property of an item; None without one.

    The rows are in STATEMENT_SCHEMA or SOURCED_TRIPLE_SCHEMA, of trusted ranks and in the leading
    language.
    """
    if len(rows) < 2 or spec.cardinality != "one":
        return None
    sides_of = [dict(stating_sides(row)) for row in rows]
    newest: dict[Side, str] = {}
    for sides in sides_of:
        for side, time in sides.items():
            newest[side] = max(newest.get(side, ""), time)
    if len(newest) < 2:
        return None

    def rank(side: Side) -> tuple[int, int]:
        return side.standing, order.place(side.source)

    first = min(map(rank, newest))
    leading = [side for side in newest if rank(side) == first]
    latest = max(newest[side] for side in leading)
    leading = [side for side in leading if newest[side] == latest]
    if len(leading) > 1:
        places = {source: place for place, source in enumerate(arrival())}
        leading.sort(key=lambda side: (places.get(side.source, -1), side.source))
    winner = leading[-1]

    own: list[Row] = []
    others: list[Row] = []
    for row, sides in zip(rows, sides_of, strict=True):
        (own if winner in sides else others).append(row)
    if not others:
        return None
    keys = {spec.key(row["value"]) for row in own}
    equal = [row for row in others if spec.key(row["value"]) in keys]
    losing = [row for row in others if spec.key(row["value"]) not in keys]
    return Conflict(winner, own, equal, losing)


def stating_sides(row: Row) -> Iterator[tuple[Side, str]]:
    """Yield who makes a trusted statement, and when; the row is as in :func:`conflict_between`."""
    references = [row] if row["references"] is None else statement_references(row)
    for reference in references:
        if reference["rank"] in TRUSTED_RANKS:
            yield Side.of(reference), reference["time"] or ""


def conflicts_of(
    item: Row, rows: Iterable[Row], ontology: Ontology, order: SourceOrder
) -> list[Conflict]:
    """Return the conflicts between all statements about an item, given its row and theirs."""
    found = []
    trusted = [row for row in rows if row["rank"] in TRUSTED_RANKS and row.get("language") is None]
    trusted.sort(key=lambda row: (row["property"], row["value"]))
    for name, group in groupby(trusted, key=lambda row: row["property"]):
        spec = ontology.properties.get(name)
        if spec is None:
            continue
        conflict = conflict_between(list(group), spec, order, lambda: arrival_in(item))
        if conflict is not None:
            found.append(conflict)
    return found


def arrival_in(item: Row) -> list[str]:
    """Return the sources that describe an item, in the order in which they arrived."""
    origins = (Origin.of(each) for each in item_references(item))
    return [origin.source for origin in origins if not origin.is_inherited]


def may_conflict(store: GraphStore, ontology: Ontology) -> bool:
    """Return whether sources may state different values; quick, and False for a single source."""
    return any(spec.cardinality == "one" for spec in ontology.properties.values()) and (
        len(store.sources()) > 1
    )


def conflicts(
    store: GraphStore, ontology: Ontology, run: str = "", with_equal: bool = False
) -> Iterator[Conflict]:
    """Yield the conflicts in a store in which a value loses, ordered by item and property.

    With a ``run``, only those between statements of which this run has written one; ``with_equal``,
    also those in which another source says the same in another way. The statements are read once,
    and compared on disk. A store with a single source is not read.
    """
    if not may_conflict(store, ontology):
        return
    names = [name for name, spec in ontology.properties.items() if spec.cardinality == "one"]
    compared = pa.array(names, pa.string())
    batches = (
        batch.filter(pc.is_in(batch["property"], value_set=compared))
        for batch in store.sourced_triples(TRUSTED_RANKS)
    )
    arrivals = _Arrivals(store)
    rows = (row for batch in _contested(batches, run) for row in batch.to_pylist())
    for (item, name), group in groupby(rows, key=lambda row: (row["item"], row["property"])):
        spec = ontology.properties[name]
        found = conflict_between(list(group), spec, store.order, partial(arrivals.of, item))
        if found is not None and (found.losing or with_equal):
            yield found


def rejected_statements(store: GraphStore, run: str) -> Iterator[Row]:
    """Yield the rows of rejected statements that a source came to make in a run."""
    for batch in store.sourced_triples((Rank.REJECTED,)):
        for row in batch.filter(batch["references"].is_valid()).to_pylist():
            if any(each["batch"] == run for each in _stating(row)):
                yield row


def is_newly_stated(row: Row, before: Row) -> bool:
    """Return whether another source makes a statement than did before."""
    return {each["source"] for each in _stating(row)} > {
        each["source"] for each in _stating(before)
    }


def _stating(row: Row) -> list[Reference]:
    """Return the references of the sources that make a statement."""
    return [
        each
        for each in statement_references(row)
        if each["rank"] == Rank.ASSERTED and not Origin.of(each).is_inherited
    ]


def losing_statements(store: GraphStore, ontology: Ontology) -> Iterator[tuple[str, str, str]]:
    """Yield item, property and value of what is neither shown nor trained on, ordered by item.

    It is the values of :func:`conflicts` that lose.
    """
    for conflict in conflicts(store, ontology):
        for row in conflict.losing:
            yield row["item"], row["property"], row["value"]


def losing_batches(store: GraphStore, ontology: Ontology) -> Iterator[pa.RecordBatch]:
    """Yield what :func:`losing_statements` does in TRIPLE_SCHEMA."""
    triples: list[tuple[str, str, str]] = []
    for triple in losing_statements(store, ontology):
        triples.append(triple)
        if len(triples) == BATCH_ROWS:
            yield _triple_batch(triples)
            triples = []
    if triples:
        yield _triple_batch(triples)


def _triple_batch(triples: Sequence[tuple[str, str, str]]) -> pa.RecordBatch:
    columns = [pa.array(column, pa.string()) for column in zip(*triples, strict=True)]
    return pa.record_batch(columns, schema=TRIPLE_SCHEMA)


class _Arrivals:
    """The order in which sources described items, asked for in the order of the items' ids."""

    def __init__(self, store: GraphStore) -> None:
        self._items = (row for batch in store.items() for row in batch.to_pylist())
        self._item: Row | None = None

    def of(self, id: str) -> list[str]:
        """Return the sources of an item."""
        # As UTF-8, by which stores order ids.
        while self._item is None or self._item["id"].encode() < id.encode():
            item = next(self._items, None)
            if item is None:
                return []
            self._item = item
        return arrival_in(self._item) if self._item["id"] == id else []


def _contested(batches: Iterator[pa.RecordBatch], run: str) -> Iterator[pa.RecordBatch]:
    """Yield the rows beside which there is another value, ordered by item, property and value."""
    with sorting_errors(), temporary_database() as database:
        database.register("new_rows", SOURCED_TRIPLE_SCHEMA.empty_table())
        database.execute("CREATE TABLE rows AS FROM new_rows")
        for batch in batches:
            database.register("new_rows", pa.table(batch))
            database.execute("INSERT INTO rows FROM new_rows")
        result = database.sql(_CONTESTED, params={"run": run})
        yield from result.to_arrow_reader(BATCH_ROWS)


def stated_triples(store: GraphStore) -> Iterator[pa.RecordBatch]:
    """Yield the trusted triples for :func:`schema.ontology_counts.count_catalogue`.

    Those of a store with several sources have a column ``stated_by``, and come once for each side
    that states them.
    """
    if len(store.sources()) < 2:
        return store.triples(TRUSTED_RANKS)
    return by_source(store.sourced_triples(TRUSTED_RANKS))


def by_source(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield rows of SOURCED_TRIPLE_SCHEMA once for each side that states them, with its name."""
    for batch in batches:
        has_several = batch["references"].is_valid()
        alone = batch.filter(pc.invert(has_several))
        is_inherited = pc.fill_null(pc.starts_with(alone["evidence"], INHERITED), False)
        is_accepted = pc.equal(alone["rank"], str(Rank.ACCEPTED))
        standing = pc.if_else(is_inherited, Standing.INHERITED.name, Standing.STATED.name)
        named = pc.binary_join_element_wise(standing, pc.fill_null(alone["source"], ""), " ")
        source = pc.if_else(is_accepted, Standing.ACCEPTED.name, pc.utf8_rtrim(named, " "))
        columns = [*(alone[name] for name in TRIPLE_SCHEMA.names), source]
        yield pa.record_batch(columns, schema=STATED_SCHEMA)
        rows = [
            {**{name: row[name] for name in TRIPLE_SCHEMA.names}, STATED_BY: side.label}
            for row in batch.filter(has_several).to_pylist()
            for side, _ in stating_sides(row)
        ]
        if rows:
            yield pa.RecordBatch.from_pylist(rows, schema=STATED_SCHEMA)
