"""The command that completes cells: complete."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from commands.base import PATH, Command, Context, pass_context, table
from commands.loading import (
    model_option,
    note_not_trained_to_complete,
    read_cells,
    warn_of_unreadable_images,
)
from commands.progress import bar
from schema.errors import StoreLockedError, UsageError
from schema.files import atomic_file

if TYPE_CHECKING:
    from kg.home import Home
    from kg.snapshot import GraphSnapshot
    from serving.cells import Cell
    from serving.completion import Completion
    from serving.loading import ModelScorer
    from serving.writeback import PredictionWriter

DECISIONS = ("fill", "review", "abstain")
SHOWN = 20
"""Completions to print if they are not written to a file."""


@click.command(cls=Command)
@model_option
@click.option(
    "--item",
    "items",
    metavar="ID",
    multiple=True,
    help="Complete only this item; may be repeated.  [default: all items]",
)
@click.option(
    "--property",
    "properties",
    metavar="NAME",
    multiple=True,
    help="Complete only this property; may be repeated.  [default: all properties]",
)
@click.option(
    "--cells",
    "cells_file",
    metavar="FILE",
    type=PATH,
    help="CSV file with the columns item,property: complete exactly these cells, even if they "
    "have a value.  [default: every missing cell]",
)
@click.option(
    "--top-k",
    metavar="K",
    type=click.IntRange(1, 1_000_000),
    default=5,
    show_default=True,
    help="Number of candidate values for each cell.",
)
@click.option(
    "--target-precision",
    metavar="X",
    type=float,
    default=0.99,
    show_default=True,
    help="Precision that must be proven before a cell is filled: the share of filled cells that "
    "are right, between 0 and 1.",
)
@click.option(
    "--out",
    metavar="FILE",
    type=PATH,
    help="Write the completions to this file, one JSON line per cell.  [default: the first ones "
    "are printed]",
)
@click.option(
    "--write",
    is_flag=True,
    help="Write the filled cells to the graph, as predicted statements.",
)
@pass_context
def complete(
    context: Context,
    model: str | None,
    items: tuple[str, ...],
    properties: tuple[str, ...],
    cells_file: Path | None,
    top_k: int,
    target_precision: float,
    out: Path | None,
    write: bool,
) -> None:
    """Fill in missing values, with probabilities and evidence.

    A cell is one property of one item. It is missing if the property applies to the item's category
    and the item has no asserted or accepted value for it.

    Each cell gets a decision: fill if the target precision is proven for its best value, abstain
    if there is too little evidence, or review if a person should decide.

    \b
    Example:
      catalograph complete --target-precision 0.97 --out filled.jsonl --write
    """
    _check_options(target_precision, cells_file, items, properties, out)
    # Imported only now, so that a wrong option is reported without loading PyTorch.
    from kg.image_files import UnreadableImages
    from serving.completion import complete_cells
    from serving.items import CatalogItems
    from serving.loading import load_regions, load_scorer

    started = time.monotonic()
    home = context.home()
    named_cells = None if cells_file is None else read_cells(cells_file)
    scorer = load_scorer(home, model)
    note_not_trained_to_complete(context, scorer)
    snapshot = home.snapshot()
    cells = list(_cells_to_complete(home, scorer, snapshot, named_cells, items, properties))
    catalogue = CatalogItems(snapshot, home.image_files(), load_regions(home, scorer))
    asked = dict.fromkeys(cell.item for cell in cells)
    missing = UnreadableImages(0, {})
    if scorer.reads_pixels:
        # Before the work, which may take hours. Such an item is completed like any other that has
        # no image: its probabilities are those calibrated for that.
        missing = catalogue.unreadable_images(asked)
        warn_of_unreadable_images(missing)

    writer = _prediction_writer(context, home, scorer.name) if write else None

    decisions: Counter[str] = Counter()
    first: list[Completion] = []
    with bar("completing") as progress, _output_file(out) as file:
        completions = complete_cells(
            scorer,
            catalogue,
            cells,
            top_k=top_k,
            target_precision=target_precision,
            progress=progress,
        )
        for completion in completions:
            decisions[completion.decision] += 1
            if len(first) < SHOWN:
                first.append(completion)
            if file is not None:
                file.write(json.dumps(completion.as_dict(), ensure_ascii=False) + "\n")
            if writer is not None:
                writer.add(completion)
    if writer is not None:
        # After the file is there: what was computed is not lost if the graph cannot be written.
        writer.flush()

    # Those that turned out to be damaged when they were decoded.
    failures = catalogue.files.failures
    damaged = {each: reason for each, reason in failures.items() if each not in missing.failures}
    warn_of_unreadable_images(UnreadableImages(missing.total, damaged))

    written = 0 if writer is None else writer.written
    document = {
        "model": scorer.name,
        "cells": decisions.total(),
        **{decision: decisions[decision] for decision in DECISIONS},
        "written": written,
        "out": None if out is None else str(out),
        "seconds": round(time.monotonic() - started, 2),
    }
    context.emit(document, *_summary(decisions, written, out, first))


def _check_options(
    target_precision: float,
    cells_file: Path | None,
    items: Sequence[str],
    properties: Sequence[str],
    out: Path | None,
) -> None:
    """Refuse options that do not fit, before the model is loaded."""
    if not 0 < target_precision < 1:
        raise UsageError(
            f"--target-precision {target_precision} is not between 0 and 1: give a share like 0.99"
        )
    if cells_file is not None and (items or properties):
        raise UsageError(
            "--cells already names every cell: leave out --item and --property, or --cells"
        )
    if out is not None and not out.parent.is_dir():
        raise UsageError(f"the folder {out.parent} for {out.name} does not exist: create it first")


def _cells_to_complete(
    home: Home,
    scorer: ModelScorer,
    snapshot: GraphSnapshot,
    pairs: list[tuple[str, str]] | None,
    items: Sequence[str],
    properties: Sequence[str],
) -> Iterable[Cell]:
    from serving.items import missing_cells, named_cells

    ontology = home.ontology()
    if pairs is not None:
        return named_cells(snapshot, pairs, ontology, scorer.ontology)
    return missing_cells(snapshot, ontology, items=items or None, properties=properties or None)


@contextmanager
def _output_file(path: Path | None) -> Iterator[IO[str] | None]:
    """Open the file of ``--out``, which is written completely or not at all; None without it."""
    if path is None:
        yield None
    elif path.is_symlink() or (path.exists() and not path.is_file() and not path.is_dir()):
        # A pipe, or a link such as /dev/stdout: a finished file must not take its place.
        with path.open("w", encoding="utf-8") as file:
            yield file
    else:
        with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            yield file


def _prediction_writer(context: Context, home: Home, model: str) -> PredictionWriter:
    from serving.writeback import PredictionWriter

    try:
        # If the graph cannot be written, the user learns so now and not an hour later.
        home.store().close()
    except StoreLockedError as error:
        context.note(f"{error}; the predictions wait for it")
    return PredictionWriter(home.store, model=model)


def _summary(
    decisions: Counter[str],
    written: int,
    out: Path | None,
    first: list[Completion],
) -> list[Any]:
    """Describe the result for a person; without ``--out``, with the first completions."""
    total = decisions.total()
    counts = ", ".join(f"{decision} {decisions[decision]:,}" for decision in DECISIONS)
    lines: list[Any] = [f"cells: {total:,} ({counts})"]
    if written:
        lines.append(f"written to the graph: {written:,}")
    if out is not None:
        return [*lines, f"completions: {out}"]

    if first:
        columns = ("item", "property", "value", "probability", "decision")
        lines.append(table(columns, map(_row, first), right=("probability",)))
    if total > len(first):
        lines.append(f"the first {len(first)} of {total:,}; --out FILE writes them all")
    return lines


def _row(completion: Completion) -> list[object]:
    value = None
    probability = ""
    if completion.candidates:
        best = completion.candidates[0]
        value = best.value
        probability = f"{best.probability:.1%}"
    return [completion.item, completion.property, value, probability, completion.decision]
