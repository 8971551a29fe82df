"""Checksums of the ledger's rows and tables, which find what SQLite's own check does not.

SQLite's pages have no checksums: a flipped bit in a text is another text. So every row carries a
checksum of its columns, and ``table_checksums`` has for each table the number of its rows and the
sum of their checksums modulo 2^64, by which a lost row is noticed. Both change in the transaction
that changes the rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from schema.errors import StoreDamagedError

CHECKSUM = "checksum"
"""The column of a row's checksum: 16 hexadecimal digits."""
MODULUS = 1 << 64
ROWS_AT_ONCE = 5000

Row = dict[str, Any]


def checksums_table(metadata: sa.MetaData) -> sa.Table:
    """Define the table of the tables' sums."""
    return sa.Table(
        "table_checksums",
        metadata,
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("sum", sa.String, nullable=False),
    )


def to_json(value: Any) -> str:
    """Return the text by which the ledger stores a value of a JSON column."""
    return json.dumps(value, ensure_ascii=False, default=str)


def row_checksum(table: sa.Table, row: Mapping[str, Any]) -> str:
    """Return the checksum of a row as it is stored: its JSON columns are texts."""
    values = [row[column.name] for column in table.columns if column.name != CHECKSUM]
    text = json.dumps([table.name, *values], ensure_ascii=False, default=repr)
    data = text.encode(errors="surrogatepass")
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def as_stored(table: sa.Table, row: Mapping[str, Any]) -> Row:
    """Return a row to insert in the form in which it is stored, without its checksum."""
    stored: Row = {}
    for column in table.columns:
        if column.name == CHECKSUM:
            continue
        value = row.get(column.name)
        if isinstance(column.type, sa.JSON) and column.name in row:
            value = to_json(value)
        stored[column.name] = value
    return stored


def stored_columns(table: sa.Table, dialect: str = "sqlite") -> list[sa.ColumnElement[Any]]:
    """Return a table's columns to select as they are stored: those of JSON as their texts.

    The driver of PostgreSQL would read these; in a column of its type ``json`` they stay as they
    were written.
    """
    as_text = sa.type_coerce if dialect == "sqlite" else sa.cast
    return [
        as_text(column, sa.String).label(column.name)
        if isinstance(column.type, sa.JSON)
        else column
        for column in table.columns
    ]


def storable(row: Mapping[str, Any]) -> Row:
    """Return a row as a server can store it: a text there has no NUL."""
    return {
        name: value.replace("\0", "\N{SYMBOL FOR NULL}") if isinstance(value, str) else value
        for name, value in row.items()
    }


class ChecksummedTable:
    """A table of the ledger in a transaction that writes: its rows and sums change together."""

    def __init__(self, connection: Connection, table: sa.Table, sums: sa.Table) -> None:
        self._connection = connection
        self._table = table
        self._sums = sums
        self._keys = list(table.primary_key.columns)
        self._dialect = connection.dialect.name

    def insert(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows; those without a number as their key get the next ones."""
        if not rows:
            return
        numbered = self._numbered(rows)
        if self._dialect != "sqlite":
            numbered = [storable(row) for row in numbered]
        checksums = [row_checksum(self._table, as_stored(self._table, row)) for row in numbered]
        self._connection.execute(
            sa.insert(self._table),
            [{**row, CHECKSUM: sum_} for row, sum_ in zip(numbered, checksums, strict=True)],
        )
        self._add(len(rows), sum(int(each, 16) for each in checksums))

    def upsert(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows, each with its key, and replace those whose key is there already."""
        by_key = {tuple(row[key.name] for key in self._keys): row for row in rows}
        if not by_key:
            return
        if len(self._keys) == 1:
            self.delete(self._keys[0].in_([key for (key,) in by_key]))
        else:
            self.delete(sa.tuple_(*self._keys).in_(list(by_key)))
        self.insert(list(by_key.values()))

    def update(self, key: Any, values: Mapping[str, Any]) -> bool:
        """Change some columns of the row with a key; return whether there is one."""
        (column,) = self._keys
        query = sa.select(*stored_columns(self._table, self._dialect)).where(column == key)
        stored = self._connection.execute(query).mappings().first()
        if stored is None:
            return False
        try:
            row = {
                name: json.loads(value) if self._is_json(name) and value is not None else value
                for name, value in stored.items()
            }
        except (ValueError, TypeError):
            raise StoreDamagedError(
                f"row {key!r} of {self._table.name} in the ledger is damaged: run `catalograph "
                "verify`, which says how to go on"
            ) from None
        self.delete(column == key)
        self.insert([{**row, **values}])
        return True

    def update_many(self, values: Mapping[Any, Mapping[str, Any]]) -> None:
        """Change some columns of the rows with these keys; those that there are not stay away.

        Raises StoreDamagedError if one of the rows is damaged: a new checksum would hide it.
        """
        (column,) = self._keys
        keys = list(values)
        for start in range(0, len(keys), ROWS_AT_ONCE):
            some = keys[start : start + ROWS_AT_ONCE]
            query = sa.select(*stored_columns(self._table, self._dialect)).where(column.in_(some))
            stored = [dict(row) for row in self._connection.execute(query).mappings()]
            rows = [self._changed(row, values[row[column.name]]) for row in stored]
            self.delete(column.in_(some))
            self.insert(rows)

    def _changed(self, stored: Row, values: Mapping[str, Any]) -> Row:
        """Return a row, given as it is stored, with some columns changed."""
        if row_checksum(self._table, stored) != stored[CHECKSUM]:
            key = stored[self._keys[0].name]
            raise StoreDamagedError(
                f"row {key!r} of {self._table.name} in the ledger is damaged: run `catalograph "
                "verify`, which says how to go on"
            )
        row = {
            name: json.loads(value) if self._is_json(name) and value is not None else value
            for name, value in stored.items()
        }
        return {**row, **values}

    def delete(self, condition: sa.ColumnElement[bool]) -> None:
        """Delete the rows for which a condition holds."""
        column = self._table.c[CHECKSUM]
        checksums = self._connection.execute(sa.select(column).where(condition)).scalars().all()
        if checksums:
            self._connection.execute(sa.delete(self._table).where(condition))
            self._add(-len(checksums), -sum(_number(each) for each in checksums))

    def recompute(self) -> None:
        """Compute the checksums of all rows and the sums anew, as they are now."""
        name = self._sums.c.name == self._table.name
        self._connection.execute(sa.delete(self._sums).where(name))
        query = (
            sa.select(*stored_columns(self._table, self._dialect))
            .order_by(*self._keys)
            .limit(ROWS_AT_ONCE)
        )
        after: sa.Select[Any] | None = query
        while after is not None:
            rows = self._connection.execute(after).mappings().all()
            total = 0
            for row in rows:
                checksum = row_checksum(self._table, dict(row))
                total += int(checksum, 16)
                is_row = sa.and_(*(key == row[key.name] for key in self._keys))
                self._connection.execute(
                    sa.update(self._table).where(is_row).values({CHECKSUM: checksum})
                )
            self._add(len(rows), total)
            after = None
            if rows:
                last = tuple(rows[-1][key.name] for key in self._keys)
                after = query.where(sa.tuple_(*self._keys) > last)

    def take_over(self, before: sa.Table) -> None:
        """Compute the checksums of all rows anew, which were those of the columns of ``before``.

        The same table has fewer columns or more there. Damaged rows keep theirs, and lost ones stay
        lost, so that both are still found.
        """
        both = max(before, self._table, key=lambda table: len(table.columns))
        keys = [both.c[key.name] for key in self._keys]
        query = sa.select(*stored_columns(both, self._dialect)).order_by(*keys).limit(ROWS_AT_ONCE)
        after: sa.Select[Any] | None = query
        while after is not None:
            rows = [dict(row) for row in self._connection.execute(after).mappings()]
            change = 0
            for row in rows:
                if row_checksum(before, row) != row[CHECKSUM]:
                    continue
                checksum = row_checksum(self._table, row)
                change += int(checksum, 16) - int(row[CHECKSUM], 16)
                is_row = sa.and_(*(key == row[key.name] for key in keys))
                self._connection.execute(sa.update(both).where(is_row).values({CHECKSUM: checksum}))
            if change:
                self._add(0, change)
            after = None
            if rows:
                last = tuple(rows[-1][key.name] for key in keys)
                after = query.where(sa.tuple_(*keys) > last)

    def _numbered(self, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
        """Return the rows with a number as their key, if the table's key is one.

        The database would number them itself, but a checksum has to cover the number as well.
        """
        (first, *others) = self._keys
        if others or not isinstance(first.type, sa.Integer):
            return [dict(row) for row in rows]
        last = self._connection.execute(sa.select(sa.func.max(first))).scalar() or 0
        return [
            {**row, first.name: row.get(first.name, number)}
            for number, row in enumerate(rows, last + 1)
        ]

    def _is_json(self, name: str) -> bool:
        return isinstance(self._table.c[name].type, sa.JSON)

    def _add(self, rows: int, total: int) -> None:
        """Add to the table's sums."""
        name = self._sums.c.name == self._table.name
        before = self._connection.execute(
            sa.select(self._sums.c.rows, self._sums.c.sum).where(name)
        ).first()
        old_rows, old_sum = (0, 0) if before is None else (before[0], _number(before[1]))
        values = {"rows": old_rows + rows, "sum": f"{(old_sum + total) % MODULUS:016x}"}
        if before is None:
            values["name"] = self._table.name
            self._connection.execute(sa.insert(self._sums), [values])
        else:
            self._connection.execute(sa.update(self._sums).where(name).values(values))


def check_rows(
    table: sa.Table, rows: Iterable[Mapping[str, Any]], sums: tuple[int, str] | None
) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """Yield what is wrong with a table, each with the row, given its rows as they are stored.

    ``sums`` are the table's number of rows and sum of checksums.
    """
    count = 0
    total = 0
    for row in rows:
        count += 1
        total += _number(row[CHECKSUM])
        if row_checksum(table, row) != row[CHECKSUM]:
            yield "damaged", row
    expected = sums or (0, f"{0:016x}")
    if count != expected[0]:
        yield f"has {count:,} rows, but {expected[0]:,} were written", None
    elif f"{total % MODULUS:016x}" != expected[1]:
        yield "has other rows than were written", None


def _number(checksum: Any) -> int:
    """Return a checksum as a number; 0 for a damaged one that is none."""
    try:
        return int(checksum, 16)
    except (TypeError, ValueError):
        return 0
