"""Leave out of a put what the store has already, before it is looked at row by row.

Most rows of most updates say what is there. They are found in columns, in a fifth of the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.merge import PutRules, PutTables, is_item_unchanged
from kg.stores.references import INSIGNIFICANT, ITEM_REFERENCE, STATEMENT_REFERENCE
from kg.stores.tables import STATEMENT_SCHEMA, Row

SIGNIFICANT = tuple(name for name in STATEMENT_REFERENCE if name not in INSIGNIFICANT)
SIGNIFICANT_OF_ITEMS = tuple(name for name in ITEM_REFERENCE if name not in INSIGNIFICANT)
COMPARED_SCHEMA = pa.schema(
    [STATEMENT_SCHEMA.field(name) for name in ("id", "item", *SIGNIFICANT, "references")]
)
"""The columns of a statement whose change matters, and those by which it is found."""


@dataclass(frozen=True, slots=True)
class StoredTables:
    """What a store has about some items: their rows by id, and statements in COMPARED_SCHEMA."""

    items: Mapping[str, Row]
    statements: pa.Table


def without_unchanged(tables: PutTables, stored: StoredTables, rules: PutRules) -> PutTables:
    """Return the rows to put without those of items about which all is as it is in the store.

    That is their own row, and all statements about them: none is new, and none is missing.
    """
    changed = pa.array(
        [
            row["id"]
            for row in tables.items.to_pylist()
            if not _is_stored(row, stored.items.get(row["id"]), rules)
        ],
        pa.string(),
    )
    given = tables.statements
    is_missing = pc.invert(pc.is_in(stored.statements["id"], value_set=_array(given["id"])))
    items = pa.chunked_array(
        [
            changed,
            *given["item"].filter(_is_changed(given, stored.statements)).chunks,
            *stored.statements["item"].filter(is_missing).chunks,
        ]
    ).unique()
    return PutTables(
        tables.items.filter(pc.is_in(tables.items["id"], value_set=items)),
        given.filter(pc.is_in(given["item"], value_set=items)),
    )


def _is_stored(row: Row, old: Row | None, rules: PutRules) -> bool:
    """Return whether putting an item's row changes nothing."""
    if old is None:
        return False
    # For most rows this tells, in a tenth of the time.
    is_equal = all(row[name] == old[name] for name in SIGNIFICANT_OF_ITEMS)
    if is_equal and row["references"] is None and old["references"] is None:
        return True
    return is_item_unchanged(old, row, rules)


def _is_changed(given: pa.Table, stored: pa.Table) -> pa.Array:
    """Return of each statement given [N] whether the store has none like it."""
    places = pc.index_in(_array(given["id"]), value_set=_array(stored["id"]))
    there = stored.take(places)
    # What several sources say is left to the rules for rows.
    is_changed = pc.or_(places.is_null(), _array(given["references"]).is_valid())
    is_changed = pc.or_(is_changed, _array(there["references"]).is_valid())
    for name in SIGNIFICANT:
        new = _array(given[name])
        old = _array(there[name])
        # Of two values one of which is null, Arrow does not tell whether they are equal.
        differs = pc.fill_null(pc.not_equal(new, old), False)
        differs = pc.or_(differs, pc.xor(new.is_null(), old.is_null()))
        is_changed = pc.or_(is_changed, differs)
    return is_changed


def _array(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
