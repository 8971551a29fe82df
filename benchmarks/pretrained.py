"""What pretrained encoders add to experts: each kind of them against none, on the same items.

    python benchmarks/pretrained.py --home fashion --split split.csv --items 1500 \\
        --text-encoder MiniLM --efficientnet efficientnet-lite0.safetensors --out pretrained.json

Experts and, where items have categories, a classifier are fitted on some items of the train split,
without an encoder, with each, and with both, and predict the items of the test split. Differences
have paired 95% intervals over items.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.efficientnet_lite import EfficientNetLite
from evaluation.classification import (
    ClassificationReport,
    classification_words,
    compare_classification,
    evaluate_classification,
)
from evaluation.completion import EvaluationReport, compare, evaluate_settings
from evaluation.settings import Setting
from experts.classification import fit_classifier, why_no_classes
from experts.fitting import fit_experts
from experts.labelled_items import LabelledItems
from experts.pretrained import Encoders, RememberedImages
from fusion.inference.featurizer import ItemInput
from kg.home import Home
from kg.image_cache import read_pixels
from kg.snapshot import GraphSnapshot
from schema.arrays import IntArray
from schema.ontology import Ontology
from serving.category_calibration import calibrate_classifier
from serving.expert_calibration import calibrate_experts
from serving.loading import items_of_split
from training.config import EXPERTS_PRESET, TrainOptions
from training.experts import read_labelled_items, read_learnable
from training.inputs import split_items, train_ontology

SETTINGS = (
    Setting("full", "no", "none"),
    Setting("blind", "no", "none"),
    Setting("none", "yes", "none"),
    Setting("blind", "yes", "none"),
    Setting("blind", "yes", "all"),
    Setting("full", "yes", "all"),
)
Reports = dict[str, tuple[EvaluationReport | ClassificationReport, ...]]


def variants(encoders: Encoders) -> Iterator[tuple[str, Encoders]]:
    """Yield what is compared: no encoder first."""
    yield "none", Encoders()
    if encoders.texts is not None:
        yield "texts", Encoders(texts=encoders.texts)
    if encoders.images is not None:
        yield "images", Encoders(images=encoders.images)
    if encoders.texts is not None and encoders.images is not None:
        yield "both", encoders


class Measurement:
    """A home's items, and what is measured of experts that are fitted on some of them."""

    def __init__(self, home: Home, split: Path | None, items: int, also: tuple[str, ...]) -> None:
        options = TrainOptions(preset=EXPERTS_PRESET, split=split)
        self.home = home
        self.also = also
        self.snapshot: GraphSnapshot = read_learnable(home)
        train = split_items(self.snapshot, options)["train"]
        self.chosen: IntArray = np.sort(np.random.default_rng(0).permutation(train)[:items])
        self.ontology: Ontology = train_ontology(self.snapshot, self.chosen, home.ontology())
        self.tested: list[ItemInput] = items_of_split(
            self.snapshot, "test", home.image_files(), split
        )

    def reports(self, name: str, encoders: Encoders) -> tuple[Reports, dict[str, float]]:
        """Fit and evaluate; return the reports by task, and the seconds that all of it took."""
        began = time.monotonic()
        learned = read_labelled_items(self.home, self.snapshot, self.chosen, encoders=encoders)
        read = time.monotonic()
        fitted = fit_experts(name, self.ontology, learned)
        fitted.ensemble.calibration = calibrate_experts(fitted)
        fitted.ensemble.read_pixels = read_pixels
        done = time.monotonic()
        reports: Reports = {
            "completion": tuple(
                evaluate_settings(
                    fitted.ensemble, self.tested, self.ontology, SETTINGS, blind_also=self.also
                )
            )
        }
        seconds = {
            "reading": read - began,
            "fitting": done - read,
            "completing": time.monotonic() - done,
        }
        if why_no_classes(self.ontology, learned.with_every_part().categories) is None:
            reports["classification"] = self._classified(name, learned)
        return reports, {each: round(value, 1) for each, value in seconds.items()}

    def _classified(self, name: str, learned: LabelledItems) -> tuple[ClassificationReport, ...]:
        fitted = fit_classifier(name, self.ontology, learned)
        classifier = fitted.classifier
        classifier.calibration = calibrate_classifier(fitted)
        words = classification_words(self.ontology, self.tested, self.also)
        restating = tuple(classifier.restated.wrong)
        return tuple(
            evaluate_classification(
                classifier, self.tested, setting, words=words, restating=restating
            )
            for setting in SETTINGS[:4]
        )


def rows(every: dict[str, Reports]) -> list[dict[str, Any]]:
    """Return a row of each task, setting and variant: its metric, and by how much it is above."""
    found = []
    for name, reports in every.items():
        for task, of_task in reports.items():
            for report, plain in zip(of_task, every["none"][task], strict=True):
                row: dict[str, Any] = {
                    "task": task,
                    "setting": report.setting.name,
                    "encoders": name,
                }
                if isinstance(report, EvaluationReport) and isinstance(plain, EvaluationReport):
                    value = report.macro["hits@1"]
                    above = compare(report, plain).difference.macro["hits@1"]
                elif isinstance(report, ClassificationReport) and isinstance(
                    plain, ClassificationReport
                ):
                    value = report.metrics["top-1"]
                    above = compare_classification(report, plain).difference["top-1"]
                else:
                    continue
                row["hits@1"] = round(value.value, 4)
                if name != "none":
                    row["above"] = [round(n, 4) for n in (above.value, above.low, above.high)]
                found.append(row)
    return found


def main() -> None:
    """Measure, print a row of each setting and variant, and write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--split", type=Path)
    parser.add_argument("--items", type=int, default=1500, help="items that are learned from")
    parser.add_argument("--also", default="", help="further words that blind titles lose: a,b")
    parser.add_argument("--text-encoder", type=Path)
    images = parser.add_mutually_exclusive_group()
    images.add_argument("--image-encoder", type=Path)
    images.add_argument("--efficientnet", type=Path, help="weights of EfficientNet-lite0")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    encoders = Encoders.open(options.text_encoder, options.image_encoder)
    if options.efficientnet is not None:
        efficientnet = RememberedImages(EfficientNetLite(options.efficientnet))
        encoders = Encoders(encoders.texts, efficientnet)
    also = tuple(word for word in options.also.split(",") if word)
    measurement = Measurement(Home(options.home), options.split, options.items, also)
    every: dict[str, Reports] = {}
    seconds = {}
    for name, each in variants(encoders):
        every[name], seconds[name] = measurement.reports(name, each)
        print(name, json.dumps(seconds[name]), flush=True)
    found = rows(every)
    for row in found:
        print(json.dumps(row), flush=True)
    figures = {
        "learned": len(measurement.chosen),
        "tested": len(measurement.tested),
        "text encoder": None if encoders.texts is None else encoders.texts.space,
        "image encoder": None if encoders.images is None else encoders.images.space,
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "seconds": seconds,
        "rows": found,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
