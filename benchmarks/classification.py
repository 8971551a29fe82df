"""Classification of items into the category tree, in every setting, against both baselines.

    python -m benchmarks.classification --home HOME --model NAME [--split FILE] --name fashion \
        --out benchmarks/figures/classification.json

The figures of a home are added to those that the file has, under its ``name``. A model is measured
on the test split of ``--split``, from which its classifier must not have learned: otherwise it is
fitted again without these items.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from benchmarks.run_command import run

BASELINES = ("most-frequent", "classical")


def measure(home: Path, model: str, split: Path | None) -> list[dict[str, Any]]:
    """Return the figures of every setting, with those of the baselines."""
    words = ["evaluate", "classification", "--all", "--model", model]
    words += ["--split", str(split)] if split is not None else []
    for name in BASELINES:
        words += ["--against", name]
    reports: Any = run(home, *words)
    return list(reports)


def main() -> None:
    """Measure a home's model and add its figures to a file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--split", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--train-items", type=int, help="items that the model has learned from")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    figures = json.loads(options.out.read_text()) if options.out.exists() else {}
    figures[options.name] = {
        "train_items": options.train_items,
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "settings": measure(options.home, options.model, options.split),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
