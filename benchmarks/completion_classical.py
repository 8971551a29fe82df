"""The classical baseline of completion on a home's catalogue.

It is logistic regression on TF-IDF, HOG, colour histograms and one-hot known statements; see
:mod:`evaluation.baselines`.

    python benchmarks/completion_classical.py --home catalog --split split.csv --also kid,kids

Trains one set of models per setting on the train split, predicts every known cell of the test
split, and prints Hits@1 (macro average over properties) beside that of the most frequent value.
``catalograph evaluate completion`` measures a model on the same cells.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from evaluation.baselines import BASELINE_IMAGE_SIZE, Classical, MostFrequent
from evaluation.completion import EvaluationReport, evaluate_completion
from evaluation.settings import SETTINGS, Setting
from fusion.inference.featurizer import ItemInput
from kg.home import Home
from kg.image_cache import ImageCache
from kg.snapshot import GraphSnapshot, read_snapshot
from kg.splits import assign_splits
from schema.ontology import Ontology
from serving.cells import Scorer

Splits = dict[str, list[ItemInput]]


@dataclass(frozen=True)
class Measurement:
    """The reports of both baselines in one setting, and how long training took."""

    classical: EvaluationReport
    most_frequent: EvaluationReport
    training_seconds: float


def read_splits(home: Home, split_file: Path | None) -> Splits:
    """Read the home's items by split, with images as pixels."""
    with home.store(read_only=True) as store:
        snapshot = read_snapshot(store, ontology=home.ontology())
    files = home.image_files()
    images = ImageCache.build(snapshot.images, BASELINE_IMAGE_SIZE, home.cache, files)
    split_of = assign_splits(snapshot.items, split_file)
    splits: Splits = {"train": [], "validation": [], "test": []}
    for index, item in enumerate(snapshot.items):
        if item in split_of:
            splits[split_of[item]].append(read_item(snapshot, images, index))
    return splits


def read_item(snapshot: GraphSnapshot, images: ImageCache, index: int) -> ItemInput:
    """Read one item; its image becomes pixels [3, S, S]."""
    pixels = images.pixels(np.array([index]))[0] if images.present[index] else None
    return ItemInput(
        snapshot.items[index], snapshot.titles[index], pixels, tuple(snapshot.statements_of(index))
    )


def measure(
    ontology: Ontology, splits: Splits, setting: Setting, blind_also: Sequence[str]
) -> Measurement:
    """Train and evaluate both baselines in one setting."""
    started = time.perf_counter()
    classical = Classical.train(ontology, splits["train"], setting, blind_also=blind_also)
    seconds = time.perf_counter() - started
    most_frequent = MostFrequent(ontology, splits["train"])

    def evaluate(scorer: Scorer) -> EvaluationReport:
        test = splits["test"]
        return evaluate_completion(scorer, test, ontology, setting, blind_also=blind_also)

    return Measurement(evaluate(classical), evaluate(most_frequent), seconds)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path("catalog"))
    parser.add_argument(
        "--split", type=Path, help="CSV item,split; without it by the id's sha1, 90/5/5"
    )
    parser.add_argument(
        "--setting",
        action="append",
        choices=[setting.name for setting in SETTINGS],
        help="may be repeated; all by default",
    )
    parser.add_argument(
        "--also", default="", help="further words that blind titles lose, separated by commas"
    )
    parser.add_argument("--out", type=Path, help="write the reports as JSON")
    return parser.parse_args()


def main() -> None:
    """Measure the settings, print a table, and optionally write JSON."""
    options = parse_arguments()
    home = Home.open(options.home)
    splits = read_splits(home, options.split)
    ontology = home.ontology()
    blind_also = [word for word in options.also.split(",") if word]

    reports: list[dict[str, Any]] = []
    heading = f"{'setting':<20}{'classical':>10}{'95% interval':>16}"
    print(f"{heading}{'most frequent':>16}{'seconds':>10}")
    for setting in SETTINGS:
        if options.setting and setting.name not in options.setting:
            continue
        measured = measure(ontology, splits, setting, blind_also)
        hits = measured.classical.macro["hits@1"]
        interval = f"{hits.low:.3f}–{hits.high:.3f}"
        most_frequent = measured.most_frequent.macro["hits@1"].value
        seconds = measured.training_seconds
        row = f"{setting.name:<20}{hits.value:>10.3f}{interval:>16}"
        print(f"{row}{most_frequent:>16.3f}{seconds:>10.1f}", flush=True)
        reports.append({**measured.classical.as_dict(), "seconds": round(seconds, 2)})
    if options.out is not None:
        options.out.write_text(json.dumps(reports, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
