"""The command that completes cells: complete."""

from __future__ import annotations

from typing import Any

import click

from commands.base import PATH, Command, Context, pass_context
from commands.completion_request import DEFAULT_TOP_K, CompletionRequest
from commands.engine import engine_options
from commands.language_model import llm_option
from commands.loading import map_option, model_option
from schema.dtypes import Dtype


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
    default=DEFAULT_TOP_K,
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
    help="Write the completions to this file, one JSON line per cell. If it ends in .csv, .tsv, "
    ".xlsx, .parquet or as the source's file does, it is that table with the filled cells in "
    "place; if it is a folder that exists, it gets the files of all sources.  [default: the first "
    "ones are printed]",
)
@click.option(
    "--source",
    metavar="NAME",
    help="Write the table of this source, or with .jsonl or .json its records.  [default: the only "
    "one; in a folder, all]",
)
@click.option(
    "--mark",
    is_flag=True,
    help="Add columns to the table: the probability and the decision of what is filled.",
)
@click.option(
    "--write",
    is_flag=True,
    help="Write the filled cells to the graph, as predicted statements.",
)
@click.option(
    "--dtype",
    type=click.Choice([each.value for each in Dtype]),
    default=Dtype.BF16.value,
    show_default=True,
    help="Numbers that a network computes in. With fp32 its probabilities are the same with any "
    "number of threads, as those of experts always are; on a CPU it takes up to 2.5 times as long.",
)
@engine_options(
    "Workers that score on the cluster, each with the model and the catalogue in memory.  "
    "[default: one for each node]"
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the last run that was cut off, where it was and with its options.",
)
@pass_context
def complete(context: Context, /, **options: Any) -> None:
    """Fill in missing values, with probabilities and evidence.

    A cell is one property of one item. It is missing if the property applies to the item's category
    and the item has no asserted or accepted value for it. How many are not asked, and why, is said:
    identifiers, long texts, dates, prices, what the model does not know, and what ontology.toml
    excludes. With --item and --property each of the named cells is answered, or refused with the
    reason.

    Each cell gets a decision: fill if the target precision is proven for its best value, abstain
    if there is too little evidence, or review if a person should decide. Those to fill and to
    review are kept as proposals, which `catalograph review` lists.

    \b
    Example:
      catalograph complete --target-precision 0.97 --out filled.jsonl --write
      catalograph complete --out filled.csv
      catalograph complete --engine ray --workers 8 --out filled.jsonl
    """
    request = CompletionRequest(**options)
    request.check()
    # Imported only now, so that a wrong option is reported without loading PyTorch.
    from commands.completing import run

    run(context, request)
