"""Commands of the papers' tasks: heads on a network's item nodes, and what they are worth."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from commands.base import MAX_SEED, PATH, Command, Context, pass_context, table, write_json
from commands.cards import NewFigures, PartOfSplit, write_measured
from commands.loading import model_option, split_option
from commands.progress import bar
from schema.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from evaluation.tasks.alignment import ItemPair
    from evaluation.tasks.base import TaskItems
    from evaluation.tasks.curves import Curve
    from evaluation.tasks.heads import TaskName, TaskSource
    from evaluation.tasks.measures import Measured
    from evaluation.tasks.running import TrainedTask
    from fusion.inference.scorer import CellScorer

tune_option = click.option(
    "--tune",
    type=click.Choice(["head", "all"]),
    default="head",
    show_default=True,
    help="Whether the head alone is trained, or the network with it; its weights are then kept "
    "beside the head, and the model itself stays as it is.",
)
epochs_option = click.option(
    "--epochs",
    metavar="N",
    type=click.IntRange(1, 10_000),
    default=40,
    show_default=True,
    help="Most passes over the train items; training ends once the validation loss no longer "
    "falls.",
)
seed_option = click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(0, MAX_SEED),
    default=0,
    show_default=True,
    help="Random seed.",
)
pairs_option = click.option(
    "--pairs",
    metavar="FILE",
    type=PATH,
    required=True,
    help="CSV file with the columns left,right,label: pairs of items, 1 for the same product and 0 "
    "for others.",
)
part_option = click.option(
    "--part",
    "split_name",
    type=click.Choice(["test", "validation", "train"]),
    default="test",
    show_default=True,
    help="Split whose items are evaluated.",
)
protocol_option = click.option(
    "--protocol",
    type=click.Choice(["clean", "k3m"]),
    default="clean",
    show_default=True,
    help="k3m: also with titles and images missing or of other items, for 20 to 100% of the items, "
    "the same for every model.",
)
curves_option = click.option(
    "--curves",
    metavar="FILE",
    type=PATH,
    help="With --protocol k3m, also draw the curves into this .png or .svg file, or write them "
    "into this .csv file.  [default: no file]",
)
out_option = click.option(
    "--out",
    metavar="FILE",
    type=PATH,
    help="Also write the result to this file, as JSON.  [default: no file]",
)
_against = click.option(
    "--against",
    metavar="MODEL|tf-idf|completion",
    multiple=True,
    help="Also measure another model's head, a head on TF-IDF of titles, or the model's own "
    "completions where the task is about statements, and print the differences with paired "
    "intervals; may be repeated.  [default: none]",
)


def train_head(
    context: Context,
    name: str,
    model: str | None,
    split: Path | None,
    tune: str,
    epochs: int,
    seed: int,
    pairs: Sequence[ItemPair] = (),
) -> None:
    """Train a network's head for a task and print what it is worth on validation items."""
    from evaluation.tasks.heads import (
        TaskName,
        TaskSource,
        build_task,
        finetune_network,
        learning_rate_of,
        with_saved_head,
    )
    from evaluation.tasks.running import measure, plain
    from kg.model_lock import model_lock
    from serving.loading import load_network
    from training.finetuning import FinetuningOptions, Tuned

    began = time.perf_counter()
    home = context.home()
    scorer = load_network(home, model)
    folder = scorer.path.resolve()
    if not folder.is_relative_to(home.models.resolve()):
        raise UsageError(
            f"{folder} is a model of another home: copy it into {home.models}, and name the copy"
        )
    source = TaskSource(home, split_of(scorer, split), tuple(pairs))
    items = source.items(scorer)
    note_unknown_pairs(context, pairs, items)
    task = build_task(TaskName(name), source, items)
    options = FinetuningOptions(
        tuned=Tuned(tune), epochs=epochs, encoder_rate=learning_rate_of(scorer), seed=seed
    )
    with model_lock(folder), bar("training", "epochs") as progress:
        fitted = finetune_network(scorer, task, items, options, progress)
    note_skipped(context, fitted.skipped)
    trained = with_saved_head(scorer, TaskName(name), source, items)
    measured = measure(trained, items, "validation")
    asked = task.questions(items, "validation").asked
    _write_head(context, source, folder, "validation", name, asked, measured)
    result = {
        "model": str(folder),
        "task": name,
        "tuned": tune,
        "questions": fitted.questions,
        "skipped": fitted.skipped,
        "seconds": round(time.perf_counter() - began, 3),
        "metrics": {"validation": plain(measured.estimates())},
    }
    context.emit(
        result,
        f"model: {folder}",
        f"{fitted.questions:,} questions to learn from; on validation items:",
        metrics_table(measured),
    )


def _write_head(
    context: Context,
    source: TaskSource,
    folder: Path,
    part: str,
    name: str,
    questions: int,
    measured: Measured,
) -> None:
    """Write what was measured of a network's head into the model's card."""
    from evaluation.tasks.running import plain
    from kg.model_facts import figures_of

    figures = {"": figures_of(plain(measured.estimates()))}
    found = NewFigures(name, "head of a network", questions, figures)
    write_measured(context, source.home, folder, PartOfSplit(part, source.split), [found])


def evaluate_head(
    context: Context,
    name: str,
    model: str | None,
    split_name: str,
    split: Path | None,
    protocol: str,
    curves: Path | None,
    against: Sequence[str],
    out: Path | None,
    pairs: Sequence[ItemPair] = (),
) -> None:
    """Measure a network's head for a task, and what it is compared with."""
    from evaluation.tasks.curves import curves_of
    from evaluation.tasks.heads import TaskName, TaskSource, with_saved_head
    from evaluation.tasks.running import measure, measure_faults, plain
    from evaluation.twins import read_twins
    from serving.loading import load_network

    if curves is not None and protocol != "k3m":
        raise UsageError("--curves has nothing to draw without --protocol k3m: give both")
    home = context.home()
    scorer = load_network(home, model)
    source = TaskSource(home, split_of(scorer, split), tuple(pairs))
    items = source.items(scorer)
    note_unknown_pairs(context, pairs, items)
    trained = with_saved_head(scorer, TaskName(name), source, items)
    every = [trained, *_others(TaskName(name), trained, source, items, scorer, against)]
    questions = trained.task.questions(items, split_name)
    note_skipped(context, questions.skipped)
    if not questions.asked:
        raise UsageError(
            f"the {split_name} items have no question of {name}: choose another --part or --split"
        )
    twins = None
    if split_name != "train":
        held_out, train = (
            [item.id for item in items.parts[each]] for each in (split_name, "train")
        )
        twins = read_twins(home, held_out, train, images=False)
        context.note(twins.line())
    measured = [measure(each, items, split_name) for each in every]
    _write_head(context, source, scorer.path, split_name, name, questions.asked, measured[0])
    result: dict[str, Any] = {
        "model": scorer.name,
        "task": name,
        "questions": questions.asked,
        "skipped": questions.skipped,
        "twins": None if twins is None else twins.as_dict(),
        "metrics": plain(measured[0].estimates()),
        "against": [
            {
                "model": each.model,
                "metrics": plain(other.estimates()),
                "difference": plain(measured[0].minus(other)),
            }
            for each, other in zip(every[1:], measured[1:], strict=True)
        ],
    }
    lines: list[object] = [
        f"{trained.model}: {questions.asked:,} questions about {split_name} items",
        metrics_table(measured[0]),
    ]
    for each, other in zip(every[1:], measured[1:], strict=True):
        lines += [f"against {each.model}:", difference_table(measured[0], other)]
    if protocol == "k3m":
        points = []
        for each in every:
            with bar(f"missing and noisy, {each.model}", "points") as progress:
                points += measure_faults(each, items, split_name, progress=progress)
        result["curves"] = [point.as_dict() for point in points]
        metric = trained.task.metric
        drawn = curves_of(points, metric)
        lines += [fault_table(drawn, metric)]
        if curves is not None:
            write_or_draw(curves, drawn, metric)
            lines.append(f"curves: {curves}")
    write_json(result, out)
    context.emit(result, *lines)


def refuse_given(names: Sequence[str], reason: str) -> None:
    """Raise UsageError if one of these parameters of the current command was given.

    An option that does not count in a mode of a command would otherwise be ignored without a word.
    """
    context = click.get_current_context()
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in names and source is ParameterSource.COMMANDLINE:
            raise UsageError(f"{parameter.opts[0]} {reason}")


def read_item_pairs(context: Context, path: Path) -> tuple[ItemPair, ...]:
    """Read labelled pairs; what of them does not count is noted."""
    from evaluation.tasks.alignment import ItemPair
    from serving.alignment.pair_files import read_labelled_pairs

    file = read_labelled_pairs(path)
    for note in file.notes():
        context.note(note)
    return tuple(
        ItemPair(left, right, label)
        for (left, right), label in zip(file.pairs, file.labels, strict=True)
    )


def split_of(scorer: CellScorer, split: Path | None) -> Path | None:
    """Return the split that is asked for, or else the one that the network was trained on."""
    trained_on = scorer.about.get("split")
    return split or (Path(trained_on) if trained_on else None)


def note_unknown_pairs(context: Context, pairs: Sequence[ItemPair], items: TaskItems) -> None:
    """Say on stderr how many pairs cannot be asked about since the split lacks their items."""
    from evaluation.tasks.alignment import told_unknown

    told = told_unknown(pairs, items)
    if told is not None:
        context.note(told)


def note_skipped(context: Context, skipped: dict[str, int]) -> None:
    """Say on stderr what could not be asked."""
    for reason, count in skipped.items():
        context.note(f"not asked: {count:,} {reason}")


def metrics_table(measured: Measured) -> Table:
    """Return a table of metrics with their intervals."""
    rows = [
        [name, f"{each.value:.3f}", f"{each.low:.3f}-{each.high:.3f}"]
        for name, each in measured.estimates().items()
    ]
    return table(["metric", "value", "95% interval"], rows, right=["value", "95% interval"])


def difference_table(measured: Measured, other: Measured) -> Table:
    """Return a table of what another model has, and by how much it is exceeded."""
    rows = [
        [
            name,
            f"{other.values[name]:.3f}",
            f"{each.value:+.3f}",
            f"{each.low:+.3f} to {each.high:+.3f}",
        ]
        for name, each in measured.minus(other).items()
    ]
    columns = ["metric", "its value", "difference", "95% interval"]
    return table(columns, rows, right=columns[1:])


def fault_table(curves: Sequence[Curve], metric: str) -> Table:
    """Return a table with a row for each model and fault, and a column for each ratio."""
    rows = [
        [
            each.model,
            f"{each.fault.value} ({each.fault.meaning})",
            *(f"{value:.3f}" for value in each.values),
        ]
        for each in curves
    ]
    columns = ["model", metric, *(f"{ratio:.0%}" for ratio in curves[0].ratios)]
    return table(columns, rows, right=columns[2:])


def write_or_draw(path: Path, curves: Sequence[Curve], metric: str) -> None:
    """Write curves into a .csv file, or draw them into an image file."""
    from evaluation.tasks.curves import draw_curves, write_curves

    if path.suffix.lower() == ".csv":
        write_curves(path, curves)
    else:
        draw_curves(path, curves, metric)


def _others(
    name: TaskName,
    trained: TrainedTask,
    source: TaskSource,
    items: TaskItems,
    scorer: CellScorer,
    against: Sequence[str],
) -> list[TrainedTask]:
    """Return what a head is compared with."""
    from evaluation.tasks.by_completion import complete_for_task
    from evaluation.tasks.frozen_encoders import FrozenEncoder, TfidfVectors
    from evaluation.tasks.heads import TaskName, with_saved_head
    from evaluation.tasks.running import train_for_task
    from serving.loading import load_network, load_scorer

    others = []
    for each in against:
        if each == "tf-idf":
            titles = [item.title or "" for item in items.parts["train"]]
            encoder = FrozenEncoder("TF-IDF", TfidfVectors(titles))
            others.append(train_for_task(trained.task, encoder, items))
        elif each == "completion":
            if name not in (TaskName.ATTRIBUTES, TaskName.QA):
                raise UsageError(
                    f"--against completion has no answer to {name.value}: leave it out"
                )
            others.append(
                complete_for_task(trained.task, load_scorer(source.home, str(scorer.path)))
            )
        else:
            others.append(with_saved_head(load_network(source.home, each), name, source, items))
    return others


Decorator = Callable[[Callable[..., None]], Callable[..., None]]


def _options(*options: Decorator) -> Decorator:
    """Return a decorator that gives a command several options, in this order in its help."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_finetune_options = _options(model_option, split_option, tune_option, epochs_option, seed_option)
_evaluate_options = _options(
    model_option,
    part_option,
    split_option,
    protocol_option,
    curves_option,
    _against,
    out_option,
)


@click.command("attributes", cls=Command)
@_finetune_options
@pass_context
def finetune_attributes(context: Context, /, **options: Any) -> None:
    """Train a head that tells whether a value holds of an item.

    Each statement of a train item is asked about beside another value of its property, while the
    item's statements of that property are hidden. The head is kept in the model's folder.

    \b
    Example:
      catalograph finetune attributes --model mine
    """
    train_head(context, "attributes", **options)


@click.command("match", cls=Command)
@_finetune_options
@pass_context
def finetune_match(context: Context, /, **options: Any) -> None:
    """Train a head that tells whether a query matches an item.

    Learns from the query log: each query that led to a train item is asked about beside one that
    led to another. The head is kept in the model's folder.

    \b
    Example:
      catalograph finetune match --model mine
    """
    train_head(context, "matching", **options)


@click.command("qa", cls=Command)
@_finetune_options
@pass_context
def finetune_qa(context: Context, /, **options: Any) -> None:
    """Train a head that answers questions about an item.

    The questions are made from the ontology's properties in several wordings, and their answers
    are the items' statements, which are hidden from the model. The head is kept in the model's
    folder.

    \b
    Example:
      catalograph finetune qa --model mine
    """
    train_head(context, "qa", **options)


@click.command("attributes", cls=Command)
@_evaluate_options
@pass_context
def evaluate_attributes(context: Context, /, **options: Any) -> None:
    """Evaluate how well a head tells which values hold of items.

    Needs `finetune attributes`. Prints ROC-AUC, PR-AUC, accuracy, precision, recall, F1 and
    macro-F1, with 95% intervals over items.

    \b
    Example:
      catalograph evaluate attributes --against completion --protocol k3m
    """
    evaluate_head(context, "attributes", **options)


@click.command("qa", cls=Command)
@_evaluate_options
@pass_context
def evaluate_qa(context: Context, /, **options: Any) -> None:
    """Evaluate how well a head answers questions about items.

    Needs `finetune qa`. Ranks a hundred answers to each question, and prints Rank@1, Rank@10 and
    MRR of the true one, with 95% intervals over items.

    \b
    Example:
      catalograph evaluate qa --against completion
    """
    evaluate_head(context, "qa", **options)


@click.command("same-products", cls=Command)
@pairs_option
@model_option
@part_option
@split_option
@out_option
@pass_context
def evaluate_same_products(
    context: Context,
    pairs: Path,
    model: str | None,
    split_name: str,
    split: Path | None,
    out: Path | None,
) -> None:
    """Evaluate how well embeddings find the same product.

    Ranks all items of the catalogue for each item of a split that is in a pair, by the cosine of
    their global, text and image embeddings and by the largest of the three, without any training
    for it. Prints recall and average precision of the first ten (MAR@10, MAP@10), with 95%
    intervals over queries.

    \b
    Example:
      catalograph evaluate same-products --pairs pairs.csv
    """
    from evaluation.tasks.alignment import same_products
    from evaluation.tasks.base import PARTS
    from evaluation.tasks.heads import TaskSource
    from evaluation.tasks.running import plain
    from evaluation.tasks.same_products import retrieve_same_products
    from fusion.inference.item_encoder import NetworkEncoder
    from serving.loading import load_network

    home = context.home()
    scorer = load_network(home, model)
    items = TaskSource(home, split_of(scorer, split)).items(scorer)
    labelled = read_item_pairs(context, pairs)
    note_unknown_pairs(context, labelled, items)
    same = same_products(labelled)
    every = [item for each in PARTS for item in items.parts[each]]
    found = retrieve_same_products(NetworkEncoder(scorer), every, items.parts[split_name], same)
    if not found.queries:
        raise UsageError(
            f"none of the {split_name} items has a pair of the same product in {pairs}: "
            "choose another --part or --split"
        )
    estimates = {name: each.estimates() for name, each in found.measured.items()}
    result = {
        "model": scorer.name,
        "queries": found.queries,
        "index": found.index,
        "metrics": {name: plain(each) for name, each in estimates.items()},
    }
    write_json(result, out)
    rows = [
        [name, *(f"{each.value:.3f} ({each.low:.3f}-{each.high:.3f})" for each in one.values())]
        for name, one in estimates.items()
    ]
    columns = ["embedding", "MAR@10", "MAP@10"]
    context.emit(
        result,
        f"{scorer.name}: {found.queries:,} {split_name} items, each among {found.index - 1:,} "
        "others",
        table(columns, rows, right=columns[1:]),
    )
