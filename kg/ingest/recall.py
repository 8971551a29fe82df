"""What a home knows of the rows of a table from the last run of its source."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from kg.home_declared import load_declared
from kg.ingest.code_version import reading_version
from kg.ingest.known_rows import FORMAT, KnownRows, RowMemory, touched_hashes
from kg.ingest.source_plan import TablePlan
from kg.sources import KeptSources, RowsToKeep
from kg.stores.touched import touched_since
from schema.errors import DataError, StoreError
from schema.mapping import mapping_toml

if TYPE_CHECKING:
    from kg.home import Home
    from kg.stores.protocol import GraphStore


class Recaller:
    """Recalls the rows of a source's last run, while it is read once more.

    Attributes:
        plan: the plan by which the source is read so
        memory: what is known of its rows
        notes: what there is to say of it
    """

    def __init__(
        self, home: Home, store: GraphStore, plan: TablePlan, source: str, reread: bool
    ) -> None:
        """With ``reread`` nothing is recalled."""
        self.notes: list[str] = []
        self._home = home
        self._store = store
        self._key = _key_of(home, store, plan)
        self.memory = RowMemory() if reread or not self._key else self._recalled(plan, source)
        self.plan = replace(plan, memory=self.memory)

    def rows_to_keep(self) -> RowsToKeep | None:
        """Return what to keep of the rows, now that they are stored; None if that is of no use."""
        revision = self._store.revision()
        if not self._key or not revision:
            return None
        return RowsToKeep(self.memory, self._key, revision)

    def _recalled(self, plan: TablePlan, source: str) -> RowMemory:
        """Return what is known of the rows, which is nothing if anything else has changed."""
        files = KeptSources(self._home.sources).newest().get(source, [])
        if len(files) != 1:
            return RowMemory()
        try:
            known = files[0].load_rows()
        except DataError as error:
            self.notes.append(f"{plan.source.name}: {error}: all rows are read again")
            return RowMemory()
        if known is None or known.last.key != self._key or self._lacks_readings(plan, known):
            return RowMemory()
        try:
            touched = touched_since(self._store, known.last.revision)
            return RowMemory() if touched is None else RowMemory(known, touched_hashes(touched))
        except (LookupError, StoreError):
            # A damaged history is no reason to refuse the rows.
            return RowMemory()

    def _lacks_readings(self, plan: TablePlan, known: KnownRows) -> bool:
        """Return whether the home has lost what the mapping says of columns of known rows."""
        if plan.stated is None:
            return False
        declared = load_declared(self._home)
        for property, column in known.last.columns:
            declared.add(plan.stated, property, column)
        return declared.has_changed


def _key_of(home: Home, store: GraphStore, plan: TablePlan) -> str:
    """Return what stands for all that decides how a row is read; empty if that cannot be told."""
    version = reading_version()
    if not version:
        return ""
    parts = [FORMAT, version, home.relative_url(store.url), mapping_toml(plan.mapping)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
