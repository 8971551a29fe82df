"""The command that completes cells."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from commands.base import READABLE, Command, Context, pass_context, table
from commands.loading import (
    model_option,
    note_untrained,
    read_cells,
    regions_of,
    scorer_of,
    snapshot_of,
)
from commands.progress import bar
from schema.errors import UsageError

if TYPE_CHECKING:
    from encoders.regions import RegionFiles
    from fusion.inference.scorer import CellScorer
    from kg.home import Home
    from kg.snapshot import GraphSnapshot
    from serving.cells import Cell
    from serving.completion import Completion

_SHOWN = 20


@click.command(cls=Command)
@model_option
@click.option(
    "--item",
    "items",
    metavar="ID",
    multiple=True,
    help="Missing cells of this item alone; may be repeated.",
)
@click.option(
    "--property",
    "properties",
    metavar="NAME",
    multiple=True,
    help="Missing cells of this property alone; may be repeated.",
)
@click.option(
    "--cells",
    metavar="FILE",
    type=READABLE,
    help="CSV item,property: exactly these cells, missing or not.",
)
@click.option(
    "--top-k",
    metavar="K",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Candidates a cell.",
)
@click.option(
    "--target-precision",
    metavar="X",
    type=float,
    default=0.99,
    show_default=True,
    help="Precision that `fill` has to prove.",
)
@click.option("--out", metavar="FILE", type=READABLE, help="Write a JSON line a cell.")
@click.option(
    "--write", is_flag=True, help="Put the filled cells into the graph as predicted statements."
)
@pass_context
def complete(
    context: Context,
    model: str | None,
    items: tuple[str, ...],
    properties: tuple[str, ...],
    cells: Path | None,
    top_k: int,
    target_precision: float,
    out: Path | None,
    write: bool,
) -> None:
    """Fill in missing facts, with a probability and a reason.

    Each cell is decided: fill, where the target precision is proven; review, where a person should look; abstain, where nothing speaks.

    \b
    Example:
      catalograph complete --target-precision 0.97 --out filled.jsonl --write
    """
    if not 0 < target_precision < 1:
        raise UsageError(
            f"--target-precision {target_precision} is not between 0 and 1: give a share like 0.99"
        )
    if cells is not None and (items or properties):
        raise UsageError(
            "--cells names all cells: leave --item and --property out, or leave --cells out"
        )
    from serving.completion import complete_cells

    started = time.monotonic()
    home = context.home()
    pairs = None if cells is None else read_cells(cells)
    scorer = scorer_of(home, model)
    note_untrained(context, scorer)
    snapshot = snapshot_of(home)
    wanted = list(_wanted(home, scorer, snapshot, pairs, items, properties))
    tally = Tally()
    with bar("completing") as done, _lines(out) as sink:
        known = _items(snapshot, regions_of(home, scorer))
        answers = complete_cells(
            scorer, known, wanted, top_k=top_k, target_precision=target_precision, progress=done
        )
        written = _consume(home, tally.watch(answers, sink), scorer.name if write else None)
    context.emit(
        tally.document(scorer.name, written, out, time.monotonic() - started),
        *tally.lines(written, out),
    )


class Tally:
    """Counts completions on their way, keeps the first of them to show."""

    def __init__(self) -> None:
        self.decisions: Counter[str] = Counter()
        self.first: list[Completion] = []

    def watch(self, answers: Iterable[Completion], sink: IO[str] | None) -> Iterator[Completion]:
        """Pass completions on, counted, and written as JSON lines."""
        for each in answers:
            self.decisions[each.decision] += 1
            if len(self.first) < _SHOWN:
                self.first.append(each)
            if sink is not None:
                sink.write(json.dumps(each.as_dict(), ensure_ascii=False) + "\n")
            yield each

    def document(
        self, model: str, written: int, out: Path | None, seconds: float
    ) -> dict[str, Any]:
        """The command's JSON."""
        counts = {decision: self.decisions[decision] for decision in ("fill", "review", "abstain")}
        place = None if out is None else str(out)
        return {
            "model": model,
            "cells": self.decisions.total(),
            **counts,
            "written": written,
            "out": place,
            "seconds": round(seconds, 2),
        }

    def lines(self, written: int, out: Path | None) -> list[Any]:
        """The same to read; without a file, the first answers themselves."""
        counts = ", ".join(
            f"{decision} {self.decisions[decision]:,}" for decision in ("fill", "review", "abstain")
        )
        lines: list[Any] = [f"cells: {self.decisions.total():,} ({counts})"]
        if written:
            lines.append(f"written to the graph: {written:,}")
        if out is not None:
            return [*lines, f"answers: {out}"]
        if self.first:
            lines.append(
                table(
                    ("item", "property", "value", "probability", "decision"),
                    map(_row, self.first),
                    right=("probability",),
                )
            )
        if self.decisions.total() > len(self.first):
            lines.append(
                f"the first {len(self.first)} of {self.decisions.total():,}; --out FILE writes all"
            )
        return lines


def _row(each: Completion) -> list[object]:
    best = each.candidates[0] if each.candidates else None
    return [
        each.item,
        each.property,
        best and best.value,
        f"{best.probability:.1%}" if best else "",
        each.decision,
    ]


def _wanted(
    home: Home,
    scorer: CellScorer,
    snapshot: GraphSnapshot,
    pairs: list[tuple[str, str]] | None,
    items: tuple[str, ...],
    properties: tuple[str, ...],
) -> Iterable[Cell]:
    from serving.items import missing_cells, named_cells

    ontology = home.ontology()
    if pairs is not None:
        return named_cells(snapshot, pairs, ontology, scorer.ontology)
    return missing_cells(snapshot, ontology, items=items or None, properties=properties or None)


def _items(snapshot: GraphSnapshot, regions: RegionFiles | None) -> Any:
    from serving.items import CatalogItems

    return CatalogItems(snapshot, regions)


def _consume(home: Home, answers: Iterable[Completion], model: str | None) -> int:
    """Run through the answers; with a model's name put the filled ones into the graph. Returns how many went there."""
    if model is None:
        for _ in answers:
            pass
        return 0
    from serving.writeback import write_predictions

    with home.store() as store:
        return write_predictions(store, answers, model=model).written


@contextmanager
def _lines(out: Path | None) -> Iterator[IO[str] | None]:
    """A file that appears whole or not at all; one that is no regular file (a pipe, /dev/stdout) is written as it is."""
    if out is None:
        yield None
        return
    if not out.parent.is_dir():
        raise UsageError(f"no folder {out.parent} to write {out.name} in: make it first")
    direct = out.exists() and not out.is_file()
    target = out if direct else out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with target.open("w", encoding="utf-8") as file:
            yield file
        if not direct:
            target.replace(out)
    finally:
        if not direct:
            target.unlink(missing_ok=True)
