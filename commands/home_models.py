"""Commands for the models of a home: models list, compare, promote, delete."""

from __future__ import annotations

import getpass
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.base import Context, Group, pass_context, table, write_json
from commands.evaluation import evaluate_other
from commands.loading import split_option
from commands.tasks import out_option, part_option
from schema.errors import ModelError, StoreError, UsageError

if TYPE_CHECKING:
    from evaluation.completion import Comparison
    from evaluation.metrics import Estimate
    from kg.home import Home
    from kg.home_models import ModelEntry

_HITS = "hits@1"


@click.group(cls=Group)
def models() -> None:
    """List, compare, promote and delete the models of a home.

    \b
    Example:
      catalograph models list
    """


@models.command(name="list")
@pass_context
def list_(context: Context) -> None:
    """List the models of this home, the oldest first.

    Each with what it holds, when it was written, how many items and properties it has learned, its
    size, Hits@1 of items that were left out in training, and whether it can still answer what the
    ontology has now. An asterisk marks the champion, which commands use if no model is named.

    \b
    Example:
      catalograph models list
    """
    from kg.home_models import list_models, read_champion

    home = context.home()
    entries = list_models(home)
    champion = read_champion(home)
    document = {
        "champion": None if champion is None else champion.as_dict(),
        "models": [
            {**entry.as_dict(), "champion": champion is not None and champion.name == entry.name}
            for entry in entries
        ],
    }
    if not entries:
        lines: list[object] = ["no models yet: train one with `catalograph train`"]
    else:
        columns = ("", "model", "kind", "time", "items", "properties", "MB", _HITS, "ontology")
        name = None if champion is None else champion.name
        rows = [_entry_row(entry, entry.name == name) for entry in entries]
        lines = [table(columns, rows, right=("items", "properties", "MB", _HITS))]
        lines += [f"{each.name}: {each.problem}" for each in entries if each.problem is not None]
    if champion is not None:
        lines.append(
            f"* {champion.name} is the champion since {champion.time}, by {champion.by}"
            if champion.name in {entry.name for entry in entries}
            else f"the champion {champion.name} is gone: promote another, or none with --none"
        )
    elif entries:
        lines.append("no champion: the newest model is used where none is named")
    context.emit(document, *lines)


def _entry_row(entry: ModelEntry, is_champion: bool) -> list[object]:
    hits = (entry.held_out or {}).get(_HITS)
    return [
        "*" if is_champion else "",
        entry.name,
        entry.kind or entry.state,
        entry.time or "",
        "" if entry.items is None else f"{entry.items:,}",
        "" if entry.properties is None else f"{entry.properties:,}",
        f"{entry.size / 1e6:,.1f}",
        "" if hits is None else f"{hits:.3f}",
        "" if entry.answers is None else entry.answers.word,
    ]


@models.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME|DIR...")
@click.option(
    "--all",
    "all_settings",
    is_flag=True,
    help="Compare in all eleven combinations of title, image and statements.  [default: with all "
    "of them]",
)
@click.option(
    "--reported",
    is_flag=True,
    help="Only show what the folders report of items that were left out in training, which "
    "evaluates nothing, and need not be the same items.",
)
@part_option
@split_option
@out_option
@pass_context
def compare(
    context: Context,
    names: tuple[str, ...],
    all_settings: bool,
    reported: bool,
    split_name: str,
    split: Path | None,
    out: Path | None,
) -> None:
    """Compare models on the same held-out cells.

    Evaluates each model as `evaluate completion` does, and says for every pair of them and every
    property which one is better, by paired 95% intervals of the difference of Hits@1 over items.
    Experts that have learned from the items are fitted again without them, which takes as long as
    their training.

    \b
    Example:
      catalograph models compare experts-1 experts-2
    """
    names = tuple(dict.fromkeys(names))
    if len(names) < 2:
        raise UsageError("one model alone has nothing to be compared with: name two or more")
    if reported:
        _emit_reported(context, names, out)
        return
    from evaluation.against import Baselines
    from evaluation.completion import compare as compare_reports
    from evaluation.settings import SETTINGS, Setting

    home = context.home()
    settings = list(SETTINGS) if all_settings else [Setting("full", "yes", "all")]
    baselines = Baselines(home, split, split_name)
    evaluated = [evaluate_other(context, baselines, name, settings) for name in names]
    pairs = [
        compare_reports(first, second)
        for reports in zip(*evaluated, strict=True)
        for first, second in itertools.combinations(reports, 2)
    ]
    document = {
        "part": split_name,
        "items": evaluated[0][0].items,
        "models": [report.as_dict() for reports in evaluated for report in reports],
        "comparisons": [_comparison_document(each) for each in pairs],
    }
    write_json(document, out)
    context.emit(document, *(line for each in pairs for line in _comparison_lines(each)))


def _better(comparison: Comparison, estimate: Estimate) -> str | None:
    """Return the better of two models; None if the interval of the difference includes zero."""
    if estimate.low > 0:
        return comparison.report.model
    return comparison.baseline.model if estimate.high < 0 else None


def _comparison_document(comparison: Comparison) -> dict[str, Any]:
    difference = comparison.difference
    return {
        "setting": comparison.report.setting.as_dict(),
        "model": comparison.report.model,
        "other": comparison.baseline.model,
        "difference": comparison.as_dict()["difference"],
        "better": {
            "macro": _better(comparison, difference.macro[_HITS]),
            "properties": {
                name: _better(comparison, estimates[_HITS])
                for name, estimates in difference.properties.items()
            },
        },
    }


def _comparison_lines(comparison: Comparison) -> list[object]:
    report = comparison.report
    other = comparison.baseline
    properties = comparison.difference.properties
    better = {name: _better(comparison, each[_HITS]) for name, each in properties.items()}
    columns, *rows = comparison.as_rows()
    columns = [columns[0], "cells", report.model, *columns[2:], "better"]
    told = [
        [row[0], f"{report.cells.get(row[0], sum(report.cells.values())):,}", *row[1:]]
        for row in rows
    ]
    winners = [*better.values(), _better(comparison, comparison.difference.macro[_HITS])]
    table_rows = [[*row, winner or ""] for row, winner in zip(told, winners, strict=True)]
    counts = ", ".join(
        f"{model} for {sum(each == model for each in better.values()):,}"
        for model in (report.model, other.model)
    )
    undecided = sum(each is None for each in better.values())
    metric_columns, *metric_rows = comparison.metric_rows()
    return [
        f"{report.model} and {other.model}, {report.setting.name}: Hits@1 of the same cells of "
        f"{report.items:,} items, with paired intervals of the difference",
        table(columns, table_rows, right=columns[1:-1]),
        f"better: {counts} of {len(better):,} properties; undecided {undecided:,}",
        "all metrics, macro:",
        table(metric_columns, metric_rows, right=metric_columns[1:]),
    ]


def _emit_reported(context: Context, names: Sequence[str], out: Path | None) -> None:
    """Show what the folders of models report, side by side."""
    from kg.home_models import describe_folder, find_folder

    home = context.home()
    entries = [describe_folder(home, find_folder(home, name)) for name in names]
    for entry in entries:
        if entry.kind is None:
            raise ModelError(f"{entry.name} is no whole model: {entry.problem}")
    document = {"reported": [entry.as_dict() for entry in entries]}
    write_json(document, out)
    figures = list(dict.fromkeys(name for each in entries for name in each.held_out or ()))
    rows = [
        [figure, *(_figure((each.held_out or {}).get(figure)) for each in entries)]
        for figure in figures
    ]
    columns = ["of left-out items", *(entry.name for entry in entries)]
    context.emit(document, table(columns, rows, right=columns[1:]))


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


@models.command()
@click.argument("name", required=False)
@click.option("--none", "no_champion", is_flag=True, help="Have no champion from now on.")
@click.option(
    "--by",
    metavar="WHO",
    help="Who decides, which is recorded.  [default: the name of the user on this machine]",
)
@pass_context
def promote(context: Context, name: str | None, no_champion: bool, by: str | None) -> None:
    """Make a model the champion, which commands use.

    That is where no other is named with --model. It is checked first: a damaged model, or one that
    cannot complete cells, is refused. Another one takes its place when it is promoted, and --none
    has the newest used again.

    \b
    Example:
      catalograph models promote experts-2
    """
    from kg.home_models import promote as make_champion
    from kg.home_models import read_champion
    from schema.errors import HomeNotFoundError

    if (name is None) != no_champion:
        raise UsageError("name one model to promote, or give --none")
    home = context.home()
    try:
        before = read_champion(home)
    except HomeNotFoundError:
        # What is there instead of a champion is what is replaced.
        before = None
    if name is not None:
        _check_promotable(context, home, name)
    champion = make_champion(home, name, by or _user())
    document = {
        "champion": None if champion is None else champion.as_dict(),
        "before": None if before is None else before.as_dict(),
    }
    now_used = "the newest model is used" if champion is None else f"champion: {champion.name}"
    instead = "" if before is None or before.name == name else f", in place of {before.name}"
    context.emit(document, f"{now_used}{instead}")


def _check_promotable(context: Context, home: Home, name: str) -> None:
    """Raise ModelError or UsageError if a model of this home is damaged or completes nothing."""
    from kg.home_models import describe_folder, find_own
    from kg.model_lock import trained_by
    from schema.manifests import NETWORK, manifest_problems
    from serving.loading import load_scorer

    folder = find_own(home, name)
    trainer = trained_by(folder)
    if trainer is not None:
        raise UsageError(f"{name} is being trained ({trainer}): promote it when that has ended")
    entry = describe_folder(home, folder)
    if entry.kind is None:
        raise ModelError(f"{name} cannot be promoted: {entry.problem}")
    for part in (folder, folder / NETWORK):
        if part.is_dir():
            for problem in manifest_problems(part, "restore the folder, or train again"):
                raise ModelError(problem)
    # By its folder, so that the champion that it replaces does not matter.
    scorer = load_scorer(home, str(folder))
    answerable = any(spec.values for spec in scorer.ontology.properties.values())
    if not scorer.completes or not answerable:
        raise UsageError(
            f"{name} cannot complete cells, as it was not trained by link prediction: promote "
            "another, or train with --set loss_lpm=1"
        )
    if scorer.calibration is None:
        context.note(f"{name} is not calibrated, so `complete` will fill nothing by it")
    for line in entry.answers.lines() if entry.answers is not None else ():
        context.note(line)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


@models.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--force", is_flag=True, help="Delete it even if it is the champion.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_context
def delete(context: Context, names: tuple[str, ...], force: bool, yes: bool) -> None:
    """Delete models of this home with all their files.

    They cannot be brought back. What they have predicted stays in the graph, and their runs in the
    ledger. A model that is being trained is refused, and so is the champion without --force.

    \b
    Example:
      catalograph models delete experts-1 --yes
    """
    from kg.home_models import check_deletable, delete_model

    home = context.home()
    names = tuple(dict.fromkeys(names))
    # All are checked before the first one is deleted.
    sizes = {name: check_deletable(home, name, force=force) for name in names}
    left = {name: _left_behind(home, name) for name in names}
    if not yes:
        told = ", ".join(f"{name} ({size / 1e6:,.1f} MB)" for name, size in sizes.items())
        if not sys.stdin.isatty():
            raise UsageError(f"{told} would be deleted for good: add --yes")
        click.confirm(f"delete {told} for good?", abort=True, err=True)
    lines = []
    deleted = []
    for name in names:
        size = delete_model(home, name, force=force)
        deleted.append({"name": name, "bytes": size, "left": left[name]})
        lines.append(f"deleted {name}: {size / 1e6:,.1f} MB")
        lines.append(_left_line(left[name]))
    context.emit({"deleted": deleted}, *lines)


def _left_behind(home: Home, name: str) -> dict[str, int | None]:
    """Return what stays of a model: its runs in the ledger, and its predictions in the graph."""
    from kg.stores.protocol import Pattern
    from schema.terms import Rank

    runs = None
    predicted = None
    try:
        with home.ledger() as ledger:
            runs = sum(Path(str(run.get("model"))).name == name for run in ledger.trainings())
        with home.store(read_only=True) as store:
            predicted = sum(
                model == name
                for batch in store.scan(Pattern(ranks=(Rank.PREDICTED,)))
                for model in batch["model"].to_pylist()
            )
    except StoreError:
        # A damaged graph is no reason to keep a model.
        pass
    return {"runs": runs, "predicted": predicted}


def _left_line(left: dict[str, int | None]) -> str:
    runs, predicted = left["runs"], left["predicted"]
    known = [
        *([] if runs is None else [f"{runs:,} training runs in the ledger"]),
        "an unknown number of predicted statements"
        if predicted is None
        else f"{predicted:,} predicted statements in the graph",
    ]
    return f"left behind: {', '.join(known)}"
