"""The classical baseline of completion on a home's catalogue.

It is logistic regression on TF-IDF, HOG, colour histograms and one-hot known statements; see
:mod:`evaluation.baselines`.

    python benchmarks/completion_classical.py --home catalog --split split.csv --also kid,kids

Trains one set of models per setting on the train split, predicts every known cell of the test
split, and prints Hits@1 (macro average over properties) beside that of the most frequent value.
``catalograph evaluate completion --against classical`` compares a model with it on the same cells.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from evaluation.against import Baselines
from evaluation.baselines import Classical, MostFrequent
from evaluation.completion import EvaluationReport
from evaluation.settings import SETTINGS, Setting
from kg.home import Home


@dataclass(frozen=True)
class Measurement:
    """The reports of both baselines in one setting, and how long training took."""

    classical: EvaluationReport
    most_frequent: EvaluationReport
    training_seconds: float


def measure(baselines: Baselines, setting: Setting) -> Measurement:
    """Train and evaluate both baselines in one setting."""
    train = baselines.splits["train"]
    ontology = baselines.ontology
    started = time.perf_counter()
    classical = Classical.train(ontology, train, setting, blind_also=baselines.blind_also)
    seconds = time.perf_counter() - started
    most_frequent = MostFrequent(ontology, train)
    return Measurement(
        baselines.evaluate_scorer(classical, setting),
        baselines.evaluate_scorer(most_frequent, setting),
        seconds,
    )


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
    blind_also = [word for word in options.also.split(",") if word]
    baselines = Baselines(Home.open(options.home), options.split, blind_also=blind_also)

    reports: list[dict[str, Any]] = []
    heading = f"{'setting':<20}{'classical':>10}{'95% interval':>16}"
    print(f"{heading}{'most frequent':>16}{'seconds':>10}")
    for setting in SETTINGS:
        if options.setting and setting.name not in options.setting:
            continue
        measured = measure(baselines, setting)
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
