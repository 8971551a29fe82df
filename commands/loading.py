"""Options and input files that several commands share."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.base import PATH
from commands.progress import bar
from schema.csv_rows import csv_rows
from schema.errors import CatalographWarning, SourceNotFoundError, UsageError

if TYPE_CHECKING:
    from commands.base import Context
    from fusion.inference.scorer import CellScorer
    from kg.home import Home
    from kg.image_files import UnreadableImages
    from kg.quality.image_fingerprints import ImageFingerprints
    from kg.snapshot import GraphSnapshot
    from schema.ontology import Ontology
    from schema.property_maps import PropertyMap
    from serving.loading import ModelScorer

model_option = click.option(
    "--model",
    metavar="NAME|DIR",
    help="A model of this home, or any model folder.  [default: the champion, or else the newest "
    "model]",
)
split_option = click.option(
    "--split",
    metavar="FILE",
    type=PATH,
    help="CSV file with the columns item,split that assigns items to train, validation and test.  "
    "[default: by a hash of each item's id, 90/5/5]",
)
map_option = click.option(
    "--map-properties",
    "map_file",
    metavar="FILE",
    type=PATH,
    help="CSV file with the columns property,model_property,value,model_value: which of the "
    "model's properties those of this home are, and which of its values theirs.  [default: those "
    "of the same name]",
)
NAMED = 5
"""Properties that a note names."""


def read_property_map(path: Path | None, home: Ontology, model: Ontology) -> PropertyMap:
    """Read the map of ``--map-properties``; nothing is mapped without it."""
    from schema.property_maps import PropertyMap

    return PropertyMap() if path is None else PropertyMap.read(path, home, model)


def note_unknown_properties(context: Context, name: str, home: Ontology, model: Ontology) -> None:
    """Say on stderr which of a home's properties a model does not know."""
    from serving.home_completion import note_on_unknown

    text = note_on_unknown(name, home, model)
    if text is not None:
        context.note(text)


def note_not_learned(context: Context, ontology: Ontology | None) -> None:
    """Say on stderr which properties of a home's ontology no model learns, and why."""
    reasons: dict[str, list[str]] = {}
    for name, spec in ontology.properties.items() if ontology is not None else ():
        if spec.not_learned is not None:
            reasons.setdefault(spec.not_learned.told(), []).append(name)
    parts = []
    for reason, names in reasons.items():
        listed = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
        parts.append(f"{listed} ({reason})")
    if parts:
        context.note(f"not learned: {'; '.join(parts)}; learn = true in ontology.toml changes that")


def note_champion(context: Context, home: Home, trained: Path) -> None:
    """Say on stderr which model goes on being used if that is not the one just trained."""
    from kg.home_models import read_champion

    champion = read_champion(home)
    if champion is not None and champion.name != trained.name:
        context.note(
            f"the champion is still {champion.name}, which `complete` uses: `catalograph models "
            f"compare {trained.name} {champion.name}` tells which is better, and `models promote "
            f"{trained.name}` makes this one the champion"
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


def fingerprints_of(home: Home, snapshot: GraphSnapshot) -> ImageFingerprints:
    """Read all images of a home and compute what near-duplicates are found by, with a bar."""
    from kg.quality.image_fingerprints import read_fingerprints

    files = home.image_files()
    with bar("reading images") as progress:
        fingerprints = read_fingerprints(snapshot.images, files, progress)
    warn_of_unreadable_images(files.unreadable(snapshot.images))
    return fingerprints


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
