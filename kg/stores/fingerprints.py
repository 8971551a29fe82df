"""Fingerprints of rows, by which contents of any size are compared in little memory.

A row becomes a *record* of three 64-bit hashes: two of its id, and one of all its other columns.
The *total* of a content is the number of its records and the sum of their hashes, which does not
depend on their order. So two contents are equal if their totals are, and neither has to be sorted
or kept. The hashes find damage; they would not withstand somebody who looks for two contents with
the same total.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kg.stores.failures import temporary_files

RECORD = np.dtype([("key", np.uint64), ("check", np.uint64), ("digest", np.uint64)])
ID_FIELDS = ("key", "check")
Keys = NDArray[np.uint64]
Records = NDArray[np.void]
"""Records [N]: ``key`` and ``check`` are hashes of the id, ``digest`` is that of the rest."""
NO_DIGEST = "1"
"""The digest of rows of which only the ids count."""
REMOVED = 0
"""The digest of a statement that was retracted, and of an item that was deleted."""
PARTITION_BITS = 6
PARTITIONS = 1 << PARTITION_BITS
RECORDS_IN_MEMORY = 1 << 20
"""Records that wait in memory before they are written to the files of their partitions."""

# What a store may keep as nothing or as empty text counts as the same: an RDF store has no
# statement with an empty source, and no images may be null or an empty list.
ITEM_DIGEST = (
    "hash(title, description, category, coalesce(images, []), coalesce(source, ''), "
    "coalesce(batch, ''), row, evidence, coalesce(time, ''), \"references\")"
)
STATEMENT_DIGEST = (
    "hash(item, property, value, language, rank, coalesce(source, ''), coalesce(batch, ''), row, "
    "coalesce(model, ''), confidence, evidence, coalesce(reviewer, ''), coalesce(time, ''), "
    '"references")'
)


class Fingerprints:
    """Computes records with DuckDB's hash functions, on one thread."""

    def __enter__(self) -> Self:
        import duckdb

        self._database = duckdb.connect(config={"threads": 1})
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def items(self, items: pa.Table) -> Records:
        """Return the records [N] of items in ITEM_SCHEMA."""
        return self._records(items, "id", ITEM_DIGEST)

    def statements(self, statements: pa.Table) -> Records:
        """Return the records [N] of statements in STATEMENT_SCHEMA."""
        return self._records(statements, "id", STATEMENT_DIGEST)

    def journal_items(self, changes: pa.Table, digest: str = ITEM_DIGEST) -> Records:
        """Return the records of the items put and deleted in a table in JOURNAL_SCHEMA."""
        digest = f"CASE WHEN operation = 'delete' THEN {REMOVED} ELSE {digest} END"
        return self._records(changes, "id", digest, "operation IN ('item', 'delete')")

    def journal_statements(self, changes: pa.Table, digest: str = STATEMENT_DIGEST) -> Records:
        """Return the records of the statements put and retracted in a table in JOURNAL_SCHEMA."""
        digest = f"CASE WHEN operation = 'retract' THEN {REMOVED} ELSE {digest} END"
        return self._records(changes, "statement", digest, "operation IN ('statement', 'retract')")

    def texts(self, texts: pa.Array | pa.ChunkedArray, digest: int = 1) -> Records:
        """Return the records [N] of texts that have nothing but an id, all with one digest."""
        return self._records(pa.table({"id": texts}), "id", str(digest))

    def _records(self, rows: pa.Table, key: str, digest: str, condition: str = "") -> Records:
        if not rows.num_rows:
            return np.empty(0, RECORD)
        self._database.register("rows", rows)
        where = f"WHERE {condition}" if condition else ""
        # DuckDB's hash of several arguments depends on their hashes alone, so the second hash of
        # the id needs another text.
        hashes = f"hash({key}) AS key, hash('~' || {key}) AS check, ({digest})::UBIGINT AS digest"
        columns: dict[str, Any] = self._database.sql(
            f"SELECT {hashes} FROM rows {where}"
        ).fetchnumpy()
        records = np.empty(len(columns["key"]), RECORD)
        for name in RECORD.names or ():
            records[name] = columns[name]
        self._database.unregister("rows")
        return records


@dataclass
class Total:
    """The number of records, and the sum of their hashes modulo 2^64."""

    count: int = 0
    sum: int = 0

    def add(self, records: Records) -> None:
        """Add records [N]."""
        self.count += len(records)
        self.sum = (self.sum + int(_mixed(records).sum(dtype=np.uint64))) % (1 << 64)


def _mixed(records: Records) -> NDArray[np.uint64]:
    """Return one well mixed hash [N] per record (the finalizer of SplitMix64)."""
    mixed: NDArray[np.uint64] = (
        records["key"]
        ^ (records["check"] * np.uint64(0x9E3779B97F4A7C15))
        ^ (records["digest"] * np.uint64(0xC2B2AE3D27D4EB4F))
    )
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


class Partitions:
    """Records divided by their key, in the order in which they were added.

    They are in memory while they are few, and in files of a temporary folder otherwise, so that one
    partition at a time can be compared. Use it in a ``with`` statement.
    """

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="catalograph-")
        self._files: list[BinaryIO] = []
        self._waiting: list[Records] = []
        self._waiting_records = 0
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            with suppress(OSError):  # what could not be written is not needed any more
                file.close()
        self._folder.cleanup()

    def add(self, records: Records) -> None:
        """Add records [N]."""
        self._waiting.append(records)
        self._waiting_records += len(records)
        if self._waiting_records >= RECORDS_IN_MEMORY:
            self._write()

    def parts(self) -> Iterator[Records]:
        """Yield the records of each partition; records with the same id are in the same one."""
        waiting = _by_partition(self._waiting)
        for number in range(PARTITIONS):
            if not self._files:
                yield waiting[number]
                continue
            written = np.fromfile(Path(self._files[number].name), RECORD)
            yield np.concatenate([written, waiting[number]])

    def _write(self) -> None:
        with temporary_files():
            if not self._files:
                folder = Path(self._folder.name)
                self._files = [(folder / f"{number}").open("wb") for number in range(PARTITIONS)]
            for file, records in zip(self._files, _by_partition(self._waiting), strict=True):
                file.write(records.tobytes())
                file.flush()
        self._waiting = []
        self._waiting_records = 0


def _by_partition(batches: list[Records]) -> list[Records]:
    """Return the records of each partition, in the order of the batches."""
    records = np.concatenate(batches) if batches else np.empty(0, RECORD)
    return [records[places] for places in places_by_partition(records)]


def places_by_partition(records: Records) -> list[NDArray[np.int64]]:
    """Return the places among records [N] of those of each partition, in order."""
    numbers = (records["key"] >> np.uint64(64 - PARTITION_BITS)).astype(np.uint8)
    ends = np.cumsum(np.bincount(numbers, minlength=PARTITIONS))
    return np.split(np.argsort(numbers, kind="stable"), ends[:-1])


def newest(records: Records) -> Records:
    """Return the last record of each id, without those that are removed, in order of the key."""
    ordered = ordered_by_key(records)
    is_last = np.ones(len(ordered), bool)
    is_last[:-1] = ~_repeats_previous(ordered)[1:]
    last = ordered[is_last]
    return last[last["digest"] != REMOVED]


def ordered_by_key(records: Records) -> Records:
    """Return records in order of their id's hashes; those of one id keep their order."""
    return records[np.lexsort((records["check"], records["key"]))]


def _repeats_previous(ordered: Records) -> NDArray[np.bool_]:
    """Tell which records [N] have the same id as the one before."""
    repeats = np.ones(len(ordered), bool)
    repeats[:1] = False
    for name in ID_FIELDS:
        repeats[1:] &= ordered[name][1:] == ordered[name][:-1]
    return repeats


@dataclass
class Difference:
    """How one content, the ``found`` one, differs from the ``expected`` one.

    Each list [N] has the keys of ids, not the ids themselves: of those that are missing, that
    should not be there, whose digest is another one, and that occur more than once.
    """

    missing: Keys
    extra: Keys
    changed: Keys
    repeated: Keys

    @classmethod
    def of(cls, expected: Records, found: Records) -> Difference:
        """Compare two contents; ``expected`` has every id once."""
        ordered = ordered_by_key(found)
        repeats = _repeats_previous(ordered)
        once = ordered[~repeats]

        both = np.concatenate([expected, once])
        is_found = np.arange(len(both)) >= len(expected)
        order = np.lexsort((is_found, both["check"], both["key"]))
        both = both[order]
        is_found = is_found[order]
        # An id that both have: the expected record comes first, and is followed by the found one.
        is_second = _repeats_previous(both)
        is_paired = is_second.copy()
        is_paired[:-1] |= is_second[1:]
        differs = is_second.copy()
        differs[1:] &= both["digest"][1:] != both["digest"][:-1]
        return cls(
            missing=both["key"][~is_paired & ~is_found],
            extra=both["key"][~is_paired & is_found],
            changed=both["key"][differs],
            repeated=np.unique(ordered["key"][repeats]),
        )

    def first(self, number: int) -> Keys:
        """Return the first keys of each list, together."""
        lists = (self.missing, self.extra, self.changed, self.repeated)
        return np.unique(np.concatenate([keys[:number] for keys in lists]))


def joined(differences: Iterable[Difference]) -> Difference:
    """Return the differences of several partitions as one."""
    lists = [(each.missing, each.extra, each.changed, each.repeated) for each in differences]
    return Difference(*(np.concatenate(keys) for keys in zip(*lists, strict=True)))
