"""The catalogue that is served: its store, ledger, model and search, shared by all requests."""

from __future__ import annotations

import bisect
import io
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fusion.checkpoint import find_model
from fusion.inference.featurizer import ItemInput
from kg.home import Home
from kg.home_models import champion_or
from kg.image_decoding import decode_image
from kg.image_files import is_address
from kg.snapshot import GraphSnapshot
from kg.sources import KeptSources
from kg.stores.history import RunSummary, add_runs
from kg.stores.protocol import GraphStore
from kg.stores.shared_journal import ask_at_most_every
from schema.arrays import BoolArray
from schema.errors import (
    CatalographError,
    ImageRefusedError,
    ItemNotFoundError,
    ModelError,
    StoreLockedError,
    StoreUnavailableError,
    UsageError,
)
from schema.ledger_proposals import ProposalRecords
from schema.terms import CATEGORY_SEPARATOR, Item, Rank, Statement
from serving.alignment.counts import CountedRecords
from serving.alignment.index import counts_of_home
from serving.alignment.records import Record, records_of_home
from serving.api.batching import Batcher
from serving.api.observing import Metrics
from serving.api.options import ServeOptions
from serving.api.searching import ServedSearch
from serving.api.writing import LOCKED_SECONDS, RETRY_SECONDS, Writer
from serving.asking import CellPlan
from serving.home_completion import HomeCompletion, ItemRequest
from serving.loading import load_network
from serving.results import Completion
from serving.review.drifting import Drifting, find_drifts
from serving.search.index import read_items

if TYPE_CHECKING:
    from fusion.inference.scorer import CellScorer
    from serving.search.searcher import Searcher

WATCH_SECONDS = 2.0
"""How often it is looked whether model or catalogue have changed."""
LOADING = "the model is being loaded"
IMAGE_SIZE = 1200
"""Pixels of the longer side of an image that a browser gets."""
_logger = logging.getLogger("catalograph.api")


@dataclass(frozen=True)
class ServedModel:
    """A model with the catalogue that it completes.

    Attributes:
        folder: its folder
        completion: what completes
        drifting: the properties that are held back, by reviews
        loaded: when it was loaded, in seconds since 1970
    """

    folder: Path
    completion: HomeCompletion
    drifting: Drifting
    loaded: float

    @property
    def name(self) -> str:
        """The model's name."""
        return self.completion.scorer.name


class Listing:
    """The items of a snapshot, to be listed."""

    def __init__(self, snapshot: GraphSnapshot, revision: str) -> None:
        self.snapshot = snapshot
        self.revision = revision

    def ids(
        self,
        *,
        given: Sequence[str] | None = None,
        category: str | None = None,
        missing: str | None = None,
        having: tuple[str, str] | None = None,
    ) -> list[str]:
        """Return the ids of some items, or of all.

        They may be those of a category, without a property, or with a value of a property.
        """
        snapshot = self.snapshot
        chosen = np.ones(len(snapshot.items), bool)
        if given is not None:
            wanted = set(given)
            chosen &= np.array([id in wanted for id in snapshot.items], bool)
        if category is not None:
            below = category + CATEGORY_SEPARATOR
            chosen &= np.array(
                [
                    each == category or (each or "").startswith(below)
                    for each in snapshot.categories
                ],
                bool,
            )
        if missing is not None:
            # Of a property that the catalogue does not have, all items are without.
            number = snapshot.properties.index(missing) if missing in snapshot.properties else -1
            chosen[snapshot.triples[snapshot.triples[:, 1] == number, 0]] = False
        if having is not None:
            chosen &= self._have(*having)
        return [snapshot.items[place] for place in np.flatnonzero(chosen)]

    def _have(self, property: str, value: str) -> BoolArray:
        snapshot = self.snapshot
        found = np.zeros(len(snapshot.items), bool)
        if property in snapshot.properties and value in snapshot.values:
            triples = snapshot.triples
            is_stated = triples[:, 1] == snapshot.properties.index(property)
            is_stated &= triples[:, 2] == snapshot.values.index(value)
            found[triples[is_stated, 0]] = True
        return found

    @staticmethod
    def place_after(ids: Sequence[str], last: str) -> int:
        """Return where in a list of ids those begin that come after one, which may be gone."""
        return bisect.bisect_right(ids, last)


class ServedCatalogue:
    """A home, and what is kept open of it while it is served.

    Args:
        home: the home
        options: how it is served
        metrics: counts what is done
    """

    def __init__(self, home: Home, options: ServeOptions, metrics: Metrics) -> None:
        self.home = home
        self.options = options
        self.metrics = metrics
        self.ledger = home.ledger()
        self.records = ProposalRecords(self.ledger)
        self.writer = Writer(home)
        # What other homes write to a shared journal is seen after this time.
        ask_at_most_every(WATCH_SECONDS)
        self._model: ServedModel | None = None
        self._chosen = options.model
        self._failure = LOADING
        self._files = home.image_files()
        self._listing_lock = threading.Lock()
        self.exporting = threading.Lock()
        """Held while a file is written: two at once would only be slower."""
        self._records_lock = threading.Lock()
        self._records: tuple[str, Sequence[Record], CountedRecords] | None = None
        self._runs_lock = threading.Lock()
        self._runs: dict[str, RunSummary] = {}
        self._listing: Listing | None = None
        self._listed = -WATCH_SECONDS
        self._loading = threading.Lock()
        self._batcher = Batcher()
        # A network uses several cores; more queries at once only wait for each other, and keep
        # searches and decisions waiting.
        self._matching = threading.Semaphore(max(1, (os.cpu_count() or 1) // 4))
        self._querying = threading.Semaphore(options.limits.queries)
        self._search = ServedSearch(home)
        self._network_lock = threading.Lock()
        self._network: tuple[Path, CellScorer] | None = None
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(each,), name=name, daemon=True)
            for name, each in (("model", self._watch_model), ("index", self._search.maintain))
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Finish what is written, and release everything."""
        self._stop.set()
        self.writer.close()
        self._batcher.close()
        for thread in self._threads:
            thread.join(timeout=WATCH_SECONDS)
        self._search.close()
        self.ledger.close()
        ask_at_most_every(0.0)

    @contextmanager
    def querying(self) -> Iterator[None]:
        """Wait until a query may run. Raises StoreUnavailableError if others take too long."""
        limits = self.options.limits
        if not self._querying.acquire(timeout=limits.query_seconds):
            raise StoreUnavailableError(
                f"{limits.queries} other queries have been running for {limits.query_seconds:g} s: "
                "try again later"
            )
        try:
            yield
        finally:
            self._querying.release()

    def store(self) -> GraphStore:
        """Open the graph for reading, with all that is acknowledged.

        It is tried again while another request makes the first graph of the journal.
        """
        deadline = time.monotonic() + LOCKED_SECONDS
        while True:
            try:
                return self.home.store(read_only=True)
            except StoreLockedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_SECONDS)

    def item(self, id: str) -> tuple[Item, list[Statement]]:
        """Return an item with its statements. Raises ItemNotFoundError if there is none."""
        with self.store() as store:
            return _found(store, id)

    def listing(self) -> Listing:
        """Return the items as lists show them, at most some seconds old."""
        with self._listing_lock:
            listing = self._listing
            if listing is not None and time.monotonic() - self._listed <= WATCH_SECONDS:
                return listing
            with self.store() as store:
                revision = store.revision()
            if listing is None or not revision or revision != listing.revision:
                listing = Listing(self.home.snapshot(), revision)
            self._listing = listing
            self._listed = time.monotonic()
            return listing

    def graph_runs(self) -> dict[str, RunSummary]:
        """Return the runs that changed the graph; what is known of it already is not read again."""
        with self._runs_lock, self.store() as store:
            add_runs(self._runs, store)
            return {name: replace(each) for name, each in self._runs.items()}

    def kept_sources(self) -> list[str]:
        """Return the names of the sources whose files the home keeps."""
        undone = self.ledger.undone_runs()
        return sorted(KeptSources(self.home.sources).newest(undone))

    def with_images(self, ids: Iterable[str]) -> set[str]:
        """Return those of some items whose first image can be shown."""
        with self.store() as store:
            rows = store.rows_about(list(ids)).items
        return {id for id, row in rows.items() if self.shows_image(row["images"])}

    def shows_image(self, images: Sequence[str] | None) -> bool:
        """Return whether the first image of an item can be shown."""
        return bool(images and self.images_there(images[:1]))

    def images_there(self, images: Sequence[str]) -> list[int]:
        """Return the numbers of those images of an item that :meth:`thumbnail` may show."""
        return [
            number
            for number, image in enumerate(images)
            if not is_address(image) and self._files.status(image) is not None
        ]

    def thumbnail(self, image: str, size: int = IMAGE_SIZE) -> bytes:
        """Return an image of the home as a JPEG of at most ``size`` pixels a side.

        Raises ImageRefusedError if it is an address, or cannot be read.
        """
        if is_address(image):
            raise ImageRefusedError("is an address, which is not fetched")
        picture = decode_image(self._files.read(image), size)
        with io.BytesIO() as stream:
            picture.convert("RGB").save(stream, "JPEG", quality=88)
            return stream.getvalue()

    # Completion

    @property
    def is_loading(self) -> bool:
        """Whether the first model is being loaded."""
        return self._failure == LOADING

    @property
    def model(self) -> ServedModel | None:
        """The model that is served; None while there is none."""
        return self._model

    @property
    def failure(self) -> str:
        """Why there is no model, or none but the former one; an empty text if all is well."""
        return self._failure

    def change_model(self, name: str | None) -> ServedModel:
        """Serve another model from now on; None for the champion, or else the newest.

        Requests that are being answered end with the former one. Raises UsageError or ModelError,
        and changes nothing, if it cannot be loaded.
        """
        with self._loading:
            loaded = self._load(name)
            self._chosen = name
            self._serve(loaded)
        return loaded

    def complete(
        self,
        item: str,
        properties: tuple[str, ...],
        *,
        top_k: int,
        target_precision: float | None,
    ) -> tuple[list[Completion], CellPlan, ServedModel]:
        """Complete the cells of a stored item, as it is now.

        Raises ItemNotFoundError or PropertyNotFoundError for unknown names.
        """
        model = self.needed_model()
        stored, rejected = self._stored(model, item)
        request = ItemRequest(stored, properties, top_k, target_precision, rejected, is_stored=True)
        return self._completed(model, request)

    def complete_new(
        self,
        item: ItemInput,
        properties: tuple[str, ...],
        *,
        top_k: int,
        target_precision: float | None,
    ) -> tuple[list[Completion], CellPlan, ServedModel]:
        """Complete an item that is not stored. Raises PropertyNotFoundError for an unknown name."""
        request = ItemRequest(item, properties, top_k, target_precision)
        return self._completed(self.needed_model(), request)

    def _completed(
        self, model: ServedModel, request: ItemRequest
    ) -> tuple[list[Completion], CellPlan, ServedModel]:
        planned = model.completion.plan_item(request)
        found = self._batcher.complete(model.completion, planned)
        return self._held_back(found, model), planned.plan, model

    def needed_model(self) -> ServedModel:
        """Return the model. Raises ModelError if there is none, or none yet."""
        model = self._model
        if model is None:
            raise ModelError(self._failure)
        return model

    def _held_back(self, found: list[Completion], model: ServedModel) -> list[Completion]:
        held = [model.drifting.held_back(each) for each in found]
        for each in held:
            self.metrics.completions.labels(each.decision).inc()
        return held

    def _stored(
        self, model: ServedModel, id: str
    ) -> tuple[ItemInput, dict[tuple[str, str], set[str]]]:
        """Return an item as it is now, and what was rejected of it.

        The model's own snapshot may be some seconds old.
        """
        catalogue = model.completion.catalogue
        with self.store() as store:
            item, statements = _found(store, id)
            (read,) = read_items(store, catalogue.ontology, [id])
        rejected: dict[tuple[str, str], set[str]] = {}
        for statement in statements:
            if statement.rank is Rank.REJECTED:
                rejected.setdefault((id, statement.property), set()).add(statement.value)
        has_details = catalogue.snapshot.details is not None
        paths = item.images if has_details else item.images[:1]
        images = catalogue.items.readable_images(id, paths)
        stored = ItemInput(
            id,
            title=item.title or None,
            image=images[0] if images else None,
            known=read.statements,
            description=(item.description or None) if has_details else None,
            category=tuple(item.category.split(CATEGORY_SEPARATOR)) if item.category else (),
            more_images=images[1:],
        )
        return stored, rejected

    # Search

    def searcher(self) -> tuple[Searcher, str]:
        """Return the search, brought up to date, and why it is stale if it is.

        Raises StoreUnavailableError if the index is not made yet, and DataError if it cannot be.
        """
        return self._search.searcher()

    def match(self, text: str, item: str) -> dict[str, Any]:
        """Return how well an item matches a query, by the network of the served model.

        Raises UsageError if there is no network, and ItemNotFoundError if there is no such item.
        """
        if not text.strip():
            raise UsageError(
                f"the query {text!r} has no word: write one as a shopper would type it"
            )
        model = self.needed_model()
        network = self._network_of(model)
        candidate = model.completion.catalogue.items.named(item)
        with self._matching:
            score = round(float(network.match(text, [candidate])[0]), 4)
        return {"item": item, "score": score, "title": candidate.title, "model": model.name}

    def _network_of(self, model: ServedModel) -> CellScorer:
        """Return the network of a model, which is loaded once."""
        with self._network_lock:
            if self._network is None or self._network[0] != model.folder:
                self._network = (model.folder, load_network(self.home, str(model.folder)))
            return self._network[1]

    def counted_records(self) -> tuple[Sequence[Record], CountedRecords]:
        """Return the items as alignment reads them, with what it counts of them."""
        with self._records_lock:
            with self.store() as store:
                revision = store.revision()
            if self._records is None or not revision or self._records[0] != revision:
                records = records_of_home(self.home)
                counted = counts_of_home(self.home, records).counted
                self._records = (revision, records, counted)
            return self._records[1:]

    # Changes from outside

    def _repeat(self, look: Callable[[], None]) -> None:
        """Look again and again, until the server stops."""
        while not self._stop.is_set():
            try:
                look()
            except Exception:
                _logger.exception("what has changed could not be read again")
            self._stop.wait(WATCH_SECONDS)

    def _watch_model(self) -> None:
        """Load the model, and go on with what changes of model and catalogue."""
        try:
            self._look()
        except CatalographError as error:
            if str(error) != self._failure:
                _logger.warning("%s", error)
            self._failure = str(error)

    def _look(self) -> None:
        with self._loading:
            current = self._model
            folder = find_model(self.home.models, champion_or(self.home, self._chosen)).resolve()
            if current is None or current.folder != folder:
                self._serve(self._load(self._chosen))
                return
            with self.store() as store:
                revision = store.revision()
            if revision != current.completion.catalogue.revision:
                again = current.completion.reread()
                self._serve(replace(current, completion=again, drifting=self._drifting(again)))
            self._failure = ""

    def _load(self, name: str | None) -> ServedModel:
        folder = find_model(self.home.models, champion_or(self.home, name)).resolve()
        # By its folder: the champion may be another one by now.
        completion = HomeCompletion.open(self.home, str(folder))
        return ServedModel(folder, completion, self._drifting(completion), time.time())

    def _drifting(self, completion: HomeCompletion) -> Drifting:
        return Drifting.of(find_drifts(self.home, completion.scorer.name))

    def _serve(self, model: ServedModel) -> None:
        former = self._model
        self._model = model
        self._failure = ""
        if former is None or former.folder != model.folder:
            self.metrics.model_seconds.clear()
            self.metrics.model_seconds.labels(model.name).set(model.loaded)
            _logger.info("model %s is served", model.name)


def unknown_item(id: str) -> ItemNotFoundError:
    """Return the error that there is no such item."""
    return ItemNotFoundError(f"no item {id!r}: ids are those of the source's id column")


def _found(store: GraphStore, id: str) -> tuple[Item, list[Statement]]:
    entry = store.item(id)
    if entry is None:
        raise unknown_item(id)
    return entry
