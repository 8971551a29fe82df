"""The classical peer of completion on a home: TF-IDF, HOG, colour histograms, one-hot known statements, logistic regression.

    python benchmarks/completion_classical.py --home catalog --split split.csv --also kid,kids

Trains one set of models a setting on the train part, asks for every known cell of the test part, and prints Hits@1, macro over the
properties, beside the most frequent value's. ``catalograph evaluate completion`` gives a model's figures on the same cells.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from evaluation.baselines import IMAGE_SIZE, Classical, MostFrequent
from evaluation.completion import EvaluationReport, evaluate_completion
from evaluation.settings import SETTINGS, Setting
from fusion.inference.featurizer import ItemInput
from kg.home import Home
from kg.image_cache import ImageCache
from kg.snapshot import GraphSnapshot, read_snapshot
from kg.splits import assign
from schema.ontology import Ontology

Parts = dict[str, list[ItemInput]]


def read_parts(home: Home, split: Path | None) -> Parts:
    """The home's items by their part of the split, images as pixels."""
    with home.store(read_only=True) as store:
        snapshot = read_snapshot(store)
    images = ImageCache.build(snapshot.images, IMAGE_SIZE, home.cache)
    named = assign(snapshot.items, split)
    parts: Parts = {"train": [], "validation": [], "test": []}
    for index, item in enumerate(snapshot.items):
        if item in named:
            parts[named[item]].append(read_item(snapshot, images, index))
    return parts


def read_item(snapshot: GraphSnapshot, images: ImageCache, index: int) -> ItemInput:
    """One item, its image as pixels [3, S, S] where it has one."""
    pixels = images.pixels(np.array([index]))[0] if images.present[index] else None
    return ItemInput(
        snapshot.items[index], snapshot.titles[index], pixels, tuple(snapshot.statements_of(index))
    )


def measure(
    ontology: Ontology, parts: Parts, setting: Setting, also: tuple[str, ...]
) -> tuple[EvaluationReport, EvaluationReport, float]:
    """The classical model's report, the most frequent value's, and the seconds that training took."""
    began = time.perf_counter()
    classical = Classical.train(ontology, parts["train"], setting, also=also)
    seconds = time.perf_counter() - began
    frequent = MostFrequent(ontology, parts["train"])
    first, second = (
        evaluate_completion(scorer, parts["test"], ontology, setting, also=also)
        for scorer in (classical, frequent)
    )
    return first, second, seconds


def main() -> None:
    """Read the command line, measure, print a table and optionally write JSON."""
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
        help="repeatable; all by default",
    )
    parser.add_argument(
        "--also", default="", help="further words that blinding removes, separated by commas"
    )
    parser.add_argument("--out", type=Path, help="write the reports as JSON")
    options = parser.parse_args()
    home = Home.open(options.home)
    parts = read_parts(home, options.split)
    ontology = home.ontology()
    also = tuple(word for word in options.also.split(",") if word)
    found: list[dict[str, Any]] = []
    print(
        f"{'setting':<20}{'classical':>10}{'95% interval':>16}{'most frequent':>16}{'seconds':>10}"
    )
    for setting in SETTINGS:
        if options.setting and setting.name not in options.setting:
            continue
        report, frequent, seconds = measure(ontology, parts, setting, also)
        best = report.macro["hits@1"]
        interval = f"{best.low:.3f}–{best.high:.3f}"
        print(
            f"{setting.name:<20}{best.value:>10.3f}{interval:>16}{frequent.macro['hits@1'].value:>16.3f}{seconds:>10.1f}",
            flush=True,
        )
        found.append({**report.as_dict(), "seconds": round(seconds, 2)})
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
