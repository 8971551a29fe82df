"""Kill (-9) the making of an index and of its vectors: a search has one whole state of both.

Every other kill hits a home that was not indexed before; the others bring an index up to date of
which a part has changed, gone or come. The encoder of the vectors needs no weights, and a small
number of them gets an approximate index, so that all files that ``index`` writes are written.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from kg.home import Home
from kg.stores.tables import items_table
from schema.errors import DataError
from schema.terms import Item, Provenance
from serving.search import nearest, vectors
from serving.search.encoders import Encoders
from serving.search.index import index_folder, index_home
from serving.search.opening import encode_items
from serving.search.parts import Part
from serving.search.searcher import Searcher
from tests.faults.children import Child, run
from tests.faults.kills import Moments
from tests.faults.trials import Outcome, Plan
from tests.faults.watching import Changes
from tests.serving.search.made import WordEncoder

SOURCE = Provenance("shop", time="2026-01-01T00:00:00+00:00")
ENCODED_AT_ONCE = 25
HNSW_FROM = 50
PAST_TITLE = "clay mug"
TITLE = "oak chair"


@dataclass(frozen=True)
class Look:
    """What an index finds, and what is wrong with its files.

    Attributes:
        titles: the titles of all items that are found, by id; None without an index
        nearest: the items that are nearest to some of them, in their order
        vectors: how many vectors are stored
        left: files that are not of an index
        wrong: what is damaged
    """

    titles: dict[str, str] | None
    nearest: tuple[tuple[str, ...], ...]
    vectors: int
    left: tuple[str, ...]
    wrong: tuple[str, ...]


def kill_index(plan: Plan) -> Outcome:
    """Kill the making of an index as often as planned."""
    bases = [plan.folder / "new", plan.folder / "changed"]
    run(_prepare, *map(str, bases), plan.items)
    rng = random.Random(plan.seed)
    outcome = Outcome(figures={"kills": 0, "ended before the kill": 0, "vectors kept": 0})
    before: list[Look] = [run(_look, str(base), plan.items) for base in bases]
    work = plan.folder / "work"
    expected: list[Look] = []
    moments = []
    for base in bases:
        moments.append(_measured(base, work, rng))
        expected.append(run(_look, str(work), plan.items))
        outcome.bad += [f"undisturbed: {each}" for each in expected[-1].wrong]
    kills = 0
    while kills < plan.count:
        which = kills % len(bases)
        _begin(bases[which], work)
        with Changes(work) as changes, Child(_index, str(work)) as child:
            killed = moments[which].kill(child, changes)
        if not killed:
            outcome.count("ended before the kill")
            moments[which].seconds *= 0.95
            moments[which].changes = max(1, int(moments[which].changes * 0.98))
            continue
        kills += 1
        outcome.count("kills")
        name = f"kill {kills} of {bases[which].name} (seed {plan.seed})"
        left: Look = run(_look, str(work), plan.items)
        outcome.figures["vectors kept"] += left.vectors
        problems = list(left.wrong)
        if left.titles not in (before[which].titles, expected[which].titles):
            problems.append("the index is neither that from before nor the new one")
        problems += _again(work, left, expected[which], plan.items)
        outcome.bad += [f"{name}: {problem}" for problem in problems]
        plan.progress(kills)
    return outcome


def _again(work: Path, left: Look, expected: Look, items: int) -> list[str]:
    """Index once more, and return what is otherwise than undisturbed."""
    with Child(_index, str(work)) as child:
        result = child.result()
        encoded = [each for each in child.messages() if isinstance(each, int)]
    if result.code:
        return [f"the next call fails: {result}"]
    problems = []
    if encoded and left.vectors and encoded[-1] > items + items // 2 - left.vectors:
        problems.append(f"{encoded[-1]} texts were encoded, though {left.vectors} were kept")
    found: Look = run(_look, str(work), items)
    if found != expected:
        differing = [
            name for name in vars(found) if getattr(found, name) != getattr(expected, name)
        ]
        problems.append(f"the next call ends otherwise: {', '.join(differing)}")
    return problems


def _begin(base: Path, work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(base, work)


def _measured(base: Path, work: Path, rng: random.Random) -> Moments:
    """Return the moments of an undisturbed call."""
    _begin(base, work)
    with Changes(work) as changes, Child(_index, str(work)) as child:
        while child.is_running:
            changes.wait_for(changes.count + 1, 0.01)
        seconds = time.monotonic() - child.began
        result = child.result()
        changes.read()
    if result.code:
        raise RuntimeError(f"the index is not made undisturbed: {result}")
    return Moments(rng, changes.count, seconds)


def _prepare(new: str, changed: str, items: int) -> None:
    """Make a home of items, and one of which some have changed since it was indexed."""
    for folder in (new, changed):
        with Home.open(folder, create=True).store() as store:
            store.put(items_table([_item(number, PAST_TITLE) for number in range(items)]), None)
    _make(Home.open(changed))
    with Home.open(changed).store() as store:
        # An eighth: of more, all would be indexed anew.
        altered = [_item(number, TITLE) for number in range(0, items, 8)]
        store.put(items_table(altered), None)


def _item(number: int, title: str) -> Item:
    return Item(f"item-{number}", f"{title} n{number}x", provenance=SOURCE)


def _index(sender: Connection, folder: str) -> None:
    sender.send(_make(Home.open(folder)))


def _make(home: Home) -> int:
    """Make an index with vectors; return how many texts were encoded."""
    vectors.ENCODED_AT_ONCE = ENCODED_AT_ONCE
    nearest.HNSW_FROM = HNSW_FROM
    index_home(home)
    return encode_items(home, Encoders(WordEncoder())).encoded


def _look(folder: str, items: int) -> Look:
    """Search, and look at the files."""
    nearest.HNSW_FROM = HNSW_FROM
    search = index_folder(Home.open(folder))
    wrong = []
    for path in sorted(search.glob("*.sqlite")):
        with closing(sqlite3.connect(path)) as connection:
            (said,) = connection.execute("PRAGMA integrity_check").fetchone()
            if said != "ok":
                wrong.append(f"{path.name}: {said}")
    count = 0
    if (search / vectors.FILE).exists():
        with closing(sqlite3.connect(search / vectors.FILE)) as connection:
            if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'vectors'").fetchone():
                (count,) = connection.execute("SELECT count(*) FROM vectors").fetchone()
    try:
        with closing(Searcher(search, encoders=Encoders(WordEncoder()))) as searcher:
            hits = [
                *searcher.search(PAST_TITLE, 2 * items).hits,
                *searcher.search(TITLE, 2 * items).hits,
            ]
            titles = {hit.item: hit.title for hit in hits}
            first = [f"item-{number}" for number in range(0, items, items // 4)]
            alike = tuple(
                tuple(hit.item for hit in searcher.similar(item, 5).hits) for item in first
            )
            if searcher.encoded(Part.TEXT) > items:
                wrong.append(f"{searcher.encoded(Part.TEXT)} vectors of {items} items")
    except DataError:
        titles, alike = None, ()
    names = {path.name for path in search.glob("*")} if search.exists() else set()
    left = sorted(
        name
        for name in names
        if ".writing." in name or (name.startswith(".") and name.endswith(".tmp"))
    )
    return Look(titles, alike, count, tuple(left), tuple(wrong))
