"""The graph as training reads it: memory-mapped arrays, written once for a revision of the store.

Nothing that grows with the catalogue is held in memory, neither while the arrays are read nor, but
for a lookup of the ids, while they are written. The items are numbered in the order of their ids,
and their statements in that of property and value, as in :mod:`kg.snapshot`.

Shapes: I items, N statements, D distinct pairs of property and value.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kg.mapped_arrays import (
    FolderWriter,
    MappedFolder,
    MappedTexts,
    TextWriter,
    open_or_write,
    remove_unused,
)
from kg.snapshot import DistinctPairs, without_predicted_categories
from kg.source_conflicts import losing_batches
from schema.arrays import IntArray
from schema.errors import DataError
from schema.terms import TRUSTED_RANKS

if TYPE_CHECKING:
    from kg.home import Home
    from kg.stores.protocol import GraphStore
    from schema.ontology import Ontology

FORMAT = 1
"""Goes up whenever the arrays change, so that older ones are not read."""
PARTS = 256
"""In so many parts the statements are sorted at most, each in memory."""
ITEMS_PER_PART = 1 << 17
"""A part of fewer items is not worth a file."""
_ITEM_COLUMNS = ["id", "title", "category", "images"]
_PAIR_BITS = np.int64(32)
_PAIR_MASK = np.int64((1 << 32) - 1)


@dataclass(frozen=True)
class MappedGraph:
    """I items with their trusted statements, in files.

    - ``items``, ``titles``, ``images`` [I]: ids, titles and first images; empty if there is none
    - ``category`` [I]: the number of each item's category; items without one share a number
    - ``indptr`` [I + 1], ``pair`` [N]: the pairs of each item's statements, in CSR form
    - ``pairs`` [D]: property and value of each pair, in order

    ``folder`` has the arrays; what is made of them lies in folders below it, and goes with it.
    """

    items: MappedTexts
    titles: MappedTexts
    images: MappedTexts
    category: IntArray
    indptr: IntArray
    pair: NDArray[np.int32]
    pairs: list[tuple[str, str]]
    folder: MappedFolder

    @classmethod
    def of(cls, folder: MappedFolder) -> MappedGraph:
        """Return the graph in a folder of arrays."""
        return cls(
            items=folder.texts("items"),
            titles=folder.texts("titles"),
            images=folder.texts("images"),
            category=folder["category"],
            indptr=folder["indptr"],
            pair=folder["pair"],
            pairs=list(zip(folder.texts("properties"), folder.texts("values"), strict=True)),
            folder=folder,
        )


def map_graph(home: Home, store: GraphStore, properties: Collection[str]) -> MappedGraph:
    """Open the arrays of a home's graph, writing them if its store has changed since.

    Statements of other ``properties`` are left out, and so are categories that a model has guessed.
    The arrays of earlier revisions are removed, unless another training reads them.
    """
    root = home.cache / "training"
    ontology = home.ontology_or_none()
    revision = store.revision()

    def place(revision: str) -> Path:
        # What somebody else's store holds may change without our knowledge: it is read again.
        known = [home.relative_url(store.url), revision] if revision else [uuid.uuid4().hex]
        written = home.ontology_path.read_text("utf-8") if ontology is not None else None
        key = digest_of(FORMAT, *known, written, home.source_order(), sorted(properties))
        return root / f"graph-{key}"

    def write(writer: FolderWriter) -> None:
        write_graph(store, ontology, properties, writer)
        if store.revision() != revision:
            # It changed while it was read: these arrays are of no revision, and serve once.
            writer.folder = place("")

    folder = place(revision)
    opened = open_or_write(folder, write)
    others = [each for each in root.glob("graph-*") if each != opened.folder]
    remove_unused(others)
    return MappedGraph.of(opened)


def digest_of(*parts: Any) -> str:
    """Return a short hash of parts that JSON can write, by which a folder is named."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]


def write_graph(
    store: GraphStore,
    ontology: Ontology | None,
    properties: Collection[str],
    writer: FolderWriter,
) -> None:
    """Write the arrays of a store's graph; see :class:`MappedGraph`.

    Raises DataError if the store does not give its items in the order of their ids.
    """
    lookup = _write_items(store, writer)
    spill = _Spill(writer.path, len(lookup))
    pairs = _Pairs(properties, ontology)
    spill.add("stated", store.triples(TRUSTED_RANKS), lookup, pairs)
    if ontology is not None:
        spill.add("lost", losing_batches(store, ontology), lookup, pairs)
    order, place = pairs.sorted()
    indptr = writer.array("indptr", "<i8")
    pair = writer.array("pair", "<i4")
    indptr.append(np.zeros(1, np.int64))
    for counts, numbers in spill.sorted(place):
        indptr.append(pair.count + counts.cumsum())
        pair.append(numbers)
    names = writer.texts("properties")
    values = writer.texts("values")
    names.append([name for name, _ in order])
    values.append([value for _, value in order])


def _write_items(store: GraphStore, writer: FolderWriter) -> _Lookup:
    """Write what is known of the items; return a lookup of their ids."""
    ids, titles, images = (writer.texts(name) for name in ("items", "titles", "images"))
    lookup = _Lookup()
    categories: dict[str, int] = {}
    raw = writer.path / "categories.first"
    last = None
    with raw.open("wb") as first_numbers:
        for batch in store.items():
            batch = without_predicted_categories(batch).select(_ITEM_COLUMNS)
            if not len(batch):
                continue
            last = _check_order(batch["id"], last)
            lookup.add(batch["id"])
            ids.append(batch["id"])
            titles.append(batch["title"])
            _append_first(images, batch["images"])
            encoded = pc.fill_null(batch["category"], "").dictionary_encode()
            names = encoded.dictionary.to_pylist()
            own = np.array([categories.setdefault(each, len(categories)) for each in names])
            own[encoded.indices.to_numpy(zero_copy_only=False)].astype("<i8").tofile(first_numbers)
    position = {name: number for number, name in enumerate(sorted(categories))}
    in_order = np.array([position[name] for name in categories], np.int64)
    category = writer.array("category", "<i8")
    if categories:
        for numbers in _chunks(np.memmap(raw, "<i8", "r")):
            category.append(in_order[numbers])
    raw.unlink()
    lookup.finish()
    return lookup


def _append_first(images: TextWriter, lists: pa.Array) -> None:
    """Add the first image of each list."""
    images.append(pa.array([each[0] if each else None for each in lists.to_pylist()], pa.string()))


def _check_order(ids: pa.Array, last: str | None) -> str:
    """Return the last of the ids; raise DataError unless they and the one before ascend."""
    # Arrow compares texts by their bytes, as stores order them.
    ascends = pc.all(pc.less(ids[:-1], ids[1:]), min_count=0).as_py()
    first = ids[0].as_py()
    if not ascends or (last is not None and last.encode() >= first.encode()):
        raise DataError(
            f"the store does not give its items in the order of their ids, about {first!r}: "
            "check it with `catalograph verify`"
        )
    return str(ids[-1].as_py())


class _Lookup:
    """Finds the numbers of ids by 64 bits of a hash, which take less than the ids themselves."""

    def __init__(self) -> None:
        self._batches: list[NDArray[np.uint64]] = []
        self._hashes: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._order: IntArray = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._hashes)

    def add(self, ids: pa.Array) -> None:
        """Number further ids, in their order."""
        self._batches.append(_hashes(ids))

    def finish(self) -> None:
        """Prepare the lookup; raise DataError if two ids cannot be told apart."""
        hashes = np.concatenate([self._hashes, *self._batches])
        self._batches.clear()
        self._order = np.argsort(hashes)
        self._hashes = hashes[self._order]
        # Of 100 million ids, two have the same 64 bits in one of 3,700 catalogues.
        same = np.flatnonzero(self._hashes[1:] == self._hashes[:-1])
        if len(same):
            first, second = np.sort(self._order[same[0] : same[0] + 2] + 1).tolist()
            raise DataError(
                f"the ids of the items number {first:,} and {second:,}, in the order of their ids, "
                "have the same hash, so that their statements would be mixed: change one of them"
            )

    def numbers(self, ids: pa.Array) -> IntArray:
        """Return the numbers of ids [N]."""
        encoded = ids.dictionary_encode()
        wanted = _hashes(encoded.dictionary)
        # In order, so that the search goes through memory once.
        order = np.argsort(wanted)
        places = np.empty(len(wanted), np.int64)
        places[order] = np.searchsorted(self._hashes, wanted[order])
        places = np.minimum(places, len(self) - 1)
        unknown = np.flatnonzero(self._hashes[places] != wanted)
        if len(unknown):
            raise DataError(
                f"the store has statements of an item {encoded.dictionary[unknown[0]].as_py()!r}, "
                "which it has not: check it with `catalograph verify`"
            )
        return self._order[places][encoded.indices.to_numpy(zero_copy_only=False)]


def _hashes(ids: pa.Array) -> NDArray[np.uint64]:
    from pandas.util import hash_array

    found: NDArray[np.uint64] = hash_array(
        np.asarray(ids.to_pylist(), dtype=object), categorize=False
    )
    return found


class _Pairs:
    """Numbers pairs of property and value in the order in which they are first seen.

    Only those of some ``properties`` are numbered: a catalogue has few values that are classes, but
    as many numbers of articles as items.
    """

    def __init__(self, properties: Collection[str], ontology: Ontology | None) -> None:
        self._properties = frozenset(properties)
        self._ontology = ontology
        self._written: dict[tuple[str, str], int] = {}
        self._shown: dict[tuple[str, str], int] = {}

    def encode(self, property: pa.Array, value: pa.Array) -> IntArray:
        """Return the numbers [N] of the pairs of statements; -1 for other properties."""
        distinct = DistinctPairs.of(property, value)
        numbers = [self._number(name, text) for name, text in distinct.pairs]
        return np.array(numbers, np.int64)[distinct.of_statement]

    def _number(self, name: str, text: str) -> int:
        if name not in self._properties:
            return -1
        number = self._written.get((name, text))
        if number is None:
            # Texts that the ontology takes for one value are one here: the one that it shows.
            shown = text if self._ontology is None else self._ontology.shown(name, text)
            number = self._shown.setdefault((name, shown), len(self._shown))
            self._written[name, text] = number
        return number

    def sorted(self) -> tuple[list[tuple[str, str]], IntArray]:
        """Return the pairs in order, and the place there of each number [D]."""
        order = sorted(self._shown)
        place = {pair: number for number, pair in enumerate(order)}
        return order, np.array([place[pair] for pair in self._shown], np.int64)


class _Spill:
    """Statements in files of a folder, by the range of items that they are of, until all are there.

    A range is small enough to be sorted in memory. A statement takes 8 bytes: the number of its
    item in the range, and that of its pair.
    """

    def __init__(self, folder: Path, items: int) -> None:
        self._folder = folder
        self._items = items
        self._width = max(ITEMS_PER_PART, -(-items // PARTS))
        self._parts = -(-items // self._width)

    def add(
        self, name: str, batches: Iterator[pa.RecordBatch], lookup: _Lookup, pairs: _Pairs
    ) -> None:
        """Add statements under a name."""
        for batch in batches:
            pair = pairs.encode(batch["property"], batch["value"])
            kept = pair >= 0
            if not kept.any():
                continue
            item = lookup.numbers(batch["item"])[kept]
            packed = ((item % self._width) << _PAIR_BITS) | pair[kept]
            part = item // self._width
            order = np.argsort(part, kind="stable")
            bounds = np.searchsorted(part[order], np.arange(self._parts + 1))
            for number in np.unique(part).tolist():
                with self._path(name, number).open("ab") as stream:
                    packed[order[bounds[number] : bounds[number + 1]]].tofile(stream)

    def sorted(self, place: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield the statements of each range of items, and remove its files.

        Each comes as the number of statements of its items [W], and their pairs [M] in order, which
        are renumbered by ``place`` [D]. A statement that is there twice, as two sources may write
        it in different ways, counts once; one that is among those that ``lost`` does not count.
        """
        for number in range(self._parts):
            keys = np.unique(self._keys("stated", number, place))
            lost = self._keys("lost", number, place)
            if len(lost):
                keys = keys[~np.isin(keys, lost)]
            first = number * self._width
            width = min(self._width, self._items - first)
            item = keys >> _PAIR_BITS
            yield np.bincount(item, minlength=width), keys & _PAIR_MASK

    def _keys(self, name: str, number: int, place: IntArray) -> IntArray:
        path = self._path(name, number)
        if not path.exists():
            return np.zeros(0, np.int64)
        packed = np.fromfile(path, np.int64)
        path.unlink()
        return (packed & ~_PAIR_MASK) | place[packed & _PAIR_MASK]

    def _path(self, name: str, number: int) -> Path:
        return self._folder / f"{name}.{number}"


def _chunks(array: IntArray, size: int = 1 << 20) -> Iterator[IntArray]:
    """Yield an array [N] in pieces."""
    for start in range(0, len(array), size):
        yield array[start : start + size]
