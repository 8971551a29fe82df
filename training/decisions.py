"""What people have decided about cells, as models learn from it.

Accepted and edited values are statements, from which models learn as from any. A rejection tells
less: that a cell does not have a value. Where several reviewers decided and did not agree, what the
most of them say counts by their share.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from experts.labelled_items import CellDecision
from kg.home import Home
from schema.ledger_proposals import ProposalRecords
from schema.proposals import DECIDED, ProposalFilter, ProposalState

NO_DECISIONS: Mapping[str, CellDecision] = {}


def read_decisions(home: Home) -> dict[str, dict[str, CellDecision]]:
    """Return by item and property what was refused, and what reviewers did not agree about.

    Of a proposal of several values that was rejected nobody knows which one is wrong.
    """
    refused: dict[tuple[str, str], list[str]] = defaultdict(list)
    weight: dict[tuple[str, str], float] = {}
    with home.ledger() as ledger:
        records = ProposalRecords(ledger)
        agreed = records.agreements()
        for each in records.find(ProposalFilter(states=DECIDED)):
            if each.state is ProposalState.REJECTED and len(each.values) == 1:
                refused[each.cell] += each.values
            if each.id in agreed:
                weight[each.cell] = agreed[each.id]
    found: dict[str, dict[str, CellDecision]] = defaultdict(dict)
    for item, property in refused.keys() | weight.keys():
        cell = item, property
        found[item][property] = CellDecision(
            tuple(dict.fromkeys(refused[cell])), weight.get(cell, 1.0)
        )
    return dict(found)
