"""Commands that hand proposals to colleagues as files: review export and import."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.base import PATH, Command, Context, pass_context
from commands.review_options import (
    by_option,
    filter_options,
    opened_review,
    order_of,
    order_option,
    reviewer_name,
    state_option,
    value_option,
)
from schema.errors import RejectsError
from schema.proposals import OPEN, ProposalFilter, ProposalState

if TYPE_CHECKING:
    from serving.review.answers import ImportReport

FORMATS = ("csv", "xlsx", "label-studio")
SHOWN_REFUSALS = 20


@click.command(name="export", cls=Command)
@click.argument("file", type=PATH)
@click.option(
    "--format",
    type=click.Choice(FORMATS),
    help="Format of the file.  [default: by its ending: .csv, .xlsx or .json]",
)
@filter_options
@value_option
@state_option
@order_option
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1, 1_000_000),
    help="Proposals to write.  [default: all]",
)
@pass_context
def export_file(
    context: Context,
    /,
    file: Path,
    format: str | None,
    states: tuple[str, ...],
    order: str | None,
    limit: int | None,
    **filters: Any,
) -> None:
    """Write proposals to a file in which a colleague decides.

    In a spreadsheet the column `decision` is filled in: accept, reject, edit or skip, and for edit
    the right value in the column `value`. For Label Studio, a file .xml beside the tasks
    configures the project. `review import` reads either back.

    \b
    Example:
      catalograph review export colours.xlsx --property colour --limit 500
      catalograph review import colours.xlsx --by mo
    """
    from schema.ledger_proposals import ProposalRecords
    from serving.review.files import FileFormat, format_of, write_review_file
    from serving.review.store_of_proposals import check_store

    form = format_of(file) if format is None else FileFormat(format)
    wanted = ProposalFilter(**filters, states=tuple(map(ProposalState, states)) or OPEN)
    home = context.home()
    with home.ledger() as ledger, home.store(read_only=True) as store:
        check_store(home, store, ProposalRecords(ledger))
        found = ProposalRecords(ledger).find(wanted, order_of(order, wanted.states), limit)
        report = write_review_file(store, found, file, form)
    lines = [f"{report.proposals:,} proposals in {' and '.join(report.files)}"]
    if report.defused:
        lines.append(f"texts with an apostrophe, since they look like formulas: {report.defused:,}")
    if report.image_folder is not None:
        lines.append(
            f"Label Studio has to serve images from {report.image_folder}: "
            "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"
        )
    document = {
        "proposals": report.proposals,
        "format": str(report.format),
        "files": report.files,
        "defused": report.defused,
        "image_folder": report.image_folder,
        "notes": report.notes,
    }
    context.emit(document, *lines, *report.notes)


@click.command(name="import", cls=Command)
@click.argument("file", type=PATH)
@by_option
@click.option("--dry-run", is_flag=True, help="Say what would be decided, and change nothing.")
@click.option(
    "--max-refused",
    metavar="LIMIT",
    default="0",
    show_default=True,
    help="Number of rows, or share of them such as 1%, whose decisions may be refused; if there "
    "are more, the exit code is 1.",
)
@pass_context
def import_file(
    context: Context, file: Path, by: str | None, dry_run: bool, max_refused: str
) -> None:
    """Take the decisions in a file that was exported.

    They are one run, which `catalograph undo` takes back. A decision about a cell that has changed
    since the export is refused by name, the others are taken, and the exit code is 1. A column
    `reviewer` says who decided, where it is filled in.

    \b
    Example:
      catalograph review import colours.xlsx --by mo --dry-run
    """
    from kg.ingest.pipeline import parse_limit
    from kg.source_order import bring_up_to_date
    from serving.review.answers import TRUSTING, Decision, read_answers, take_answers
    from serving.review.session import review_of

    limit = parse_limit(max_refused, "--max-refused")
    answers = read_answers(file)
    name = reviewer_name(by)
    if dry_run:
        home = context.home()
        with home.store(read_only=True) as store, home.ledger() as ledger:
            review = review_of(home, store, ledger)
            report = take_answers(review, answers, name, dry_run=True)
    else:
        with opened_review(context) as review:
            report = take_answers(review, answers, name)
            if report.run is not None and any(report.taken[each] for each in TRUSTING):
                bring_up_to_date(context.home(), review.store, report.run)
                review.expire(report.run)
    done = {
        "accepted": report.taken[Decision.ACCEPT],
        "rejected": report.taken[Decision.REJECT],
        "edited": report.taken[Decision.EDIT],
        "skipped": report.taken[Decision.SKIP],
        "undecided": report.undecided,
        "repeated": report.repeated,
        "already": report.already,
        "disputed": report.disputed,
    }
    told = {
        "undecided": "without a decision",
        "repeated": "said again in another row",
        "already": "decided so before",
        "disputed": "of these by most reviewers, not by all",
    }
    lines = [
        f"{told.get(name, f'would be {name}' if dry_run else name)}: {count:,}"
        for name, count in done.items()
        if count or name not in told
    ]
    lines += [f"not read, {reason}: {count:,}" for reason, count in report.unread.items()]
    lines += [f"passed over, {what}: {count:,}" for what, count in report.passed_over.items()]
    if report.refused:
        lines.append(f"refused: {len(report.refused):,}")
        lines += [each.told() for each in report.refused[:SHOWN_REFUSALS]]
        if len(report.refused) > SHOWN_REFUSALS:
            more = len(report.refused) - SHOWN_REFUSALS
            lines.append(f"and {more:,} more, which --json lists")
    if report.run is not None:
        lines.append(f"`catalograph undo {report.run}` takes this back")
    document = {
        "run": report.run,
        "dry_run": dry_run,
        **done,
        "refused": [asdict(each) for each in report.refused],
        "not_read": dict(report.unread),
        "passed_over": dict(report.passed_over),
    }
    context.emit(document, *lines)
    # What can be taken is taken all the same, so that is said before the error.
    lost = len(report.refused) + report.unread.total()
    if lost > limit(len(answers.rows) + report.unread.total()):
        raise RejectsError(_too_many(report, lost, max_refused, dry_run), report)


def _too_many(report: ImportReport, lost: int, limit: str, dry_run: bool) -> str:
    first = report.refused[0].told() if report.refused else next(iter(report.unread))
    taken = "the others can be taken" if dry_run else "the others are taken"
    return (
        f"{lost:,} rows were refused or not read, more than the limit of {limit} (the first: "
        f"{first}): {taken}; correct these rows, or export them again, and import that file, or "
        "allow more with --max-refused"
    )
