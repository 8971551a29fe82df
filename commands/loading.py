"""Options and input files that several commands share."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.base import PATH
from schema.csv_rows import csv_rows
from schema.errors import CatalographWarning, SourceNotFoundError, UsageError

if TYPE_CHECKING:
    from commands.base import Context
    from fusion.inference.scorer import CellScorer
    from kg.image_files import UnreadableImages
    from serving.loading import ModelScorer

model_option = click.option(
    "--model",
    metavar="NAME|DIR",
    help="A model of this home, or any model folder.  [default: the newest model]",
)
split_option = click.option(
    "--split",
    metavar="FILE",
    type=PATH,
    help="CSV file with the columns item,split that assigns items to train, validation and test.  "
    "[default: by a hash of each item's id, 90/5/5]",
)


def note_not_trained_to_complete(context: Context, scorer: ModelScorer) -> None:
    """Warn on stderr if the model was never trained by link prediction."""
    if not scorer.completes:
        context.note(
            f"model {scorer.name} was not trained by link prediction, so its completions are only "
            "guesses: train with --set loss_lpm=1"
        )


def note_not_trained_to_match(context: Context, scorer: CellScorer) -> None:
    """Warn on stderr if the model was never trained on queries."""
    if not scorer.trained_by("qi"):
        context.note(
            f"model {scorer.name} was not trained on queries: load a query log with "
            "`catalograph queries`, and train with --set loss_qi=1"
        )


def warn_of_unreadable_images(unreadable: UnreadableImages) -> None:
    """Warn in one line if there are images that cannot be read."""
    if unreadable:
        warnings.warn(str(unreadable), CatalographWarning, stacklevel=2)


def read_cells(path: Path) -> list[tuple[str, str]]:
    """Read the (item id, property) pairs of a CSV file with the columns ``item,property``."""
    cells = []
    try:
        for line, row in csv_rows(path, ("item", "property")):
            if not row["item"] or not row["property"]:
                raise UsageError(
                    f"{path}, line {line}: the item or the property is empty: "
                    "fill in both, or remove the line"
                )
            cells.append((row["item"].strip(), row["property"].strip()))
    except (FileNotFoundError, IsADirectoryError):
        raise SourceNotFoundError(
            f"no cells file {path}: name a CSV file with the columns item,property"
        ) from None
    except ValueError as error:
        raise UsageError(f"{path} {error}") from None
    return cells
