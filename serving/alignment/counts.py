"""How often items have the features of several kinds, which depends on each item alone.

So the counts of a catalogue can be kept and joined with those of new items. Weights, which depend
on how many items have a feature, are computed from the joined counts.

Features are known by a hash of 64 bits: among ten million, two are the same with a probability of 3
in a million. They stand in the order of their hashes, whichever items were counted first.

Shapes: N items, F features of one kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from schema.arrays import FloatArray, IntArray
from schema.progress import ProgressCallback, no_progress
from serving.alignment.matrices import (
    compact,
    csr_of,
    joined,
    rows_with_each,
    with_columns_kept,
)
from serving.alignment.records import Record
from serving.alignment.texts import beginning, codes, compounds, numbers, trigrams
from serving.alignment.weights import Weights

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

AT_ONCE = 2000
"""Items whose features are counted together."""
DIGEST_BYTES = 16
Digests = NDArray[np.bytes_]
"""Digests of records: sorted like numbers, and compared whole."""


class Source(Enum):
    """Which text of an item features are counted in."""

    TITLE = "title"
    BEGINNING = "beginning of the title"
    TEXT = "text"

    def of(self, record: Record) -> str:
        """Return the text, casefolded."""
        match self:
            case Source.TITLE:
                return record.title.casefold()
            case Source.BEGINNING:
                return beginning(record.title.casefold())
            case Source.TEXT:
                return record.text.casefold()


@dataclass(frozen=True)
class Kind:
    """Features of one kind: in which text they are, and how they are found in it.

    ``options`` are those of scikit-learn's CountVectorizer; features of fewer than ``min_items``
    have no weight.
    """

    name: str
    source: Source
    options: Mapping[str, Any]
    min_items: int = 1


def _overlap(name: str, source: Source, features: Callable[[str], list[str]]) -> Kind:
    return Kind(name, source, {"analyzer": features, "binary": True})


BEGINNINGS = Kind("title beginning", Source.BEGINNING, {"analyzer": "char", "ngram_range": (4, 5)})
COSINES = (
    Kind("title words", Source.TITLE, {"token_pattern": r"\w+"}),
    Kind("title trigrams", Source.TITLE, {"analyzer": "char_wb", "ngram_range": (3, 3)}),
    Kind("title n-grams", Source.TITLE, {"analyzer": "char", "ngram_range": (4, 5)}),
    Kind("text words", Source.TEXT, {"token_pattern": r"\w+"}),
    Kind("text n-grams", Source.TEXT, {"analyzer": "char_wb", "ngram_range": (3, 5)}, 2),
)
"""The kinds whose cosines describe a pair."""
OVERLAPS = (
    _overlap("title words", Source.TITLE, compounds),
    _overlap("text words", Source.TEXT, compounds),
    _overlap("title trigrams", Source.TITLE, trigrams),
    _overlap("title codes", Source.TITLE, codes),
    _overlap("text codes", Source.TEXT, codes),
    _overlap("title numbers", Source.TITLE, numbers),
    _overlap("text numbers", Source.TEXT, numbers),
)
"""The kinds of which it counts what both items of a pair have."""
KINDS = (*COSINES, BEGINNINGS, *OVERLAPS)


@dataclass(frozen=True)
class Counts:
    """How often each of N items has each of F features: ``matrix`` [N, F].

    ``features`` [F] are their hashes, in order. Counts are stored in the smallest unsigned integers
    that hold them, which are bytes for all but very long texts.
    """

    features: NDArray[np.uint64]
    matrix: csr_matrix

    @classmethod
    def of(cls, texts: Sequence[str], options: Mapping[str, Any]) -> Counts:
        """Count the features of N texts."""
        from scipy.sparse import csr_matrix
        from sklearn.feature_extraction.text import CountVectorizer

        counter = CountVectorizer(dtype=np.int64, **options)
        try:
            matrix = counter.fit_transform(texts)
        except ValueError:
            # There is no word at all.
            return cls(np.zeros(0, np.uint64), csr_matrix((len(texts), 0), dtype=np.uint8))
        hashes = np.array([_hashed(name) for name in counter.get_feature_names_out()], np.uint64)
        features, columns = np.unique(hashes, return_inverse=True)
        return cls(features, _with_columns(matrix.tocsr(), columns, len(features)))

    def of_rows(self, rows: IntArray) -> Counts:
        """Return the counts of some items, or of items several times."""
        return Counts(self.features, self.matrix[rows])

    def placed_among(self, features: NDArray[np.uint64]) -> csr_matrix:
        """Return the matrix [N, F'] by more ``features`` [F'], which have all of these in order."""
        columns = np.searchsorted(features, self.features).astype(np.int32)
        matrix = self.matrix
        return csr_of(matrix.data, columns[matrix.indices], matrix.indptr, len(features))

    def items_with(self) -> IntArray:
        """Return how many items have each feature [F]."""
        return rows_with_each(self.matrix)

    def without_unused(self) -> Counts:
        """Leave out the features that no item has."""
        used = self.items_with() > 0
        if used.all():
            return self
        return Counts(self.features[used], with_columns_kept(self.matrix, used))

    def tf_idf(self, min_items: int = 1) -> Weights:
        """Return TF-IDF of unit length; features of fewer than ``min_items`` have the weight 0.

        An item's weight of a feature is (1 + ln count) (1 + ln((1 + N) / (1 + n))) before it is
        brought to unit length, if n of the N items have the feature.
        """
        frequencies = self.items_with()
        items = np.float32(1 + self.matrix.shape[0])
        rarity = 1 + np.log(items / (1 + frequencies.astype(np.float32)))
        of_features = np.where(frequencies >= min_items, rarity, 0)
        return self._weights(frequencies, of_features, is_tf_idf=True)

    def rarities(self) -> Weights:
        """Return ln((1 + N) / n) of each feature that an item has, of which n items have one."""
        frequencies = self.items_with()
        rarity = np.log((1 + self.matrix.shape[0]) / np.maximum(1, frequencies))
        return self._weights(frequencies, rarity, is_tf_idf=False)

    def _weights(
        self, frequencies: IntArray, of_features: FloatArray, *, is_tf_idf: bool
    ) -> Weights:
        matrix = self.matrix
        if not len(frequencies):
            # A column that no item has, since there is no greatest one of none.
            matrix = csr_of(matrix.data, matrix.indices, matrix.indptr, 1)
            frequencies = np.zeros(1, np.int64)
            of_features = np.zeros(1)
        return Weights(matrix, frequencies, of_features.astype(np.float32), is_tf_idf)


def _hashed(feature: str) -> int:
    digest = blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _with_columns(matrix: csr_matrix, columns: IntArray, width: int) -> csr_matrix:
    """Return a matrix whose columns stand at the places ``columns`` [F] of ``width``."""
    found = csr_of(matrix.data, columns.astype(np.int32)[matrix.indices], matrix.indptr, width)
    found.sum_duplicates()
    found.data = compact(found.data)
    return found


def stacked(parts: Sequence[Counts]) -> Counts:
    """Return the counts of the items of all parts, one part after the other."""
    features = np.unique(np.concatenate([part.features for part in parts]))
    entries = sum(part.matrix.nnz for part in parts)
    dtype = np.result_type(*(part.matrix.dtype for part in parts))
    # Both are in the order of the hashes, so that the columns of a row remain in order.
    placed = (part.placed_among(features) for part in parts)
    return Counts(features, joined(placed, entries, dtype, len(features)))


def digests_of(records: Sequence[Record]) -> Digests:
    """Return a digest of all that is known of each record [N]."""
    return np.array([record.digest for record in records], f"S{DIGEST_BYTES}")


@dataclass(frozen=True)
class CountedRecords:
    """N records by their ``digests`` [N], and their counts of every one of the KINDS, in order."""

    digests: Digests
    kinds: tuple[Counts, ...]

    def __len__(self) -> int:
        return len(self.digests)

    @classmethod
    def of(
        cls, records: Sequence[Record], progress: ProgressCallback = no_progress
    ) -> CountedRecords:
        """Count the features of records."""
        parts: list[list[Counts]] = [[] for _ in KINDS]
        for start in range(0, max(1, len(records)), AT_ONCE):
            part = records[start : start + AT_ONCE]
            texts = {source: [source.of(record) for record in part] for source in Source}
            for found, kind in zip(parts, KINDS, strict=True):
                found.append(Counts.of(texts[kind.source], kind.options))
            progress(start + len(part), len(records))
        kinds = []
        for found in parts:
            kinds.append(stacked(found))
            # Else all are held twice in the end.
            found.clear()
        return cls(digests_of(records), tuple(kinds))

    def of_kind(self, kind: Kind) -> Counts:
        """Return the counts of one of the KINDS."""
        return self.kinds[KINDS.index(kind)]

    def of_rows(self, rows: IntArray) -> CountedRecords:
        """Return some records, or records several times."""
        return CountedRecords(self.digests[rows], tuple(each.of_rows(rows) for each in self.kinds))


@dataclass(frozen=True)
class Counting:
    """The counts of N records, and of how many they had to be counted."""

    counted: CountedRecords
    new: int


def count_records(
    records: Sequence[Record],
    kept: CountedRecords | None = None,
    progress: ProgressCallback = no_progress,
) -> Counting:
    """Return the counts of records, in their order; only those that are not ``kept`` are counted.

    They are the same with and without any that are kept, but for features that no record has.
    """
    digests = digests_of(records)
    if kept is None or not len(kept):
        return Counting(CountedRecords.of(records, progress), len(records))
    missing = np.flatnonzero(~np.isin(digests, kept.digests))
    if not len(missing) and np.array_equal(digests, kept.digests):
        return Counting(kept, 0)
    if not len(missing):
        rows = _places(kept.digests, digests)
        return Counting(CountedRecords(digests, kept.of_rows(rows).kinds), 0)
    new = CountedRecords.of([records[row] for row in missing.tolist()], progress)
    rows = _places(np.concatenate([kept.digests, new.digests]), digests)
    kinds = tuple(
        stacked([ours, theirs]).of_rows(rows)
        for ours, theirs in zip(kept.kinds, new.kinds, strict=True)
    )
    return Counting(CountedRecords(digests, kinds), len(missing))


def _places(known: Digests, digests: Digests) -> IntArray:
    """Return where the first of each of N digests is among the known ones, which have them all."""
    order = np.argsort(known, kind="stable")
    return order[np.searchsorted(known[order], digests)]
