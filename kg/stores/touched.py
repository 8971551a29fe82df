"""Which items of a store anything was written about since an earlier revision."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.journal import Operation
from kg.stores.protocol import GraphStore


def touched_since(store: GraphStore, revision: str) -> Iterator[pa.ChunkedArray] | None:
    """Return the ids of the items that were written about since a revision, some repeatedly.

    None if the store cannot tell: it never had that revision, or keeps no history. Iterating raises
    LookupError where only the id of a statement is known, whose item an earlier version of
    Catalograph left out, and StoreDamagedError if the history is damaged.
    """
    if not revision:
        return None
    if store.revision() == revision:
        return iter(())
    version = store.version_at(revision)
    return None if version is None else _touched_after(store, version)


def _touched_after(store: GraphStore, version: int) -> Iterator[pa.ChunkedArray]:
    for batch in store.changes(version):
        changes = batch.changes
        is_of_item = pc.is_in(
            changes["operation"], value_set=pa.array([Operation.ITEM, Operation.DELETE])
        )
        yield changes["id"].filter(is_of_item).unique()
        items = changes["item"].filter(pc.invert(is_of_item)).unique()
        if items.null_count:
            raise LookupError(f"version {batch.version} names statements without their items")
        yield items
