"""A frozen copy of the graph for training: int64 triples with an index, read in one pass."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kg.source_conflicts import losing_batches
from schema.arrays import IntArray
from schema.errors import DataError
from schema.terms import CATEGORY_SEPARATOR, PREDICTION_SOURCE, TRUSTED_RANKS, Rank

if TYPE_CHECKING:
    from kg.stores.protocol import GraphStore
    from schema.ontology import Ontology

TRIPLES_PER_WRITE = 1_000_000
_READ_COLUMNS = ("id", "title", "category", "images")
_NO_TEXTS = pa.array([], pa.large_string())
_NO_LISTS = pa.array([], pa.large_list(pa.large_string()))


@dataclass(frozen=True)
class ItemDetails:
    """What else is known of the I items of a snapshot: their descriptions and all of their images.

    Both are Arrow arrays, which take little more than the texts themselves: of a million items
    there would be several million Python objects.
    """

    descriptions: pa.Array
    images: pa.Array

    def description(self, item: int) -> str | None:
        """Return the description of the item at an index; None if it has none, or an empty one."""
        return self.descriptions[item].as_py() or None

    def images_of(self, item: int) -> list[str]:
        """Return the paths and addresses of all images of the item at an index, in their order."""
        return self.images[item].as_py() or []


@dataclass(frozen=True)
class GraphSnapshot:
    """I items, P properties, V value strings (shared by all properties) and N statements.

    Texts that the ontology takes for one value are one here: the one that it shows.
    ``triples`` [N, 3] int64 are (item, property, value) indices, sorted. ``indptr`` [I + 1] gives
    the position where each item's triples begin. Both are memory-mapped if the snapshot was read
    into a folder. ``images`` are the first ones; ``details`` are there if they were asked for.
    """

    items: list[str]
    titles: list[str | None]
    categories: list[str | None]
    images: list[str | None]
    properties: list[str]
    values: list[str]
    triples: IntArray
    indptr: IntArray
    details: ItemDetails | None = None

    def statements_of(self, item: int) -> list[tuple[str, str]]:
        """Return the (property, value) pairs of the item at an index."""
        rows = self.triples[self.indptr[item] : self.indptr[item + 1]]
        return [(self.properties[p], self.values[v]) for _, p, v in rows]

    def category_path(self, item: int) -> tuple[str, ...]:
        """Return the levels of an item's category, the broadest first; none if it has none."""
        category = self.categories[item]
        return tuple(category.split(CATEGORY_SEPARATOR)) if category else ()

    def images_of(self, item: int) -> list[str]:
        """Return an item's images, the first one alone if the snapshot has no details."""
        if self.details is not None:
            return self.details.images_of(item)
        image = self.images[item]
        return [image] if image else []


def read_snapshot(
    store: GraphStore,
    folder: Path | None = None,
    ranks: Sequence[Rank] = TRUSTED_RANKS,
    ontology: Ontology | None = None,
    *,
    details: bool = False,
    predicted_categories: bool = True,
) -> GraphSnapshot:
    """Read the items, and the statements of these ranks, in one pass.

    Values are those that the ``ontology`` shows; without one, the texts as they are. Of a property
    of which an item has one value, what loses against another source is left out
    (:mod:`kg.source_conflicts`); without an ontology, nothing is. Descriptions and further images
    are read if ``details`` are asked for: they can take more memory than all else together.
    Without ``predicted_categories``, those that a model has guessed are left out.
    With a ``folder``, the arrays are written there and memory-mapped. While it is read, a statement
    is packed into one number of 8 bytes: 10 million of them take 80 MB, plus each string once.
    """
    from kg.stores.tables import ITEM_SCHEMA

    columns = [*_READ_COLUMNS, *(["description"] if details else [])]
    items = pa.Table.from_batches(
        [
            (batch if predicted_categories else without_predicted_categories(batch)).select(columns)
            for batch in store.items()
        ],
        schema=pa.schema([ITEM_SCHEMA.field(name) for name in columns]),
    )
    items = items.take(pa.array(_sort_order(items["id"].to_pylist())))
    item_ids = items["id"].combine_chunks()

    properties = StringNumbers()
    values = StringNumbers()
    value_numbers = _ValueNumbers(values, ontology)

    def numbered(batch: pa.RecordBatch) -> NDArray[np.int32]:
        """Return triples [N, 3] as numbers."""
        item = pc.index_in(batch["item"], value_set=item_ids).to_numpy(zero_copy_only=False)
        property = properties.encode(batch["property"])
        numbers = [item, property, value_numbers.encode(batch["property"], batch["value"])]
        # int32 halves the memory that is needed until the triples are packed.
        return np.stack(numbers, axis=1).astype(np.int32)

    triples = []
    for batch in _gathered(store.triples(ranks), items.num_rows):
        triples.append(numbered(batch))
    lost = []
    for batch in losing_batches(store, ontology) if ontology is not None else ():
        lost.append(numbered(batch))

    packing = TriplePacking(items.num_rows, len(properties), len(values))
    positions = properties.sorted_positions(), values.sorted_positions()
    keys = _sorted_keys(triples, packing, *positions)
    if ontology is not None:
        # Two sources may write the same value of an item in different ways.
        keys = keys[np.flatnonzero(np.diff(keys, prepend=-1))]
        if lost:
            keys = _without(keys, _sorted_keys(lost, packing, *positions))
    first_keys = np.arange(items.num_rows + 1) * packing.keys_per_item
    indptr = np.searchsorted(keys, first_keys).astype(np.int64)
    return GraphSnapshot(
        items=items["id"].to_pylist(),
        titles=items["title"].to_pylist(),
        categories=_share_equal(items["category"].to_pylist()),
        images=[images[0] if images else None for images in items["images"].to_pylist()],
        properties=properties.sorted(),
        values=values.sorted(),
        triples=_unpack_triples(keys, packing, folder),
        indptr=_save(indptr, "indptr", folder) if folder else indptr,
        details=_details(items) if details else None,
    )


def without_predicted_categories(items: pa.RecordBatch) -> pa.RecordBatch:
    """Return items without the categories that a model has guessed."""
    from kg.stores.item_categories import is_predicted, written_by

    may_be = written_by(items, [PREDICTION_SOURCE])
    places = np.flatnonzero(may_be.to_numpy(zero_copy_only=False))
    guessed = np.zeros(len(items), bool)
    for place in places.tolist():
        (row,) = items.slice(place, 1).to_pylist()
        guessed[place] = is_predicted(row)
    category = pc.if_else(pa.array(guessed), pa.scalar(None, pa.string()), items["category"])
    number = items.schema.get_field_index("category")
    return items.set_column(number, items.schema.field("category"), category)


def _gathered(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Yield batches of so many rows at least, but for the last one.

    To look up items takes time for all of them, however few are looked up.
    """
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        if count >= rows:
            yield from _joined(waiting)
            waiting = []
            count = 0
    if waiting:
        yield from _joined(waiting)


def _joined(batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    return pa.Table.from_batches(batches).combine_chunks().to_batches()


def _details(items: pa.Table) -> ItemDetails:
    """Return the descriptions and images of a table of items, each as one array."""
    return ItemDetails(
        # Texts of more than 2 GiB do not fit into one array with offsets of 32 bits.
        pa.concat_arrays(items["description"].cast(pa.large_string()).chunks or [_NO_TEXTS]),
        pa.concat_arrays(
            items["images"].cast(pa.large_list(pa.large_string())).chunks or [_NO_LISTS]
        ),
    )


def _sort_order(ids: list[str]) -> IntArray:
    """Return the positions of the ids in sorted order."""
    if not ids:
        return np.zeros(0, np.int64)
    # As objects: in an array of strings numpy would pad every id to the length of the longest.
    return np.argsort(np.asarray(ids, dtype=object), kind="stable")


class StringNumbers:
    """Distinct strings, numbered in the order in which they are first seen."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def encode(self, column: pa.Array) -> IntArray:
        """Return the numbers of a column's strings [N]; strings not seen before get new ones."""
        encoded = column.dictionary_encode()
        strings = encoded.dictionary.to_pylist()
        if not strings:
            return np.zeros(0, np.int64)
        numbers = [self._numbers.setdefault(text, len(self._numbers)) for text in strings]
        return np.array(numbers, np.int64)[encoded.indices.to_numpy(zero_copy_only=False)]

    def sorted(self) -> list[str]:
        """Return the strings in sorted order."""
        return sorted(self._numbers)

    def sorted_positions(self) -> IntArray:
        """Return each number's position in the sorted order [W]."""
        position = {text: place for place, text in enumerate(self.sorted())}
        return np.array([position[text] for text in self._numbers], dtype=np.int64)


@dataclass(frozen=True)
class DistinctPairs:
    """The D different pairs of property and value of N statements: few, and each looked up once.

    ``of_statement`` [N] is the number of each statement's pair among ``pairs`` [D].
    """

    pairs: list[tuple[str, str]]
    of_statement: IntArray

    @classmethod
    def of(cls, property: pa.Array, value: pa.Array) -> DistinctPairs:
        """Return the pairs of the properties and values [N] of statements."""
        names = property.dictionary_encode()
        texts = value.dictionary_encode()
        width = max(1, len(texts.dictionary))
        keys = names.indices.to_numpy(zero_copy_only=False).astype(np.int64) * width
        keys += texts.indices.to_numpy(zero_copy_only=False)
        distinct, inverse = np.unique(keys, return_inverse=True)
        name_of = names.dictionary.to_pylist()
        text_of = texts.dictionary.to_pylist()
        pairs = [(name_of[key // width], text_of[key % width]) for key in distinct.tolist()]
        return cls(pairs, inverse)


class _ValueNumbers:
    """Numbers the values of statements, equal ones of a property alike."""

    def __init__(self, values: StringNumbers, ontology: Ontology | None) -> None:
        self._values = values
        self._ontology = ontology
        self._shown: dict[str, dict[str, str]] = {}

    def encode(self, property: pa.Array, value: pa.Array) -> IntArray:
        """Return the numbers of the values [N] of statements."""
        if self._ontology is None:
            return self._values.encode(value)
        distinct = DistinctPairs.of(property, value)
        shown = [self._shown_as(name, text) for name, text in distinct.pairs]
        return self._values.encode(pa.array(shown, pa.string()))[distinct.of_statement]

    def _shown_as(self, name: str, text: str) -> str:
        known = self._shown.setdefault(name, {})
        shown = known.get(text)
        if shown is None and self._ontology is not None:
            shown = known[text] = self._ontology.shown(name, text)
        return text if shown is None else shown


@dataclass(frozen=True)
class TriplePacking:
    """Triples as single numbers: (item * properties + property) * values + value."""

    items: int
    properties: int
    values: int

    def __post_init__(self) -> None:
        if float(self.items) * self.properties * self.values >= 2.0**63:
            raise DataError(
                f"{self.items:,} items x {self.properties:,} properties x {self.values:,} values "
                "are too many for one snapshot: split the catalogue"
            )

    @property
    def keys_per_item(self) -> int:
        """How many different keys an item's triples can have."""
        return self.properties * self.values

    def pack(self, item: IntArray, property: IntArray, value: IntArray) -> IntArray:
        """Return the keys [N] of triples."""
        return (item * self.properties + property) * self.values + value

    def unpack(self, keys: IntArray) -> IntArray:
        """Return the triples [N, 3] of keys [N]."""
        # An empty graph has no property and no value to divide by.
        item = keys // max(1, self.keys_per_item)
        property = keys // max(1, self.values) % max(1, self.properties)
        value = keys % max(1, self.values)
        return np.stack([item, property, value], axis=1)


def _sorted_keys(
    columns: list[NDArray[np.int32]],
    packing: TriplePacking,
    property_positions: IntArray,
    value_positions: IntArray,
) -> IntArray:
    """Return the keys [N] of all triples in ascending order.

    ``columns`` is emptied on the way, so that both forms are never held in memory completely.
    """
    keys = np.empty(sum(map(len, columns)), dtype=np.int64)
    end = len(keys)
    while columns:
        batch = columns.pop()
        item = batch[:, 0].astype(np.int64)
        keys[end - len(batch) : end] = packing.pack(
            item, property_positions[batch[:, 1]], value_positions[batch[:, 2]]
        )
        end -= len(batch)
    keys.sort()
    return keys


def _without(keys: IntArray, removed: IntArray) -> IntArray:
    """Return sorted keys [N], each there once, without others [M]."""
    places = np.minimum(np.searchsorted(keys, removed), max(len(keys) - 1, 0))
    return np.delete(keys, places[keys[places] == removed]) if len(keys) else keys


def _unpack_triples(keys: IntArray, packing: TriplePacking, folder: Path | None) -> IntArray:
    """Return the triples [N, 3] of keys [N]; with a folder, in a memory-mapped file."""
    if folder is None:
        return packing.unpack(keys)
    path, temporary = _array_paths(folder, "triples")
    triples = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.int64, shape=(len(keys), 3))
    for start in range(0, len(keys), TRIPLES_PER_WRITE):
        end = start + TRIPLES_PER_WRITE
        triples[start:end] = packing.unpack(keys[start:end])
    triples.flush()
    temporary.replace(path)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _save(array: IntArray, name: str, folder: Path) -> IntArray:
    """Write an array into a folder and map it into memory."""
    path, temporary = _array_paths(folder, name)
    np.save(temporary, array)
    temporary.replace(path)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _array_paths(folder: Path, name: str) -> tuple[Path, Path]:
    """Return an array's path and the one to write it to before it is moved there.

    Another process may have the previous file mapped, so it must not be written over.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.npy", folder / f"{name}.{os.getpid()}.npy"


def _share_equal(texts: list[str | None]) -> list[str | None]:
    """Return the same texts, equal ones being one object: a catalogue has few categories."""
    first: dict[str, str] = {}
    return [None if text is None else first.setdefault(text, text) for text in texts]
