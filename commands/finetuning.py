"""Commands that train for a task: finetune align, finetune classify."""

from __future__ import annotations

import time
from pathlib import Path

import click

from commands.base import MAX_SEED, PATH, Context, Group, pass_context
from commands.evaluation import alignment_lines
from commands.loading import model_option, split_option
from commands.progress import TrainingDisplay, bar
from schema.errors import UsageError


@click.group(cls=Group)
def finetune() -> None:
    """Train a model for a task on labelled examples.

    \b
    Example:
      catalograph finetune align --pairs train.csv --validation valid.csv
    """


@finetune.command()
@click.option(
    "--pairs",
    metavar="FILE",
    type=PATH,
    required=True,
    help="CSV file with the columns left,right,label: pairs of items to learn from, 1 for the same "
    "product and 0 for others.",
)
@click.option(
    "--validation",
    metavar="FILE",
    type=PATH,
    help="More such pairs, which are measured and not learned from.  [default: the pairs of every "
    "fifth of the items are left out in turn]",
)
@click.option("--name", metavar="NAME", help="Name of the model.  [default: align-NUMBER]")
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(0, MAX_SEED),
    default=0,
    show_default=True,
    help="Random seed.",
)
@pass_context
def align(
    context: Context, pairs: Path, validation: Path | None, name: str | None, seed: int
) -> None:
    """Train a model that finds the same products.

    Compares titles, descriptions, model codes, numbers and values of the pairs, and whether either
    item has another one that is more like it. If no item stands in both columns, the columns count
    as two catalogues, and an item is not compared with others of its own. The model has a folder
    of its own, and `catalograph align` uses it.

    \b
    Example:
      catalograph finetune align --pairs train.csv --validation valid.csv
    """
    from evaluation.alignment import measure_alignment
    from kg.home_models import new_folder
    from kg.model_lock import model_lock
    from schema.files import is_plain_name
    from serving.alignment.pair_files import read_labelled_pairs
    from serving.alignment.training import train_alignment

    started = time.perf_counter()
    home = context.home()
    if name is not None and not is_plain_name(name):
        raise UsageError(f"--name {name!r} is not a plain name: leave out slashes and dots")
    labelled = read_labelled_pairs(pairs)
    held_out = None if validation is None else read_labelled_pairs(validation)
    folder = new_folder(home.models, name, "align")
    with model_lock(folder), bar("training", "steps") as progress:
        training = train_alignment(home, labelled, held_out, seed=seed, progress=progress)
        training.fitted.model.save(folder)
    for note in training.notes:
        context.note(note)

    model = training.fitted.model
    thresholds = model.thresholds()
    reports = {
        "left out": measure_alignment(
            folder.name, training.fitted.left_out, training.pairs, model.best_f1, thresholds
        )
    }
    if training.validation is not None:
        reports["validation"] = measure_alignment(
            folder.name,
            training.fitted.validation,
            training.validation,
            model.best_f1,
            thresholds,
        )
    result = {
        "model": str(folder),
        "pairs": len(training.pairs),
        "trees": model.about["trees"],
        "seconds": round(time.perf_counter() - started, 3),
        "metrics": {part: report.as_dict() for part, report in reports.items()},
    }
    lines: list[object] = [f"model: {folder}"]
    for part, report in reports.items():
        lines += [f"{part}:", *alignment_lines(report)]
    context.emit(result, *lines)


@finetune.command()
@model_option
@split_option
@pass_context
def classify(context: Context, model: str | None, split: Path | None) -> None:
    """Add a classifier of items by category to a model.

    `train` fits one whenever items have categories; this is for models that have none, and for
    catalogues whose categories have changed. It learns from the splits that the model's experts
    have learned from, and takes the place of one that is there. `complete` uses it for items
    without a category, and `evaluate classification` measures it.

    \b
    Example:
      catalograph finetune classify --model mine
    """
    from dataclasses import replace

    from commands.classifiers import store, summary, told
    from kg.model_lock import model_lock
    from serving.loading import load_scorer
    from training.classification import train_classifier
    from training.experts import options_of

    home = context.home()
    scorer = load_scorer(home, model)
    folder = scorer.path.resolve()
    if not folder.is_relative_to(home.models.resolve()):
        raise UsageError(
            f"{folder} is a model of another home: copy it into {home.models}, and name the copy"
        )
    options = options_of(scorer.about)
    if split is not None:
        options = replace(options, split=split, refit=None)
    with model_lock(folder):
        with TrainingDisplay() as display:
            run = train_classifier(home, options, folder.name, display)
        store(folder, run)
    document = {"model": str(folder), **summary(run)}
    context.emit(document, f"model: {folder}", told(document))
