"""Commands that measure: evaluate, report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.base import READABLE, Command, Context, Group, pass_context, table
from commands.loading import (
    items_of_part,
    model_option,
    note_untrained,
    regions_of,
    scorer_of,
    snapshot_of,
    split_option,
)
from commands.progress import bar
from schema.errors import DataError, SourceNotFoundError

if TYPE_CHECKING:
    from evaluation.completion import EvaluationReport


@click.group(cls=Group)
def evaluate() -> None:
    """Measure a model on held-out items.

    \b
    Example:
      catalograph evaluate completion --title blind --image yes --known none
    """


def _choice(name: str, default: str, *others: str, help: str) -> Callable[[Any], Any]:
    return click.option(
        name, type=click.Choice([default, *others]), default=default, show_default=True, help=help
    )


@evaluate.command()
@model_option
@_choice("--title", "full", "blind", "none", help="Titles; blind ones lose every word of a value.")
@_choice("--image", "yes", "no", help="Images.")
@_choice("--known", "all", "none", help="The item's other properties.")
@click.option("--all", "every", is_flag=True, help="All eleven settings of title, image and known.")
@click.option(
    "--blind-also",
    metavar="WORDS",
    default="",
    help="Further words for blind titles to lose, like kid,kids.",
)
@_choice("--part", "test", "validation", "train", help="Which part of the split.")
@split_option
@click.option(
    "--out", metavar="FILE", type=READABLE, help="Write the result as JSON to a file, too."
)
@pass_context
def completion(
    context: Context,
    model: str | None,
    title: str,
    image: str,
    known: str,
    every: bool,
    blind_also: str,
    part: str,
    split: Path | None,
    out: Path | None,
) -> None:
    """Hide every known cell of the held-out items in turn and ask for it.

    Hits@1/3/10, MRR (filtered, realistic ranks) and calibration error, a line a property, with 95% intervals over items.

    \b
    Example:
      catalograph evaluate completion --title none --image yes --known none
    """
    from evaluation.completion import evaluate_settings
    from evaluation.settings import SETTINGS, Setting

    settings = SETTINGS if every else (Setting(title, image, known),)
    home = context.home()
    scorer = scorer_of(home, model)
    note_untrained(context, scorer)
    items = items_of_part(snapshot_of(home), part, split, regions_of(home, scorer))
    if not items:
        raise DataError(
            f"the {part} part has no item: ingest more, or give a --split file that names some"
        )
    also = [word.strip() for word in blind_also.split(",") if word.strip()]
    with bar("evaluating") as done:
        reports = evaluate_settings(
            scorer, items, home.ontology(), settings, blind_also=also, progress=done
        )
    document = [report.as_dict() for report in reports] if every else reports[0].as_dict()
    if out is not None:
        out.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")
    context.emit(document, *(line for report in reports for line in _lines(report)))


@evaluate.command()
@model_option
@click.option(
    "--hard-negatives",
    "hard",
    metavar="SHARE",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Share of the queries that do not match which are hard: of the same category, or with one term rewritten.",
)
@_choice("--part", "test", "validation", "train", help="Which part of the split.")
@split_option
@click.option(
    "--out", metavar="FILE", type=READABLE, help="Write the result as JSON to a file, too."
)
@pass_context
def matching(
    context: Context,
    model: str | None,
    hard: float,
    part: str,
    split: Path | None,
    out: Path | None,
) -> None:
    """Tell queries that led to an item from others, with title and image and without one of them.

    ROC-AUC and PR-AUC over the held-out items' pairs of the query log, with 95% intervals over items.

    \b
    Example:
      catalograph evaluate matching --part test
    """
    from evaluation.matching import evaluate_matching
    from evaluation.query_pairs import held_out_pairs

    home = context.home()
    scorer = scorer_of(home, model)
    note_untrained(context, scorer, queries=True)
    matcher, pairs = held_out_pairs(home, scorer, part, split, hard)
    with bar("evaluating", "pairs") as done:
        report = evaluate_matching(scorer, matcher, pairs, progress=done)
    if out is not None:
        out.write_text(json.dumps(report.as_dict(), ensure_ascii=False, indent=1), encoding="utf-8")
    head, *rows = report.as_rows()
    counts = f"{report.model}: {report.positive:,} matching pairs and {report.negative:,} others of {report.items:,} items"
    context.emit(report.as_dict(), counts, table(head, rows, right=head[1:]))


def _lines(report: EvaluationReport) -> list[object]:
    head, *rows = report.as_rows()
    name = report.setting.name
    return [f"{report.model}, {name}: {report.items:,} items", table(head, rows, right=head[1:])]


@click.command(cls=Command)
@click.argument("out", metavar="OUT.html", type=READABLE)
@click.option(
    "--completions",
    metavar="FILE",
    type=READABLE,
    required=True,
    help="What `complete --out` wrote.",
)
@click.option(
    "--truth",
    metavar="FILE",
    type=READABLE,
    help="The hidden truth, as `sample` writes it, to measure against.",
)
@pass_context
def report(context: Context, out: Path, completions: Path, truth: Path | None) -> None:
    """Write a page that shows what completion did.

    One self-contained HTML file: coverage before and after, filled cells with image, probability and evidence; with the truth, accuracy
    beside that of the most frequent value, and how far probabilities can be trusted.

    \b
    Example:
      catalograph report page.html --completions filled.jsonl --truth shop/truth.csv
    """
    for path in (completions, truth):
        if path is not None and not path.is_file():
            raise SourceNotFoundError(
                f"no file {path}: name what `catalograph complete --out` or `catalograph sample` wrote"
            )
    from evaluation.report import write_report

    home = context.home()
    write_report(home, out, completions, truth)
    context.emit({"page": str(out)}, f"page: {out}")


@click.command(cls=Command)
@split_option
@click.option(
    "--images/--no-images", default=True, show_default=True, help="Compare the items' images, too."
)
@pass_context
def leaks(context: Context, split: Path | None, images: bool) -> None:
    """Report what lets a model see through a split.

    Held-out items whose title or image a train item nearly has, properties that follow from another one, and values that an item says
    twice: with these, a test measures memory.

    \b
    Example:
      catalograph leaks --split split.csv
    """
    from kg.image_cache import read_pixels
    from kg.quality.leaks import HASHED_SIZE, find_leaks, looks_of
    from kg.splits import assign

    snapshot = snapshot_of(context.home())
    looks = None
    if images:
        with bar("reading images") as done:
            looks = looks_of(
                snapshot.images, lambda path: read_pixels(Path(path), HASHED_SIZE), done
            )
    found = find_leaks(snapshot, assign(snapshot.items, split), looks)
    twins = (
        [
            each.part,
            each.by,
            f"{each.items:,}",
            f"{each.share:.1%}",
            ", ".join(each.pairs[0]) if each.pairs else "",
        ]
        for each in found.twins
    )
    told = (
        [each.property, each.by, f"{each.share:.1%}", f"{each.items:,}"]
        for each in found.determined
    )
    twice = (
        [each.property, each.by, f"{each.share:.1%}", f"{each.items:,}"] for each in found.repeated
    )
    context.emit(
        found.as_dict(),
        "held-out items that look like one of the train part:",
        table(
            ("part", "by", "items", "share", "like (held out, train)"),
            twins,
            right=("items", "share"),
        ),
        "properties that another one tells:",
        table(
            ("property", "told by", "items it is right of", "items"),
            told,
            right=("items it is right of", "items"),
        ),
        "values that items say under two properties:",
        table(("property", "and", "share", "items"), twice, right=("share", "items")),
    )
