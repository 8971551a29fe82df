"""What variants inherit: the fields and statements of their products that they do not have.

A variant has a statement ``variant of`` with the id of its product. Of a property that any variant
of a product states itself, none inherits a value, because it is one in which they may differ; nor
are identifiers inherited. What is inherited is a reference with the evidence ``inherited from ID``,
by which it is recognised and taken back when the product no longer states it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.protocol import GraphStore, Pattern
from kg.stores.references import (
    INHERITED,
    INHERITED_ORIGIN,
    ITEM_FIELDS,
    SourceOrder,
    item_references,
    item_row,
    without,
)
from kg.stores.tables import BATCH_ROWS, STATEMENT_SCHEMA, statement_ids
from schema.identifiers import names_identifier
from schema.mapping import VARIANT_OF
from schema.terms import TRUSTED_RANKS, Rank

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MAX_LEVELS = 16
"""The most products that may stand above a variant, one above the other."""
MAX_ROUNDS = 5
"""How often variants inherit again because other homes have written meanwhile."""
_MEMORY = "400MB"


@dataclass(frozen=True)
class Inheritance:
    """How many variants inherited something, and what.

    Attributes:
        variants: variants in the store
        fields: titles, descriptions, categories and lists of images that were inherited anew
        statements: statements that are inherited and were not in the store before
        retracted: inherited statements that their products no longer have
        circular: variants that are variants of each other, or below more than MAX_LEVELS products
        orphans: variants of products that the store does not have
    """

    variants: int = 0
    fields: int = 0
    statements: int = 0
    retracted: int = 0
    circular: int = 0
    orphans: int = 0

    def then(self, later: Inheritance) -> Inheritance:
        """Return what this and a later round have written, and what the later one has found."""
        return replace(
            later,
            fields=self.fields + later.fields,
            statements=self.statements + later.statements,
            retracted=self.retracted + later.retracted,
        )

    def notes(self) -> Iterator[str]:
        """Yield a line for what happened."""
        if self.fields or self.statements:
            yield (
                f"variants inherited {self.statements:,} values, and {self.fields:,} titles, "
                "descriptions, categories or lists of images, from their products"
            )
        if self.retracted:
            yield (
                f"{self.retracted:,} inherited values were taken back: the products of these "
                "variants no longer have them, or the variants state the property themselves"
            )
        if self.circular:
            yield (
                f"{self.circular:,} variants inherit nothing, since they are variants of each "
                f"other or below more than {MAX_LEVELS} products: correct their parents"
            )
        if self.orphans:
            yield (
                f"{self.orphans:,} variants are of a product that no source has: "
                "they inherit nothing from it"
            )


def inherit(store: GraphStore, run: str, time: str) -> Inheritance:
    """Let the variants in a store inherit from their products; doing so again changes nothing.

    What other homes write to a shared journal meanwhile is inherited, too, up to a few times.
    """
    written = Inheritance()
    for _ in range(MAX_ROUNDS):
        followed = store.followed
        links = _links(store)
        if not links.num_rows:
            break
        with _database() as database:
            families = _Families(database, links)
            families.load(store)
            for level in range(1, families.levels() + 1):
                families.inherit_level(level)
            written = written.then(_write(store, families, run, time))
        if store.followed == followed:
            break
    return written


def _links(store: GraphStore) -> pa.Table:
    """Return the pairs of variant and product."""
    batches = store.scan(Pattern(property=VARIANT_OF, ranks=TRUSTED_RANKS))
    parts = [batch.select(["item", "value"]) for batch in batches]
    schema = pa.schema([("item", pa.string()), ("value", pa.string())])
    return pa.Table.from_batches(parts, schema).rename_columns(["child", "parent"])


@contextmanager
def _database() -> Iterator[DuckDBPyConnection]:
    """Open a database that keeps on the disk what does not fit into a little memory."""
    import duckdb

    with tempfile.TemporaryDirectory(prefix="catalograph-") as folder:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": _MEMORY,
            "temp_directory": folder,
            "threads": 2,
        }
        database = duckdb.connect(f"{folder}/families.duckdb", config=settings)
        try:
            yield database
        finally:
            database.close()


class _Families:
    """Products and their variants in a database of their own.

    ``links`` are pairs of child and parent; ``members`` are the items of these; ``own`` has what
    they state themselves, and ``stated`` also what they inherit; ``before`` are the statements that
    the store has as inherited.
    """

    def __init__(self, database: DuckDBPyConnection, links: pa.Table) -> None:
        self._database = database
        database.register("arrow_links", links)
        self._run("CREATE TABLE links AS SELECT DISTINCT child, parent FROM arrow_links")
        database.unregister("arrow_links")
        self._run(
            "CREATE TABLE members AS SELECT child AS id FROM links UNION SELECT parent FROM links"
        )
        # A variant comes after all its products, so that what these inherit is inherited on.
        self._run(
            f"""
            CREATE TABLE depths AS
            WITH RECURSIVE depth(id, level) AS (
                SELECT id, 0 FROM members WHERE id NOT IN (SELECT child FROM links)
                UNION
                SELECT links.child, depth.level + 1 FROM links
                JOIN depth ON links.parent = depth.id
                WHERE depth.level < {MAX_LEVELS}
            )
            SELECT id, max(level) AS level FROM depth GROUP BY id
            """
        )

    def _run(self, text: str) -> None:
        self._database.execute(text)

    def _value(self, text: str) -> int:
        ((number,),) = self._database.execute(text).fetchall()
        return number or 0

    def count(self) -> int:
        """Return the number of variants."""
        return self._value("SELECT count(DISTINCT child) FROM links")

    def circular(self) -> int:
        """Return the number of variants whose products have no end."""
        return self._value(
            "SELECT count(DISTINCT child) FROM links WHERE child NOT IN (SELECT id FROM depths)"
        )

    def orphans(self) -> int:
        """Return the number of variants of which a product is not in the store."""
        return self._value(
            "SELECT count(DISTINCT child) FROM links WHERE parent NOT IN (SELECT id FROM items)"
        )

    def levels(self) -> int:
        """Return how many products stand above one another at most."""
        return self._value("SELECT max(level) FROM depths")

    def load(self, store: GraphStore) -> None:
        """Read the members' fields and statements from the store."""
        fields = ", ".join(ITEM_FIELDS)
        for name in ("items", "filled"):
            self._run(
                f"CREATE TABLE {name} (id VARCHAR, title VARCHAR, description VARCHAR, "
                "category VARCHAR, images VARCHAR[])"
            )
        is_member = "id IN (SELECT id FROM members)"
        for batch in store.unordered_items():
            own, inherited = _divided(batch, store.order)
            self._insert("items", own, f"id, {fields}", is_member)
            self._insert("filled", inherited, f"id, {fields}", is_member)
        self._run("CREATE TABLE original AS SELECT * FROM items")
        columns = "item, property, value, language, source"
        names = "item VARCHAR, property VARCHAR, value VARCHAR, language VARCHAR, source VARCHAR"
        self._run(f"CREATE TABLE own ({names})")
        self._run(f"CREATE TABLE before (id VARCHAR, {names}, evidence VARCHAR)")
        is_member = "item IN (SELECT id FROM members)"
        is_inherited = f"starts_with(coalesce(evidence, ''), '{INHERITED}')"
        was_inherited = f'{is_inherited} OR contains("references", \'"{INHERITED}\')'
        for batch in store.scan(Pattern(ranks=TRUSTED_RANKS)):
            self._insert("own", batch, columns, f"{is_member} AND NOT {is_inherited}")
            self._insert("before", batch, f"id, {columns}, evidence", was_inherited)
        identifiers = [
            (name,)
            for (name,) in self._database.execute("SELECT DISTINCT property FROM own").fetchall()
            if name == VARIANT_OF or names_identifier(name)
        ]
        self._run("CREATE TABLE unshared (property VARCHAR)")
        if identifiers:
            self._database.executemany("INSERT INTO unshared VALUES (?)", identifiers)
        # What one variant states itself may differ between all of them.
        self._run(
            "CREATE TABLE varying AS SELECT DISTINCT links.parent, own.property, own.language "
            "FROM links JOIN own ON own.item = links.child"
        )
        self._run("CREATE TABLE stated AS SELECT *, CAST(NULL AS VARCHAR) AS evidence FROM own")

    def _insert(
        self, table: str, batch: pa.RecordBatch | pa.Table, columns: str, condition: str
    ) -> None:
        rows = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
        self._database.register("arrow_batch", rows)
        self._run(f"INSERT INTO {table} SELECT {columns} FROM arrow_batch WHERE {condition}")
        self._database.unregister("arrow_batch")

    def inherit_level(self, level: int) -> None:
        """Let the variants of a level inherit from the products above them."""
        self._run(
            f"""
            INSERT INTO stated
            SELECT links.child, s.property, s.value, s.language,
                   arg_min(s.source, links.parent),
                   arg_min(coalesce(s.evidence, '{INHERITED}' || links.parent), links.parent)
            FROM links
            JOIN depths ON depths.id = links.child AND depths.level = {level}
            JOIN stated AS s ON s.item = links.parent
            WHERE s.property NOT IN (SELECT property FROM unshared)
              AND NOT EXISTS (
                  SELECT 1 FROM varying AS v WHERE v.parent = links.parent
                  AND v.property = s.property AND v.language IS NOT DISTINCT FROM s.language)
            GROUP BY links.child, s.property, s.value, s.language
            """
        )
        found = ", ".join(
            f"arg_min(p.{name}, p.id) FILTER (p.{name} IS NOT NULL{_NOT_EMPTY.get(name, '')}) "
            f"AS {name}"
            for name in ITEM_FIELDS
        )
        filled = ", ".join(
            f"{name} = CASE WHEN items.{name} IS NULL{_OR_EMPTY.get(name, '')} "
            f"THEN coalesce(found.{name}, items.{name}) ELSE items.{name} END"
            for name in ITEM_FIELDS
        )
        self._run(
            f"""
            UPDATE items SET {filled} FROM (
                SELECT links.child AS id, {found} FROM links
                JOIN depths ON depths.id = links.child AND depths.level = {level}
                JOIN items AS p ON p.id = links.parent
                GROUP BY links.child
            ) AS found WHERE found.id = items.id
            """
        )

    def filled_items(self) -> Iterator[pa.Table]:
        """Yield what variants inherit of an item's fields, where it is not what they have so far.

        ``parent`` is the first product, null if nothing is inherited any more, and ``new`` counts
        the fields that are inherited anew.
        """
        inherited = ", ".join(
            f"CASE WHEN items.{name} IS DISTINCT FROM original.{name} THEN items.{name} END "
            f"AS {name}"
            for name in ITEM_FIELDS
        )
        is_filled = " OR ".join(f"now.{name} IS NOT NULL" for name in ITEM_FIELDS)
        differs = " OR ".join(f"now.{name} IS DISTINCT FROM filled.{name}" for name in ITEM_FIELDS)
        new = " + ".join(
            f"CAST(now.{name} IS NOT NULL AND filled.{name} IS DISTINCT FROM now.{name} AS INT)"
            for name in ITEM_FIELDS
        )
        fields = ", ".join(f"now.{name}" for name in ITEM_FIELDS)
        yield from self._tables(
            f"""
            WITH now AS (SELECT items.id, {inherited} FROM items JOIN original USING (id)),
                 first AS (SELECT child, min(parent) AS parent FROM links GROUP BY child)
            SELECT now.id, {fields}, {new} AS new,
                   CASE WHEN {is_filled} THEN first.parent END AS parent
            FROM now LEFT JOIN filled ON filled.id = now.id LEFT JOIN first ON child = now.id
            WHERE {differs} ORDER BY now.id
            """
        )

    def new_statements(self) -> Iterator[pa.Table]:
        """Yield what is inherited and not in the store as such."""
        yield from self._tables(
            """
            SELECT s.* FROM stated AS s WHERE s.evidence IS NOT NULL AND NOT EXISTS (
                SELECT 1 FROM before AS b WHERE b.item = s.item AND b.property = s.property
                AND b.value = s.value AND b.language IS NOT DISTINCT FROM s.language
                AND b.source IS NOT DISTINCT FROM s.source AND b.evidence = s.evidence)
            ORDER BY item, property, value
            """
        )

    def stale(self) -> Iterator[dict[str, str]]:
        """Yield what the store has as inherited, and is not any more: items by statement ids."""
        text = """
            SELECT b.id, b.item FROM before AS b WHERE NOT EXISTS (
                SELECT 1 FROM stated AS s WHERE b.item = s.item AND b.property = s.property
                AND b.value = s.value AND b.language IS NOT DISTINCT FROM s.language
                AND s.evidence IS NOT NULL)
            """
        for table in self._tables(text):
            yield dict(zip(table["id"].to_pylist(), table["item"].to_pylist(), strict=True))

    def _tables(self, text: str) -> Iterator[pa.Table]:
        for batch in self._database.sql(text).to_arrow_reader(BATCH_ROWS):
            if batch.num_rows:
                yield pa.Table.from_batches([batch])


_NOT_EMPTY = {"images": " AND len(p.images) > 0"}
_OR_EMPTY = {"images": " OR len(items.images) = 0"}


def _divided(batch: pa.RecordBatch, order: SourceOrder) -> tuple[pa.Table, pa.Table]:
    """Divide items into what sources say of them, in their order, and what they inherit."""
    items = pa.Table.from_batches([batch])
    is_inherited = pc.fill_null(pc.starts_with(items["evidence"], INHERITED), False)
    is_mixed = pc.or_(is_inherited, items["references"].is_valid())
    own = []
    inherited = []
    for row in items.filter(is_mixed).to_pylist():
        references = item_references(row)
        of_sources = without(references, INHERITED_ORIGIN)
        others = [each for each in references if each not in of_sources]
        own.append(item_row(row["id"], of_sources, order))
        inherited.append(item_row(row["id"], others, order))
    simple = items.filter(pc.invert(is_mixed))
    mixed = pa.Table.from_pylist(own, schema=items.schema)
    return pa.concat_tables([simple, mixed]), pa.Table.from_pylist(inherited, schema=items.schema)


def _write(store: GraphStore, families: _Families, run: str, time: str) -> Inheritance:
    retracted = sum(
        store.withdraw(stale, INHERITED_ORIGIN, run=run).retracted for stale in families.stale()
    )
    fields = 0
    for filled in families.filled_items():
        fields += pc.sum(filled["new"]).as_py()
        store.put(_items(filled, run, time), None, run=run)
    statements = 0
    for table in families.new_statements():
        statements += store.put(None, _statements(table, run, time), run=run).new_statements
    return Inheritance(
        families.count(), fields, statements, retracted, families.circular(), families.orphans()
    )


def _items(filled: pa.Table, run: str, time: str) -> pa.Table:
    """Return what items inherit as the store takes it."""
    columns = {name: filled[name] for name in ("id", *ITEM_FIELDS)}
    parents = pc.fill_null(filled["parent"], "")
    columns["evidence"] = pc.binary_join_element_wise(INHERITED, parents, "")
    for name, text in (("batch", run), ("time", time)):
        columns[name] = pa.repeat(pa.scalar(text, pa.string()), filled.num_rows)
    return pa.table(columns)


def _statements(table: pa.Table, run: str, time: str) -> pa.Table:
    """Return inherited statements as the store takes them."""
    columns: dict[str, Any] = {name: table[name].combine_chunks() for name in table.column_names}
    triple = (columns[name] for name in ("item", "property", "value", "language"))
    columns["id"] = statement_ids(*triple)
    constants = {"rank": str(Rank.ASSERTED), "batch": run, "time": time}
    for name, text in constants.items():
        columns[name] = pa.repeat(pa.scalar(text, pa.string()), table.num_rows)
    for field in STATEMENT_SCHEMA:
        columns.setdefault(field.name, pa.nulls(table.num_rows, field.type))
    return pa.table({name: columns[name] for name in STATEMENT_SCHEMA.names}).cast(STATEMENT_SCHEMA)
