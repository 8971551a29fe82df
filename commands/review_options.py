"""Options of the commands about proposals, and what these commands share."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from commands.base import Context, FiniteRange
from schema.proposals import ProposalOrder, ProposalOrigin, ProposalState

if TYPE_CHECKING:
    from schema.ledger_proposals import Delayed
    from serving.review.session import Review

CommandFunction = TypeVar("CommandFunction", bound=Callable[..., Any])
PROBABILITY = FiniteRange(0, 1)


def _origins(
    context: click.Context, option: click.Parameter, names: Sequence[str]
) -> tuple[ProposalOrigin, ...] | None:
    """Return the origins that are named; None without any, as with other filters."""
    return tuple(map(ProposalOrigin, names)) or None


def filter_options(function: CommandFunction) -> CommandFunction:
    """Add the options that say which proposals are meant."""
    options = (
        click.option("--item", metavar="ID", help="Proposals about this item."),
        click.option("--property", metavar="NAME", help="Proposals about this property."),
        click.option("--run", metavar="RUN", help="Proposals that this run has made."),
        click.option("--model", metavar="NAME", help="Proposals of this model."),
        click.option(
            "--origin",
            "origins",
            multiple=True,
            type=click.Choice([str(each) for each in ProposalOrigin]),
            callback=_origins,
            help="Proposals of this origin; may be repeated.",
        ),
        click.option(
            "--min-probability",
            metavar="X",
            type=PROBABILITY,
            help="Proposals that are at least as probable.",
        ),
        click.option(
            "--max-probability",
            metavar="X",
            type=PROBABILITY,
            help="Proposals that are at most as probable.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


value_option = click.option("--value", metavar="TEXT", help="Proposals of this value.")
by_option = click.option(
    "--by", metavar="NAME", help="Name of the reviewer.  [default: the user's login]"
)
state_option = click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([str(each) for each in ProposalState]),
    help="Proposals in this state; may be repeated.  [default: proposed and applied]",
)
order_option = click.option(
    "--order",
    type=click.Choice([str(each) for each in ProposalOrder]),
    help="gain: the most uncertain first, whose decision teaches most; doubt: by the chance to be "
    "wrong among what is filled; probability: the most probable first; item: by item and property; "
    "newest: the last made first. Those that were skipped come last.  [default: doubt for "
    "--state applied alone, or else gain]",
)


def order_of(order: str | None, states: Sequence[ProposalState]) -> ProposalOrder:
    """Return the order that is asked for, or that in which proposals are best looked at."""
    return ProposalOrder.usual(states) if order is None else ProposalOrder(order)


@contextmanager
def opened_review(context: Context) -> Iterator[Review]:
    """Open the proposals, of which those expire that sources state by now."""
    from serving.review.session import open_review

    with open_review(context.home()) as opened:
        opened.expire()
        yield opened


def note_due(context: Context, delayed: Delayed) -> None:
    """Say how many proposals had to wait and can be applied by now."""
    if delayed.due:
        context.note(f"{delayed.due:,} proposals are due: `catalograph review apply` writes them")


def reviewer_name(by: str | None) -> str:
    """Return the name of the reviewer, by default that of the user."""
    if by is not None:
        return by
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
