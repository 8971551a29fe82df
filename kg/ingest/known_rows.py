"""The rows of a source that are as they were in its last run, and need not be assembled again.

Of each row that an ingest stores, a hash of its cells is kept beside the copy of the source: with
the number of its statements, and what cleaning did in it. When the source is read again, its rows
are parsed, checked and compared with each other as ever. But of a row with a hash that is known,
whose item nobody has touched since, cleaning would yield what the store has from it: it is passed
over, and what it adds to the report is known.

A row is known only if nothing but its own cells, the mapping and the code decide what becomes of
it. Rows of which other rows, or files beside the source, decide anything are read whenever their
source is, and so are rejected ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kg.ingest.draft import Draft
from kg.ingest.seen import hashes_of
from kg.ingest.values.row_effects import READ_AGAIN, EffectCodes, RowEffects
from schema.arrays import BoolArray, IntArray

_DIGEST_BYTES = 16
_DIGEST_SALT = b"row"
_SCHEMA = pa.schema(
    [
        ("first", pa.uint64()),
        ("second", pa.uint64()),
        ("code", pa.int32()),
        ("statements", pa.uint32()),
    ]
)
_ABOUT = b"about"
_ADDRESSES = ("http://", "https://")

Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class LastRun:
    """What a run says of its rows as a whole.

    Attributes:
        key: stands for all that decides how a row is read beside its cells
        revision: that of the store after the rows were stored
        columns: the pairs of a property and a column that its values come from
    """

    key: str
    revision: str
    columns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class _Rows:
    """Rows: the two halves of their hashes, the codes of their effects, and their statements."""

    first: Hashes
    second: Hashes
    codes: NDArray[np.int32]
    statements: NDArray[np.uint32]

    @classmethod
    def joined(cls, parts: Sequence[_Rows]) -> _Rows:
        """Return the rows of all parts."""
        none = cls(*(np.zeros(0, field.type.to_pandas_dtype()) for field in _SCHEMA))
        every = [none, *parts]
        return cls(*(np.concatenate(column) for column in zip(*map(_columns, every), strict=True)))

    def of(self, places: IntArray) -> _Rows:
        """Return some of the rows."""
        return _Rows(*(column[places] for column in _columns(self)))


def _columns(rows: _Rows) -> tuple[NDArray[Any], ...]:
    return rows.first, rows.second, rows.codes, rows.statements


class KnownRows:
    """The rows of the last run, in the order of their hashes."""

    def __init__(self, rows: _Rows, codes: EffectCodes, last: LastRun) -> None:
        self.last = last
        self.codes = codes
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows.first)

    @classmethod
    def load(cls, path: Path) -> KnownRows:
        """Read what :func:`write_rows` wrote, of which only the hashes are held in memory.

        Raises OSError, or ValueError if the file is damaged.
        """
        # It stays mapped for as long as its columns are used.
        with pa.ipc.open_file(pa.memory_map(str(path))) as file:
            if not file.schema.equals(_SCHEMA):
                raise ValueError("it has other columns")
            about = json.loads((file.schema.metadata or {})[_ABOUT])
            table = file.read_all().combine_chunks()
        columns = [
            _one_array(column).to_numpy(zero_copy_only=False) for column in table.itercolumns()
        ]
        codes = EffectCodes.of(about["effects"])
        rows = _Rows(*columns)
        if len(rows.codes) and not 0 <= rows.codes.min() <= rows.codes.max() < len(codes):
            raise ValueError("it has unknown codes")
        pairs = tuple((str(property), str(column)) for property, column in about["columns"])
        return cls(rows, codes, LastRun(str(about["key"]), str(about["revision"]), pairs))

    def places_of(self, first: Hashes, second: Hashes) -> IntArray:
        """Return the places of hashes [N] among the rows, -1 where there is none."""
        if not len(self):
            return np.full(len(first), -1, np.int64)
        # A hash above all others has no place; it differs from the last.
        places = np.minimum(np.searchsorted(self._rows.first, first), len(self) - 1)
        found = (self._rows.first[places] == first) & (self._rows.second[places] == second)
        return np.where(found, places, -1)

    def of(self, places: IntArray) -> _Rows:
        """Return the rows at some places."""
        return self._rows.of(places)


@dataclass(frozen=True)
class RowsAtHand:
    """The rows [N] of a batch while it is assembled.

    Attributes:
        keep: which of them are stored
        effects: which of these are cleaned, and what cleaning does in them
        known_ids: the ids of those that are passed over
        known_statements: how many statements these have
    """

    keep: BoolArray
    effects: RowEffects
    known_ids: pa.Array
    known_statements: int
    _hashes: tuple[Hashes, Hashes]
    _carried: _Rows
    _ids: pa.Array

    @property
    def wanted(self) -> BoolArray:
        """The rows that are cleaned."""
        return self.effects.wanted


class RowMemory:
    """Knows rows of a source from its last run while it is read, and notes those of this run.

    ``touched`` are hashes of the ids of items that were written about since, in order.
    """

    def __init__(self, known: KnownRows | None = None, touched: IntArray | None = None) -> None:
        self.passed_over = 0
        """How many rows were known."""
        self._known = known
        self._touched = np.zeros(0, np.int64) if touched is None else touched
        self._codes = EffectCodes()
        self._noted: list[_Rows] = []
        self._columns = dict.fromkeys(() if known is None else known.last.columns)

    def look_at(self, table: pa.Table, draft: Draft, keep: BoolArray) -> RowsAtHand | None:
        """Return which rows of a batch are known; ``keep`` are those that are to be stored.

        None if the rows were made from several rows, or several from one.
        """
        count = table.num_rows
        if len(draft.ids) != count or draft.deferred or draft.merged or draft.secondary.any():
            return None
        ids = draft.id_column
        hashes = row_hashes(table, ids)
        is_known = np.zeros(count, bool)
        carried = _Rows.joined([])
        statements = 0
        effects: list[tuple[Any, int]] = []
        if self._known is not None:
            places = self._known.places_of(*hashes)
            is_known = keep & (places >= 0)
            candidates = np.flatnonzero(is_known)
            is_touched = are_in(
                hashes_of(ids.take(pa.array(candidates)).to_pylist()), self._touched
            )
            is_known[candidates[is_touched]] = False
            rows = self._known.of(places[is_known])
            statements = int(rows.statements.sum())
            old, indices, counts = np.unique(rows.codes, return_inverse=True, return_counts=True)
            new = []
            for code, number in zip(old.tolist(), counts.tolist(), strict=True):
                of_code = self._known.codes.effects(code)
                effects += [(effect, number) for effect in of_code]
                new.append(self._codes.code(of_code))
            codes = np.array(new, np.int32)[indices.reshape(-1)] if new else rows.codes
            carried = _Rows(rows.first, rows.second, codes, rows.statements)
        wanted = keep & ~is_known
        at_hand = RowsAtHand(
            keep,
            RowEffects(self._codes, wanted, effects),
            ids.filter(pa.array(is_known)),
            statements,
            hashes,
            carried,
            ids,
        )
        at_hand.effects.read_again(np.flatnonzero(wanted & _have_files(draft)))
        return at_hand

    def note(
        self, at_hand: RowsAtHand, statements: pa.Table, columns: Iterable[tuple[str, str]]
    ) -> None:
        """Note the rows of a batch, now that those that were wanted are statements."""
        self._columns.update(dict.fromkeys(columns))
        carried = at_hand._carried
        self.passed_over += len(carried.first)
        is_safe = at_hand.effects.row_codes != READ_AGAIN
        rows = np.flatnonzero(at_hand.wanted & is_safe)
        of_items = statements["item"].value_counts()
        ids = at_hand._ids.take(pa.array(rows))
        found = of_items.field("counts").take(pc.index_in(ids, value_set=of_items.field("values")))
        counts = pc.fill_null(found, 0).to_numpy(zero_copy_only=False).astype(np.uint32)
        first, second = at_hand._hashes
        codes = at_hand.effects.row_codes[rows]
        self._noted += [carried, _Rows(first[rows], second[rows], codes, counts)]

    def write(self, stream: BinaryIO, key: str, revision: str) -> None:
        """Write the rows of this run; raises OSError."""
        rows = _Rows.joined(self._noted)
        self._noted = []
        is_safe = rows.codes != READ_AGAIN
        order = np.argsort(rows.first, kind="stable")
        rows = rows.of(order[is_safe[order]])
        about = {
            "key": key,
            "revision": revision,
            "columns": [list(pair) for pair in self._columns],
            "effects": self._codes.documents(),
        }
        schema = _SCHEMA.with_metadata({_ABOUT: json.dumps(about).encode()})
        batch = pa.record_batch([pa.array(column) for column in _columns(rows)], schema=schema)
        with pa.ipc.new_file(stream, schema) as file:
            file.write_batch(batch)


def row_hashes(table: pa.Table, ids: pa.Array) -> tuple[Hashes, Hashes]:
    """Return the two halves of a hash of each row [N], with its id and the names of its columns."""
    # One byte after the other: the length of each text, or that there is none, and the text.
    parts: list[pa.Array] = []
    for texts in (ids, *map(_one_array, table.itercolumns())):
        data = texts.cast(pa.large_binary())
        parts += [_lengths(data), pc.fill_null(data, b"")]
    separator = pa.scalar(b"", pa.large_binary())
    messages = pc.binary_join_element_wise(*parts, separator).to_pylist()
    names = json.dumps(table.column_names).encode()
    start = hashlib.blake2b(names, digest_size=_DIGEST_BYTES, person=_DIGEST_SALT)
    digests = []
    for message in messages:
        state = start.copy()
        state.update(message)
        digests.append(state.digest())
    halves = np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2)
    return np.ascontiguousarray(halves[:, 0]), np.ascontiguousarray(halves[:, 1])


def _lengths(data: pa.Array) -> pa.Array:
    """Return the length of each text [N], -1 for none, as eight bytes, the lowest first."""
    sizes = pc.fill_null(pc.binary_length(data), -1).to_numpy(zero_copy_only=False)
    buffer = pa.py_buffer(np.ascontiguousarray(sizes, "<i8"))
    eight_bytes = pa.Array.from_buffers(pa.binary(8), len(data), [None, buffer])
    return eight_bytes.cast(pa.large_binary())


def _one_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    if isinstance(column, pa.Array):
        return column
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _have_files(draft: Draft) -> BoolArray:
    """Return of which rows [N] images are looked up in folders, which may change by themselves."""
    return np.array(
        [
            bool(names) and not all(name.startswith(_ADDRESSES) for name in names)
            for names in draft.images
        ],
        bool,
    )


def touched_hashes(touched: Iterator[pa.ChunkedArray]) -> IntArray:
    """Return the hashes of ids, each once and in order."""
    parts = [np.unique(hashes_of(ids.to_pylist())) for ids in touched]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *parts]))


def are_in(hashes: IntArray, among: IntArray) -> BoolArray:
    """Return which hashes [N] are among others, which are in order."""
    if not len(among):
        return np.zeros(len(hashes), bool)
    places = np.minimum(np.searchsorted(among, hashes), len(among) - 1)
    found: BoolArray = among[places] == hashes
    return found
