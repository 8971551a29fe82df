"""The graph store's protocol, its tables, and how to open one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import pyarrow as pa

from kg.store_url import checked_url
from schema.errors import DataError, UsageError
from schema.terms import Item, Provenance, Rank, Statement

ITEM_SCHEMA = pa.schema([("id", pa.string()), ("title", pa.string()), ("category", pa.string()), ("images", pa.list_(pa.string()))])
STATEMENT_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "item", "property", "value", "rank", "source", "batch")]
    + [("row", pa.int64()), ("model", pa.string()), ("confidence", pa.float64())]
    + [(name, pa.string()) for name in ("evidence", "reviewer", "time")]
)
TRIPLE_SCHEMA = pa.schema([(name, pa.string()) for name in ("item", "property", "value")])
SCHEMES = ("ladybug:PATH", "neo4j://HOST", "rdf:PATH", "rdf+http://HOST/DATASET", "memory:")


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which statements to scan: every field that is given must match."""

    item: str | None = None
    property: str | None = None
    value: str | None = None
    ranks: tuple[Rank, ...] | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """Sizes of the graph."""

    items: int
    statements: int
    properties: int
    values: int


@dataclass(frozen=True, slots=True)
class PutReport:
    """What a put added: items and statements that were not there before."""

    new_items: int
    new_statements: int


@dataclass(frozen=True, slots=True)
class QueryResult:
    """A query's answer."""

    columns: list[str]
    rows: list[list[Any]]


class GraphStore(Protocol):
    """A property graph of items and their statements.

    A statement put again keeps its identity: the newest rank and provenance win, but ``predicted`` never replaces another rank, and a
    put that differs in batch, row and time alone changes nothing. Of an item put again the fields that are given win. Statements about
    an unknown item make it, bare.
    """

    url: str

    def put(self, items: pa.Table | None, statements: pa.Table | None) -> PutReport:
        """Add or update a batch, all or nothing; once it returns, the batch is never lost."""
        ...

    def retract(self, statement_ids: Sequence[str]) -> int:
        """Take statements out; how many were there."""
        ...

    def item(self, id: str) -> tuple[Item, list[Statement]] | None:
        """An item with its statements ordered by property and value, or None."""
        ...

    def items(self) -> Iterator[pa.RecordBatch]:
        """All items, ordered by id, in ITEM_SCHEMA."""
        ...

    def scan(self, pattern: Pattern = Pattern()) -> Iterator[pa.RecordBatch]:
        """Statements that match, ordered by id, in STATEMENT_SCHEMA."""
        ...

    def triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Statements of some ranks as they are, in any order, in TRIPLE_SCHEMA: the way to read very many."""
        ...

    def query(self, text: str, params: dict[str, Any] | None = None, timeout: float = 30.0) -> QueryResult:
        """A read-only Cypher query; ``timeout`` in seconds."""
        ...

    def counts(self) -> Counts:
        """Sizes of the graph."""
        ...

    def content_hash(self) -> str:
        """A hash of items and of statements with their ranks, equal for equal graphs in any store."""
        ...

    def close(self) -> None:
        """Release the store."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


def open_store(url: str, *, create: bool = True, read_only: bool = False) -> GraphStore:
    """Open a store by its URL; raises UsageError on another scheme, StoreError where it cannot be opened."""
    scheme, sign, rest = checked_url(url).partition(":")
    if scheme == "memory" and sign:
        from kg.stores.memory import MemoryStore

        return MemoryStore()
    if scheme == "ladybug" and rest:
        from kg.stores.ladybug import LadybugStore

        return LadybugStore(Path(rest), create=create, read_only=read_only)
    if scheme == "rdf" and rest:
        from kg.stores.rdf import RdfStore

        return RdfStore(Path(rest), create=create, read_only=read_only)
    if scheme in ("rdf+http", "rdf+https") and rest.startswith("//"):
        from kg.stores.rdf_endpoint import RdfEndpointStore

        return RdfEndpointStore(url)
    if scheme.partition("+")[0] in ("neo4j", "bolt") and rest.startswith("//"):
        from kg.stores.neo4j import Neo4jStore

        return Neo4jStore(url, read_only=read_only)
    raise UsageError(f"no store {url!r}: use one of {', '.join(SCHEMES)}")


def items_table(items: Sequence[Item]) -> pa.Table:
    """Items as a table in ITEM_SCHEMA."""
    rows = [{"id": i.id, "title": i.title, "category": i.category, "images": list(i.images)} for i in items]
    return pa.Table.from_pylist(rows, schema=ITEM_SCHEMA)


def statements_table(statements: Sequence[Statement]) -> pa.Table:
    """Statements as a table in STATEMENT_SCHEMA."""
    names = ("source", "batch", "row", "model", "confidence", "evidence", "reviewer", "time")
    rows = [
        {"id": s.id, "item": s.item, "property": s.property, "value": s.value, "rank": str(s.rank)}
        | {name: getattr(s.provenance, name) for name in names}
        for s in statements
    ]
    return pa.Table.from_pylist(rows, schema=STATEMENT_SCHEMA)


def statement_of(row: dict[str, Any]) -> Statement:
    """A row of STATEMENT_SCHEMA as a statement."""
    provenance = Provenance(
        source=row["source"] or "",
        batch=row["batch"] or "",
        row=row["row"],
        model=row["model"],
        confidence=row["confidence"],
        evidence=row["evidence"],
        reviewer=row["reviewer"],
        time=row["time"] or "",
    )
    return Statement(row["item"], row["property"], row["value"], Rank(row["rank"]), provenance)


def item_of(row: dict[str, Any], facts: Iterable[dict[str, Any]]) -> tuple[Item, list[Statement]]:
    """A row of ITEM_SCHEMA as an item, and its rows of STATEMENT_SCHEMA as statements, ordered by property and value."""
    item = Item(row["id"], row["title"], row["category"], tuple(row["images"] or ()))
    return item, sorted((statement_of(fact) for fact in facts), key=lambda s: (s.property, s.value))


def rows_to_put(items: pa.Table | None, statements: pa.Table | None) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """What a put is given as rows, items by id; raises DataError as :func:`checked` does."""
    facts = checked(statements, STATEMENT_SCHEMA, ("id", "item", "property", "value", "rank")).to_pylist()
    return {row["id"]: row for row in checked(items, ITEM_SCHEMA, ("id",)).to_pylist()}, facts


def checked(table: pa.Table | None, schema: pa.Schema, required: Sequence[str]) -> pa.Table:
    """The table in its schema, the last of rows with the same id; raises DataError on a column missing, null or not UTF-8."""
    if table is None:
        return schema.empty_table()
    absent = [name for name in required if name not in table.column_names]
    if absent:
        raise DataError(f"the table to put lacks column {absent[0]!r}: give {', '.join(schema.names)}")
    columns = [table[n] if n in table.column_names else pa.nulls(table.num_rows, schema.field(n).type) for n in schema.names]
    try:
        whole = pa.table(columns, names=schema.names).cast(schema)
        whole.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"the table to put is unfit ({str(error).splitlines()[0]}): give valid UTF-8 text") from None
    for name in required:
        if whole[name].null_count:
            raise DataError(f"column {name!r} of the table to put has {whole[name].null_count} empty cells: fill them")
    ids = whole["id"].to_pylist()
    last = {value: index for index, value in enumerate(ids)}
    return whole if len(last) == len(ids) else whole.take(pa.array(sorted(last.values())))
