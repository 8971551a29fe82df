"""Matches of a catalogue's items as proposals of ``same as`` statements.

What is decided to be a match may be applied at once, as any prediction, and undone with its run;
what is to be reviewed waits for a person. Who accepts a proposal says that both are one product.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kg.home import Home
from schema.proposals import (
    NewProposal,
    ProposalOrigin,
    ProposedDecision,
    ProposedValue,
    RunKind,
)
from schema.terms import SAME_AS, now
from serving.alignment.aligning import AlignedPair
from serving.alignment.model import AlignmentDecision
from serving.review.session import AddReport, open_review


@dataclass(frozen=True)
class WrittenMatches:
    """The run that wrote matches, which ``undo`` takes back, and what it added."""

    run: str
    added: AddReport


def proposals_of_pairs(
    pairs: Iterable[AlignedPair], model: str, target: float
) -> Iterator[NewProposal]:
    """Yield a proposal for every item on the left that has a match, or a pair to review.

    All matches of an item are proposed together. Without any, the most probable pair is. ``target``
    is the precision that is proven of matches.
    """
    by_item: dict[str, list[AlignedPair]] = defaultdict(list)
    for pair in pairs:
        if pair.decision is not AlignmentDecision.DISTINCT:
            by_item[pair.left].append(pair)
    for item, own in by_item.items():
        own.sort(key=lambda pair: -pair.probability)
        matches = [pair for pair in own if pair.decision is AlignmentDecision.MATCH]
        chosen = matches or own[:1]
        yield NewProposal(
            item,
            SAME_AS,
            tuple(pair.right for pair in chosen),
            min(pair.probability for pair in chosen),
            tuple(ProposedValue(pair.right, pair.probability) for pair in own),
            ProposedDecision.FILL if matches else ProposedDecision.REVIEW,
            target if matches else None,
            origin=ProposalOrigin.ALIGNMENT,
            model=model,
            due=now() if matches else None,
        )


def write_matches(
    home: Home, pairs: Sequence[AlignedPair], model: str, target: float
) -> WrittenMatches:
    """Propose what pairs say, and apply what is a match; raises what a store does."""
    proposals = list(proposals_of_pairs(pairs, model, target))
    with open_review(home) as review:
        run = review.begin(RunKind.ALIGN, report={"model": model})
        added = review.add_all(run, proposals, apply=True)
        review.end(run)
    return WrittenMatches(run.id, added)
