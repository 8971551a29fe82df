"""How long a commit takes to a journal on an object store, and how the log's length matters.

    python -m benchmarks.shared_journal [--entries 1000] [--commits 20] [--rows 1000]

The object store is moto on loopback, so that it is the client's work and the number of requests
that count, not a network. Beside Catalograph's own commit (``PUT`` of the file, conditional ``PUT``
of the entry, ``PUT`` of the head) delta-rs commits the same file with its own conditional put.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from deltalake import CommitProperties, DeltaTable
from deltalake.transaction import AddAction

from kg.stores.journal import Batch, Journal, changes_table
from kg.stores.merge import Changes
from kg.stores.shared_journal import SharedJournal, share
from kg.stores.tables import items_table
from schema.terms import Item
from tests.servers import ObjectStoreServer


def batch_of(number: int, rows: int) -> Batch:
    """Return a batch of new items."""
    items = items_table([Item(f"{number}-{row}", title="Mug") for row in range(rows)]).to_pylist()
    return Batch.of(changes_table(Changes(items)))


def seconds_of(commit: Callable[[int], object], numbers: range) -> list[float]:
    """Return how long each of some commits takes."""
    found = []
    for number in numbers:
        began = time.perf_counter()
        commit(number)
        found.append(time.perf_counter() - began)
    return found


def measure(folder: Path, server: ObjectStoreServer, entries: int, commits: int, rows: int) -> None:
    """Fill a journal, and print the milliseconds of commits to it."""
    os.environ.update(server.environment(server.endpoint))
    new = server.url
    share(Journal(folder / "new"), new)
    shared = SharedJournal(Journal(folder / "new"), new)
    few = [batch_of(number, rows) for number in range(commits)]
    early = seconds_of(lambda number: shared.add(few[number]), range(commits))

    long = Journal(folder / "journal")
    for number in range(entries):
        long.add(batch_of(number, 1))
    place = server.url
    share(long, place)
    began = time.perf_counter()
    SharedJournal(Journal(folder / "journal"), place).add(batch_of(entries, rows))
    # A process that has not read the log before reads the copy once.
    first = time.perf_counter() - began
    shared = SharedJournal(Journal(folder / "journal"), place)
    more = [batch_of(entries + 1 + number, rows) for number in range(commits + 1)]
    shared.add(more.pop())
    late = seconds_of(lambda number: shared.add(more[number]), range(commits))

    options = {**server.environment(server.endpoint), "aws_conditional_put": "etag"}

    def by_delta(number: int) -> None:
        batch = more[number]
        shared.objects.write(batch.name, batch.data)
        added = batch.added_now()
        action = AddAction(added.path, added.size, {}, added.milliseconds, True, added.statistics())
        table = DeltaTable(place, storage_options=options)
        table.create_write_transaction(
            [action],
            "append",
            table.schema(),
            commit_properties=CommitProperties(max_commit_retries=0),
        )

    delta = seconds_of(by_delta, range(commits))
    figures = {
        "rows": rows,
        f"of the first {commits}": early,
        f"after {entries}": late,
        f"the first of a process, after {entries}": [first],
        f"delta-rs, after {entries}": delta,
    }
    for name, found in figures.items():
        if isinstance(found, list):
            figures[name] = round(statistics.median(found) * 1000, 1)
    print(json.dumps(figures, indent=1))


def main() -> None:
    """Measure with the numbers that are given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=1000)
    parser.add_argument("--commits", type=int, default=20)
    parser.add_argument("--rows", type=int, default=1000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ObjectStoreServer(Path(name, "server")) as server:
        measure(Path(name), server, given.entries, given.commits, given.rows)


if __name__ == "__main__":
    main()
