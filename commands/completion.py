"""The command that completes cells: complete."""

from __future__ import annotations

import itertools
import json
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from commands.base import PATH, Command, Context, pass_context, table
from commands.language_model import ask_ahead, llm_option, opened, with_language_model
from commands.loading import (
    is_own_model,
    map_option,
    model_option,
    note_not_trained_to_complete,
    note_unknown_properties,
    read_cells,
    read_property_map,
    warn_of_unreadable_images,
)
from commands.progress import bar
from schema.errors import CatalographWarning, StoreLockedError, UsageError
from schema.files import atomic_file

if TYPE_CHECKING:
    from kg.home import Home
    from kg.snapshot import GraphSnapshot
    from schema.ontology import Ontology
    from schema.unasked import Unasked
    from serving.asking import CellPlan, Refusal
    from serving.completion import Completion, Withheld
    from serving.home_scorer import HomeScorer
    from serving.limits import ItemSources
    from serving.loading import ModelScorer
    from serving.writeback import NotWritten, PredictionWriter

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
@map_option
@click.option(
    "--write-map",
    metavar="FILE",
    type=PATH,
    help="Write a proposal for --map-properties to this file, and complete nothing.",
)
@llm_option
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
    help="Precision that must be proven before a cell is filled: the share of filled cells that "
    "are right, between 0 and 1. What ontology.toml sets for a property, a category or a source "
    "holds all the same.  [default: that of ontology.toml, or else 0.99]",
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
    map_file: Path | None,
    write_map: Path | None,
    llm: Path | None,
    top_k: int,
    target_precision: float | None,
    out: Path | None,
    write: bool,
) -> None:
    """Fill in missing values, with probabilities and evidence.

    A cell is one property of one item. It is missing if the property applies to the item's category
    and the item has no asserted or accepted value for it. How many are not asked, and why, is said:
    identifiers, long texts, dates, prices, what the model does not know, and what ontology.toml
    excludes. With --item and --property each of the named cells is answered, or refused with the
    reason.

    Each cell gets a decision: fill if the target precision is proven for its best value, abstain
    if there is too little evidence, or review if a person should decide.

    \b
    Example:
      catalograph complete --target-precision 0.97 --out filled.jsonl --write
    """
    _check_options(target_precision, cells_file, items, properties, out)
    # Imported only now, so that a wrong option is reported without loading PyTorch.
    from kg.image_files import UnreadableImages
    from serving.calibration import Calibration
    from serving.completion import Completion, complete_cells
    from serving.dependencies import Dependencies, without_contradictions
    from serving.items import CatalogItems
    from serving.limits import general_target, limits_of_cells
    from serving.loading import load_regions, load_scorer
    from serving.provable import ProvableTargets

    started = time.monotonic()
    home = context.home()
    named_cells = None if cells_file is None else read_cells(cells_file)
    language_model = click.get_current_context().with_resource(opened(home, llm))
    scorer = load_scorer(home, model)
    if write_map is not None:
        _write_map(context, home.ontology(), scorer, write_map)
        return
    note_not_trained_to_complete(context, scorer)
    scorer = with_language_model(context, scorer, language_model)
    snapshot = home.snapshot(details=scorer.reads_details)
    ontology = home.ontology()
    adapted = _adapted(context, home, ontology, scorer, map_file)
    plan = _plan(context, ontology, adapted, snapshot, named_cells, items, properties)
    cells = plan.cells
    catalogue = CatalogItems(snapshot, home.image_files(), load_regions(home, scorer))
    limits_of = limits_of_cells(
        snapshot,
        ontology.decisions,
        target_precision=target_precision,
        sources=_item_sources(home, ontology, snapshot),
    )
    asked = dict.fromkeys(cell.item for cell in cells)
    missing = UnreadableImages(0, {})
    if scorer.reads_pixels:
        # Before the work, which may take hours. Such an item is completed like any other that has
        # no image: its probabilities are those calibrated for that.
        missing = catalogue.unreadable_images(asked)
        warn_of_unreadable_images(missing)

    told = ask_ahead(scorer, adapted, catalogue, cells)
    writer = _prediction_writer(context, home, scorer.name, ontology) if write else None

    decisions: Counter[str] = Counter()
    provable = ProvableTargets(
        general_target(ontology.decisions, target_precision), Calibration(scorer.calibration).cells
    )
    first: list[Completion] = []
    contradicting = 0
    with bar("completing") as progress, _output_file(out) as file:
        completions = complete_cells(
            adapted,
            catalogue,
            cells,
            top_k=top_k,
            limits_of=limits_of,
            withheld=_withheld(home, adapted),
            not_filled=plan.not_applying,
            progress=progress,
        )
        refused = [
            Completion.refused(each.item, each.property, each.reason)
            for each in (plan.refused if named_cells is not None else ())
            if each.item is not None and each.property is not None
        ]
        consistent = without_contradictions(
            completions, snapshot, Dependencies.find(snapshot, ontology.learned())
        )
        for completion in map(told.explained, itertools.chain(consistent, refused)):
            decisions[completion.decision] += 1
            contradicting += completion.contradicts is not None
            provable.add(completion)
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
    left_out = _LeftOut(
        plan.not_asked, plan.refused, Counter() if writer is None else writer.not_written
    )
    document = {
        "model": scorer.name,
        "cells": decisions.total(),
        **{decision: decisions[decision] for decision in DECISIONS},
        "provable": provable.as_dict(),
        "written": written,
        "contradicting": contradicting,
        **left_out.as_dict(),
        "language_model": None if language_model is None else language_model.total.as_dict(),
        "out": None if out is None else str(out),
        "seconds": round(time.monotonic() - started, 2),
    }
    lines = _summary(decisions, written, left_out, out, first)
    if language_model is not None:
        lines += language_model.total.lines()
    if contradicting:
        lines.append(f"not filled, because they contradict others of their item: {contradicting:,}")
    if cells and provable.is_little:
        lines.append(provable.explanation())
    context.emit(document, *lines)


def _item_sources(home: Home, ontology: Ontology, snapshot: GraphSnapshot) -> ItemSources:
    """Return the sources of each item if a decision depends on them, and warn of decisions of none.

    A name that the catalogue does not have may be mistyped, and the decision would never be made.
    """
    from serving.limits import read_item_sources, without_effect

    sources: ItemSources = {}
    if ontology.decisions.sources:
        with home.store(read_only=True) as store:
            sources = read_item_sources(store)
    for name in without_effect(ontology.decisions, snapshot, ontology, sources):
        warnings.warn(
            f"{name} in {home.ontology_path.name} is about nothing in this catalogue: "
            "correct the name, or remove the table",
            CatalographWarning,
            stacklevel=2,
        )
    return sources


def _check_options(
    target_precision: float | None,
    cells_file: Path | None,
    items: Sequence[str],
    properties: Sequence[str],
    out: Path | None,
) -> None:
    """Refuse options that do not fit, before the model is loaded."""
    if target_precision is not None and not 0 < target_precision < 1:
        raise UsageError(
            f"--target-precision {target_precision} is not between 0 and 1: give a share like 0.99"
        )
    if cells_file is not None and (items or properties):
        raise UsageError(
            "--cells already names every cell: leave out --item and --property, or --cells"
        )
    if out is not None and not out.parent.is_dir():
        raise UsageError(f"the folder {out.parent} for {out.name} does not exist: create it first")


def _write_map(context: Context, home: Ontology, scorer: ModelScorer, path: Path) -> None:
    """Write a proposal of which of the model's properties those of the home are."""
    from schema.property_maps import propose_map, unknown_properties, write_map

    if not path.parent.is_dir():
        raise UsageError(f"the folder {path.parent} for {path.name} does not exist: create it")
    unknown = unknown_properties(home, scorer.ontology)
    proposals = propose_map(home, scorer.ontology)
    proposed = {each.property for each in proposals}
    write_map(path, proposals, [name for name in unknown if name not in proposed])
    document = {
        "model": scorer.name,
        "map": str(path),
        "unknown": len(unknown),
        "proposed": {each.property: each.model_property for each in proposals},
    }
    rows = [(each.property, each.model_property, each.reason) for each in proposals]
    line = f"{len(proposals):,} of {len(unknown):,} properties that {scorer.name} does not know"
    context.emit(
        document,
        f"proposed for {line}: {path}; correct it, and give it to --map-properties",
        *([table(("property", "of the model", "because"), rows)] if rows else []),
    )


def _adapted(
    context: Context, home: Home, ontology: Ontology, scorer: ModelScorer, map_file: Path | None
) -> HomeScorer:
    """Return the model in the words of the home; say what the two do not have in common."""
    from kg.home_ontology import VocabularyEdits
    from serving.home_scorer import HomeScorer

    adapted = HomeScorer(
        scorer,
        ontology,
        read_property_map(map_file, ontology, scorer.ontology),
        VocabularyEdits.of(home),
        own=is_own_model(home, scorer),
    )
    for name, values in adapted.unscored.items():
        listed = ", ".join(values[:SHOWN])
        context.note(f"{name}: values added to ontology.toml that the model cannot score: {listed}")
    if any(spec.applies_to and not spec.inferred_shares for spec in ontology.properties.values()):
        context.note(
            "ontology.toml is of an earlier version, which counted items without any statement: "
            "run `catalograph schema infer` to have properties asked by the others alone"
        )
    return adapted


def _plan(
    context: Context,
    ontology: Ontology,
    adapted: HomeScorer,
    snapshot: GraphSnapshot,
    pairs: list[tuple[str, str]] | None,
    items: Sequence[str],
    properties: Sequence[str],
) -> CellPlan:
    """Plan the cells that the options name, or all that are missing."""
    from serving.asking import Asking, plan_missing, plan_named
    from serving.several_values import SeveralValues

    has_unknown = note_unknown_properties(context, adapted.name, ontology, adapted.ontology)
    # What statements are about without being in the ontology was taken out of it.
    removed = {name for name in snapshot.properties if name not in ontology.properties}
    asking = Asking(
        ontology,
        adapted.ontology,
        removed | adapted.removed_properties,
        new_properties=not has_unknown,
        several=SeveralValues(adapted.calibration).properties,
    )
    if pairs is not None:
        return plan_named(snapshot, asking, pairs)
    return plan_missing(snapshot, asking, items=items or None, properties=properties or None)


def _withheld(home: Home, adapted: HomeScorer) -> Withheld:
    """Return what is never offered: what was taken out of the ontology, and what was rejected."""
    from serving.completion import Withheld
    from serving.writeback import rejected_values

    with home.store(read_only=True) as store:
        return Withheld(adapted.removed, rejected_values(store))


@dataclass(frozen=True)
class _LeftOut:
    """What was not asked, what was refused, and what was not written."""

    not_asked: Mapping[Unasked, int]
    refused: Sequence[Refusal]
    not_written: Mapping[NotWritten, int]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields of the command's JSON."""
        return {
            "not_asked": {str(reason): count for reason, count in sorted(self.not_asked.items())},
            "refused": [
                {"item": each.item, "property": each.property, "reason": str(each.reason)}
                for each in self.refused
            ],
            "not_written": {str(reason): count for reason, count in self.not_written.items()},
        }

    def lines(self) -> Iterator[str]:
        """Yield lines for a person."""
        if self.not_asked:
            total = sum(self.not_asked.values())
            by_count = sorted(self.not_asked.items(), key=lambda pair: (-pair[1], pair[0]))
            parts = ", ".join(f"{reason.told()} {count:,}" for reason, count in by_count)
            yield f"missing and not asked: {total:,} ({parts})"
        for each in self.refused[:SHOWN]:
            named = ", ".join(filter(None, (each.item, each.property)))
            yield f"refused: {named}: {each.reason.told()}"
        if len(self.refused) > SHOWN:
            yield f"refused: {len(self.refused) - SHOWN:,} more"
        if self.not_written:
            parts = ", ".join(
                f"{reason.value.replace('_', ' ')} {count:,}"
                for reason, count in self.not_written.items()
            )
            yield f"not written: {sum(self.not_written.values()):,} ({parts})"


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


def _prediction_writer(
    context: Context, home: Home, model: str, ontology: Ontology
) -> PredictionWriter:
    from serving.writeback import PredictionWriter

    try:
        # If the graph cannot be written, the user learns so now and not an hour later.
        home.store().close()
    except StoreLockedError as error:
        context.note(f"{error}; the predictions wait for it")
    return PredictionWriter(home.store, model=model, ontology=ontology)


def _summary(
    decisions: Counter[str],
    written: int,
    left_out: _LeftOut,
    out: Path | None,
    first: list[Completion],
) -> list[Any]:
    """Describe the result for a person; without ``--out``, with the first completions."""
    total = decisions.total()
    counts = ", ".join(f"{decision} {decisions[decision]:,}" for decision in DECISIONS)
    lines: list[Any] = [f"cells: {total:,} ({counts})"]
    lines += left_out.lines()
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
