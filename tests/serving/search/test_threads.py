"""A searcher that several threads use while another process changes the index."""

from __future__ import annotations

import multiprocessing
import threading
import time
from contextlib import closing
from multiprocessing.synchronize import Event
from pathlib import Path

from schema.progress import no_progress
from serving.search import building, database
from serving.search.documents import DocumentReader, SearchedItem
from serving.search.encoders import Encoders
from serving.search.index import _build, newest_index
from serving.search.searcher import Results, Searcher
from serving.search.vectors import TextSource, encode_missing
from tests.serving.search.made import ONTOLOGY, WordEncoder, item

ITEMS = 40
THREADS = 6
SECONDS = 60.0
"""As long at most, on a machine that has much else to do."""
STATES = 8
SEARCHES = 100
READER = DocumentReader(ONTOLOGY)


def catalogue(state: int) -> list[SearchedItem]:
    """Return items whose titles all tell the same state; some come and go."""
    first = state % 5
    return [
        item(f"I{number}", f"Clay mug {number} of state s{state}x", "Mugs", colour="red")
        for number in range(first, ITEMS + first)
    ]


def change_for_ever(folder: Path, stop: Event) -> None:
    """Change all items again and again: in place, or in an index that is made anew."""
    state = 1
    while not stop.is_set():
        items = catalogue(state)
        path = newest_index(folder)
        if state % 3 == 0 or path is None:
            _build(folder, items, READER, {"made": {}}, no_progress)
        else:
            with closing(database.connect(path, write=True)) as connection:
                difference = building.difference_of(connection, items)
                building.update(connection, difference, READER, {"made": {}})
        encode_missing(folder, TextSource(WordEncoder(), items), items)
        state += 1


def states_of(results: Results) -> set[str]:
    return {hit.title.rpartition(" ")[2] for hit in results.hits}


def test_every_search_sees_one_state_of_an_index_that_another_process_changes(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "search"
    folder.mkdir()
    items = catalogue(0)
    _build(folder, items, READER, {"made": {}}, no_progress)
    encode_missing(folder, TextSource(WordEncoder(), items), items)
    searcher = Searcher(folder, ONTOLOGY, Encoders(WordEncoder()))
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    writer = context.Process(target=change_for_ever, args=(folder, stop))
    problems: list[str] = []
    seen: set[str] = set()
    searches = 0
    until = 0.0

    def search(number: int) -> None:
        nonlocal searches
        while time.monotonic() < until and not problems:
            if len(seen) >= STATES and searches >= SEARCHES:
                return
            try:
                for results in (
                    searcher.search("clay mug", 20, facets=number % 2 == 0),
                    # This one is there in all states.
                    searcher.similar("I10", 20),
                ):
                    states = states_of(results)
                    seen.update(states)
                    if len(results.hits) != 20 or len(states) != 1:
                        problems.append(f"{len(results.hits)} items of states {sorted(states)}")
                searches += 1
            except Exception as error:  # whatever it is, it is what this test looks for
                problems.append(f"{type(error).__name__}: {error}")

    writer.start()
    try:
        # It takes a while to begin.
        while searcher.search("clay mug", 1).hits[0].title.endswith("s0x"):
            time.sleep(0.02)
        until = time.monotonic() + SECONDS
        threads = [threading.Thread(target=search, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        stop.set()
        writer.join(30)
    assert problems == []
    assert writer.exitcode == 0
    assert len(seen) >= STATES
    assert searches >= SEARCHES
    searcher.close()
    left = sorted(path.name for path in folder.glob("index-*"))
    assert len({name.partition(".")[0] for name in left}) <= 2
