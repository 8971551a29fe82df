"""Ask a language model for the values of cells: in batches, at once, within a budget.

A request has several items. Those that are asked for the same properties are asked together, so
that a vocabulary is sent once. What an earlier run was answered is taken from the cache, property
by property, whichever items it was asked with.

A cell's own statement is never sent, and neither are two entries of one item in one request: an
entry that asks for the colour and knows the kind would tell the other one, which asks for the kind.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from experts.language_model.answers import CellAnswer, RawAnswer, checked_answer, read_answers
from experts.language_model.budget import Budget
from experts.language_model.cache import AnswerCache
from experts.language_model.client import (
    LASTING,
    PASSING,
    UNPAID,
    CallError,
    Client,
    Completion,
)
from experts.language_model.prompt import (
    Entry,
    jpeg,
    most_input_tokens,
    offered_values,
    request_body,
)
from experts.language_model.report import AskingReport, Stop
from experts.language_model.settings import LanguageModelSettings
from fusion.inference.featurizer import (
    ItemInput,
    LazyImage,
    PixelReader,
    Pixels,
    PropertyValue,
)
from fusion.inference.scorer import CellQuery
from schema.ontology import Ontology
from schema.progress import ProgressCallback, no_progress

FAILING_REQUESTS = 5
"""Requests in a row without a usable answer after which a run ends."""
MAX_KNOWN = 60
"""Statements of an item that are sent at most."""
_PACKED = 8
"""Requests' worth of entries that wait for others with the same properties."""

Wait = Callable[[float], object]
"""Waits so many seconds."""


@dataclass(frozen=True)
class Answers:
    """The answers in the order of the cells, None where there is none, and the run's counts."""

    cells: list[CellAnswer | None]
    report: AskingReport


class LanguageModel:
    """A language model that can be asked for the values of cells, with one budget for all runs.

    ``total`` has the counts of all runs so far. After one that ended early only the cache answers.

    Args:
        settings: where it is, and what it may cost
        cache: keeps its answers, or None
        read_pixels: reads images that are given as paths
        wait: waits between requests; by default until the run is interrupted

    Raises UsageError if its API key is not in the environment.
    """

    def __init__(
        self,
        settings: LanguageModelSettings,
        cache: AnswerCache | None = None,
        read_pixels: PixelReader | None = None,
        wait: Wait | None = None,
    ) -> None:
        self.settings = settings
        self._cache = cache
        self._read_pixels = read_pixels
        self._wait = wait
        self._client = Client(settings)
        self._budget = Budget(settings.budget)
        self.total = AskingReport()

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.settings.model

    def ask(
        self,
        ontology: Ontology,
        items: Sequence[ItemInput],
        cells: Sequence[CellQuery],
        *,
        logits: Sequence[np.ndarray[Any, Any] | None] | None = None,
        progress: ProgressCallback = no_progress,
    ) -> Answers:
        """Ask for cells of ``items``, in their order as far as the budget allows.

        The ``logits`` [V] of each cell, or None, say which values of a long vocabulary are offered.
        The statements that a cell knows are sent, but never one of its own property. Whatever the
        server does, there is a result: the cells that are answered, and the counts. ``progress``
        counts cells. Raises PropertyNotFoundError on a property that the ontology does not have.
        """
        run = _Run(self, ontology, items, cells, logits, progress)
        try:
            answers = run.run()
        finally:
            run.stop.set()
            self._client.close()
        self.total.add(answers.report)
        return answers


class _Run:
    """One run of questions."""

    def __init__(
        self,
        model: LanguageModel,
        ontology: Ontology,
        items: Sequence[ItemInput],
        cells: Sequence[CellQuery],
        logits: Sequence[np.ndarray[Any, Any] | None] | None,
        progress: ProgressCallback,
    ) -> None:
        self.settings = model.settings
        self.cache = model._cache
        self.client = model._client
        self.read_pixels = model._read_pixels
        self.items = items
        self.cells = cells
        self.logits = logits
        self.progress = progress
        self.specs = {name: ontology[name] for name in dict.fromkeys(c.property for c in cells)}
        self.report = AskingReport()
        self.budget = model._budget
        self.before = self.budget.spent()
        self.answers: list[CellAnswer | None] = [None] * len(cells)
        # By entry and property, since the same cell may be asked several times.
        self.numbers: list[dict[str, list[int]]] = []
        self.done = 0
        self.failed_in_a_row = 0
        self.not_before = 0.0
        self.lock = threading.Lock()
        self.stop = threading.Event()
        if model.total.stopped is not None:
            self._end(model.total.stopped)
            self.report.trouble = model.total.trouble
        self.wait: Wait = model._wait or self.stop.wait
        self.results: SimpleQueue[_Result] = SimpleQueue()
        self.running = 0

    def run(self) -> Answers:
        """Ask everything, and count what became of it."""
        self.progress(0, len(self.cells))
        for batch in self._batches():
            self._send(batch)
        while self.running:
            self._receive()
        self._count()
        return Answers(self.answers, self.report)

    def _count(self) -> None:
        report = self.report
        for answer in self.answers:
            if answer is None:
                continue
            if answer.value is None:
                report.untold += 1
            elif answer.position is None:
                report.open += 1
            else:
                report.answered += 1
        report.not_asked = len(self.cells) - self.done
        told = report.answered + report.open + report.untold
        report.unusable = len(self.cells) - told - report.not_asked
        spent = self.budget.spent()
        report.calls = spent.calls - self.before.calls
        report.cost = max(spent.money - self.before.money, 0.0)
        report.input_tokens = spent.input_tokens - self.before.input_tokens
        report.output_tokens = spent.output_tokens - self.before.output_tokens

    # Entries and batches

    def _entries(self) -> Iterator[Entry]:
        """Yield the entries of the cells; those of one item that know the same are one."""
        groups: dict[_Told, dict[str, list[int]]] = {}
        for number, cell in enumerate(self.cells):
            known: tuple[PropertyValue, ...] = ()
            if self.settings.statements:
                others = (each for each in cell.known if each[0] != cell.property)
                known = tuple(dict.fromkeys(others))
            group = groups.setdefault(_Told(cell.item, known, cell.category), {})
            group.setdefault(cell.property, []).append(number)
        image_of: tuple[int, bytes | None] = (-1, None)
        for told, numbers in groups.items():
            if self.stop.is_set() and self.cache is None:
                return
            item = self.items[told.item]
            if image_of[0] != told.item:
                image_of = (told.item, self._image(item))
            texts = self._texts(item, told.category)
            offered = {
                name: offered_values(
                    self.specs[name],
                    texts,
                    self.settings.values_per_property,
                    None if self.logits is None else self.logits[places[0]],
                )
                for name, places in numbers.items()
            }
            shown = tuple((name, self._cut(value)) for name, value in told.known[:MAX_KNOWN])
            self.report.texts_cut += len(told.known) > MAX_KNOWN
            names = list(numbers)
            for start in range(0, len(names), self.settings.properties_per_request):
                part = names[start : start + self.settings.properties_per_request]
                self.numbers.append({name: numbers[name] for name in part})
                asked = {name: offered[name] for name in part}
                yield Entry(len(self.numbers) - 1, told.item, texts, shown, image_of[1], asked)

    def _texts(self, item: ItemInput, category: tuple[str, ...] | None) -> dict[str, str]:
        texts = {
            "title": item.title,
            "description": item.description,
            "category": " > ".join(item.category if category is None else category),
        }
        return {kind: self._cut(text) for kind, text in texts.items() if text}

    def _cut(self, text: str) -> str:
        most = self.settings.text_characters
        self.report.texts_cut += len(text) > most
        return text[:most]

    def _image(self, item: ItemInput) -> bytes | None:
        if not self.settings.images:
            return None
        pixels = self._pixels(item)
        if pixels is None:
            return None
        self.report.images += 1
        return jpeg(pixels)

    def _pixels(self, item: ItemInput) -> Pixels | None:
        size = self.settings.image_size
        match item.image:
            case np.ndarray():
                return item.image
            case LazyImage():
                return item.image.pixels(size)
            case str() | Path():
                return (
                    None if self.read_pixels is None else self.read_pixels(Path(item.image), size)
                )
        # Regions of a detector are no image.
        return None

    def _batches(self) -> Iterator[list[Entry]]:
        """Yield entries to ask together, of different items, after those in the cache are done."""
        size = self.settings.items_per_request
        waiting: dict[tuple[str, ...], list[Entry]] = defaultdict(list)
        for entry in self._entries():
            left = self._asked_before(entry)
            if left is None:
                continue
            key = tuple(sorted(left.asked))
            if any(each.item == left.item for each in waiting[key]):
                yield waiting.pop(key)
            waiting[key].append(left)
            if len(waiting[key]) == size:
                yield waiting.pop(key)
            elif sum(map(len, waiting.values())) >= _PACKED * size:
                yield from _packed(waiting, size)
                waiting.clear()
        yield from _packed(waiting, size)

    def _asked_before(self, entry: Entry) -> Entry | None:
        """Take what is in the cache; return the entry with what is left to ask, or None."""
        if self.cache is None:
            return entry
        keys = {name: entry.key(self.specs[name], self.settings) for name in entry.asked}
        found = self.cache.get(list(keys.values()))
        left = []
        for name, key in keys.items():
            if key in found:
                self._take(entry, name, found[key], from_cache=True)
            else:
                left.append(name)
        self.progress(self.done, len(self.cells))
        return entry.only(left) if left else None

    def _take(
        self, entry: Entry, name: str, raw: RawAnswer | None, *, from_cache: bool = False
    ) -> bool:
        """Use what was answered of a property, if anything was; return whether it is of use."""
        answer = None
        if raw is not None:
            answer = checked_answer(raw, self.specs[name], entry.texts, self.report.flaws)
        for number in self.numbers[entry.place][name]:
            self.answers[number] = answer
            self.done += 1
            self.report.from_cache += from_cache and answer is not None
        return answer is not None

    # Requests, each in a thread of its own

    def _send(self, batch: Sequence[Entry]) -> None:
        """Send a request as soon as one may be sent, and use the answers that arrive meanwhile."""
        while self.running >= self.settings.parallel_requests:
            self._receive()
        if self.stop.is_set():
            return
        ids: dict[str, Entry] = {}
        for entry in batch:
            # Random, so that no text of an item can name another one.
            id = secrets.token_hex(4)
            while id in ids:
                id = secrets.token_hex(4)
            ids[id] = entry
        self.running += 1
        # A daemon, so that nobody waits for it who interrupts the run.
        threading.Thread(target=self._answer, args=(ids,), daemon=True).start()

    def _answer(self, ids: Mapping[str, Entry]) -> None:
        """Put the answer to a request, or why there is none, into the queue of results."""
        try:
            body = request_body(ids, self.specs, self.settings)
            outcome: Completion | BaseException | None = self._complete(body)
        except BaseException as error:
            outcome = error
        self.results.put(_Result(ids, outcome))

    def _complete(self, body: Mapping[str, Any]) -> Completion | None:
        """Return the answer to a request, sent again after passing failures.

        None if it was not sent because the run has ended; raises CallError if all tries failed.
        """
        settings = self.settings
        tokens = most_input_tokens(body, settings.budget.image_tokens)
        price = settings.budget.price(tokens, settings.answer_tokens)
        for attempt in range(settings.retries + 1):
            pause = self.not_before - time.monotonic()
            if pause > 0:
                self.wait(pause)
            if self.stop.is_set():
                return None
            if not self.budget.pay(price):
                self._end(Stop.BUDGET)
                return None
            try:
                completion = self.client.complete(body)
            except CallError as error:
                if error.failure in UNPAID:
                    self.budget.refund(price)
                if not self._try_again(error, attempt):
                    raise
            else:
                if completion.usage is not None:
                    usage = completion.usage
                    self.budget.settle(price, usage.input_tokens, usage.output_tokens)
                return completion
        return None

    def _try_again(self, error: CallError, attempt: int) -> bool:
        """Wait after a failure; return whether the request should be sent again."""
        settings = self.settings
        with self.lock:
            self.report.failures[error.failure] += 1
            self.report.trouble = str(error)
        if error.failure in LASTING:
            self._end(Stop.REFUSED)
        most = settings.longest_wait_seconds
        if error.wait is not None:
            if error.wait > most:
                self._end(Stop.WAIT)
            with self.lock:
                # The server means all of our requests.
                self.not_before = max(self.not_before, time.monotonic() + error.wait)
        if error.failure not in PASSING or attempt == settings.retries or self.stop.is_set():
            return False
        # Different for each, so that requests that failed together do not come back together.
        pause = settings.backoff_seconds * 2**attempt * random.uniform(0.75, 1.25)
        with self.lock:
            self.report.retries += 1
        self.wait(min(max(pause, error.wait or 0.0), most))
        return True

    def _end(self, reason: Stop) -> None:
        """Let no further request begin; the first reason counts."""
        with self.lock:
            if self.report.stopped is None:
                self.report.stopped = reason
        self.stop.set()

    def _receive(self) -> None:
        """Wait for the result of a request, and use it."""
        result = self.results.get()
        self.running -= 1
        outcome = result.outcome
        if outcome is None:
            # Not sent, so its cells are not asked.
            return
        if isinstance(outcome, BaseException) and not isinstance(outcome, CallError):
            raise outcome
        raw: dict[tuple[str, str], RawAnswer] = {}
        if isinstance(outcome, Completion):
            raw = read_answers(outcome.content, result.ids, self.report.flaws)
        usable = 0
        kept: dict[str, RawAnswer] = {}
        for id, entry in result.ids.items():
            for name in entry.asked:
                answer = raw.get((id, name))
                if answer is not None:
                    kept[entry.key(self.specs[name], self.settings)] = answer
                usable += self._take(entry, name, answer)
        if self.cache is not None and kept:
            self.cache.put(kept)
        self.failed_in_a_row = 0 if usable else self.failed_in_a_row + 1
        if self.failed_in_a_row >= FAILING_REQUESTS:
            with self.lock:
                trouble = f"{FAILING_REQUESTS} requests in a row without a usable answer"
                last = f"; the last: {self.report.trouble}" if self.report.trouble else ""
                self.report.trouble = trouble + last
            self._end(Stop.FAILING)
        self.progress(self.done, len(self.cells))


@dataclass(frozen=True)
class _Told:
    """What is told of an item in an entry beside its own texts and image.

    ``category`` are the levels that may be told; None stands for the item's own.
    """

    item: int
    known: tuple[PropertyValue, ...]
    category: tuple[str, ...] | None


@dataclass(frozen=True)
class _Result:
    """A request's entries by id, and its answer, its error, or None if it was not sent."""

    ids: Mapping[str, Entry]
    outcome: Completion | BaseException | None


def _packed(waiting: Mapping[tuple[str, ...], list[Entry]], size: int) -> Iterator[list[Entry]]:
    """Yield batches of different items from those that found no others with their properties."""
    left = [entry for entries in waiting.values() for entry in entries]
    while left:
        batch: dict[int, Entry] = {}
        for entry in left:
            if len(batch) < size:
                batch.setdefault(entry.item, entry)
        taken = set(map(id, batch.values()))
        left = [entry for entry in left if id(entry) not in taken]
        yield list(batch.values())
