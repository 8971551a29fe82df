"""A frozen reading of the graph: int64 triples and their index, read in one pass."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schema.errors import DataError
from schema.terms import TRUSTED_RANKS, Rank

if TYPE_CHECKING:
    from kg.stores.protocol import GraphStore


ROWS = 1_000_000


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


def read_snapshot(
    store: GraphStore, folder: Path | None = None, ranks: Sequence[Rank] = TRUSTED_RANKS
) -> GraphSnapshot:
    """Read items and statements of the given ranks once; into ``folder`` as memory-mapped arrays where one is given.

    A statement is one number while it is read, 8 bytes: 10M of them take 80 MB beside the strings, each of which is kept once.
    """
    from kg.stores.tables import ITEM_SCHEMA

    items = pa.Table.from_batches(list(store.items()), schema=ITEM_SCHEMA)
    names = items["id"].to_pylist()
    order = (
        np.argsort(np.asarray(names, dtype=object), kind="stable")
        if names
        else np.zeros(0, np.int64)
    )
    items = items.take(pa.array(order))
    properties = Words()
    values = Words()
    ids = items["id"].combine_chunks()
    columns = []
    for batch in store.triples(ranks):
        item = pc.index_in(batch["item"], value_set=ids).to_numpy(zero_copy_only=False)
        columns.append(
            np.stack(
                [item, properties.codes(batch["property"]), values.codes(batch["value"])], 1
            ).astype(np.int32)
        )
    sizes = len(names), len(properties), len(values)
    keys = _sorted_keys(columns, sizes, (properties.order(), values.order()))
    indptr = np.searchsorted(keys, np.arange(sizes[0] + 1) * (sizes[1] * sizes[2])).astype(np.int64)
    triples = _unpacked(keys, sizes, folder)
    indptr = _kept(folder, "indptr", indptr)
    return GraphSnapshot(
        items=items["id"].to_pylist(),
        titles=items["title"].to_pylist(),
        categories=_shared(items["category"].to_pylist()),
        images=[images[0] if images else None for images in items["images"].to_pylist()],
        properties=properties.sorted(),
        values=values.sorted(),
        triples=triples,
        indptr=indptr,
    )


class Words:
    """Distinct strings, numbered as they come."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def codes(self, column: pa.Array) -> NDArray[np.int64]:
        """The numbers of a column [N], new ones for new strings."""
        encoded = column.dictionary_encode()
        own = np.array(
            [
                self._numbers.setdefault(word, len(self._numbers))
                for word in encoded.dictionary.to_pylist()
            ],
            dtype=np.int64,
        )
        return (
            own[encoded.indices.to_numpy(zero_copy_only=False)]
            if len(own)
            else np.zeros(0, np.int64)
        )

    def sorted(self) -> list[str]:
        """The strings in order."""
        return sorted(self._numbers)

    def order(self) -> NDArray[np.int64]:
        """The place in that order of each number [W]."""
        place = {word: at for at, word in enumerate(self.sorted())}
        return np.array([place[word] for word in self._numbers], dtype=np.int64)


def _sorted_keys(
    columns: list[NDArray[np.int32]],
    sizes: tuple[int, int, int],
    orders: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> NDArray[np.int64]:
    """Statements as ascending numbers (item * P + property) * V + value [N]; the columns are emptied on the way."""
    if float(sizes[0]) * sizes[1] * sizes[2] >= 2.0**63:
        raise DataError(
            f"{sizes[0]:,} items x {sizes[1]:,} properties x {sizes[2]:,} values are too many for one snapshot: split the catalogue"
        )
    keys = np.empty(sum(map(len, columns)), dtype=np.int64)
    end = len(keys)
    while columns:
        part = columns.pop()
        item = part[:, 0].astype(np.int64)
        known = orders[0][part[:, 1]]
        value = orders[1][part[:, 2]]
        keys[end - len(part) : end] = (item * sizes[1] + known) * sizes[2] + value
        end -= len(part)
    keys.sort()
    return keys


def _unpacked(
    keys: NDArray[np.int64], sizes: tuple[int, int, int], folder: Path | None
) -> NDArray[np.int64]:
    """Triples [N, 3] of keys [N], written a part at a time into a memory-mapped file where there is a folder."""
    if folder is None:
        return _triples(keys, sizes)
    path, temporary = _paths(folder, "triples")
    made = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.int64, shape=(len(keys), 3))
    for start in range(0, len(keys), ROWS):
        made[start : start + ROWS] = _triples(keys[start : start + ROWS], sizes)
    made.flush()
    temporary.replace(path)
    return np.load(path, mmap_mode="r")


def _triples(keys: NDArray[np.int64], sizes: tuple[int, int, int]) -> NDArray[np.int64]:
    of_item = sizes[1] * sizes[2]
    return np.stack(
        [
            keys // max(1, of_item),
            keys // max(1, sizes[2]) % max(1, sizes[1]),
            keys % max(1, sizes[2]),
        ],
        1,
    )


def _kept(folder: Path | None, name: str, array: NDArray[np.int64]) -> NDArray[np.int64]:
    if folder is None:
        return array
    path, temporary = _paths(folder, name)
    np.save(temporary, array)
    temporary.replace(path)
    return np.load(path, mmap_mode="r")


def _paths(folder: Path, name: str) -> tuple[Path, Path]:
    """Where an array is kept, and where it is written first: another process may be reading the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.npy", folder / f"{name}.{os.getpid()}.npy"


def _shared(words: list[str | None]) -> list[str | None]:
    """The same strings, those that are equal being one: a catalogue has few categories."""
    seen: dict[str, str] = {}
    return [None if word is None else seen.setdefault(word, word) for word in words]
