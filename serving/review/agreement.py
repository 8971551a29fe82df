"""Look whether graph and ledger say the same of proposals."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.item_categories import own_category_rows
from kg.stores.protocol import GraphStore
from kg.stores.references import statement_references
from kg.stores.tables import Row
from schema.ledger_proposals import ProposalRecords
from schema.ontology import Ontology, PropertySpec
from schema.proposals import OPEN, WRITTEN, ProposalFilter, ProposalState
from schema.terms import OWN_SOURCES, Rank
from serving.review.graph import CellName

Said = tuple[str, str, str]
"""Item, property and value."""


def disagreements(
    store: GraphStore, records: ProposalRecords, ontology: Ontology | None = None
) -> Iterator[str]:
    """Yield in what graph and ledger differ, one line each; the ontology tells equal values.

    Predictions of versions that kept no proposals, and proposals about items that are gone, are
    none of it. What is pending has to be finished first.
    """
    specs = {} if ontology is None else ontology.properties
    runs = {each.id for each in records.runs()}
    shown: dict[Said, set[str]] = {}
    for row in _rows(store):
        said = row["item"], row["property"], row["value"]
        for reference in statement_references(row):
            is_ours = reference["source"] in OWN_SOURCES
            if is_ours and reference["batch"] in runs:
                shown.setdefault(said, set()).add(reference["rank"])
    expected: dict[Said, set[str]] = {}
    written = records.find(ProposalFilter(states=WRITTEN))
    items = items_there(store, {each.item for each in written})
    for each in written:
        if each.item not in items:
            continue
        if each.state is ProposalState.APPLIED:
            for value in each.values:
                expected.setdefault((*each.cell, value), set()).add(str(Rank.PREDICTED))
            continue
        # Of one value the later decision counts, so that either may be shown.
        rejected = () if each.state is ProposalState.ACCEPTED else each.values
        if each.state is not ProposalState.REJECTED:
            rejected = (*rejected, *each.replaces)
        spec = specs.get(each.property, PropertySpec(each.property))
        kept = {spec.key(value) for value in each.decided}
        for value in rejected:
            if spec.key(value) not in kept:
                expected.setdefault((*each.cell, value), set()).add(str(Rank.REJECTED))
        for value in each.decided:
            expected.setdefault((*each.cell, value), set()).add(str(Rank.ACCEPTED))
    for said in sorted(shown.keys() | expected.keys()):
        there, wanted = shown.get(said, set()), expected.get(said, set())
        if not there or not there <= wanted:
            ranks = " and ".join(sorted(there)) or "nothing"
            states = " or ".join(sorted(wanted)) or "nothing"
            yield f"{', '.join(said)}: the graph says {ranks}, the ledger {states}"
    yield from _several(records)


def items_there(store: GraphStore, wanted: Collection[str]) -> set[str]:
    """Return those of some ids of items that a store has."""
    asked = pa.array(wanted, pa.string())
    found: set[str] = set()
    for batch in store.items():
        ids = batch["id"]
        found.update(ids.filter(pc.is_in(ids, value_set=asked)).to_pylist())
    return found


def _rows(store: GraphStore) -> Iterator[Row]:
    """Yield all statements, and what models and reviewers say of the items' categories."""
    for batch in store.scan():
        yield from batch.filter(_is_ours(batch)).to_pylist()
    yield from own_category_rows(store.items())


def _is_ours(batch: pa.RecordBatch) -> pa.Array:
    """Return which statements have a prediction or a decision among their references."""
    names = sorted(OWN_SOURCES)
    ours = pc.is_in(batch["source"], value_set=pa.array(names))
    for name in names:
        among = pc.match_substring(batch["references"], name)
        ours = pc.or_(ours, pc.fill_null(among, False))
    return ours


def _several(records: ProposalRecords) -> Iterator[str]:
    cells: dict[CellName, int] = {}
    for each in records.find(ProposalFilter(states=OPEN)):
        if each.cell in cells:
            yield f"{', '.join(each.cell)}: proposals {cells[each.cell]} and {each.id} are open"
        cells[each.cell] = each.id
