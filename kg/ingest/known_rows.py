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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kg.ingest.draft import Draft
from kg.ingest.seen import hashes_of
from kg.ingest.values.row_effects import READ_AGAIN, CellEffect, EffectCodes, RowEffects
from schema.arrays import BoolArray, IntArray, are_in

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

    key: str = ""
    revision: str = ""
    columns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Rows:
    """Rows [N]: the two halves of their hashes, the codes of their effects, and their statements.

    The codes are those of :class:`EffectCodes`, and the statements are counted.
    """

    first: Hashes
    second: Hashes
    codes: NDArray[np.int32]
    statements: NDArray[np.uint32]

    @classmethod
    def joined(cls, parts: Sequence[Rows] = ()) -> Rows:
        """Return the rows of all parts."""
        none = cls(*(np.zeros(0, field.type.to_pandas_dtype()) for field in _SCHEMA))
        every = [none, *parts]
        return cls(*map(np.concatenate, zip(*(each.columns() for each in every), strict=True)))

    def columns(self) -> tuple[NDArray[Any], ...]:
        """Return the columns, in the order of the file."""
        return self.first, self.second, self.codes, self.statements

    def of(self, places: IntArray) -> Rows:
        """Return some of the rows."""
        return Rows(*(column[places] for column in self.columns()))


@dataclass(frozen=True)
class KnownRows:
    """The rows of the last run, in the order of the first halves of their hashes."""

    rows: Rows = field(default_factory=Rows.joined)
    codes: EffectCodes = field(default_factory=EffectCodes)
    run: LastRun = LastRun()

    @classmethod
    def load(cls, path: Path) -> KnownRows:
        """Read what :meth:`RowMemory.write` wrote: it is mapped, and not read into memory.

        Raises OSError, or ValueError, KeyError or TypeError if the file is damaged.
        """
        with pa.ipc.open_file(pa.memory_map(str(path))) as file:
            if not file.schema.equals(_SCHEMA):
                raise ValueError("it has other columns")
            about = json.loads((file.schema.metadata or {})[_ABOUT])
            table = file.read_all()
        columns = (_one_array(column) for column in table.itercolumns())
        rows = Rows(*(column.to_numpy(zero_copy_only=False) for column in columns))
        codes = EffectCodes.of(about["effects"])
        if len(rows.codes) and not 0 <= rows.codes.min() <= rows.codes.max() < len(codes):
            raise ValueError("it has unknown codes")
        pairs = tuple((str(property), str(column)) for property, column in about["columns"])
        return cls(rows, codes, LastRun(str(about["key"]), str(about["revision"]), pairs))

    def places_of(self, first: Hashes, second: Hashes) -> IntArray:
        """Return the places of hashes [N] among the rows, -1 where there is none."""
        if not len(self.rows.first):
            return np.full(len(first), -1, np.int64)
        # A hash above all others has no place; it differs from the last.
        places = np.minimum(np.searchsorted(self.rows.first, first), len(self.rows.first) - 1)
        found = (self.rows.first[places] == first) & (self.rows.second[places] == second)
        return np.where(found, places, -1)


@dataclass(frozen=True)
class RowsAtHand:
    """The rows [N] of a batch while it is assembled.

    Attributes:
        ids: the ids of their items
        hashes: the two halves of their hashes
        effects: which rows are cleaned, and what cleaning does in them
        known_ids: the ids of those that are passed over
        known: these rows
    """

    ids: pa.Array
    hashes: tuple[Hashes, Hashes]
    effects: RowEffects
    known_ids: pa.Array
    known: Rows

    @property
    def known_statements(self) -> int:
        """How many statements the rows have that are passed over."""
        return int(self.known.statements.sum())


@dataclass(frozen=True)
class NotedRows:
    """What was noted of some rows of a source.

    Attributes:
        rows: the rows
        codes: what the codes of their effects stand for
        columns: the pairs of a property and a column that their values come from, in order
        passed_over: how many of them were known
    """

    rows: Rows
    codes: EffectCodes
    columns: dict[tuple[str, str], None]
    passed_over: int


class RowMemory:
    """Knows rows of a source from its last run while it is read, and notes those of this run.

    ``touched`` are hashes of the ids of items that were written about since, in order.
    """

    def __init__(self, last: KnownRows | None = None, touched: IntArray | None = None) -> None:
        self.passed_over = 0
        """How many rows were known."""
        self._last = KnownRows() if last is None else last
        self._touched = np.zeros(0, np.int64) if touched is None else touched
        self._codes = EffectCodes()
        self._noted: list[Rows] = []
        self._columns = dict.fromkeys(self._last.run.columns)

    def look_at(self, table: pa.Table, draft: Draft, keep: BoolArray) -> RowsAtHand | None:
        """Return which rows of a batch are known; ``keep`` are those that are to be stored.

        None if the rows were made from several rows, or several from one.
        """
        if len(draft.ids) != table.num_rows or draft.deferred or draft.merged:
            return None
        if draft.secondary.any():
            return None
        ids = draft.id_column
        hashes = row_hashes(table, ids)
        places = np.where(keep, self._last.places_of(*hashes), -1)
        found = np.flatnonzero(places >= 0)
        hashes_of_ids = hashes_of(ids.take(pa.array(found)).to_pylist())
        places[found[are_in(hashes_of_ids, self._touched)]] = -1
        is_known = places >= 0
        known, done = self._recalled(places[is_known])
        effects = RowEffects(self._codes, keep & ~is_known, done)
        effects.read_again(np.flatnonzero(effects.wanted & _have_files(draft)))
        return RowsAtHand(ids, hashes, effects, ids.filter(pa.array(is_known)), known)

    def _recalled(self, places: IntArray) -> tuple[Rows, list[tuple[CellEffect, int]]]:
        """Return rows of the last run by this run's codes, and how many have each effect."""
        rows = self._last.rows.of(places)
        formerly, indices, counts = np.unique(rows.codes, return_inverse=True, return_counts=True)
        done: list[tuple[CellEffect, int]] = []
        codes = np.zeros(len(formerly), np.int32)
        for place, code in enumerate(formerly.tolist()):
            effects = self._last.codes.effects(code)
            done += [(effect, int(counts[place])) for effect in effects]
            codes[place] = self._codes.code(effects)
        return replace(rows, codes=codes[indices]), done

    def note(
        self, at_hand: RowsAtHand, statements: pa.Table, columns: Iterable[tuple[str, str]]
    ) -> None:
        """Note the rows of a batch, now that those that are not known are statements.

        ``columns`` are the pairs of a property and a column that these come from.
        """
        self._columns.update(dict.fromkeys(columns))
        self.passed_over += len(at_hand.known.first)
        effects = at_hand.effects
        rows = np.flatnonzero(effects.wanted & (effects.row_codes != READ_AGAIN))
        of_items = statements["item"].value_counts()
        places = pc.index_in(at_hand.ids.take(pa.array(rows)), value_set=of_items.field("values"))
        counts = pc.fill_null(of_items.field("counts").take(places), 0)
        first, second = at_hand.hashes
        noted = Rows(
            first[rows],
            second[rows],
            effects.row_codes[rows],
            counts.to_numpy(zero_copy_only=False).astype(np.uint32),
        )
        self._noted += [at_hand.known, noted]

    @property
    def last(self) -> KnownRows:
        """The rows of the last run."""
        return self._last

    def were_touched(self, ids: pa.Array) -> bool:
        """Return whether any of some items was written about since the last run."""
        return bool(are_in(hashes_of(ids.to_pylist()), self._touched).any())

    def taken(self) -> NotedRows:
        """Return what was noted of the rows so far, and forget it."""
        noted = NotedRows(Rows.joined(self._noted), self._codes, self._columns, self.passed_over)
        self._noted = []
        self._codes = EffectCodes()
        self._columns = {}
        self.passed_over = 0
        return noted

    def update(self, noted: NotedRows) -> None:
        """Add what another memory has noted of the rows that follow."""
        effects = map(noted.codes.effects, range(len(noted.codes)))
        codes = np.array([self._codes.code(each) for each in effects], np.int32)
        own = np.where(noted.rows.codes == READ_AGAIN, READ_AGAIN, codes[noted.rows.codes])
        self._noted.append(replace(noted.rows, codes=own.astype(np.int32)))
        self._columns.update(noted.columns)
        self.passed_over += noted.passed_over

    def write(self, stream: BinaryIO, key: str, revision: str) -> None:
        """Write the rows of this run; raises OSError."""
        rows = Rows.joined(self._noted)
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
        batch = pa.record_batch([pa.array(column) for column in rows.columns()], schema=schema)
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
