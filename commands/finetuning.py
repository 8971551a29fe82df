"""Commands that train for a task: finetune align, attributes, classify, match, qa."""

from __future__ import annotations

import time
from pathlib import Path

import click

from commands.base import PATH, Context, Group, pass_context
from commands.cards import (
    LeftOut,
    NewFigures,
    PartOfSplit,
    read_trained_on_or_none,
    rewrite_card,
    write_measured,
    write_trained,
)
from commands.evaluation import alignment_lines
from commands.loading import model_option, split_option
from commands.progress import TrainingDisplay, bar
from commands.tasks import (
    epochs_option,
    finetune_attributes,
    finetune_match,
    finetune_qa,
    read_item_pairs,
    refuse_given,
    seed_option,
    train_head,
    tune_option,
)
from schema.errors import UsageError


@click.group(cls=Group)
def finetune() -> None:
    """Train a model for a task on labelled examples.

    \b
    Example:
      catalograph finetune align --pairs train.csv --validation valid.csv
    """


finetune.add_command(finetune_attributes)
finetune.add_command(finetune_match)
finetune.add_command(finetune_qa)

network_option = click.option(
    "--network",
    is_flag=True,
    help="Train a head on a network's item nodes in its folder instead, as the papers do. --tune "
    "and --epochs are for this alone.",
)


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
@seed_option
@network_option
@model_option
@split_option
@tune_option
@epochs_option
@pass_context
def align(
    context: Context,
    pairs: Path,
    validation: Path | None,
    name: str | None,
    seed: int,
    network: bool,
    model: str | None,
    split: Path | None,
    tune: str,
    epochs: int,
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
    from kg.model_facts import figures_of
    from kg.model_lock import model_lock
    from schema.files import is_plain_name
    from serving.alignment.pair_files import read_labelled_pairs
    from serving.alignment.training import train_alignment

    if network:
        if validation is not None or name is not None:
            raise UsageError(
                "--network takes its validation pairs from the split and adds to a model: leave "
                "out --validation and --name"
            )
        labelled_pairs = read_item_pairs(context, pairs)
        train_head(context, "alignment", model, split, tune, epochs, seed, labelled_pairs)
        return
    refuse_given(
        ("model", "split", "tune", "epochs"), "is for --network: give that as well, or leave it out"
    )
    started = time.perf_counter()
    home = context.home()
    if name is not None and not is_plain_name(name):
        raise UsageError(f"--name {name!r} is not a plain name: leave out slashes and dots")
    labelled = read_labelled_pairs(pairs)
    held_out = None if validation is None else read_labelled_pairs(validation)
    folder = new_folder(home.models, name, "align")
    trained_on = read_trained_on_or_none(home, None)
    with model_lock(folder), bar("training", "steps") as progress:
        training = train_alignment(home, labelled, held_out, seed=seed, progress=progress)
        training.fitted.model.save(folder)
    write_trained(context, folder, trained_on, LeftOut())
    for note in training.notes:
        context.note(note)

    aligner = training.fitted.model
    thresholds = aligner.thresholds()
    reports = {
        "left out": measure_alignment(
            folder.name, training.fitted.left_out, training.pairs, aligner.best_f1, thresholds
        )
    }
    if training.validation is not None:
        reports["validation"] = measure_alignment(
            folder.name,
            training.fitted.validation,
            training.validation,
            aligner.best_f1,
            thresholds,
        )
    for part, report in reports.items():
        figures = {"": figures_of(report.as_dict()["metrics"])}
        found = NewFigures("alignment", "", report.pairs, figures)
        write_measured(context, home, folder, PartOfSplit(f"{part} pairs"), [found])
    result = {
        "model": str(folder),
        "pairs": len(training.pairs),
        "trees": aligner.about["trees"],
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
@network_option
@tune_option
@epochs_option
@pass_context
def classify(
    context: Context,
    model: str | None,
    split: Path | None,
    network: bool,
    tune: str,
    epochs: int,
) -> None:
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

    if network:
        train_head(context, "classification", model, split, tune, epochs, seed=0)
        return
    refuse_given(("tune", "epochs"), "is for --network: give that as well, or leave it out")
    home = context.home()
    scorer = load_scorer(home, model)
    folder = scorer.path.resolve()
    if not folder.is_relative_to(home.models.resolve()):
        raise UsageError(
            f"{folder} is a model of another home: copy it into {home.models}, and name the copy"
        )
    options = options_of(scorer.about, folder)
    if split is not None:
        options = replace(options, split=split, refit=None)
    with model_lock(folder):
        with TrainingDisplay() as display:
            run = train_classifier(home, options, folder.name, display)
        store(folder, run)
        rewrite_card(context, folder)
    document = {"model": str(folder), **summary(run)}
    context.emit(document, f"model: {folder}", told(document))
