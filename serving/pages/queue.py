"""The proposals that a reviewer goes through: a filter and an order, in the address of the page."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Annotated, Any

from fastapi import Depends, Query

from schema.ledger_proposals import ProposalRecords, ProposedCell
from schema.proposals import (
    DECIDED,
    OPEN,
    Proposal,
    ProposalFilter,
    ProposalOrder,
    ProposalOrigin,
    ProposalState,
)
from serving.api.catalogue import ServedCatalogue
from serving.api.documents import MAX_NUMBER
from serving.api.problems import ProblemError
from serving.pages.rendering import with_query

WAITING = "waiting"
DECIDED_STATES = "decided"
STATES: dict[str, tuple[ProposalState, ...]] = {
    WAITING: OPEN,
    DECIDED_STATES: DECIDED,
    **{str(each): (each,) for each in ProposalState},
}
"""What a page calls states."""
TABLE = "table"
ONE = "one"


@dataclass(frozen=True)
class ReviewQuery:
    """Which proposals are reviewed, in which order, and how; an empty text says nothing."""

    property: str = ""
    category: str = ""
    value: str = ""
    item: str = ""
    run: str = ""
    model: str = ""
    origin: str = ""
    state: str = ""
    min: str = ""
    max: str = ""
    order: str = ""
    view: str = ""

    @builtins.property
    def states(self) -> tuple[ProposalState, ...]:
        """The states that are meant."""
        return STATES[self.state or WAITING]

    @builtins.property
    def is_filtered(self) -> bool:
        """Whether not all proposals in these states are meant."""
        return self.as_filter() != ProposalFilter(states=self.states) or bool(self.category)

    @builtins.property
    def chosen_order(self) -> ProposalOrder:
        """The order that is asked for, or that in which proposals are best looked at."""
        return ProposalOrder(self.order) if self.order else ProposalOrder.usual(self.states)

    def as_filter(self) -> ProposalFilter:
        """Return the filter, but for the category, of which proposals say nothing."""
        return ProposalFilter(
            item=self.item or None,
            property=self.property or None,
            value=self.value or None,
            run=self.run or None,
            model=self.model or None,
            states=self.states,
            origins=(ProposalOrigin(self.origin),) if self.origin else None,
            min_probability=_share(self.min),
            max_probability=_share(self.max),
        )

    def url(self, path: str = "/review", **changes: Any) -> str:
        """Return the address of a page with this query; ``changes`` are of it or beside it."""
        return with_query(path, **{**asdict(self), **changes})

    def told(self) -> list[str]:
        """Return in words what the filter says."""
        parts = [
            f"{name} {text}"
            for name in ("property", "category", "value", "item", "run", "model", "origin")
            if (text := getattr(self, name))
        ]
        if self.min:
            parts.append(f"at least {float(self.min):.0%} probable")
        if self.max:
            parts.append(f"at most {float(self.max):.0%} probable")
        return parts


def _query(
    property: Annotated[str, Query(max_length=500)] = "",
    category: Annotated[str, Query(max_length=2000)] = "",
    value: Annotated[str, Query(max_length=10_000)] = "",
    item: Annotated[str, Query(max_length=1000)] = "",
    run: Annotated[str, Query(max_length=100)] = "",
    model: Annotated[str, Query(max_length=200)] = "",
    origin: Annotated[str, Query(max_length=50)] = "",
    state: Annotated[str, Query(max_length=50)] = "",
    min: Annotated[str, Query(max_length=20)] = "",
    max: Annotated[str, Query(max_length=20)] = "",
    order: Annotated[str, Query(max_length=50)] = "",
    view: Annotated[str, Query(max_length=20)] = "",
) -> ReviewQuery:
    _check("origin", origin, [str(each) for each in ProposalOrigin])
    _check("state", state, list(STATES))
    _check("order", order, [str(each) for each in ProposalOrder])
    _check("view", view, [ONE, TABLE])
    for name, text in (("min", min), ("max", max)):
        _checked_share(name, text)
    return ReviewQuery(
        property, category, value, item, run, model, origin, state, min, max, order, view
    )


Asked = Annotated[ReviewQuery, Depends(_query)]


def _check(name: str, text: str, known: list[str]) -> None:
    if text and text not in known:
        raise ProblemError(422, f"{name}: {text[:40]!r} is none of {', '.join(known)}")


def _checked_share(name: str, text: str) -> None:
    try:
        share = _share(text)
    except ValueError:
        share = -1.0
    if share is not None and not 0 <= share <= 1:
        raise ProblemError(422, f"{name}: {text!r} is no probability: give one from 0 to 1")


def _share(text: str) -> float | None:
    return float(text) if text else None


class ReviewQueue:
    """The proposals of a query, in its order."""

    def __init__(self, catalogue: ServedCatalogue, query: ReviewQuery) -> None:
        self.query = query
        self._catalogue = catalogue
        self._records: ProposalRecords = catalogue.records

    def count(self) -> int:
        """Return how many there are."""
        if self.query.category:
            return len(self._cells)
        return self._records.count(self.query.as_filter())

    def page(self, limit: int, after: int | None = None) -> list[Proposal]:
        """Return the first ones, or those that come after one, which need not be there any more."""
        query = self.query
        if not query.category:
            return self._records.find(query.as_filter(), query.chosen_order, limit, after)
        if after is not None:
            everything = self._all(replace(query.as_filter(), states=()))
            places = {each.id: place for place, each in enumerate(everything)}
            place = places.get(after, -1)
            wanted = {each.id for each in self._cells}
            ids = [each.id for each in everything[place + 1 :] if each.id in wanted][:limit]
        else:
            ids = [each.id for each in self._cells[:limit]]
        found = self._records.get(ids)
        return [found[id] for id in ids if id in found]

    def next(self, after: int | None = None) -> Proposal | None:
        """Return the one after another; where that was the last, the first; None if all are done.

        The other one itself comes last of all.
        """
        found = self.page(1, after)
        if not found and after is not None:
            found = self.page(1)
        return found[0] if found else None

    def choose(self, records: ProposalRecords) -> list[Proposal]:
        """Return all of them, as a writer reads them."""
        found = records.find(self.query.as_filter())
        if not self.query.category:
            return found
        return [each for each in found if each.item in self._items]

    @cached_property
    def _items(self) -> set[str]:
        return set(self._catalogue.listing().ids(category=self.query.category))

    @cached_property
    def _cells(self) -> list[ProposedCell]:
        return list(self._all(self.query.as_filter()))

    def _all(self, wanted: ProposalFilter) -> list[ProposedCell]:
        return list(self._of_category(self._records.cells(wanted, self.query.chosen_order)))

    def _of_category(self, cells: list[ProposedCell]) -> Iterator[ProposedCell]:
        return (each for each in cells if each.item in self._items)


def number_of(text: str) -> int | None:
    """Return the number of a proposal in an address; None if there is none."""
    return int(text) if text.isascii() and text.isdigit() and int(text) <= MAX_NUMBER else None
