"""Commands about models: train, runs, model show."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.base import READABLE, Command, Context, Group, pass_context, table
from commands.loading import items_of_part, regions_of, scorer_of, snapshot_of, split_option
from commands.progress import TrainingDisplay, bar, figures
from schema.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from kg.home import Home

INTERRUPTED = 130


@click.command(cls=Command)
@click.option(
    "--preset",
    metavar="P",
    default="joint",
    show_default=True,
    help="joint, k3m, mbsd, vtbert, or a baseline of the papers.",
)
@click.option(
    "--size", metavar="S", default="small", show_default=True, help="tiny, small or base."
)
@click.option("--config", metavar="FILE", type=READABLE, help="TOML file of settings.")
@click.option(
    "--set",
    "overrides",
    metavar="K=V",
    multiple=True,
    help="One setting, over the file's; may be repeated.",
)
@click.option(
    "--minutes",
    metavar="M",
    type=click.FloatRange(0, min_open=True),
    help="Time budget, to which the learning rate fits.",
)
@click.option(
    "--steps",
    metavar="N",
    type=click.IntRange(1),
    help="Step budget; with --minutes, whichever ends first.",
)
@click.option(
    "--init", "init", metavar="MODEL", help="Start from this model's weights and vocabulary."
)
@click.option("--name", metavar="NAME", help="The model's name.  [default: PRESET-SIZE-NUMBER]")
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of all random.",
)
@click.option("--resume", is_flag=True, help="Go on where a run was stopped.")
@split_option
@pass_context
def train(context: Context, /, **given: Any) -> None:
    """Train a model on the catalogue.

    Ctrl-C saves and says how to go on. Under torchrun every process takes its share of each batch.

    \b
    Example:
      catalograph train --size small --minutes 30
      torchrun --nproc-per-node 2 cli.py train --minutes 30
    """
    from training.config import TrainOptions
    from training.run import train as run

    if given["name"] is not None and Path(given["name"]).name != given["name"]:
        raise UsageError(
            f"--name {given['name']!r} is not a plain name: leave out slashes and dots"
        )
    home = context.home()
    options = TrainOptions(**given)
    first = os.environ.get("RANK") in (None, "0")
    with TrainingDisplay(quiet=not first) as progress:
        result = run(home, options, progress)
    if not first:
        return
    finished = result.pop("finished", True)
    folder = Path(result["model"])
    if finished:
        calibrate_model(home, folder, options.split)
    else:
        context.note(
            f"stopped at step {result['steps']}; go on with: catalograph --home {home.path} train --resume --name {folder.name}"
        )
    context.emit(
        result,
        f"model: {folder}",
        f"{result['steps']:,} steps in {result['seconds']:.0f} s, {result['items_per_second']:.0f} items/s",
        f"validation: {figures(result['metrics'])}",
    )
    if not finished:
        click.get_current_context().exit(INTERRUPTED)


def calibrate_model(home: Home, folder: Path, split: Path | None) -> None:
    """Fit the model's temperatures and proven thresholds on the validation items, and keep them in its folder."""
    from fusion.checkpoint import add_file
    from serving.calibration import calibrate

    scorer = scorer_of(home, str(folder))
    items = items_of_part(snapshot_of(home), "validation", split, regions_of(home, scorer))
    with bar("calibrating") as done:
        found = calibrate(scorer, items, progress=done)
    add_file(folder, "calibration.json", json.dumps(found, ensure_ascii=False).encode())


@click.command(cls=Command)
@click.option(
    "--plot",
    metavar="FILE",
    type=READABLE,
    help="Draw the terms of the loss of all runs, PNG or SVG.",
)
@pass_context
def runs(context: Context, plot: Path | None) -> None:
    """Compare training runs.

    \b
    Example:
      catalograph runs --plot runs.png
    """
    home = context.home()
    with home.ledger() as ledger:
        found = ledger.trainings()
    if plot is not None:
        from evaluation.runs import plot_runs

        plot_runs(list(dict.fromkeys(Path(run["model"]) for run in found)), plot)
        context.note(f"plot: {plot}")
    columns = ("model", "time", "preset", "size", "steps", "seconds", "items/s", "validation")
    rows = [_run_row(run) for run in found]
    if not rows:
        context.emit(found, "no runs yet: `catalograph train` makes one")
        return
    context.emit(found, table(columns, rows, right=columns[4:7]))


def _run_row(run: dict[str, Any]) -> list[object]:
    sizes = [
        run.get("steps"),
        f"{run.get('seconds', 0):.0f}",
        f"{run.get('items_per_second', 0):.0f}",
    ]
    return [
        Path(run["model"]).name,
        run["time"],
        run.get("preset"),
        run.get("size"),
        *sizes,
        figures(run.get("metrics") or {}),
    ]


def described_parts(
    model: nn.Module,
) -> tuple[list[tuple[str, int, tuple[int, ...], int]], dict[str, int]]:
    """A model's tensors (name, how often it repeats, shape, parameters of all) and each part's parameters.

    Layers alike are one line, their numbers a star. A tensor that two parts share is listed, and so counted, once: under the first of them.
    """
    times: dict[tuple[str, tuple[int, ...]], int] = {}
    parts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        alike = re.sub(r"\.\d+(?=\.)", ".*", name, count=1), tuple(parameter.shape)
        times[alike] = times.get(alike, 0) + 1
        part = name.partition(".")[0]
        parts[part] = parts.get(part, 0) + parameter.numel()
    return [
        (name, count, shape, count * math.prod(shape)) for (name, shape), count in times.items()
    ], parts


@click.group(cls=Group)
def model() -> None:
    """Look at a model.

    \b
    Example:
      catalograph model show
    """


@model.command(name="show")
@click.argument("wanted", metavar="[NAME|DIR]", required=False)
@pass_context
def show_model(context: Context, wanted: str | None) -> None:
    """Show a model's parts, their shapes and their parameters; without a name, the newest model's.

    \b
    Example:
      catalograph model show joint-small-1
    """
    from fusion.checkpoint import ModelFolder, find_model

    folder = ModelFolder(find_model(context.home().models, wanted))
    rows, parts = described_parts(folder.model)
    total = sum(parts.values())
    specs = folder.ontology.properties.values()
    document = {
        "model": folder.name,
        "path": str(folder.path),
        **{key: folder.about.get(key) for key in ("preset", "size", "seed", "step", "validation")},
        "parameters": total,
        "parts": parts,
        "tensors": [
            {"name": name, "times": times, "shape": list(shape), "parameters": count}
            for name, times, shape, count in rows
        ],
        "properties": len(specs),
        "values": sum(len(spec.values) for spec in specs),
        "calibrated": folder.calibration is not None,
        "config": folder.config.as_dict(),
    }
    lines: list[tuple[object, ...]] = []
    for part, of_part in parts.items():
        lines.append((part, "", "", f"{of_part:,}"))
        own = (row for row in rows if row[0].partition(".")[0] == part)
        lines.extend(
            (f"  {name}", times, " x ".join(map(str, shape)), f"{count:,}")
            for name, times, shape, count in own
        )
    lines.append(("all", "", "", f"{total:,}"))
    calibrated = "calibrated" if folder.calibration is not None else "not calibrated"
    context.emit(
        document,
        f"{folder.name}: preset {document['preset']}, size {document['size']}, step {document['step']}, at {folder.path}",
        f"{document['properties']} properties, {document['values']:,} values; {calibrated}",
        table(("part", "times", "shape", "parameters"), lines, right=("times", "parameters")),
    )
