"""What proposals say in the graph, by their states (see :mod:`schema.proposals`).

Predictions are references of the source ``catalograph complete``, decisions such of the source
``catalograph review``: what other sources state is never touched. A cell shows the predictions of
one proposal at most, so all others of that source are taken out with it, also those of versions
that kept no proposals.

The category of an item is no statement but a field of the item, of which each source has a
reference, too. What is predicted of it, or accepted, is a reference of these two sources; what is
rejected is a statement of the property ``category``. To whoever asks what a cell says, all of these
are statements (:func:`rows_of_cells`).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kg.stores.item_categories import category_rows
from kg.stores.merge import Changes, StoredRows
from kg.stores.references import (
    ITEM_REFERENCE,
    Origin,
    Reference,
    SourceOrder,
    item_references,
    item_row,
    statement_references,
    statement_row,
    without,
)
from kg.stores.tables import STATEMENT_SCHEMA, Row
from schema.ontology import PropertySpec
from schema.proposals import (
    NewProposal,
    Proposal,
    ProposalChange,
    ProposalRun,
    ProposalState,
)
from schema.terms import (
    CATEGORY,
    PREDICTION_SOURCE,
    REVIEW_SOURCE,
    TRUSTED_RANKS,
    Rank,
    statement_id,
)

_PREDICTED = Origin(PREDICTION_SOURCE)
_REVIEWED = Origin(REVIEW_SOURCE)
CellName = tuple[str, str]
"""An item's id and a property."""


@dataclass
class CellWrite:
    """What a cell has to say of proposals, by value: its predictions, and decisions about it.

    Predictions that no proposal has made stay if there is no other, unless ``clears`` says that
    they go.
    """

    predicted: dict[str, Reference] = field(default_factory=dict)
    decided: dict[str, Reference] = field(default_factory=dict)
    clears: bool = False


def predictions(proposal: Proposal, run: ProposalRun) -> dict[str, Reference]:
    """Return what a proposal that a run has applied says, by value."""
    probabilities = {each.value: each.probability for each in proposal.candidates}
    evidence = json.dumps(dict(proposal.evidence), ensure_ascii=False, separators=(",", ":"))
    return {
        value: _reference(
            Rank.PREDICTED,
            PREDICTION_SOURCE,
            run,
            model=proposal.model,
            confidence=round(probabilities.get(value, proposal.probability), 6),
            evidence=evidence,
        )
        for value in proposal.values
    }


def decisions(
    proposal: Proposal, change: ProposalChange, run: ProposalRun, spec: PropertySpec
) -> dict[str, Reference]:
    """Return what a decision of a run about a proposal says, by value."""
    ranks: dict[str, Rank] = {}
    if change.after in (ProposalState.EDITED, ProposalState.REJECTED):
        ranks = dict.fromkeys(proposal.values, Rank.REJECTED)
    if change.after in (ProposalState.ACCEPTED, ProposalState.EDITED):
        ranks |= dict.fromkeys(proposal.replaces, Rank.REJECTED)
        kept = {spec.key(value) for value in change.decided}
        ranks = {value: rank for value, rank in ranks.items() if spec.key(value) not in kept}
        ranks |= dict.fromkeys(change.decided, Rank.ACCEPTED)
    probabilities = {each.value: each.probability for each in proposal.candidates}
    return {
        value: _reference(
            rank,
            REVIEW_SOURCE,
            run,
            model=proposal.model,
            confidence=probabilities.get(value),
            reviewer=change.reviewer,
        )
        for value, rank in ranks.items()
    }


def _reference(
    rank: Rank,
    source: str,
    run: ProposalRun,
    *,
    model: str | None = None,
    confidence: float | None = None,
    evidence: str | None = None,
    reviewer: str | None = None,
) -> Reference:
    return {
        "rank": str(rank),
        "source": source,
        "batch": run.id,
        "row": None,
        "model": model,
        "confidence": confidence,
        "evidence": evidence,
        "reviewer": reviewer,
        "time": run.started,
    }


def graph_changes(
    writes: Mapping[CellName, CellWrite],
    runs: Collection[str],
    stored: StoredRows,
    order: SourceOrder,
    *,
    has_categories: bool = True,
) -> Changes:
    """Return what writing cells changes in a store that holds ``stored``; again, it is nothing.

    ``runs`` are all that changed proposals. Items that the store does not have are left out.
    Without ``has_categories``, the property ``category`` is one like any other.
    """
    changes = Changes()
    rows = rows_of_cells(stored, writes, has_categories=False)
    for (item, property), write in writes.items():
        if item not in stored.items:
            continue
        if has_categories and property == CATEGORY:
            _add_category(changes, stored.items[item], write, runs, order)
            write = replace(write, predicted={}, decided=_of_rank(write, Rank.REJECTED))
        found = {row["value"]: row for row in rows.get((item, property), ())}
        values = [*found, *(each for each in write.decided if each not in found)]
        values += [each for each in write.predicted if each not in values]
        for value in values:
            old = found.get(value)
            before = [] if old is None else statement_references(old)
            after = _after(before, value, write, runs)
            if after == before:
                continue
            changes.touched.add(item)
            if not after:
                changes.retracted[statement_id(item, property, value)] = item
            elif old is None:
                row = _bare_row(item, property, value)
                changes.new_statements.append(statement_row(row, after, order))
            else:
                changes.updated_statements.append(statement_row(old, after, order))
    return changes


def _add_category(
    changes: Changes, row: Row, write: CellWrite, runs: Collection[str], order: SourceOrder
) -> None:
    """Add what a write changes in the references of an item, given its row."""
    before = item_references(row)
    replaces = write.clears or bool(write.predicted)
    after = [
        each
        for each in before
        if not (Origin.of(each) == _PREDICTED and each["category"] not in write.predicted)
        or not (replaces or each["batch"] in runs)
    ]
    for value, reference in write.predicted.items():
        after = _put(after, _item_reference(value, reference), _PREDICTED)
    accepted = _of_rank(write, Rank.ACCEPTED)
    for value, reference in accepted.items():
        after = _put(after, _item_reference(value, reference), _REVIEWED)
    if not accepted:
        after = without(after, _REVIEWED)
    if after != before:
        changes.touched.add(row["id"])
        changes.updated_items.append(item_row(row["id"], after, order))


def _of_rank(write: CellWrite, rank: Rank) -> dict[str, Reference]:
    return {value: each for value, each in write.decided.items() if each["rank"] == rank}


def _item_reference(category: str, reference: Reference) -> Reference:
    """Return what a statement's reference says as one of an item that has this category.

    The columns that an item's references do not have are told as its evidence.
    """
    told = {
        name: reference[name]
        for name in ("model", "confidence", "reviewer")
        if reference[name] is not None
    }
    if reference["evidence"] is not None:
        told["evidence"] = json.loads(reference["evidence"])
    evidence = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
    columns: Reference = {**dict.fromkeys(ITEM_REFERENCE), "images": []}
    same = {name: reference[name] for name in ("source", "batch", "row", "time")}
    return {**columns, **same, "category": category, "evidence": evidence}


def _after(
    before: Sequence[Reference], value: str, write: CellWrite, runs: Collection[str]
) -> list[Reference]:
    """Return a statement's references after a write."""
    replaces = write.clears or bool(write.predicted)
    after = [
        each
        for each in before
        if not (Origin.of(each) == _PREDICTED and value not in write.predicted)
        or not (replaces or each["batch"] in runs)
    ]
    if value in write.predicted:
        after = _put(after, write.predicted[value], _PREDICTED)
    if value in write.decided:
        return _put(after, write.decided[value], _REVIEWED)
    return without(after, _REVIEWED)


def _put(references: list[Reference], new: Reference, origin: Origin) -> list[Reference]:
    if any(_is_equal(new, each) for each in references):
        return references
    return [*without(references, origin), new]


def _is_equal(new: Reference, old: Reference) -> bool:
    """Return whether two references are the same, their runs and times included."""
    return all(new[name] == old[name] or (not new[name] and not old[name]) for name in new)


def _bare_row(item: str, property: str, value: str) -> Row:
    row: Row = dict.fromkeys(STATEMENT_SCHEMA.names)
    id = statement_id(item, property, value)
    return {**row, "id": id, "item": item, "property": property, "value": value}


def rows_of_cells(
    stored: StoredRows, cells: Collection[CellName], *, has_categories: bool = True
) -> dict[CellName, list[Row]]:
    """Return the statements of some cells, in the leading language.

    What is said of an item's category is among them, unless ``has_categories`` says that the
    property ``category`` is one like any other.
    """
    found: dict[CellName, list[Row]] = defaultdict(list)
    for row in stored.statements.values():
        if row.get("language") is None and (row["item"], row["property"]) in cells:
            found[row["item"], row["property"]].append(row)
    for item, property in cells if has_categories else ():
        if property == CATEGORY and item in stored.items:
            found[item, property] += category_rows(stored.items[item])
    return found


def is_settled(
    proposal: NewProposal, spec: PropertySpec, rows: Iterable[Row], *, but: str | None = None
) -> bool:
    """Return whether what is stored leaves nothing of a proposal to decide.

    So it is if a source, and not only a reviewer, states the cell; of a property that may have
    several values, if they state all that are proposed. What a reviewer has rejected does not
    count, whoever states it. One that replaces stored values is settled if others are stored:
    see :func:`replaced_by`. ``rows`` are the statements of the cell. What the run ``but`` has
    written does not count.
    """
    if proposal.replaces:
        found = set(replaced_by(proposal, spec, rows))
        if spec.cardinality == "one":
            return found != set(proposal.replaces)
        return not found >= set(proposal.replaces)
    stated = {spec.key(row["value"]) for row in rows if _is_stated(row, but)}
    if spec.cardinality == "one":
        return bool(stated)
    return all(spec.key(value) in stated for value in proposal.values)


def replaced_by(proposal: NewProposal, spec: PropertySpec, rows: Iterable[Row]) -> tuple[str, ...]:
    """Return the trusted values of a cell that a proposal to replace its first one replaces.

    That is this value in every spelling; of a property that has one value, it is all others as
    well. What is proposed stays, whoever states it.
    """
    wrong = spec.key(proposal.replaces[0])
    proposed = {spec.key(value) for value in proposal.values}
    found = [
        row["value"]
        for row in rows
        if row["rank"] in TRUSTED_RANKS
        and spec.key(row["value"]) not in proposed
        and (spec.cardinality == "one" or spec.key(row["value"]) == wrong)
    ]
    return tuple(sorted(found, key=lambda value: (spec.key(value) != wrong, value)))


def is_inherited(row: Row) -> bool:
    """Return whether an item has a value from its product alone."""
    return all(Origin.of(each).is_inherited for each in statement_references(row))


def _is_stated(row: Row, but: str | None) -> bool:
    """Return whether sources make a statement that no reviewer has rejected."""
    references = [each for each in statement_references(row) if but is None or each["batch"] != but]
    return all(each["rank"] != Rank.REJECTED for each in references) and any(
        each["rank"] in TRUSTED_RANKS and Origin.of(each) != _REVIEWED for each in references
    )
