"""Measure alignment on labelled pairs, against TF-IDF and the classical way of entity matching.

Each folder has items.csv, train.csv and valid.csv, the last two with the columns left,right,label.
A model learns from train.csv, and valid.csv is measured:

    python -m benchmarks.alignment FOLDER... --out benchmarks/figures/alignment.json
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from evaluation.alignment import evaluate_alignment
from evaluation.alignment_baselines import AlignmentBaseline
from kg.home import Home
from kg.ingest.pipeline import ingest
from serving.alignment.blocking import candidate_pairs, recall
from serving.alignment.corpus import Corpus
from serving.alignment.pair_files import read_labelled_pairs
from serving.alignment.records import Records, records_of_home
from serving.alignment.training import labelled_rows, train_alignment


def measure(folder: Path, seed: int) -> dict[str, Any]:
    """Return the figures of one set of labelled pairs."""
    train = read_labelled_pairs(folder / "train.csv")
    valid = read_labelled_pairs(folder / "valid.csv")
    with tempfile.TemporaryDirectory() as working:
        home = Home.open(Path(working) / "home", create=True)
        ingest(home, [folder / "items.csv"])
        started = time.perf_counter()
        training = train_alignment(home, train, valid, seed=seed)
        seconds = time.perf_counter() - started
        model = replace(training.fitted.model, path=Path("align"))
        found = evaluate_alignment(home, model, valid, train, list(AlignmentBaseline))
        corpus = Corpus(Records.with_sides(records_of_home(home), model.sides))
    known = labelled_rows(corpus, valid)
    candidates = candidate_pairs(corpus)
    matches = known.left[known.label], known.right[known.label]
    return {
        "items": len(corpus),
        "train_pairs": len(train),
        "seconds": round(seconds, 1),
        "candidates": len(candidates[0]),
        "recall_of_blocking": recall(candidates, matches),
        **found.as_dict(),
    }


def main() -> None:
    """Measure every folder, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    figures: dict[str, Any] = {"cores": os.cpu_count(), "seed": arguments.seed, "sets": {}}
    for folder in arguments.folders:
        figures["sets"][folder.name] = measure(folder, arguments.seed)
        for report in figures["sets"][folder.name]["reports"]:
            f1 = report["metrics"]["f1"]
            print(
                f"{folder.name}: {report['model']} F1 {f1['value']:.3f} "
                f"({f1['low']:.3f}-{f1['high']:.3f})"
            )
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
