"""What a put changes: the rules of identity, rank and provenance, in one place for all stores."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from schema.terms import Rank

SETTLED = ("rank", "source", "model", "confidence", "evidence", "reviewer")
Row = dict[str, Any]


def merge_item(old: Row | None, new: Row) -> Row | None:
    """The item as it should stand after a put, or None where nothing changes; fields that are given win."""
    if old is None:
        return {**new, "images": list(new["images"] or [])}
    merged = {name: new[name] if new[name] not in (None, []) else old[name] for name in old}
    return None if merged == old else merged


def merge_statement(old: Row | None, new: Row) -> Row | None:
    """The statement as it should stand after a put, or None where nothing changes."""
    if old is None:
        return new
    if new["rank"] == Rank.PREDICTED and old["rank"] != Rank.PREDICTED:
        return None
    return None if all(old[name] == new[name] for name in SETTLED) else new


def graph_hash(items: Iterable[pa.RecordBatch], statements: Iterable[pa.RecordBatch]) -> str:
    """sha256 over items ordered by id and statements ordered by id: id, rank and what the item says of itself."""
    digest = hashlib.sha256()
    for batch in items:
        for row in batch.to_pylist():
            digest.update(
                repr((row["id"], row["title"], row["category"], row["images"] or [])).encode()
            )
    for batch in statements:
        for name, rank in zip(batch["id"].to_pylist(), batch["rank"].to_pylist(), strict=True):
            digest.update(f"{name}{rank}".encode())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Changes:
    """What a put changes: items and statements as they should stand, those that are new apart from those that were there."""

    new_items: list[Row]
    old_items: list[Row]
    new_statements: list[Row]
    old_statements: list[Row]

    @property
    def items(self) -> list[Row]:
        """All items that change."""
        return self.new_items + self.old_items

    @property
    def statements(self) -> list[Row]:
        """All statements that change."""
        return self.new_statements + self.old_statements


def changes_of(
    given: Mapping[str, Row],
    facts: Iterable[Row],
    items: Mapping[str, Row],
    statements: Mapping[str, Row],
) -> Changes:
    """What putting items ``given`` by id and ``facts`` changes, where ``items`` and ``statements`` are what is known of them, by id.

    An item that statements speak of, and that neither the store nor the batch has, is made, bare.
    """
    facts = list(facts)
    bare = dict.fromkeys(
        row["item"] for row in facts if row["item"] not in items and row["item"] not in given
    )
    fresh = [
        *given.values(),
        *({"id": name, "title": None, "category": None, "images": []} for name in bare),
    ]
    new_items = [
        merged for row in fresh if row["id"] not in items and (merged := merge_item(None, row))
    ]
    old_items = [
        merged
        for row in fresh
        if row["id"] in items and (merged := merge_item(items[row["id"]], row))
    ]
    old = [
        merged
        for row in facts
        if row["id"] in statements and (merged := merge_statement(statements[row["id"]], row))
    ]
    return Changes(new_items, old_items, [row for row in facts if row["id"] not in statements], old)
