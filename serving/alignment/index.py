"""What is kept of a home's items for alignment: their counts, and which items were aligned last.

Counts are kept under a digest of all that is known of the item. So they are right whatever has
changed since, in the graph or in how the ontology has values read: what is not as it was is counted
again, and is new to ``align --new``.

Shapes: N items.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from schema.arrays import BoolArray
from schema.errors import UsageError
from schema.files import atomic_file
from schema.progress import ProgressCallback, no_progress
from schema.terms import now
from serving.alignment.counts import (
    DIGEST_BYTES,
    KINDS,
    CountedRecords,
    Counts,
    Digests,
    count_records,
    digests_of,
)
from serving.alignment.matrices import compact, csr_of
from serving.alignment.records import Record

if TYPE_CHECKING:
    from kg.home import Home

FOLDER = "alignment"
COUNTS = "counts.npz"
ALIGNED = "aligned.npz"
FORMAT = 1
"""Increased whenever other features are counted, or others are stored."""
CHANGED_SHARE = 0.01
"""Counts are stored again when more of the items differ from those that are kept."""
_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    TypeError,
    MemoryError,
    zipfile.BadZipFile,
)
"""What reading a damaged file of arrays raises."""


@dataclass(frozen=True)
class KeptCounts:
    """The counts of a catalogue's N items, in their order, of which ``new`` were not kept.

    ``note`` says why counts could not be read or stored; it is empty if they could.
    """

    counted: CountedRecords
    new: int
    note: str = ""


def counts_of_home(
    home: Home, records: Sequence[Record], progress: ProgressCallback = no_progress
) -> KeptCounts:
    """Return the counts of a home's items; only those that are new or have changed are counted.

    They are stored if there were none, or if many of the items differ. A killed call leaves what
    was stored before.
    """
    path = home.path / FOLDER / COUNTS
    kept, note = _read_counts(path)
    found = count_records(records, kept, progress)
    stale = 0 if kept is None else len(kept) - (len(records) - found.new)
    if kept is None or found.new + stale > CHANGED_SHARE * len(records):
        note = _store_counts(path, found.counted) or note
    return KeptCounts(found.counted, found.new, note)


def _read_counts(path: Path) -> tuple[CountedRecords | None, str]:
    """Return the stored counts, or None and why they cannot be used if there are any."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            if arrays["format"].tolist() != FORMAT:
                return None, f"{path} was made by another version of Catalograph: all is made anew"
            digests = arrays["digests"]
            kinds = tuple(
                _counts_from(arrays, number, len(digests)) for number in range(len(KINDS))
            )
    except FileNotFoundError:
        return None, ""
    except _DAMAGE as error:
        return None, f"{path} is damaged ({error}), and is made anew"
    return CountedRecords(digests, kinds), ""


def _counts_from(arrays: Any, number: int, items: int) -> Counts:
    features, counts, indices, indptr = (
        arrays[f"{name}{number}"] for name in ("features", "counts", "indices", "indptr")
    )
    if counts.dtype.kind != "u":
        raise ValueError("its counts are no unsigned integers")
    if len(indptr) != items + 1:
        raise ValueError("it has counts of more or fewer items than digests")
    matrix = csr_of(counts, indices, indptr, len(features))
    matrix.check_format()
    # Whole numbers of 64 bits without a sign have no negative differences.
    if not (features[1:] > features[:-1]).all():
        raise ValueError("its features are not in order")
    return Counts(features, matrix)


def _store_counts(path: Path, counted: CountedRecords) -> str:
    """Store counts, in the order of their digests; return why they could not be, if so."""
    return _store(path, _arrays_of(counted))


def _arrays_of(counted: CountedRecords) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """Yield what is stored of counts by name, a kind after the other: a copy of all is large."""
    digests, rows = np.unique(counted.digests, return_index=True)
    yield "format", np.array(FORMAT)
    yield "digests", digests
    for number, kind in enumerate(counted.kinds):
        counts = kind.of_rows(rows).without_unused()
        yield f"features{number}", counts.features
        yield f"counts{number}", compact(counts.matrix.data)
        yield f"indices{number}", counts.matrix.indices
        yield f"indptr{number}", counts.matrix.indptr


def _store(path: Path, arrays: Iterable[tuple[str, NDArray[np.generic]]]) -> str:
    """Write arrays as numpy.savez does, each as it comes."""
    try:
        path.parent.mkdir(exist_ok=True)
        with atomic_file(path) as working, zipfile.ZipFile(working, "w") as archive:
            for name, array in arrays:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, array, allow_pickle=False)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        return f"{path} cannot be written ({reason}), so that the next call counts all items again"
    return ""


@dataclass(frozen=True)
class LastAlignment:
    """Which items were compared with all others, by their digests in order, when and by what."""

    digests: Digests
    time: str
    model: str

    def new(self, records: Sequence[Record]) -> BoolArray:
        """Return which records [N] are new, or not as they were compared."""
        found: BoolArray = ~np.isin(digests_of(records), self.digests)
        return found


def read_last_alignment(home: Home) -> LastAlignment:
    """Return which items of a home were aligned; raises UsageError if it is not known."""
    path = home.path / FOLDER / ALIGNED
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            about = json.loads(str(arrays["about"]))
            return LastAlignment(arrays["digests"], str(about["time"]), str(about["model"]))
    except FileNotFoundError:
        reason = "this catalogue was never aligned as a whole"
    except _DAMAGE as error:
        reason = f"{path} is damaged ({error})"
    raise UsageError(
        f"--new compares what has changed since the last `catalograph align`, and {reason}: run it "
        "once without --new"
    )


def remember_alignment(home: Home, records: Sequence[Record], model: str) -> str:
    """Keep that a home's items have been compared with each other; return why not, if so."""
    digests = np.unique(digests_of(records)).astype(f"S{DIGEST_BYTES}")
    about = json.dumps({"time": now(), "model": model})
    path = home.path / FOLDER / ALIGNED
    return _store(path, [("digests", digests), ("about", np.array(about))])
