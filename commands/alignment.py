"""The command align: which items are the same product."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.base import PATH, Command, Context, FiniteRange, pass_context, table
from commands.progress import bar
from schema.errors import UsageError
from schema.files import atomic_file, write_atomically

if TYPE_CHECKING:
    from kg.home import Home
    from schema.arrays import IntArray
    from serving.alignment.aligning import AlignedPair, Alignment
    from serving.alignment.counts import CountedRecords
    from serving.alignment.model import Thresholds
    from serving.alignment.records import Record, Records
    from serving.alignment.writing import WrittenMatches

SHOWN = 20
"""Pairs that are printed without --json and --out."""


@click.command(cls=Command)
@click.option(
    "--pairs",
    "pairs_path",
    metavar="FILE",
    type=PATH,
    help="Score these pairs of the catalogue's items: a CSV file with the columns left,right.  "
    "[default: find the pairs]",
)
@click.option(
    "--left",
    metavar="FILE",
    type=PATH,
    help="Find the matches of this file's items, any table that `catalograph ingest` reads, which "
    "is not ingested.  [default: the catalogue's items, among themselves]",
)
@click.option(
    "--right",
    metavar="FILE",
    type=PATH,
    help="The items that those of --left are compared with.  [default: the catalogue's]",
)
@click.option(
    "--new",
    is_flag=True,
    help="Find only duplicates of the catalogue's items that are new or have changed since the "
    "last `catalograph align` of the whole catalogue, or of what was new then.",
)
@click.option(
    "--mapping",
    metavar="M",
    help="How the columns of --left and --right are read, as for `catalograph ingest`.  [default: "
    "guessed]",
)
@click.option(
    "--model",
    metavar="NAME|DIR",
    help="A model that `catalograph finetune align` trained.  [default: the home's newest]",
)
@click.option(
    "--nearest",
    metavar="K",
    type=click.IntRange(1, 10),
    default=10,
    show_default=True,
    help="How many items are compared with each one, of each kind of similarity.",
)
@click.option(
    "--target-precision",
    metavar="X",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="Share of the matches that shall be right, and of all matches that shall not be lost as "
    "distinct; what is not proven is to be reviewed.",
)
@click.option(
    "--min-probability",
    metavar="X",
    type=FiniteRange(0, 1),
    help="Leave out less probable pairs.  [default: with --pairs 0, else those that are distinct]",
)
@click.option(
    "--one-to-one",
    is_flag=True,
    help="Let every item be in one match at most: the best ones together.",
)
@click.option(
    "--clusters",
    "clusters_path",
    metavar="FILE",
    type=PATH,
    help="Write the groups of items that matches join to this CSV file: cluster,item,weakest.  "
    "[default: no file]",
)
@click.option(
    "--out",
    metavar="FILE",
    type=PATH,
    help="Write the pairs to this file, CSV or JSON lines by its ending.  [default: no file]",
)
@click.option(
    "--write",
    is_flag=True,
    help="Write matches of the catalogue's items as `same as` statements, which `catalograph undo` "
    "takes back, and propose the pairs to review.",
)
@pass_context
def align(
    context: Context,
    pairs_path: Path | None,
    left: Path | None,
    right: Path | None,
    new: bool,
    mapping: str | None,
    model: str | None,
    nearest: int,
    target_precision: float,
    min_probability: float | None,
    one_to_one: bool,
    clusters_path: Path | None,
    out: Path | None,
    write: bool,
) -> None:
    """Find the items that are the same product.

    Scores given pairs, finds the matches between two files, between a file and the catalogue, or
    duplicates within the catalogue. Every pair gets a calibrated probability and a decision: match,
    review or distinct. What is counted of the catalogue's items is kept for the next call.

    \b
    Example:
      catalograph align --left ours.csv --right theirs.csv --one-to-one --out matches.csv
      catalograph align --new --write
    """
    from serving.alignment.aligning import AlignOptions, align_records, score_pairs
    from serving.alignment.index import remember_alignment
    from serving.alignment.model import AlignmentModel, find_alignment_model
    from serving.alignment.pair_files import read_pairs
    from serving.alignment.records import records_of_home
    from serving.alignment.writing import write_matches

    if pairs_path is not None and (left is not None or right is not None):
        raise UsageError("--pairs scores pairs of the catalogue: leave out --left and --right")
    if right is not None and left is None:
        raise UsageError("--right needs --left: name the file whose items are compared with it")
    if new and (pairs_path is not None or left is not None):
        raise UsageError(
            "--new is about items of the catalogue: leave out --pairs, --left and --right"
        )
    if write and left is not None:
        raise UsageError(
            "--write is about items of the catalogue: ingest the files first, and leave out --left "
            "and --right"
        )
    if out is not None and out.suffix.lower() not in (".csv", ".jsonl"):
        raise UsageError(
            f"--out {out} is no kind of file that is written: end it in .csv or .jsonl"
        )
    home = context.home()
    aligner = AlignmentModel.load(find_alignment_model(home.models, model))
    options = AlignOptions(nearest, target_precision, one_to_one)
    if pairs_path is not None:
        pairs = read_pairs(pairs_path)
        every = records_of_home(home)
        kept = _kept_counts(context, home, every)
        with bar("comparing", "pairs") as progress:
            found = score_pairs(aligner, every, pairs, str(pairs_path), options, progress, kept)
    else:
        if left is None:
            items = _items_of_catalogue(context, home, aligner.name if new else None)
        else:
            items = _items_of_files(context, home, left, right, mapping)
        with bar("comparing", "pairs") as progress:
            found = align_records(
                aligner, items.records, options, progress, items.kept, items.asked
            )
    _note_unproven(context, aligner.thresholds(target_precision), target_precision)
    shown = _shown(found, min_probability, every=pairs_path is not None)
    if out is not None:
        _write_pairs(out, shown)
    if clusters_path is not None:
        _write_clusters(clusters_path, found)
    written = None
    if write:
        written = write_matches(home, found.pairs, aligner.name, target_precision)
    _emit(context, found, shown, out, written)
    if pairs_path is None and left is None:
        _note(context, remember_alignment(home, items.records.records, aligner.name))


@dataclass(frozen=True)
class _Items:
    """The items to compare, what is kept of them, and the rows of which each pair has one."""

    records: Records
    kept: CountedRecords | None = None
    asked: IntArray | None = None


def _items_of_catalogue(context: Context, home: Home, new_to: str | None) -> _Items:
    """Read the catalogue; with a model's name, only what is new or has changed is asked."""
    import numpy as np

    from serving.alignment.index import read_last_alignment
    from serving.alignment.records import Records, records_of_home

    last = None if new_to is None else read_last_alignment(home)
    every = records_of_home(home)
    asked = None
    if last is not None:
        asked = np.flatnonzero(last.new(every))
        context.note(
            f"{len(asked):,} of {len(every):,} items are new or have changed since the last "
            f"alignment, {last.time}"
        )
        if last.model != new_to:
            context.note(
                f"the others were compared with each other by the model {last.model}: leave out "
                f"--new to have {new_to} compare all"
            )
    return _Items(Records.with_sides(every, {}), _kept_counts(context, home, every), asked)


def _items_of_files(
    context: Context, home: Home, left: Path, right: Path | None, mapping: str | None
) -> _Items:
    """Read the items of two files, or of a file and the catalogue; say how files were read."""
    from serving.alignment.records import Records, Side, records_of_home, records_of_table

    ours, notes = records_of_table(left, mapping)
    kept = None
    if right is None:
        theirs = records_of_home(home)
        kept = _kept_counts(context, home, theirs)
    else:
        theirs, more = records_of_table(right, mapping)
        notes += more
    for note in dict.fromkeys(notes):
        context.note(note)
    sides = (Side.LEFT,) * len(ours) + (Side.RIGHT,) * len(theirs)
    return _Items(Records((*ours, *theirs), sides), kept)


def _kept_counts(context: Context, home: Home, every: Sequence[Record]) -> CountedRecords:
    """Return the counts of the catalogue's items, and say what was not kept."""
    from serving.alignment.index import counts_of_home

    with bar("indexing") as progress:
        found = counts_of_home(home, every, progress)
    _note(context, found.note)
    if found.new:
        context.note(f"{found.new:,} of {len(every):,} items are indexed anew")
    return found.counted


def _note(context: Context, text: str) -> None:
    if text:
        context.note(text)


def _note_unproven(context: Context, thresholds: Thresholds, target: float) -> None:
    if math.isinf(thresholds.match):
        context.note(
            f"nothing proves that {target:.0%} of any matches would be right, so none is decided: "
            "review the most probable ones, lower --target-precision, or label more pairs"
        )


def _shown(found: Alignment, least: float | None, *, every: bool) -> list[AlignedPair]:
    """Return the pairs that are printed and written."""
    from serving.alignment.model import AlignmentDecision

    if least is not None:
        return found.pairs.at_least(least)
    if every:
        return list(found.pairs)
    return found.pairs.not_decided(AlignmentDecision.DISTINCT)


def _write_pairs(path: Path, pairs: Iterable[AlignedPair]) -> None:
    rows = [pair.as_dict() for pair in pairs]
    if path.suffix.lower() == ".jsonl":
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        write_atomically(path, "".join(lines))
        return
    fields = ("left", "right", "probability", "decision")
    with atomic_file(path) as working, working.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_clusters(path: Path, found: Alignment) -> None:
    with atomic_file(path) as working, working.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("cluster", "item", "weakest"))
        for number, (items, weakest) in enumerate(found.clusters, 1):
            writer.writerows((number, item, weakest) for item in items)


def _emit(
    context: Context,
    found: Alignment,
    shown: list[AlignedPair],
    out: Path | None,
    written: WrittenMatches | None,
) -> None:
    from serving.alignment.model import AlignmentDecision

    counts = ", ".join(f"{found.count(each):,} {each}" for each in AlignmentDecision)
    lines: list[object] = [f"{len(found.pairs):,} pairs compared: {counts}"]
    if found.demoted:
        lines.append(
            f"matches that are to be reviewed, since an item of theirs has a better one: "
            f"{found.demoted:,}"
        )
    if found.clusters:
        largest = len(found.clusters[0][0])
        lines.append(f"{len(found.clusters):,} groups of matches, the largest of {largest:,} items")
    if out is None:
        rows = [(each.left, each.right, f"{each.probability:.3f}", each.decision) for each in shown]
        lines.append(table(("left", "right", "probability", "decision"), rows[:SHOWN]))
        if len(shown) > SHOWN:
            lines.append(f"and {len(shown) - SHOWN:,} more: --out FILE or --json has all of them")
    else:
        lines.append(f"{len(shown):,} of them are in {out}")
    if written is not None:
        # Beside the JSON, which is a list of pairs.
        told = (
            f"run {written.run}: {written.added.written:,} matches written, "
            f"{written.added.added - written.added.applied:,} items to review with `catalograph "
            f"review list --run {written.run}`"
        )
        context.note(told)
        for reason, count in written.added.not_written.items():
            context.note(f"not written ({reason}): {count:,}")
    context.emit([pair.as_dict() for pair in shown], *lines)
