"""What rejections teach: experts that learn from them against experts that do not.

    python -m benchmarks.rejections --styles styles.csv --images FOLDER --work FOLDER --out FILE

As in ``benchmarks/replay.py`` a share of the statements is hidden and proposed again. An oracle
then reviews some of the proposals, but it corrects none: it accepts what is right and rejects what
is wrong. Experts are fitted again, with the accepted values as statements, and judged by the hidden
cells that were not reviewed: Hits@1, the mean negative logarithm of the true value's probability,
how many cells are filled at the target, and how many of these are wrong.

The proposals reviewed are those of greatest expected gain, the most probable ones, or any. In each
order the stacker is fitted ``without`` the rejected values and ``with`` them. ``out of the proof``
is fitted without them, and its precision is proven by cells alone that nobody has reviewed.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.replay import hide, read_items
from benchmarks.run_command import run
from experts.ensemble import ExpertEnsemble
from experts.fitting import ExpertFitting
from experts.labelled_items import CellDecision, HeldOutCells, LabelledItems
from experts.open_fitting import fit_open_values
from experts.situations import Situation
from experts.stacking import GatheredCells, fit_stacker
from fusion.inference.featurizer import ItemInput, PropertyValue
from fusion.inference.scorer import CellQuery
from kg.home import Home
from kg.image_cache import read_pixels
from schema.ontology import Ontology
from serving.calibration import Calibration, CellGroup, fit_calibration
from serving.cells import predict
from serving.expert_calibration import scored_cells
from serving.items import CatalogItems
from training.experts import read_labelled_items
from training.inputs import train_ontology

ORDERS = ("gain", "surest", "random")
ENCODED = 64

Cell = tuple[str, str]
Gathered = dict[tuple[Situation, str], GatheredCells]
HeldOut = Mapping[tuple[Situation, str], HeldOutCells]


@dataclass(frozen=True)
class Guess:
    """What a model says of a hidden cell: its best value, how probable that is, and the rest."""

    cell: Cell
    value: str
    probability: float
    is_filled: bool
    is_right: bool
    of_truth: float


class Replayed:
    """A catalogue with hidden cells."""

    def __init__(self, options: argparse.Namespace, seed: int) -> None:
        rng = random.Random(seed)
        rows = read_items(options.styles, options.images, options.items, rng)
        self.hidden = hide(rows, options.hidden, rng)
        work = options.work / str(seed)
        work.mkdir(parents=True)
        with (work / "items.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        images = ("--images", options.images)
        run(work / "home", "ingest", work / "items.csv", *images, "--mapping", "generic")
        home = Home.open(work / "home")
        snapshot = home.snapshot(details=True)
        every = np.arange(len(snapshot.items))
        self.ontology: Ontology = train_ontology(snapshot, every, home.ontology())
        self.labelled: LabelledItems = read_labelled_items(home, snapshot, every)
        catalogue = CatalogItems(snapshot, home.image_files())
        self.items: dict[str, ItemInput] = {each.id: each for each in catalogue}
        self.target: float = options.target

    def fit(self, items: LabelledItems) -> tuple[ExpertFitting, Gathered]:
        """Fit experts; return what they say of the items that are left out."""
        fitting = ExpertFitting(self.ontology, items)
        return fitting, fitting.fit().cells

    def stack(self, fitting: ExpertFitting, cells: Gathered) -> tuple[ExpertEnsemble, HeldOut]:
        """Fit a stacker on gathered cells."""
        compared = fitting.compared
        stacked = fit_stacker(cells, compared.items.ids, self.ontology)
        hidden = fitting.gathering.hidden
        opened = fit_open_values(self.ontology, compared, stacked, hidden, 0)
        kernels = compared.kernels
        ensemble = ExpertEnsemble(
            "experts", self.ontology, kernels, fitting.learned, stacked.stacker, None, read_pixels
        )
        ensemble.open_values = opened.open_values
        return ensemble, opened.held_out

    def calibrate(self, held_out: HeldOut, without: set[Cell]) -> dict[str, Any]:
        """Calibrate by held-out cells, ``without`` some."""
        groups = {}
        ids = self.labelled.ids
        for (situation, name), cells in sorted(held_out.items()):
            kept = np.array([(ids[item], name) not in without for item in cells.item.tolist()])
            if kept.any():
                group = CellGroup(situation.name, name)
                groups[group] = scored_cells(cells.select(kept), self.ontology[name])
        return fit_calibration(groups, ids, ontology=self.ontology)

    def guess(
        self,
        ensemble: ExpertEnsemble,
        calibration: dict[str, Any],
        cells: Sequence[Cell],
        known: Mapping[str, Sequence[PropertyValue]],
    ) -> list[Guess]:
        """Say what hidden cells have, given further statements of the items."""
        calibrated = Calibration(calibration)
        by_item: dict[str, list[str]] = defaultdict(list)
        for item, name in cells:
            by_item[item].append(name)
        ids = list(by_item)
        found = []
        for start in range(0, len(ids), ENCODED):
            items = [
                replace(self.items[id], known=(*self.items[id].known, *known.get(id, ())))
                for id in ids[start : start + ENCODED]
            ]
            queries = [
                CellQuery(place, name, tuple(each for each in item.known if each[0] != name))
                for place, item in enumerate(items)
                for name in by_item[item.id]
            ]
            for query, logits in zip(
                queries, ensemble.score(ensemble.encode(items), queries), strict=True
            ):
                asked = items[query.item]
                situation = ensemble.situation(asked, query)
                cell = asked.id, query.property
                found.append(self._guess(calibrated, situation, cell, logits))
        return found

    def _guess(self, calibrated: Calibration, situation: str, cell: Cell, logits: Any) -> Guess:
        spec = self.ontology[cell[1]]
        temperature = calibrated.temperature(situation, spec.name)
        predicted = predict(logits, len(spec.values), temperature)
        best = int(predicted.candidates.argmax())
        probability = float(predicted.candidates[best])
        threshold = calibrated.threshold(situation, spec.name, self.target)
        true = spec.position(self.hidden[cell])
        of_truth = predicted.other if true is None else predicted.candidates[true]
        return Guess(
            cell,
            spec.values[best],
            probability,
            threshold is not None and probability >= threshold,
            best == true,
            float(of_truth),
        )


def without_refused(cells: Gathered) -> Gathered:
    """Return gathered cells but those of which a value was refused."""
    found: Gathered = {}
    for key, gathered in cells.items():
        found[key] = GatheredCells()
        for place, examples in enumerate(gathered.examples):
            kept = examples.has_value
            found[key].examples.append(examples.select(kept))
            for name in ("true", "item", "variant"):
                getattr(found[key], name).append(getattr(gathered, name)[place][kept])
    return found


def told(guesses: Sequence[Guess]) -> dict[str, float]:
    """Return the figures of some guesses."""
    filled = [each for each in guesses if each.is_filled]
    return {
        "cells": len(guesses),
        "hits@1": round(float(np.mean([each.is_right for each in guesses])), 4),
        "surprise": round(
            float(-np.mean([np.log(max(each.of_truth, 1e-6)) for each in guesses])), 4
        ),
        "filled": len(filled),
        "wrong": sum(not each.is_right for each in filled),
    }


def measure(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Return the figures of one draw."""
    replayed = Replayed(options, seed)
    fitting, cells = replayed.fit(replayed.labelled)
    ensemble, held_out = replayed.stack(fitting, cells)
    asked = [cell for cell in replayed.hidden if cell[1] in replayed.ontology.learned()]
    first = replayed.guess(ensemble, replayed.calibrate(held_out, set()), asked, {})
    rng = random.Random(seed)
    keys = {
        "gain": lambda each: -each.probability * (1 - each.probability),
        "surest": lambda each: -each.probability,
        "random": lambda each: rng.random(),
    }
    figures: dict[str, Any] = {"seed": seed, "before": told(first)}
    for order in ORDERS:
        reviewed = sorted(first, key=keys[order])[: options.reviewed]
        cells_reviewed = {each.cell for each in reviewed}
        accepted: dict[str, list[PropertyValue]] = defaultdict(list)
        rejected: dict[str, dict[str, CellDecision]] = defaultdict(dict)
        for each in reviewed:
            item, name = each.cell
            if each.is_right:
                accepted[item].append((name, each.value))
            else:
                rejected[item][name] = CellDecision((each.value,))
        items = replayed.labelled
        decided = replace(
            items,
            known=[
                (*known, *accepted.get(id, ()))
                for id, known in zip(items.ids, items.known, strict=True)
            ],
            decisions=[rejected.get(id, {}) for id in items.ids],
        )
        fitting, cells = replayed.fit(decided)
        left = [cell for cell in asked if cell not in cells_reviewed]
        figures[order] = {"rejected": sum(map(len, rejected.values()))}
        for name, part in (("without", without_refused(cells)), ("with", cells)):
            ensemble, held_out = replayed.stack(fitting, part)
            proofs = {name: set[Cell]()}
            if name == "without":
                proofs["out of the proof"] = cells_reviewed
            for proof, excluded in proofs.items():
                calibration = replayed.calibrate(held_out, excluded)
                figures[order][proof] = told(replayed.guess(ensemble, calibration, left, accepted))
    return figures


def main() -> None:
    """Measure draw by draw, and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--styles", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--items", type=int, default=700)
    parser.add_argument("--hidden", type=float, default=0.2)
    parser.add_argument("--target", type=float, default=0.97)
    parser.add_argument("--reviewed", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--work", type=Path, required=True, help="a folder that is made")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    began = time.monotonic()
    figures: dict[str, Any] = {
        "items": options.items,
        "reviewed": options.reviewed,
        "target precision": options.target,
        "draws": [],
    }
    for seed in options.seeds:
        figures["draws"].append(measure(options, seed))
        figures["seconds"] = round(time.monotonic() - began, 1)
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
