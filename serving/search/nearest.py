"""The items nearest to a vector: all compared, or by an approximate index of faiss.

A product with the whole matrix is exact, and for one query faster than faiss's own flat index. From
some size on, a graph (HNSW) or lists of like vectors (IVF) are faster; how many of the nearest they
find is measured when they are made, and their effort is chosen by that.

Shapes: N items, R vectors that are compared with a query, T others, D their width.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.pretrained_folder import Vectors
from schema.arrays import BoolArray, IntArray
from schema.files import write_atomically
from serving.search.parts import Part, Vector

HNSW_FROM = 50_000
"""Vectors from which a graph beats the product with all of them (benchmarks/search.py)."""
IVF_FROM = 500_000
"""Vectors from which a graph takes minutes to make."""
LINKS = 32
BUILD_EFFORT = 40
"""HNSW's M and efConstruction."""
LEAST_PER_LIST = 39
"""Vectors from which faiss learns where a list lies, without a warning."""
EFFORTS = {"hnsw": (128, 256, 512, 1024), "ivf": (32, 64, 128, 256)}
"""Values of efSearch and nprobe, from which one is chosen by the recall that it gives."""
ENOUGH_RECALL = 0.97
"""Of the nearest that a search takes as candidates; of the first ten it is higher."""
MEASURED = 100
"""How many of the nearest recall is measured by: as many as a search takes as candidates."""
_QUERIES = 200
"""Vectors by which recall is measured."""
FEW = 1 / 8
"""If a filter leaves a smaller share of the items, all of those are compared."""
TAIL = 0.1
"""If more of the vectors are not in an approximate index, it is made anew; else they are added."""
DEAD = 0.25
"""If more of its vectors belong to no item any more, it is made anew."""
_MAGIC = b"catalograph vectors 1\n"
_DIGEST = 16


class Method(StrEnum):
    """How the nearest vectors are found."""

    FLAT = "flat"
    HNSW = "hnsw"
    IVF = "ivf"


def method_for(count: int) -> Method:
    """Return the method for so many vectors."""
    if count < HNSW_FROM:
        return Method.FLAT
    return Method.HNSW if count < IVF_FROM else Method.IVF


class Approximate:
    """An approximate index of R vectors [R, D], made by faiss.

    Attributes:
        method: its kind
        effort: efSearch or nprobe
        recall: how many of the ``MEASURED`` nearest it finds, as a share
    """

    def __init__(self, index: Any, method: Method, effort: int, recall: float) -> None:
        self.index = index
        self.method = method
        self.effort = effort
        self.recall = recall

    @classmethod
    def build(cls, vectors: Vectors, method: Method) -> Approximate:
        """Index vectors [R, D] of length 1."""
        faiss = _faiss()

        width = vectors.shape[1]
        index: Any
        if method is Method.HNSW:
            index = faiss.IndexHNSWFlat(width, LINKS, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = BUILD_EFFORT
        else:
            lists = max(1, min(int(4 * np.sqrt(len(vectors))), len(vectors) // LEAST_PER_LIST))
            index = faiss.IndexIVFFlat(
                faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT
            )
            # Faiss draws what it learns from by a seed of its own.
            index.train(vectors)
        index.add(vectors)
        made = cls(index, method, EFFORTS[method][-1], 1.0)
        made.measure(vectors)
        return made

    def measure(self, vectors: Vectors) -> None:
        """Choose the effort by the recall that it gives, with some of the vectors as queries.

        Queries of people lie farther from the items than these from each other: of 73 such, MiniLM
        and 15,000 items, .969 of the 100 nearest were found where .994 was measured. So the effort
        is the one after the first that is enough.
        """
        rng = np.random.default_rng(0)
        places = rng.choice(len(vectors), min(_QUERIES, len(vectors)), replace=False)
        queries = vectors[places]
        count = min(MEASURED, len(vectors))
        cosines = queries @ vectors.T
        nearest = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        enough = False
        for effort in EFFORTS[self.method]:
            found = self._search(queries, count, effort, None)[1]
            shares = [
                len(np.intersect1d(one, other)) / count
                for one, other in zip(found, nearest, strict=True)
            ]
            self.effort = effort
            self.recall = round(float(np.mean(shares)), 4)
            if enough:
                return
            enough = self.recall >= ENOUGH_RECALL

    def nearest(self, vector: Vector, count: int, usable: BoolArray | None) -> IntArray:
        """Return the places of the vectors nearest to one [D], those that are ``usable`` [R]."""
        effort = self.effort
        if usable is not None:
            # Of what is visited, only the share that may be found counts.
            effort = int(min(4 * EFFORTS[self.method][-1], effort / max(usable.mean(), FEW / 2)))
        _, places = self._search(vector[None], count, effort, usable)
        found: IntArray = places[0][places[0] >= 0].astype(np.int64)
        return found

    def _search(
        self, queries: Vectors, count: int, effort: int, usable: BoolArray | None
    ) -> tuple[Vectors, IntArray]:
        faiss = _faiss()

        selector = None
        if usable is not None:
            bits = np.packbits(usable, bitorder="little")
            selector = faiss.IDSelectorBitmap(bits)
        parameters: Any
        if self.method is Method.HNSW:
            parameters = faiss.SearchParametersHNSW(sel=selector, efSearch=max(effort, count))
        else:
            parameters = faiss.SearchParametersIVF(sel=selector, nprobe=effort)
        queries = np.ascontiguousarray(queries, np.float32)
        return self.index.search(queries, count, params=parameters)

    def with_added(self, vectors: Vectors) -> None:
        """Add vectors [T, D]."""
        self.index.add(np.ascontiguousarray(vectors, np.float32))


@dataclass(frozen=True)
class Bank:
    """The vectors of a space by the hash of what they were made from.

    Attributes:
        space: the space
        base: vectors [R, D]
        tail: further ones [T, D], which an approximate index has not
        row_of: the row of each hash in both, one after the other
        approximate: an approximate index of ``base``, if there is one
    """

    space: str
    base: Vectors
    tail: Vectors
    row_of: Mapping[bytes, int]
    approximate: Approximate | None = None

    @classmethod
    def of(cls, space: str, vectors: Mapping[bytes, bytes]) -> Bank:
        """Return a bank of vectors, given as bytes."""
        base = _stacked(list(vectors.values()))
        row_of = {digest: row for row, digest in enumerate(vectors)}
        return cls(space, base, base[:0], row_of)

    @property
    def method(self) -> Method:
        """How the nearest are found."""
        return Method.FLAT if self.approximate is None else self.approximate.method

    def with_tail(self, vectors: Mapping[bytes, bytes]) -> Bank:
        """Return the bank with further vectors."""
        if not vectors:
            return self
        if not self.row_of:
            return Bank.of(self.space, vectors)
        added = _stacked(list(vectors.values()))
        tail = np.concatenate([self.tail, added]) if len(self.tail) else added
        first = len(self.base) + len(self.tail)
        row_of = {**self.row_of, **{digest: first + row for row, digest in enumerate(vectors)}}
        return Bank(self.space, self.base, tail, row_of, self.approximate)

    def cosines(self, vector: Vector) -> Vectors:
        """Return the cosines [R + T] of all vectors with one [D]."""
        if not len(self.tail):
            return self.base @ vector
        return np.concatenate([self.base @ vector, self.tail @ vector])

    def cosines_of(self, vector: Vector, rows: IntArray) -> Vectors:
        """Return the cosines [M] of the vectors of M rows with one [D]."""
        if not len(rows):
            return np.zeros(0, np.float32)
        first = len(self.base)
        if not len(self.tail):
            return self.base[rows] @ vector
        found = np.empty(len(rows), np.float32)
        of_base = rows < first
        found[of_base] = self.base[rows[of_base]] @ vector
        found[~of_base] = self.tail[rows[~of_base] - first] @ vector
        return found

    def vector(self, row: int) -> Vector:
        """Return the vector [D] of a row."""
        first = len(self.base)
        return self.base[row] if row < first else self.tail[row - first]


class Space:
    """The vectors of N items, given by their numbers [N], which are sorted, and rows [N]."""

    def __init__(self, bank: Bank, numbers: IntArray, rows: IntArray) -> None:
        self.bank = bank
        self.numbers = numbers
        self.rows = rows
        if bank.approximate is not None:
            # An item of each row, or several: they may have the same text, or image.
            self._by_row = np.argsort(rows, kind="stable")
            self._sorted_rows = rows[self._by_row]

    @classmethod
    def of_items(cls, numbers: IntArray, vectors: Vectors) -> Space:
        """Return the vectors [N, D] of items, each its own."""
        return cls(Bank("", vectors, vectors[:0], {}), numbers, np.arange(len(numbers)))

    def __len__(self) -> int:
        return len(self.numbers)

    def cosines(self, vector: Vector, numbers: Sequence[int]) -> Vectors:
        """Return the cosines [M] of items with a vector [D]; 0 for those without one."""
        wanted = np.asarray(numbers, np.int64)
        found = np.zeros(len(wanted), np.float32)
        known, places = self._places(wanted)
        found[known] = self.bank.cosines_of(vector, self.rows[places])
        return found

    def has(self, numbers: Sequence[int]) -> BoolArray:
        """Return which items [M] have a vector."""
        return self._places(np.asarray(numbers, np.int64))[0]

    def own(self, number: int) -> Vector | None:
        """Return the vector [D] of an item; None if it has none."""
        known, places = self._places(np.array([number], np.int64))
        return np.asarray(self.bank.vector(int(self.rows[places[0]]))) if known[0] else None

    def nearest(self, vector: Vector, count: int, allowed: BoolArray | None = None) -> IntArray:
        """Return the numbers of the items nearest to a vector [D], the nearest first.

        ``allowed`` says by number which items may be returned.
        """
        usable = None if allowed is None else allowed[self.numbers]
        left = len(self) if usable is None else int(usable.sum())
        if not left:
            return np.zeros(0, np.int64)
        if usable is not None and left <= FEW * len(self):
            places = np.flatnonzero(usable)
            cosines = self.bank.cosines_of(vector, self.rows[places])
        elif self.bank.approximate is None:
            cosines = self.bank.cosines(vector)[self.rows]
            places = np.arange(len(self)) if usable is None else np.flatnonzero(usable)
            cosines = cosines if usable is None else cosines[places]
        else:
            places = self._approximate(vector, count, usable)
            cosines = self.bank.cosines_of(vector, self.rows[places])
        count = min(count, len(places))
        chosen = np.arange(len(places))
        if count < len(places):
            chosen = np.argpartition(-cosines, count - 1)[:count]
        # Items whose vectors are the same come in the order of their numbers.
        order = np.lexsort((self.numbers[places[chosen]], -cosines[chosen]))
        return self.numbers[places[chosen[order]]]

    def _approximate(self, vector: Vector, count: int, usable: BoolArray | None) -> IntArray:
        """Return the places of items among which the nearest are, nearly all of them."""
        approximate = self.bank.approximate
        if approximate is None:
            raise ValueError("there is no approximate index")
        first = len(self.bank.base)
        alive = np.zeros(first, bool)
        own = self.rows if usable is None else self.rows[usable]
        alive[own[own < first]] = True
        rows = approximate.nearest(
            vector, min(count, max(1, first)), None if alive.all() else alive
        )
        low = np.searchsorted(self._sorted_rows, rows, "left")
        high = np.searchsorted(self._sorted_rows, rows, "right")
        parts = [self._by_row[start:end] for start, end in zip(low, high, strict=True)]
        if len(self.bank.tail):
            parts.append(np.flatnonzero(self.rows >= first))
        places = np.concatenate([np.zeros(0, np.int64), *parts]).astype(np.int64)
        return places if usable is None else places[usable[places]]

    def _places(self, wanted: IntArray) -> tuple[BoolArray, IntArray]:
        """Return which items [M] are there, and the places of those that are."""
        if not len(self.numbers):
            return np.zeros(len(wanted), bool), np.zeros(0, np.int64)
        places = np.minimum(np.searchsorted(self.numbers, wanted), len(self.numbers) - 1)
        known = self.numbers[places] == wanted
        return known, places[known]


def index_file(folder: Path, part: Part) -> Path:
    """Return the file of the approximate index of a part."""
    return folder / f"nearest-{part.replace(' ', '-')}.faiss"


def save(folder: Path, part: Part, bank: Bank) -> None:
    """Write the approximate index of a bank, with its vectors, for :func:`load`."""
    faiss = _faiss()

    approximate = bank.approximate
    if approximate is None:
        raise ValueError("there is no approximate index")
    rows = sorted(bank.row_of, key=lambda digest: bank.row_of[digest])[: len(bank.base)]
    content = faiss.serialize_index(approximate.index).tobytes()
    digests = b"".join(rows)
    header = {
        "space": bank.space,
        "method": approximate.method,
        "effort": approximate.effort,
        "recall": approximate.recall,
        "vectors": len(rows),
        "width": bank.base.shape[1],
        "sha256": hashlib.sha256(digests + content).hexdigest(),
    }
    head = _MAGIC + json.dumps(header).encode() + b"\n"
    write_atomically(index_file(folder, part), head + digests + content)


def load(folder: Path, part: Part, space: str) -> Bank | None:
    """Read the approximate index of a part; None if there is none of that space, or no whole one.

    Faiss crashes on a damaged one, so its hash is compared first.
    """
    path = index_file(folder, part)
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if not data.startswith(_MAGIC):
        return None
    end = data.find(b"\n", len(_MAGIC))
    head, rest = data[len(_MAGIC) : max(end, 0)], memoryview(data)[end + 1 :]
    try:
        header = json.loads(head)
        method, effort = Method(header["method"]), int(header["effort"])
        count, width, recall = int(header["vectors"]), int(header["width"]), header["recall"]
        expected = (space, hashlib.sha256(rest).hexdigest())
        if (header["space"], header["sha256"]) != expected or method is Method.FLAT:
            return None
    except (ValueError, KeyError, TypeError):
        return None
    faiss = _faiss()

    digests, content = bytes(rest[: count * _DIGEST]), rest[count * _DIGEST :]
    index: Any = faiss.deserialize_index(np.frombuffer(content, np.uint8))
    base = _vectors_of(index, method, count, width)
    row_of = {digests[row * _DIGEST : (row + 1) * _DIGEST]: row for row in range(count)}
    return Bank(space, base, base[:0], row_of, Approximate(index, method, effort, float(recall)))


def _vectors_of(index: Any, method: Method, count: int, width: int) -> Vectors:
    """Return the vectors [R, D] of an index: its own memory where they lie in one piece."""
    faiss = _faiss()

    if method is Method.HNSW:
        storage = faiss.downcast_index(index.storage)
        return faiss.rev_swig_ptr(storage.get_xb(), count * width).reshape(count, width)
    index.make_direct_map()
    return index.reconstruct_n(0, count)


def built(bank: Bank) -> Bank:
    """Return a bank with all its vectors in one matrix, and in an approximate index of its size."""
    vectors = np.concatenate([bank.base, bank.tail]) if len(bank.tail) else bank.base
    method = method_for(len(vectors))
    approximate = None
    if method is not Method.FLAT:
        vectors = np.ascontiguousarray(vectors, np.float32)
        approximate = Approximate.build(vectors, method)
    return Bank(bank.space, vectors, vectors[:0], bank.row_of, approximate)


def grown(bank: Bank) -> Bank:
    """Return a bank whose approximate index has the tail, too."""
    approximate = bank.approximate
    if approximate is None or not len(bank.tail):
        return bank
    approximate.with_added(bank.tail)
    vectors = np.concatenate([bank.base, bank.tail])
    return Bank(bank.space, vectors, vectors[:0], bank.row_of, approximate)


def _stacked(vectors: Sequence[bytes]) -> NDArray[np.float32]:
    if not vectors:
        return np.zeros((0, 1), np.float32)
    joined = np.frombuffer(b"".join(vectors), "<f4").astype(np.float32)
    return joined.reshape(len(vectors), -1)


def _faiss() -> Any:
    """Import faiss, whose own types lack much of what it has."""
    import faiss

    return faiss
