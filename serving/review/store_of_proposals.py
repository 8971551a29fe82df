"""The store that the proposals of a home are about: its ledger has those of one store alone.

An item of another store may have the same id. So proposals are neither made for nor applied to a
store that is not theirs, unless it is the home's own by now and says the same.
"""

from __future__ import annotations

from kg.home import Home
from kg.stores.protocol import GraphStore
from schema.errors import UsageError
from schema.ledger_proposals import ProposalRecords
from schema.proposals import OPEN, ProposalFilter
from serving.review.agreement import disagreements, items_there


def check_store(home: Home, store: GraphStore, records: ProposalRecords) -> None:
    """Raise UsageError if the proposals of a home are about another store than this."""
    other = other_store(home, store, records)
    if other is None:
        return
    is_own = home.store_url == home.own_store_url()
    if is_own and _says_the_same(store, records):
        records.forget_stores_but(home.relative_url(store.url))
        return
    told = f"the proposals of this home are about the store {other}, not about {store.url}"
    if is_own:
        raise UsageError(
            f"{told}, which does not say the same: copy the graph with `catalograph copy --from "
            f"{other} --to {store.url}`, or go back with `catalograph --store {other} init`"
        )
    raise UsageError(
        f"{told}: leave out --store, or make a home of its own for it with `catalograph --home "
        f"FOLDER --store {store.url} init`"
    )


def other_store(home: Home, store: GraphStore, records: ProposalRecords) -> str | None:
    """Return the store that proposals are about; None if it is this one, or there are none."""
    named = home.relative_url(store.url)
    # In the ledger they are relative to the home, which may have moved.
    known = [home.absolute_url(each) for each in records.stores()]
    is_own = any(home.relative_url(each) == named for each in known)
    return known[0] if known and not is_own and records.has_any() else None


def _says_the_same(store: GraphStore, records: ProposalRecords) -> bool:
    """Return whether a store has all that proposals are about, and what they say of the graph."""
    items = {each.item for each in records.find(ProposalFilter(states=OPEN))}
    if items_there(store, items) != items:
        return False
    return next(disagreements(store, records), None) is None
