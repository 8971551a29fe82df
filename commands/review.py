"""Commands about proposals: review list, show, accept, reject, edit, skip, apply and stats."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from commands.base import Context, Group, pass_context, shortened, table
from commands.review_files import export_file, import_file
from commands.review_options import (
    by_option,
    filter_options,
    note_due,
    opened_review,
    order_of,
    order_option,
    reviewer_name,
    state_option,
    value_option,
)
from schema.errors import ProposalConflictError, UsageError
from schema.proposals import (
    DECIDED,
    OPEN,
    PREDICTIONS,
    ProposalFilter,
    ProposalState,
)

if TYPE_CHECKING:
    from schema.ledger_proposals import ProposalRecords
    from schema.proposals import Proposal
    from serving.review.session import Review, ReviewReport

SHOWN_TEXT = 40
"""Characters of a value to print in a table."""
yes_option = click.option("--yes", is_flag=True, help="Do not ask before many are changed.")
targets_argument = click.argument("targets", nargs=-1, metavar="[NUMBER | ITEM PROPERTY]")


@click.group(cls=Group)
def review() -> None:
    """Decide about what models propose: accept, reject, correct.

    A proposal is a value for a cell, with its probability and evidence; `complete` makes them. What
    is accepted counts like what a source states, and the next model learns from it; what is
    rejected is not proposed again. Every decision is a run that `catalograph undo` takes back.

    \b
    Example:
      catalograph review list --order gain
      catalograph review accept 15970 colour
    """


review.add_command(export_file)
review.add_command(import_file)


@review.command(name="list")
@filter_options
@value_option
@state_option
@order_option
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(0, 1_000_000),
    default=20,
    show_default=True,
    help="Proposals to list.",
)
@pass_context
def list_proposals(
    context: Context, /, states: tuple[str, ...], order: str | None, limit: int, **filters: Any
) -> None:
    """List proposals, first those worth a decision most.

    \b
    Example:
      catalograph review list --property colour --min-probability 0.6
    """
    from schema.ledger_proposals import ProposalRecords

    wanted = ProposalFilter(**filters, states=tuple(map(ProposalState, states)) or OPEN)
    with context.home().ledger() as ledger:
        records = ProposalRecords(ledger)
        count = records.count(wanted)
        found = records.find(wanted, order_of(order, wanted.states), limit)
        delayed = records.delayed()
    columns = ("number", "item", "property", "value", "probability", "decision", "state")
    rows = (
        (
            each.id,
            each.item,
            each.property,
            shortened(_told_values(each), SHOWN_TEXT),
            f"{each.probability:.1%}",
            each.decision,
            each.state,
        )
        for each in found
    )
    lines: list[Any] = [table(columns, rows, right=("number", "probability"))] if found else []
    lines.append(f"{len(found):,} of {count:,} proposals")
    note_due(context, delayed)
    document = {
        "count": count,
        "proposals": [each.as_dict() for each in found],
        "due": delayed.due,
        "waiting": delayed.waiting,
    }
    context.emit(document, *lines)


def _told_values(proposal: Proposal) -> str:
    """Return what is proposed or was decided, after what it replaces."""
    told = " | ".join(proposal.decided or proposal.values)
    return f"{' | '.join(proposal.replaces)} → {told}" if proposal.replaces else told


@review.command()
@targets_argument
@pass_context
def show(context: Context, targets: tuple[str, ...]) -> None:
    """Show a proposal with its evidence and history.

    It is named by its number, or by its item and property.

    \b
    Example:
      catalograph review show 17
      catalograph review show 15970 colour
    """
    from schema.ledger_proposals import ProposalRecords
    from schema.proposals import step_document
    from serving.review.store_of_proposals import check_store

    home = context.home()
    with home.ledger() as ledger, home.store(read_only=True) as store:
        records = ProposalRecords(ledger)
        check_store(home, store, records)
        proposal = _named(records, targets)
        history = records.history(proposal.id)
        found = store.item(proposal.item)
    item, statements = found or (None, [])
    stored = [
        {"value": each.value, "rank": str(each.rank), "source": each.provenance.source}
        for each in statements
        if each.property == proposal.property and each.language is None
    ]
    document = {
        **proposal.as_dict(),
        "title": item.title if item else None,
        "images": list(item.images) if item else [],
        "stored": stored,
        "history": [step_document(change, run) for change, run in history],
    }
    lines = [
        f"{proposal.id}: {proposal.item}, {proposal.property}: {proposal.state}",
        f"title: {document['title'] or '(none)'}",
        *(f"image: {path}" for path in document["images"]),
        *(f"stored: {each['value']} ({each['rank']}, {each['source']})" for each in stored),
        *(f"replaces: {value}" for value in proposal.replaces),
        *(f"candidate: {each.value} {each.probability:.1%}" for each in proposal.candidates),
        f"decision of {proposal.model or proposal.origin}: {proposal.decision}",
        *(f"evidence: {name}: {told}" for name, told in proposal.evidence.items() if told),
        *(
            f"{each['time']}: {each['before']} → {each['after']}, {each['kind']} by run "
            f"{each['run']}" + (f", {each['reviewer']}" if each["reviewer"] else "")
            for each in document["history"]
        ),
    ]
    context.emit(document, *lines)


@review.command()
@targets_argument
@filter_options
@value_option
@by_option
@yes_option
@pass_context
def accept(
    context: Context, /, targets: tuple[str, ...], by: str | None, yes: bool, **filters: Any
) -> None:
    """Accept one proposal or all of a filter: they are right.

    They are accepted statements from now on, and what is learned next learns from them. Stored
    values that they replace are rejected.

    \b
    Example:
      catalograph review accept 15970 colour
      catalograph review accept --property colour --min-probability 0.95 --yes
    """
    _decide(context, "accepted", targets, filters, by, yes)


@review.command()
@targets_argument
@filter_options
@value_option
@by_option
@yes_option
@pass_context
def reject(
    context: Context, /, targets: tuple[str, ...], by: str | None, yes: bool, **filters: Any
) -> None:
    """Reject one proposal or all of a filter: they are wrong.

    They are not proposed for these cells again. Stored values that they would replace are kept, and
    are not found to be wrong again.

    \b
    Example:
      catalograph review reject 17
      catalograph review reject --property colour --value beige --yes
    """
    _decide(context, "rejected", targets, filters, by, yes)


@review.command()
@targets_argument
@filter_options
@value_option
@by_option
@yes_option
@pass_context
def skip(
    context: Context, /, targets: tuple[str, ...], by: str | None, yes: bool, **filters: Any
) -> None:
    """Leave one proposal or all of a filter to others.

    They stay as they are, and come last in the list.

    \b
    Example:
      catalograph review skip 17
    """
    _decide(context, "skipped", targets, filters, by, yes)


@review.command()
@targets_argument
@click.option("--item", metavar="ID", help="The item, if it is not an argument.")
@click.option("--property", metavar="NAME", help="The property, if it is not an argument.")
@click.option(
    "--value",
    "values",
    metavar="TEXT",
    multiple=True,
    required=True,
    help="The right value; may be repeated for a property that may have several.",
)
@by_option
@pass_context
def edit(
    context: Context,
    targets: tuple[str, ...],
    item: str | None,
    property: str | None,
    values: tuple[str, ...],
    by: str | None,
) -> None:
    """Correct a proposal: the value is another one.

    It is an accepted statement from now on, and what was proposed counts as rejected; so do stored
    values that were to be replaced.

    \b
    Example:
      catalograph review edit 15970 colour --value "navy blue"
    """
    if not targets and item is not None and property is not None:
        targets = (item, property)
    with opened_review(context) as opened:
        proposal = _named(opened.records, targets)
        report = opened.edit(proposal, values, reviewer_name(by))
        _follow(context, opened, report, [proposal], follows=True)
    _emit(context, "edited", report)


@review.command()
@filter_options
@value_option
@pass_context
def apply(context: Context, /, **filters: Any) -> None:
    """Write proposals to the graph that need no person.

    These are those of the filter whose target precision is proven and whose delay is over, by what
    ontology.toml says of `apply`. They are predicted statements from now on.

    \b
    Example:
      catalograph review apply --run 20260131T020000Z-1f2e3d
    """
    with opened_review(context) as opened:
        wanted = ProposalFilter(**filters)
        report = opened.apply(wanted)
        delayed = opened.records.delayed()
    note_due(context, delayed)
    document = {"due": delayed.due, "waiting": delayed.waiting, "next_due": delayed.next}
    waiting = f"waiting: {delayed.waiting:,}, the first of them until {delayed.next}"
    _emit(context, "applied", report, document, [waiting] if delayed.waiting else [])


@review.command()
@filter_options
@click.option(
    "--since",
    metavar="TIME",
    help="Count decisions from then on, a date or a time in UTC such as 2026-01-31.",
)
@pass_context
def stats(context: Context, /, since: str | None, **filters: Any) -> None:
    """Compare what was promised with what people decided.

    The precision of what was decided, with an interval of 95%, beside the mean probability: by
    origin, and, of predictions, by property, model, band of probability and decision; and what
    decisions alone prove. With --origin, all of that is about these origins.

    \b
    Example:
      catalograph review stats --since 2026-01-01
    """
    from schema.ledger_proposals import ProposalRecords
    from serving.review.statistics import by_kind, by_origin, drifts, proven_by_decisions

    wanted = ProposalFilter(**filters, states=DECIDED, since=_moment(since))
    with context.home().ledger() as ledger:
        records = ProposalRecords(ledger)
        found = records.find(wanted)
        states = records.counts_by_state(ProposalFilter(**filters))
    origins = by_origin(found)
    decided = len(found)
    if not filters["origins"]:
        found = [each for each in found if each.origin in PREDICTIONS]
    kinds = {"origin": origins, **by_kind(found)}
    proven = {
        name: [
            {"precision": each.precision, "probability": round(each.probability, 6)}
            for each in steps
        ]
        for name, steps in proven_by_decisions(found).items()
    }
    drifting = drifts(found)
    document = {
        "states": {str(state): count for state, count in sorted(states.items())},
        "decided": decided,
        **{
            f"by_{kind}": {name: each.as_dict() for name, each in names.items()}
            for kind, names in kinds.items()
        },
        "proven": proven,
        "drifting": [each.property for each in drifting],
    }
    counts = ", ".join(f"{state} {count:,}" for state, count in sorted(states.items()))
    lines: list[Any] = [f"proposals: {counts or 'none'}"]
    columns = ("", "of", "decided", "right", "precision", "interval", "promised")
    rows = [
        (
            kind,
            name,
            f"{each.decided:,}",
            f"{each.right:,}",
            f"{each.precision:.1%}",
            "{:.1%} to {:.1%}".format(*each.interval),
            f"{each.promised:.1%}",
        )
        for kind, names in kinds.items()
        for name, each in names.items()
    ]
    if rows:
        lines.append(table(columns, rows, right=columns[2:]))
    lines += [
        f"{name}: decisions prove {steps[0]['precision']:g} from {steps[0]['probability']:.1%} on"
        for name, steps in proven.items()
        if steps
    ]
    lines += [each.told() for each in drifting]
    context.emit(document, *lines)


def _moment(text: str | None) -> str | None:
    """Return the beginning of a date, or a time, as the ledger writes it."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--since {text!r} is no time: write one such as 2026-01-31") from None
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return time.isoformat(timespec="seconds")


def _decide(
    context: Context,
    done: str,
    targets: tuple[str, ...],
    filters: dict[str, Any],
    by: str | None,
    yes: bool,
) -> None:
    """Decide about the proposal that is named, or about all of a filter."""
    if targets and any(value is not None for value in filters.values()):
        raise UsageError(f"{' '.join(targets)} already names the proposal: leave out the filter")
    if not targets and all(value is None for value in filters.values()):
        raise UsageError("name a proposal by its number, or by item and property, or give a filter")
    with opened_review(context) as opened:
        if targets:
            found = [_named(opened.records, targets)]
        else:
            found = opened.records.find(ProposalFilter(**filters, states=OPEN))
            is_one = filters["item"] is not None and filters["property"] is not None
            if len(found) > 1 or not is_one:
                _confirm(found, done, yes)
        decide = {"accepted": opened.accept, "rejected": opened.reject, "skipped": opened.skip}
        report = decide[done](found, reviewer_name(by))
        # What is rejected or skipped was not trusted before, and is not afterwards.
        _follow(context, opened, report, found if targets else [], follows=done == "accepted")
    _emit(context, done, report)


def _confirm(proposals: Sequence[Proposal], done: str, yes: bool) -> None:
    """Ask before many proposals are changed; raises UsageError where nobody can answer."""
    if yes or not proposals:
        return
    told = f"{len(proposals):,} proposals"
    if replacing := sum(bool(each.replaces) for each in proposals):
        told += f" ({replacing:,} in the place of stored values)"
    if not sys.stdin.isatty():
        raise UsageError(f"{told} would be {done}: repeat with --yes")
    if not click.confirm(f"{told} will be {done}. Go on?", err=True):
        raise UsageError("nothing was changed")


def _follow(
    context: Context, opened: Review, report: ReviewReport, named: Sequence[Proposal], follows: bool
) -> None:
    """Let variants and the ontology follow decisions; say if the one named could not be decided."""
    from kg.source_order import bring_up_to_date

    if report.expired and named:
        each = named[0]
        raise ProposalConflictError(
            f"proposal {each.id} ({each.item}, {each.property}) has expired: other values of the "
            "cell are stored by now, or the item is gone"
        )
    if report.changed and follows:
        bring_up_to_date(context.home(), opened.store, report.run)
        opened.expire(report.run)


def _emit(
    context: Context,
    done: str,
    report: ReviewReport,
    more: Mapping[str, Any] | None = None,
    told: Sequence[str] = (),
) -> None:
    lines = [f"{done}: {report.changed:,}", *told]
    if report.expired:
        lines.append(f"expired, since other values are stored by now: {report.expired:,}")
    if report.changed or report.expired:
        lines.append(f"`catalograph undo {report.run}` takes this back")
    document = {"run": report.run, done: report.changed, "expired": report.expired}
    document |= more or {}
    context.emit(document, *lines)


def _named(records: ProposalRecords, targets: Sequence[str]) -> Proposal:
    """Return the proposal with a number, or the last one of an item and a property.

    Raises UsageError if there is none.
    """
    if len(targets) == 1 and targets[0].isascii() and targets[0].isdigit():
        number = int(targets[0])
        found = list(records.get([number]).values()) if number < 1 << 63 else []
    elif len(targets) == 2:
        found = records.of_cells([(targets[0], targets[1])], tuple(ProposalState))
        found.sort(key=lambda each: (each.state in OPEN, each.id))
    else:
        raise UsageError("name a proposal by its number, or by item and property")
    if not found:
        raise UsageError(
            f"no proposal {' '.join(targets)}: `catalograph review list` has them, and "
            "`catalograph complete` makes them"
        )
    return found[-1]
