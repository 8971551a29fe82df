"""What each expert is worth: Hits@1 of each alone, of their average, and of the stacker.

    python benchmarks/ablation.py --home fashion --model experts-1 --split split.csv --also kid,kids

Every known cell of a split is hidden and predicted, in the eleven settings, as by ``catalograph
evaluate completion --all``. An expert that cannot answer in a setting has no figure there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from evaluation.completion import evaluate_settings
from evaluation.settings import SETTINGS, Setting
from experts.ensemble import ENCODED_TOGETHER, EncodedItems, Expert, ExpertEnsemble, Part
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from kg.home import Home
from schema.modalities import Modality
from serving.loading import items_of_split, load_scorer

LEAST_SCORE = 1e-4


class AverageScorer:
    """Scores cells by the mean of some experts, without a stacker."""

    calibration = None

    def __init__(self, ensemble: ExpertEnsemble, experts: Sequence[Expert], name: str) -> None:
        self.name = name
        self.ontology = ensemble.ontology
        self.modalities = ensemble.modalities
        self._ensemble = ensemble
        self._experts = experts

    def situation(self, item: ItemInput, cell: CellQuery) -> str:
        """Name what is known of an item, as the ensemble does."""
        return self._ensemble.situation(item, cell)

    def encode(self, items: Sequence[ItemInput]) -> list[EncodedItems]:
        """Compare titles and images with the landmarks."""
        return self._ensemble.encode(items)

    def score(
        self, encoded: list[EncodedItems], cells: Sequence[CellQuery]
    ) -> list[NDArray[np.float32]]:
        """Return the logarithms of mean scores."""
        groups: dict[tuple[int, str], list[int]] = defaultdict(list)
        for number, cell in enumerate(cells):
            groups[cell.item // ENCODED_TOGETHER, cell.property].append(number)
        found: list[NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(cells)
        for (batch, property), numbers in groups.items():
            asked = [cells[number] for number in numbers]
            scores = self._ensemble.expert_scores(encoded[batch], asked, property, self._experts)
            for number, row in zip(numbers, scores.mean(0), strict=True):
                found[number] = np.log(np.maximum(row, LEAST_SCORE)).astype(np.float32)
        return found


def answers(expert: Expert, setting: Setting) -> bool:
    """Return whether an expert has all of its parts in a setting of title, image and statements."""
    if expert.reads_category or Part.DESCRIPTION in expert.parts:
        return False
    if expert.reads_title and not setting.shows(Modality.TITLE):
        return False
    if expert.reads_statements and not setting.shows(Modality.STATEMENTS):
        return False
    return Part.IMAGE not in expert.parts or setting.shows(Modality.IMAGE)


def measure(
    ensemble: ExpertEnsemble, items: Sequence[ItemInput], home: Home, also: Sequence[str]
) -> list[dict[str, Any]]:
    """Return a row of each setting: Hits@1 of each expert, of the average, of the stacker."""
    ontology = home.ontology()
    experts = list(dict.fromkeys(expert for expert, _ in ensemble.learned))
    rows = []
    for setting in SETTINGS:
        able = [expert for expert in experts if answers(expert, setting)]
        scorers = [AverageScorer(ensemble, [expert], expert.name) for expert in able]
        scorers.append(AverageScorer(ensemble, able, "average"))
        row: dict[str, Any] = {"setting": setting.name}
        every: list[AverageScorer | ExpertEnsemble] = [*scorers, ensemble]
        for scorer in every:
            (report,) = evaluate_settings(
                scorer, items, ontology, [setting], blind_also=also, resamples=2
            )
            name = "stacker" if scorer is ensemble else scorer.name
            row[name] = round(report.macro["hits@1"].value, 4)
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def main() -> None:
    """Measure a model of experts, print a row of each setting, and write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path("catalog"))
    parser.add_argument("--model", help="a model of experts; the newest by default")
    parser.add_argument("--split", type=Path)
    parser.add_argument("--part", default="test")
    parser.add_argument("--also", default="", help="further words that blind titles lose")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    home = Home.open(options.home)
    ensemble = load_scorer(home, options.model)
    if not isinstance(ensemble, ExpertEnsemble):
        parser.error("the model has no experts: train one with --preset experts")
    items = items_of_split(home.snapshot(), options.part, home.image_files(), options.split)
    rows = measure(ensemble, items, home, [each for each in options.also.split(",") if each])
    if options.out is not None:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
