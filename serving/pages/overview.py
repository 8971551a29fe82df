"""The overview: where values are missing, what the last runs changed, the model, what waits."""

from __future__ import annotations

import builtins
import logging
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from fastapi import Request, Response

from kg.missing_values import MissingValues, read_missing_values
from schema.errors import CatalographError
from schema.ledger_proposals import ProposedCell
from schema.proposals import DECIDED, OPEN, PREDICTIONS, ProposalFilter
from schema.terms import now, path_prefixes, start_of_today
from serving.api.authentication import Reader
from serving.api.catalogue import Listing, ServedCatalogue
from serving.api.documents import RunOut
from serving.api.parameters import Catalogue
from serving.api.routes.runs import DECISIONS, all_runs
from serving.pages.rendering import NavigationEntry, render
from serving.pages.routing import page_router
from serving.review.drifting import find_drifts
from serving.review.statistics import Realised, by_kind

NAVIGATION = NavigationEntry("/", "Overview")
MAX_SOURCES = 10
"""Sources whose files can be taken away from this page."""
router = page_router()
CATEGORIES = 30
PROPERTIES = 22
RUNS = 8
WAITING = 12
"""Properties that are named of those that wait."""
QUICK_SECONDS = 1.0
"""What is read faster is read for each request that needs it; else what there is is shown first."""
DECISION_KINDS = frozenset(map(str, DECISIONS))
_logger = logging.getLogger("catalograph.pages")


@dataclass(frozen=True)
class HeatCell:
    """A category and a property: how many items lack it, their share, and what is proposed."""

    property: str
    applies: bool
    missing: int
    share: float
    proposed: int

    @builtins.property
    def step(self) -> int:
        """The share in steps of a tenth, at least 1 where any is missing."""
        return max(1, round(10 * self.share)) if self.missing else 0


@dataclass(frozen=True)
class HeatRow:
    """A category, its depth in the tree, and its cells."""

    category: str
    label: str
    depth: int
    items: int
    cells: tuple[HeatCell, ...]


@dataclass(frozen=True)
class OverviewData:
    """What the overview shows of a state of the catalogue that takes a while to read.

    Attributes:
        rows: the heat map
        missing: what it was made of
        items: how many items there are, and how many of them have a title and an image
        runs: the last runs, the newest first
        bands: by band of probability, how many decided predictions were right
        precision: the same of all of them; None if none is decided
        drifts: properties that fall short of what was promised, a line each
        read: when it was read, in ISO 8601
        seconds: how long that took
    """

    rows: tuple[HeatRow, ...]
    missing: MissingValues | None
    items: int
    titles: int
    images: int
    runs: tuple[RunOut, ...]
    bands: dict[str, Realised]
    precision: Realised | None
    drifts: tuple[str, ...]
    read: str
    seconds: float = 0.0


class OverviewReader:
    """Reads what the overview shows, again when the catalogue or its proposals have changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[str, int] | None = None
        self._data: OverviewData | None = None
        self._reading = False

    def data(self, catalogue: ServedCatalogue) -> OverviewData:
        """Return it; that of a moment ago if reading takes long, which happens meanwhile."""
        with catalogue.store() as store:
            revision = store.revision()
        key = (revision, catalogue.records.count(ProposalFilter(states=OPEN)))
        with self._lock:
            data = self._data
            if data is not None and (key == self._key or self._reading):
                return data
            if data is not None and data.seconds > QUICK_SECONDS:
                self._reading = True
                thread = threading.Thread(target=self._read, args=(catalogue, key), daemon=True)
                thread.start()
                return data
            self._keep(key, read_overview(catalogue))
            assert self._data is not None
            return self._data

    def _read(self, catalogue: ServedCatalogue, key: tuple[str, int]) -> None:
        try:
            data = read_overview(catalogue)
            with self._lock:
                self._keep(key, data)
        except Exception:
            _logger.exception("the overview could not be read again")
        finally:
            self._reading = False

    def _keep(self, key: tuple[str, int], data: OverviewData) -> None:
        self._key = key
        self._data = data


def read_overview(catalogue: ServedCatalogue) -> OverviewData:
    """Read the state of a catalogue."""
    start = time.monotonic()
    ontology = catalogue.home.ontology_or_none()
    missing = None
    if ontology is not None:
        with catalogue.store() as store:
            missing = read_missing_values(store, ontology, CATEGORIES, PROPERTIES)
    listing = catalogue.listing()
    cells = catalogue.records.cells(ProposalFilter(states=OPEN))
    rows = () if missing is None else heat_rows(missing, proposed_by_category(listing, cells))
    decided = catalogue.records.find(ProposalFilter(states=DECIDED, origins=PREDICTIONS))
    kinds = by_kind(decided)
    model = catalogue.model
    drifts = [] if model is None else find_drifts(catalogue.home, model.name)
    snapshot = listing.snapshot
    data = OverviewData(
        rows,
        missing,
        len(snapshot.items),
        sum(map(bool, snapshot.titles)),
        sum(map(bool, snapshot.images)),
        tuple(all_runs(catalogue)[:RUNS]),
        kinds["probability"],
        _together(kinds["probability"]),
        tuple(each.told() for each in drifts),
        now(),
    )
    return replace(data, seconds=time.monotonic() - start)


def proposed_by_category(listing: Listing, cells: list[ProposedCell]) -> Counter[tuple[str, str]]:
    """Return how many proposals there are by category, with those below it, and property."""
    snapshot = listing.snapshot
    categories = dict(zip(snapshot.items, snapshot.categories, strict=True))
    counts: Counter[tuple[str, str]] = Counter()
    for (category, name), count in Counter(
        (categories.get(each.item), each.property) for each in cells
    ).items():
        if category:
            for prefix in path_prefixes(category):
                counts[prefix, name] += count
    return counts


def heat_rows(missing: MissingValues, proposed: Counter[tuple[str, str]]) -> tuple[HeatRow, ...]:
    """Return the rows of the heat map."""
    rows = []
    for row, category in enumerate(missing.categories):
        items = int(missing.items[row])
        *parents, label = path_prefixes(category)
        label = label.removeprefix(parents[-1]).lstrip(" >") if parents else label
        cells = tuple(
            HeatCell(
                name,
                bool(missing.applies[row, column]),
                int(missing.missing[row, column]),
                int(missing.missing[row, column]) / items,
                proposed[category, name],
            )
            for column, name in enumerate(missing.properties)
        )
        rows.append(HeatRow(category, label, len(parents), items, cells))
    return tuple(rows)


def _together(parts: dict[str, Realised]) -> Realised | None:
    decided = sum(each.decided for each in parts.values())
    if not decided:
        return None
    right = sum(each.right for each in parts.values())
    promised = sum(each.promised * each.decided for each in parts.values()) / decided
    return Realised(decided, right, promised)


@router.get("/")
def overview(request: Request, catalogue: Catalogue, who: Reader) -> Response:
    """Show the state of the catalogue."""
    reader: OverviewReader = request.app.state.overview
    data: OverviewData | None = None
    why_not = ""
    try:
        data = reader.data(catalogue)
    except CatalographError as error:
        why_not = str(error)
    records = catalogue.records
    waiting = records.counts_by_property(ProposalFilter(states=OPEN))
    ranked = sorted(waiting.items(), key=lambda pair: (-pair[1], pair[0]))
    model = catalogue.model
    return render(
        request,
        "overview.html.j2",
        who,
        sources=catalogue.kept_sources()[:MAX_SOURCES],
        title="Overview",
        data=data,
        why_not=why_not,
        waiting=sum(waiting.values()),
        waiting_by=ranked[:WAITING],
        waiting_others=len(ranked) - WAITING,
        decided_today=records.decided_by(start_of_today()),
        model=model,
        loaded=None
        if model is None
        else datetime.fromtimestamp(model.loaded, UTC).isoformat(timespec="seconds"),
        failure=catalogue.failure,
        decision_kinds=DECISION_KINDS,
    )
