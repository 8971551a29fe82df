"""The command that repeats a paper's experiments: paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.base import PATH, Command, Context, FiniteRange, pass_context, table
from commands.loading import split_option
from commands.progress import TrainingDisplay

if TYPE_CHECKING:
    from evaluation.papers.experiment import PaperResult


@click.command(cls=Command)
@click.argument("name", metavar="k3m|mbsd|vtbert", type=click.Choice(["k3m", "mbsd", "vtbert"]))
@click.option(
    "--minutes",
    metavar="N",
    type=FiniteRange(0, 100_000, min_open=True),
    default=30.0,
    show_default=True,
    help="Time for everything; half of it is for training networks, the rest for the tasks.",
)
@click.option(
    "--size",
    type=click.Choice(["tiny", "small", "base"]),
    default="tiny",
    show_default=True,
    help="Size of the networks.",
)
@click.option(
    "--seeds",
    metavar="N",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    help="Trainings of what the paper trains several times: MBSD with and without SDMI.",
)
@click.option(
    "--pairs",
    metavar="FILE",
    type=PATH,
    help="CSV file with the columns left,right,label: pairs of items, 1 for the same product and 0 "
    "for others, for alignment and same-product retrieval.  [default: these are left out]",
)
@split_option
@click.option(
    "--text-encoder",
    metavar="NAME|DIR",
    help="Pretrained text encoder of transformers, a hub name or a folder, whose vectors make one "
    "more row of the tables.  [default: none]",
)
@click.option(
    "--image-encoder",
    metavar="NAME|DIR",
    help="Pretrained vision model of transformers, a hub name or a folder, whose vectors the same "
    "row has.  [default: none]",
)
@click.option(
    "--wrapped",
    metavar="NAME|DIR",
    help="A CLIP, ViLT, VisualBERT or LXMERT of transformers, a hub name or a folder, which is "
    "trained further like the other networks, as one more row.  [default: none]",
)
@click.option(
    "--out",
    metavar="FOLDER",
    type=PATH,
    help="Folder of the page, the figures and the networks; a run that ended early goes on there.  "
    "[default: papers/NAME in the home]",
)
@pass_context
def paper(
    context: Context,
    name: str,
    minutes: float,
    size: str,
    seeds: int,
    pairs: Path | None,
    split: Path | None,
    text_encoder: str | None,
    image_encoder: str | None,
    wrapped: str | None,
    out: Path | None,
) -> None:
    """Repeat the experiments of a paper on this catalogue.

    Trains the paper's networks and baselines on the train items, gives each a head for each of the
    paper's tasks, and measures them on the test items: the paper's tables beside ours, the curves
    over missing and noisy modalities, and which of the paper's orderings hold. Writes page.html,
    result.json and curves.csv. The home's models are not changed.

    \b
    Example:
      catalograph paper k3m --pairs shop/pairs.csv
    """
    import json

    from encoders.pretrained_folder import folder_of
    from evaluation.papers.experiment import PaperExperiment, PaperOptions
    from evaluation.papers.page import as_document, write_page
    from evaluation.papers.plans import PLANS
    from evaluation.tasks.alignment import ItemPair
    from evaluation.tasks.curves import write_curves
    from schema.files import write_atomically
    from serving.alignment.pair_files import read_labelled_pairs

    home = context.home()
    labelled: tuple[ItemPair, ...] = ()
    if pairs is not None:
        file = read_labelled_pairs(pairs)
        for note in file.notes():
            context.note(note)
        labelled = tuple(
            ItemPair(left, right, label)
            for (left, right), label in zip(file.pairs, file.labels, strict=True)
        )
    options = PaperOptions(
        minutes=minutes,
        size=size,
        seeds=seeds,
        pairs=labelled,
        split=split,
        text_encoder=None if text_encoder is None else folder_of(text_encoder),
        image_encoder=None if image_encoder is None else folder_of(image_encoder),
        wrapped=wrapped,
    )
    folder = home.path / "papers" / name if out is None else out
    with TrainingDisplay() as display:
        experiment = PaperExperiment(home, PLANS[name], folder, options, context.note, display)
        result = experiment.run()
    page = folder / "page.html"
    write_page(result, page)
    write_curves(folder / "curves.csv", result.curves)
    document = {**as_document(result), "page": str(page)}
    write_atomically(folder / "result.json", json.dumps(document, ensure_ascii=False, indent=1))
    context.emit(document, *_lines(result), f"page: {page}")


def _lines(result: PaperResult) -> list[object]:
    """Return what is printed: a table for each of the paper's, and its orderings."""
    from evaluation.papers.page import check_claims

    lines: list[object] = []
    for each in result.plan.tables:
        rows = [
            result.rows[name, each.task] for name in each.rows if (name, each.task) in result.rows
        ]
        if not rows:
            continue
        shown = [
            [row.variant, *(f"{100 * row.mean(metric):.1f}" for metric in each.metrics)]
            for row in rows
        ]
        lines += [f"{each.title}:", table(["", *each.metrics], shown, right=list(each.metrics))]
        lines += [
            f"  {claim.better} above {claim.worse}: {claim.difference.value:+.1f} "
            f"({claim.difference.low:+.1f} to {claim.difference.high:+.1f}), {claim.verdict}"
            for claim in check_claims(result, each)
        ]
    return [*lines, *(f"left out: {reason}" for reason in result.skipped)]
