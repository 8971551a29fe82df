"""Completions that are asked for at the same time are computed together.

One alone takes 33 ms of a processor, one of forty 8 ms (2,400 sample items, experts and a network).
Nobody waits for others: what has come in while a batch was computed is the next one.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from serving.api.inbox import Inbox
from serving.home_completion import HomeCompletion, PlannedItem
from serving.results import Completion

TOGETHER = 16
"""Items that are completed together, at most."""
WAITING = 200
"""Items that may wait; more are refused."""


@dataclass(frozen=True)
class _Asked:
    """An item to complete, and who waits for it."""

    completion: HomeCompletion
    planned: PlannedItem
    done: Future[list[Completion]] = field(default_factory=Future)


class Batcher:
    """Completes items in a thread of its own, those that wait together."""

    def __init__(self) -> None:
        self._inbox: Inbox[_Asked] = Inbox(WAITING, "items wait to be completed")
        self._thread = threading.Thread(target=self._run, name="catalograph-completer", daemon=True)
        self._thread.start()

    def complete(self, completion: HomeCompletion, planned: PlannedItem) -> list[Completion]:
        """Return the completions of an item.

        Raises what completing it raises, and StoreUnavailableError if too many wait already.
        """
        asked = _Asked(completion, planned)
        self._inbox.put(asked)
        return asked.done.result()

    def close(self) -> None:
        """Complete what waits, and refuse others."""
        self._inbox.close()
        self._thread.join()

    def _run(self) -> None:
        while True:
            waiting = self._inbox.take(TOGETHER)
            asked = [each for each in waiting if each is not None]
            for group in groups_of(asked):
                _complete(group)
            if len(asked) < len(waiting):
                return


def groups_of(waiting: Sequence[_Asked]) -> list[list[_Asked]]:
    """Share out what waits: together are items of different ids, asked of one model alike."""
    groups: list[list[_Asked]] = []
    for each in waiting:
        for group in groups:
            first = group[0]
            is_alike = first.completion is each.completion
            is_alike &= first.planned.request.top_k == each.planned.request.top_k
            ids = {other.planned.request.item.id for other in group}
            if is_alike and each.planned.request.item.id not in ids:
                group.append(each)
                break
        else:
            groups.append([each])
    return groups


def _complete(group: Sequence[_Asked]) -> None:
    """Complete items together; if that fails, each alone, so that one fails for itself."""
    try:
        found = group[0].completion.complete_planned([each.planned for each in group])
    except BaseException as error:
        if len(group) == 1:
            group[0].done.set_exception(error)
            return
        for each in group:
            _complete([each])
        return
    for each, completions in zip(group, found, strict=True):
        each.done.set_result(completions)
