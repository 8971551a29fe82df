"""What the commands with a model read first: the model, the graph, a split's part."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import click

from schema.errors import DataError, SourceNotFoundError, UsageError

if TYPE_CHECKING:
    from commands.base import Context
    from encoders.regions import RegionFiles
    from fusion.inference.featurizer import ItemInput
    from fusion.inference.scorer import CellScorer
    from kg.home import Home
    from kg.snapshot import GraphSnapshot

model_option = click.option(
    "--model",
    metavar="NAME|DIR",
    help="A model of this home, or any model folder.  [default: the newest]",
)
split_option = click.option(
    "--split",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="CSV item,split with train, validation and test.  [default: by the id's hash, 90/5/5]",
)


def scorer_of(home: Home, model: str | None) -> CellScorer:
    """The model, on the GPU where there is one."""
    from fusion.checkpoint import device_of, find_model
    from fusion.inference.scorer import CellScorer
    from kg.image_cache import read_pixels

    return CellScorer.load(find_model(home.models, model), str(device_of("auto")), read_pixels)


def note_untrained(context: Context, scorer: CellScorer, queries: bool = False) -> None:
    """Say so where a model was never trained for what it is asked."""
    if queries and not scorer.trained_by("qi"):
        context.note(
            f"model {scorer.name} was not trained on queries: load a query log, and train with --set loss_qi=1"
        )
    if not queries and not scorer.trained_by("lpm", "lpm_unseen"):
        context.note(
            f"model {scorer.name} was not trained by link prediction and can only guess: train with --set loss_lpm=1"
        )


def snapshot_of(home: Home) -> GraphSnapshot:
    """The graph's trusted statements; DataError where it has no item."""
    from kg.snapshot import read_snapshot

    with home.store(read_only=True) as store:
        snapshot = read_snapshot(store)
    if not snapshot.items:
        raise DataError(
            f"the catalogue {home.path} has no item: `catalograph ingest` a source first"
        )
    return snapshot


def regions_of(home: Home, scorer: CellScorer) -> RegionFiles | None:
    """The detector's regions, where the model reads those: of the home, or where it was trained on them."""
    if scorer.config.image_encoder != "regions":
        return None
    from encoders.regions import open_regions

    named = scorer.about.get("recipe", {}).get("regions")
    return open_regions(Path(named) if named and not home.regions.exists() else home.regions)


def items_of_part(
    snapshot: GraphSnapshot, part: str, split: Path | None, regions: RegionFiles | None = None
) -> list[ItemInput]:
    """The items of a split's part, with what is known of them."""
    from kg.splits import assign
    from serving.items import CatalogItems

    parts = assign(snapshot.items, split)
    items = CatalogItems(snapshot, regions)
    return [items[index] for index, item in enumerate(snapshot.items) if parts.get(item) == part]


def read_cells(path: Path) -> list[tuple[str, str]]:
    """The (item, property) pairs of a CSV file with those two columns."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if rows.fieldnames is None or not {"item", "property"} <= set(rows.fieldnames):
                raise UsageError(
                    f"{path} has columns {', '.join(rows.fieldnames or []) or 'none'}: it needs item,property"
                )
            pairs = []
            for row in rows:
                if not row["item"] or not row["property"]:
                    raise UsageError(
                        f"{path}, line {rows.line_num}: a cell lacks its item or property: fill in both, or remove the line"
                    )
                pairs.append((row["item"].strip(), row["property"].strip()))
            return pairs
    except (FileNotFoundError, IsADirectoryError):
        raise SourceNotFoundError(
            f"no cells file {path}: name a CSV file with columns item,property"
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"{path} is not readable as CSV in UTF-8 ({error}): save it again"
        ) from None
