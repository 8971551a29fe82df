"""What a put changes: the rules of identity, rank and provenance, in one place for all stores."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
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
            digest.update(repr((row["id"], row["title"], row["category"], row["images"] or [])).encode())
    for batch in statements:
        for name, rank in zip(batch["id"].to_pylist(), batch["rank"].to_pylist(), strict=True):
            digest.update(f"{name}{rank}".encode())
    return digest.hexdigest()


def bare_items(statements: Iterable[Row], known: Mapping[str, Row], given: Mapping[str, Row]) -> list[Row]:
    """Bare items that statements speak of and that neither the store nor the batch has."""
    names = dict.fromkeys(row["item"] for row in statements)
    return [{"id": n, "title": None, "category": None, "images": []} for n in names if n not in known and n not in given]
