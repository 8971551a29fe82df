"""Commands that measure: evaluate, report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.common import READABLE, Command, Context, Group, pass_context, table
from commands.progress import bar
from commands.reading import items_of_part, model_option, regions_of, scorer_of, snapshot_of, split_option
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
    return click.option(name, type=click.Choice([default, *others]), default=default, show_default=True, help=help)


@evaluate.command()
@model_option
@_choice("--title", "full", "blind", "none", help="Titles; blind ones lose every word of a value.")
@_choice("--image", "yes", "no", help="Pictures.")
@_choice("--known", "all", "none", help="The item's other properties.")
@click.option("--all", "every", is_flag=True, help="All eleven settings of title, image and known.")
@click.option("--blind-also", metavar="WORDS", default="", help="Further words for blind titles to lose, like kid,kids.")
@_choice("--part", "test", "validation", "train", help="Which part of the split.")
@split_option
@click.option("--out", metavar="FILE", type=READABLE, help="Write the result as JSON to a file, too.")
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

    settings = SETTINGS if every else (Setting.parse(title, image, known),)
    home = context.home()
    scorer = scorer_of(home, model)
    items = items_of_part(snapshot_of(home), part, split, regions_of(home, scorer))
    if not items:
        raise DataError(f"the {part} part has no item: ingest more, or give a --split file that names some")
    also = [word.strip() for word in blind_also.split(",") if word.strip()]
    with bar("evaluating") as done:
        reports = evaluate_settings(scorer, items, home.ontology(), settings, also=also, progress=done)
    document = [report.as_dict() for report in reports] if every else reports[0].as_dict()
    if out is not None:
        out.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")
    context.emit(document, *(line for report in reports for line in _lines(report)))


def _lines(report: EvaluationReport) -> list[object]:
    head, *rows = report.as_rows()
    name = report.setting.name
    return [f"{report.model}, {name}: {report.items:,} items", table(head, rows, right=head[1:])]


@click.command(cls=Command)
@click.argument("out", metavar="OUT.html", type=READABLE)
@click.option("--completions", metavar="FILE", type=READABLE, required=True, help="What `complete --out` wrote.")
@click.option("--truth", metavar="FILE", type=READABLE, help="The hidden truth, as `sample` writes it, to measure against.")
@pass_context
def report(context: Context, out: Path, completions: Path, truth: Path | None) -> None:
    """Write a page that shows what completion did.

    One self-contained HTML file: coverage before and after, filled cells with picture, probability and evidence; with the truth, accuracy
    beside that of the most frequent value, and how far probabilities can be trusted.

    \b
    Example:
      catalograph report page.html --completions filled.jsonl --truth shop/truth.csv
    """
    for path in (completions, truth):
        if path is not None and not path.is_file():
            raise SourceNotFoundError(f"no file {path}: name what `catalograph complete --out` or `catalograph sample` wrote")
    from evaluation.report import write_report

    home = context.home()
    write_report(home, out, completions, truth)
    context.emit({"page": str(out)}, f"page: {out}")
