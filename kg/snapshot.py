"""A frozen reading of the graph: int64 triples and their index, read in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schema.terms import TRUSTED_RANKS, Rank

if TYPE_CHECKING:
    from kg.store import GraphStore


@dataclass(frozen=True)
class GraphSnapshot:
    """I items, P properties, V value strings (shared by properties), N statements.

    ``triples`` [N, 3] int64 are (item, property, value), sorted; ``indptr`` [I + 1] says where each item's begin. Both are memory-mapped
    where the snapshot was read into a folder.
    """

    items: list[str]
    titles: list[str | None]
    categories: list[str | None]
    images: list[str | None]
    properties: list[str]
    values: list[str]
    triples: NDArray[np.int64]
    indptr: NDArray[np.int64]

    def statements_of(self, item: int) -> list[tuple[str, str]]:
        """(property, value) pairs of the item at an index."""
        rows = self.triples[self.indptr[item] : self.indptr[item + 1]]
        return [(self.properties[p], self.values[v]) for _, p, v in rows]


def read_snapshot(store: GraphStore, folder: Path | None = None, ranks: Sequence[Rank] = TRUSTED_RANKS) -> GraphSnapshot:
    """Read items and statements of the given ranks once; into ``folder`` as memory-mapped arrays where one is given."""
    from kg.store import ITEM_SCHEMA, STATEMENT_SCHEMA, Pattern

    items = _table(store.items(), ITEM_SCHEMA)
    facts = _table(store.scan(Pattern(ranks=tuple(ranks))), STATEMENT_SCHEMA).select(["item", "property", "value"])
    order = np.argsort(np.asarray(items["id"].to_pylist(), dtype=object), kind="stable") if items.num_rows else np.zeros(0, np.int64)
    items = items.take(pa.array(order))
    columns, words = [], []
    for name in ("item", "property", "value"):
        codes, vocabulary = _encode(facts[name], items["id"].to_pylist() if name == "item" else None)
        columns.append(codes)
        words.append(vocabulary)
    triples = np.stack(columns, 1) if len(columns[0]) else np.zeros((0, 3), np.int64)
    triples = triples[np.lexsort((triples[:, 2], triples[:, 1], triples[:, 0]))]
    indptr = np.concatenate([[0], np.bincount(triples[:, 0], minlength=items.num_rows).cumsum()]).astype(np.int64)
    triples, indptr = (_mapped(folder, name, array) for name, array in (("triples", triples), ("indptr", indptr)))
    return GraphSnapshot(
        items=words[0],
        titles=items["title"].to_pylist(),
        categories=items["category"].to_pylist(),
        images=[images[0] if images else None for images in items["images"].to_pylist()],
        properties=words[1],
        values=words[2],
        triples=triples,
        indptr=indptr,
    )


def _table(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_batches(list(batches), schema=schema)


def _encode(column: pa.ChunkedArray, vocabulary: list[str] | None) -> tuple[NDArray[np.int64], list[str]]:
    """Codes of a string column in a given vocabulary, or in its own sorted one."""
    encoded = column.combine_chunks().dictionary_encode() if column.num_chunks else pa.array([], pa.string()).dictionary_encode()
    own = encoded.dictionary.to_pylist()
    words = sorted(own) if vocabulary is None else vocabulary
    place = {word: index for index, word in enumerate(words)}
    table = np.array([place[word] for word in own], dtype=np.int64)
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    return (table[codes] if len(codes) else np.zeros(0, np.int64)), words


def _mapped(folder: Path | None, name: str, array: NDArray[np.int64]) -> NDArray[np.int64]:
    if folder is None:
        return array
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.npy"
    np.save(path, array)
    return np.load(path, mmap_mode="r")
