"""Changes are made in order, each with its own outcome, and are published before they return."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kg.home import Home
from schema.errors import StoreUnavailableError, UsageError
from schema.proposals import ProposalState
from serving.api.writing import Writer
from tests.serving.api.conftest import make_home


@pytest.fixture
def small(tmp_path: Path) -> Home:
    """A home with proposals."""
    return make_home(tmp_path)


@pytest.fixture
def writer(small: Home) -> Iterator[Writer]:
    """What changes the home."""
    found = Writer(small)
    yield found
    found.close()


def accepting(number):
    """Return a function that accepts a proposal."""

    def accept(review):
        return review.accept([review.records.get([number])[number]], "anna")

    return accept


def state_of(home, number):
    from schema.ledger_proposals import ProposalRecords

    with home.ledger() as ledger:
        return ProposalRecords(ledger).get([number])[number].state


def test_changes_are_made_in_order(writer):
    begun = threading.Event()
    go_on = threading.Event()
    seen = []

    def first(home):
        begun.set()
        go_on.wait(10)
        seen.append(0)

    def change(number):
        writer.change(lambda home: seen.append(number))

    threads = [threading.Thread(target=writer.change, args=(first,))]
    threads[0].start()
    assert begun.wait(10)
    for number in range(1, 6):
        threads.append(threading.Thread(target=change, args=(number,)))
        threads[-1].start()
        while writer._inbox._queue.qsize() < number:
            time.sleep(0.001)
    go_on.set()
    for each in threads:
        each.join()
    assert seen == [0, 1, 2, 3, 4, 5]


def test_a_failure_touches_no_other_change(writer, small):
    def fails(review):
        raise ZeroDivisionError("a fault")

    def is_refused(review):
        raise UsageError("not so")

    outcomes = {}

    def decide(name, function):
        try:
            outcomes[name] = writer.decide(function).changed
        except Exception as error:
            outcomes[name] = type(error)

    works = [
        (1, accepting(1)),
        ("a", fails),
        (2, accepting(2)),
        ("b", is_refused),
        (3, accepting(3)),
    ]
    threads = [threading.Thread(target=decide, args=each) for each in works]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert outcomes == {1: 1, 2: 1, 3: 1, "a": ZeroDivisionError, "b": UsageError}
    assert {state_of(small, number) for number in (1, 2, 3)} == {ProposalState.ACCEPTED}


def test_what_is_returned_is_seen_by_the_next_reader(writer, small):
    writer.decide(accepting(1))
    with small.store(read_only=True) as store:
        found = {(each.property, each.value) for each in store.item("2")[1]}
    assert ("material", "clay") in found


def test_closing_makes_what_waits_and_refuses_others(small):
    writer = Writer(small)
    done = []
    thread = threading.Thread(target=lambda: done.append(writer.decide(accepting(1)).changed))
    thread.start()
    while not done and writer._inbox._queue.empty() and thread.is_alive():
        time.sleep(0.001)
    writer.close()
    thread.join()
    assert done == [1]
    with pytest.raises(StoreUnavailableError, match="server stops"):
        writer.change(lambda home: None)
    # Variants and the ontology have followed.
    assert state_of(small, 1) is ProposalState.ACCEPTED


def test_too_many_changes_are_refused(writer, monkeypatch):
    begun = threading.Event()
    go_on = threading.Event()
    writer._inbox._queue.maxsize = 2

    def block(home):
        begun.set()
        go_on.wait(10)

    blocker = threading.Thread(target=writer.change, args=(block,))
    blocker.start()
    assert begun.wait(10)
    waiting = [threading.Thread(target=writer.change, args=(lambda home: None,)) for _ in range(2)]
    for each in waiting:
        each.start()
    while writer._inbox._queue.qsize() < 2:
        time.sleep(0.001)
    with pytest.raises(StoreUnavailableError, match="wait already"):
        writer.change(lambda home: None)
    go_on.set()
    for each in (blocker, *waiting):
        each.join()
