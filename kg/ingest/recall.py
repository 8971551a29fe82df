"""What a home knows of a file from the last run of its source, while it is read once more.

Of a table in which every item is told by one row, the rows are known one by one, see
:mod:`kg.ingest.known_rows`. Of other files the last run is known as a whole, see
:mod:`kg.ingest.outcomes`, and serves if nothing at all has changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from kg.home_declared import load_declared
from kg.ingest.assemble import AssembledBatch, Origin
from kg.ingest.code_version import reading_version
from kg.ingest.engine import IngestEngine
from kg.ingest.known_rows import KnownRows, RowMemory, touched_hashes
from kg.ingest.outcomes import Outcome, OutcomeKey
from kg.ingest.seen import hashes_of
from kg.ingest.source_plan import MappedPlan, TablePlan
from kg.sources import Beside, KeptSource, KeptSources, SourceCopy
from kg.stores.touched import touched_since
from schema.arrays import IntArray, are_in
from schema.errors import StoreError
from schema.mapping import mapping_toml

if TYPE_CHECKING:
    from kg.home import Home
    from kg.stores.protocol import GraphStore

FORMAT = 1
ROWS = "rows.arrow"
OUTCOME = "outcome.arrow"
_DAMAGES = (OSError, ValueError, KeyError, TypeError)


class Recaller:
    """Recalls the last run of a source while a file of it is read.

    Attributes:
        plan: the plan by which the file is read so
        known_rows: how many rows were as they were, once the file is read
        notes: what there is to say of it
    """

    def __init__(
        self, home: Home, store: GraphStore, plan: MappedPlan, source: str, reread: bool
    ) -> None:
        """With ``reread`` nothing is recalled."""
        self.plan = plan
        self.notes: list[str] = []
        self._home = home
        self._store = store
        self._key = _key_of(home, store, plan)
        self._last: KeptSource | None = None
        self._memory: RowMemory | None = None
        self._outcome = Outcome()
        self._recalled: Outcome | None = None
        if self._key and not reread:
            files = KeptSources(home.sources).newest().get(source, [])
            self._last = files[0] if len(files) == 1 else None
        if isinstance(plan, TablePlan) and plan.may_know_rows:
            self._memory = self._remembered()
            self.plan = replace(plan, memory=self._memory)

    @property
    def known_rows(self) -> int:
        """How many rows were as they were in the last run."""
        if self._memory is not None:
            return self._memory.passed_over
        return 0 if self._recalled is None else self._recalled.batch.rows_read

    def batches(
        self, origin: Origin, copy: SourceCopy | None, engine: IngestEngine
    ) -> Iterator[AssembledBatch]:
        """Let an engine read the file by the plan, or return what came of it if it is as it was.

        ``copy`` is what takes the bytes of the file.
        """
        if self._memory is None and copy is not None:
            self._recalled = self._recall(self.plan, copy)
        if self._recalled is None:
            yield from engine.batches(self.plan, origin)
            return
        self.plan.left_out.update(self._recalled.left_out)
        yield self._recalled.batch

    def see(self, batch: AssembledBatch, own: pa.Array, others: pa.Array) -> None:
        """Note a batch, with the ids of its items and those of others that it is about."""
        if self._memory is None:
            self._outcome.add(batch, own, others)

    def beside(self) -> Sequence[Beside]:
        """Return what to keep beside the copy of the file, now that all of it is stored."""
        revision = self._store.revision()
        if not self._key or not revision or self._store.followed:
            # What other homes have written meanwhile may be about what was read before.
            return ()
        if self._memory is not None:
            return (Beside(ROWS, partial(self._memory.write, key=self._key, revision=revision)),)
        images = self.plan.images
        looked_up = images.found or images.missing or images.unlocated or images.refusals.counts
        if looked_up or images.may_find_by_id or not self._outcome.is_kept:
            # Files of images may change by themselves.
            return ()
        self._outcome.left_out = self.plan.left_out
        key = OutcomeKey(self._key, revision)
        return (Beside(OUTCOME, partial(self._outcome.write, key=key)),)

    def _remembered(self) -> RowMemory:
        """Return what is known of the rows, which is nothing if anything else has changed."""
        if self._last is None:
            return RowMemory()
        try:
            path = self._last.beside(ROWS)
            known = None if path is None else KnownRows.load(path)
        except _DAMAGES as error:
            self._say_damaged(error)
            return RowMemory()
        if known is None or known.run.key != self._key:
            return RowMemory()
        touched = self._touched_since(known.run.revision)
        if touched is None or self._lacks_readings(known.run.columns):
            return RowMemory()
        return RowMemory(known, touched)

    def _recall(self, plan: MappedPlan, copy: SourceCopy) -> Outcome | None:
        """Return what came of the file when it was read last; None if anything has changed."""
        if self._last is None:
            return None
        try:
            path = self._last.beside(OUTCOME)
            if path is None:
                return None
            outcome, key = Outcome.load(path, plan.source.location)
        except _DAMAGES as error:
            self._say_damaged(error)
            return None
        if key.reading != self._key or self._lacks_readings(outcome.batch.columns):
            return None
        touched = self._touched_since(key.revision)
        if touched is None:
            return None
        for ids in (outcome.batch.known_ids, outcome.batch.known_other_ids):
            if are_in(hashes_of(ids.to_pylist()), touched).any():
                return None
        copy.complete(plan.source.file)
        is_same = copy.failure is None and copy.sha256 == self._last.sha256
        return outcome if is_same else None

    def _touched_since(self, revision: str) -> IntArray | None:
        """Return hashes of the items that were written about since; None if that is not known."""
        try:
            touched = touched_since(self._store, revision)
            return None if touched is None else touched_hashes(touched)
        except (LookupError, StoreError):
            # A damaged history is no reason to refuse the file.
            return None

    def _lacks_readings(self, columns: Sequence[tuple[str, str]]) -> bool:
        """Return whether the home has lost what the mapping says of columns (property, column)."""
        if self.plan.stated is None:
            return False
        declared = load_declared(self._home)
        for property, column in columns:
            declared.add(self.plan.stated, property, column)
        return declared.has_changed

    def _say_damaged(self, error: Exception) -> None:
        folder = "" if self._last is None else self._last.folder
        self.notes.append(
            f"{self.plan.source.name}: what {folder} keeps of the last run is damaged ({error}): "
            "all rows are read"
        )


def _key_of(home: Home, store: GraphStore, plan: MappedPlan) -> str:
    """Return what stands for all that decides how a file is read; empty if that cannot be told."""
    version = reading_version()
    if not version:
        return ""
    mappings = [mapping_toml(each) for each in (plan.mapping, plan.stated) if each is not None]
    form = [type(plan).__name__, plan.source.reading(plan.mapping)]
    parts = [FORMAT, version, home.relative_url(store.url), mappings, form]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
