"""Nightly exports of a drifting catalogue, replayed: what has to hold after each of them.

A night's file has some rows with another cell, lacks some, and has some new ones. After each night
the graph and the ontology are those of a fresh ingest of the night's file, the histories of the
items tell what the generator changed, and every earlier night can be seen again. In the end the
nights are taken back one by one.
"""

from __future__ import annotations

import csv
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kg.home import Home
from kg.home_ontology import refresh_ontology
from kg.ingest.pipeline import UpdateOptions, ingest
from kg.ingest.run_id import new_run_id
from kg.sample import write_sample
from kg.sample.catalogue import write_csv
from kg.stores.history import ItemChange, as_of, history_of, item_as_of, undo
from kg.stores.protocol import GraphStore

SOURCE = "nightly"
FIELDS = ("title", "category", "image")
"""Columns that are fields of the item."""
LEFT_OUT = "seller"
"""The column that the mapping of the sample leaves out."""
_KEPT = ("id", "image", LEFT_OUT)
"""Columns whose cells are not emptied: an image without a name is looked for by its item's id."""
WHAT_DIFFERS = ("batch", "row", "time")
"""Columns that a fresh ingest of the same file fills otherwise."""

CellRow = dict[str, str]
"""A row of the table: cells by column."""
Change = tuple[str, Any, Any]
"""A field or property, and what it had before and has afterwards."""


@dataclass(frozen=True)
class Night:
    """A night's file, and what it changes of each item: see :func:`changes_of_row`."""

    path: Path
    changes: dict[str, list[Change]]
    gone: frozenset[str] = frozenset()


def write_nights(folder: Path, items: int, nights: int, seed: int = 0) -> list[Night]:
    """Write the sample and its nights: 2% of the rows changed, 1% gone and 1% new each."""
    rng = random.Random(seed)
    moved = max(1, round(items / 100))
    write_sample(folder, items + moved * (nights - 1), seed)
    with (folder / "items.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        columns = list(reader.fieldnames or [])
        rows: list[CellRow] = list(reader)
    today, supply = rows[:items], rows[items:]
    drift = _Drift(folder, rng, rows, columns)
    written = [drift.night(0, [], today)]
    for number in range(1, nights):
        yesterday = today
        today = [dict(row) for row in yesterday]
        for row in rng.sample(today, 2 * moved):
            drift.change(row)
            drift.clear(row)
        for _ in range(moved):
            today.pop(rng.randrange(len(today)))
        today += supply[:moved]
        supply = supply[moved:]
        written.append(drift.night(number, yesterday, today))
    return written


@dataclass
class _Drift:
    """Changes rows, by the cells that others of the sample have, and writes nights."""

    folder: Path
    rng: random.Random
    rows: list[CellRow]
    columns: list[str]

    def change(self, row: CellRow) -> None:
        """Give a cell of a row, empty or not, another text that some row has in it."""
        name = self.rng.choice([each for each in self.columns[1:] if each != LEFT_OUT])
        others = {other[name] for other in self.rows} - {row[name], ""}
        row[name] = self.rng.choice(sorted(others))

    def clear(self, row: CellRow) -> None:
        """Empty a cell of a property or of the category."""
        filled = [each for each in self.columns if row[each] and each not in _KEPT]
        row[self.rng.choice(filled)] = ""

    def night(self, number: int, yesterday: list[CellRow], today: list[CellRow]) -> Night:
        """Write a night's file."""
        path = self.folder / f"night-{number:02}.csv"
        write_csv(path, self.columns, ([row[name] for name in self.columns] for row in today))
        before = {row["id"]: row for row in yesterday}
        after = {row["id"]: row for row in today}
        nothing = dict.fromkeys(self.columns, "")
        changes = {
            id: changes_of_row(self.folder, before.get(id, nothing), after.get(id, nothing))
            for id in {**before, **after}
        }
        return Night(
            path,
            {id: some for id, some in changes.items() if some},
            frozenset(before.keys() - after.keys()),
        )


def changes_of_row(folder: Path, before: CellRow, after: CellRow) -> list[Change]:
    """Return what the history has to tell of a row that took the place of another one.

    One value that takes the place of one is one change; other values come and go by themselves.
    """
    changes: list[Change] = []
    for name in list(before)[1:]:
        if before[name] == after[name] or name == LEFT_OUT:
            continue
        if name == "image":
            changes.append(("images", _images(folder, before[name]), _images(folder, after[name])))
        elif name in FIELDS:
            changes.append((name, before[name] or None, after[name] or None))
        else:
            old = set(filter(None, before[name].split("|")))
            new = set(filter(None, after[name].split("|")))
            lost, added = sorted(old - new), sorted(new - old)
            if len(lost) == len(added) == 1:
                changes.append((name, lost[0], added[0]))
            else:
                changes += [(name, value, None) for value in lost]
                changes += [(name, None, value) for value in added]
    return changes


def _images(folder: Path, cell: str) -> list[str] | None:
    return [str((folder / cell).resolve())] if cell else None


@dataclass
class Replay:
    """The replay of nights in a store.

    ``emptied`` returns the URL of an empty store whenever it is called, of which only the last one
    has to last. ``problems`` is what did not hold, and ``seconds`` what each step took.
    """

    folder: Path
    nights: list[Night]
    emptied: Callable[[], str]
    problems: list[str] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def run(self) -> None:
        """Ingest the nights one after the other, and take them back."""
        fresh = [self._fresh(number, night) for number, night in enumerate(self.nights)]
        self.home = self._home("replayed")
        self.runs: list[str] = []
        self.hashes: list[str] = []
        self.shown: list[dict[str, Any]] = []
        """By night: what there was of all items that change at any time."""
        self.moving = sorted({id for night in self.nights[1:] for id in night.changes})
        for number, night in enumerate(self.nights):
            self._ingest(number, night)
            self._check_graph(number, fresh[number], "equals no fresh ingest of its file")
            self._check_history(number, night)
        self._check_earlier_nights()
        for number in reversed(range(1, len(self.nights))):
            self._undo(number)
            self._check_graph(number - 1, fresh[number - 1], "is not there again after undo")
            with self.home.store(read_only=True) as store:
                if store.content_hash() != self.hashes[number - 1]:
                    self.problems.append(f"undo of night {number} leads to another hash")

    def _home(self, name: str) -> Home:
        home = Home.open(self.folder / name, create=True)
        home.set_default_store(self.emptied())
        return home

    def _fresh(self, number: int, night: Night) -> dict[str, Any]:
        """Return what an ingest of a night's file into an empty store makes."""
        home = self._home(f"fresh-{number}")
        began = time.monotonic()
        ingest(home, [night.path], update=UpdateOptions(source=SOURCE))
        self.seconds["fresh ingest"].append(time.monotonic() - began)
        return meaning(home)

    def _ingest(self, number: int, night: Night) -> None:
        began = time.monotonic()
        report = ingest(self.home, [night.path], update=UpdateOptions(source=SOURCE, sync=True))
        self.seconds["ingest"].append(time.monotonic() - began)
        self.runs.append(report.run)
        assert report.changes is not None
        changed = len(night.changes)
        found = report.changes
        told = found.new_items + found.changed_items + found.deleted
        if told != changed:
            self.problems.append(f"night {number}: {told} items are told of, {changed} changed")
        with self.home.store(read_only=True) as store:
            self.hashes.append(store.content_hash())
            self.shown.append({id: store.item(id) for id in self.moving})

    def _undo(self, number: int) -> None:
        began = time.monotonic()
        with self.home.store() as store:
            undo(store, self.runs[number], by=new_run_id())
            refresh_ontology(self.home, store)
        self.seconds["undo"].append(time.monotonic() - began)

    def _check_graph(self, number: int, expected: dict[str, Any], what: str) -> None:
        found = meaning(self.home)
        for name, rows in expected.items():
            if rows != found[name]:
                self.problems.append(f"night {number}: what is stored {what}: other {name}")

    def _check_history(self, number: int, night: Night) -> None:
        """Look at what the histories of the changed items tell of a night."""
        ids = self.moving if number == 0 else sorted(night.changes)
        with self.home.store(read_only=True) as store:
            for id in ids:
                of_night = [each for each in history_of(store, id) if each.run == self.runs[number]]
                told = sorted(map(_told, of_night), key=repr)
                expected = sorted(night.changes.get(id, []), key=repr)
                if told != expected:
                    self.problems.append(f"night {number}: {id} tells {told}, not {expected}")
                if any(each.source != SOURCE for each in of_night):
                    self.problems.append(f"night {number}: {id} tells of another source")

    def _check_earlier_nights(self) -> None:
        """Look at all nights from the last one."""
        with self.home.store(read_only=True) as store:
            for number, run in enumerate(self.runs):
                began = time.monotonic()
                with as_of(store, run) as earlier:
                    if earlier.content_hash() != self.hashes[number]:
                        self.problems.append(f"night {number}: as of its run there is other data")
                self.seconds["as of"].append(time.monotonic() - began)
            for number, id in self._samples():
                with item_as_of(store, id, self.runs[number]) as earlier:
                    if earlier.item(id) != self.shown[number][id]:
                        self.problems.append(f"night {number}: {id} is shown otherwise as of it")

    def _samples(self) -> Iterator[tuple[int, str]]:
        """Yield items that changed, and the nights before and after: at most 20 of each night."""
        for number, night in enumerate(self.nights[1:], start=1):
            for id in sorted(night.changes)[:20]:
                yield number - 1, id
                yield number, id


def _told(change: ItemChange) -> Change:
    return change.what, change.before, change.after


def meaning(home: Home) -> dict[str, Any]:
    """Return all rows of a home's store but for WHAT_DIFFERS, and the hash of its ontology."""
    with home.store(read_only=True) as store:
        return {**contents(store), "ontology": home.ontology().content_hash()}


def contents(store: GraphStore) -> dict[str, list[dict[str, Any]]]:
    """Return all items and statements of a store, but for WHAT_DIFFERS."""
    return {
        "items": [_plain(row) for batch in store.items() for row in batch.to_pylist()],
        "statements": [_plain(row) for batch in store.scan() for row in batch.to_pylist()],
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in WHAT_DIFFERS and value != ""}
