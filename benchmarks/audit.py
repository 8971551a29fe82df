"""Errors that `catalograph audit` finds, of those that are planted in a catalogue.

    python benchmarks/audit.py --items items.csv --images FOLDER \\
        --properties articleType,baseColour --work FOLDER --out figures.json
    python benchmarks/audit.py --sample 1500 --seed 3 --work FOLDER --out figures.json

``items`` is a CSV file with the columns id, title and image, and with one of each property; its
other columns are ingested as they are. In a share of the rows one value is replaced by that of
another item (``--wrong``), the images of a share are exchanged in pairs, and the titles of another
(``--swapped``). A sample has wrong values of its own, and no others are planted. Experts are fitted
on all of this, and audit it. What is in the ``work`` folder already is not made again.

Of the values, the figures are the precision among the first 50 and 100 and the average precision,
by expected gain and by the probability of the stored value alone. Both orders are of the same
cells: all that the model judges, of items with their own image and title. By expected gain the
findings come first, then all other cells by the same difference, which is negative there.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.run_command import run

Row = dict[str, str]
FIRST = (50, 100)
MODEL = "audited"


def plant_values(
    rows: Sequence[Row], properties: Sequence[str], share: float, rng: random.Random
) -> list[list[str]]:
    """Replace a share of the values by those of other items; return where, and the right ones."""
    right = []
    cells = [(row, name) for row in rows for name in properties if row[name]]
    for row, name in rng.sample(cells, round(share * len(cells))):
        others = [other[name] for other in rng.sample(list(rows), 60)]
        others = [each for each in others if each and each != row[name]]
        if others:
            right.append([row["id"], name, row[name]])
            row[name] = others[0]
    return right


def swap(rows: Sequence[Row], name: str, share: float, rng: random.Random) -> dict[str, str]:
    """Exchange a column between pairs of a share of the rows; return the partner of each."""
    having = [row for row in rows if row[name]]
    chosen = rng.sample(having, 2 * round(share * len(having) / 2))
    partner = {}
    for one, other in zip(chosen[::2], chosen[1::2], strict=True):
        one[name], other[name] = other[name], one[name]
        partner[one["id"]] = other["id"]
        partner[other["id"]] = one["id"]
    return partner


def make(options: argparse.Namespace) -> None:
    """Plant errors, ingest and fit, unless it has been done."""
    work: Path = options.work
    planted = work / "planted.json"
    home = work / "home"
    if not planted.exists():
        work.mkdir(parents=True, exist_ok=True)
        source = options.items
        if source is None:
            run(home, "sample", work, "--items", options.sample, "--seed", options.seed)
            source = work / "items.csv"
        rows = list(csv.DictReader(source.open(encoding="utf-8", newline="")))
        rng = random.Random(options.seed)
        wrong = []
        if options.items is None:
            truth = csv.DictReader((work / "truth.csv").open(encoding="utf-8", newline=""))
            wrong = [
                [row["item"], row["property"], row["value"]]
                for row in truth
                if row["kind"] == "spoilt"
            ]
        else:
            wrong = plant_values(rows, options.properties.split(","), options.wrong, rng)
        found = {
            "values": wrong,
            "images": swap(rows, "image", options.swapped, rng),
            "titles": swap(rows, "title", options.swapped, rng),
        }
        with (work / "items.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        planted.write_text(json.dumps(found))
    if not (home / "home.toml").exists():
        images = ["--images", options.images] if options.images else []
        mapping = [] if options.items is None else ["--mapping", "generic"]
        run(home, "ingest", work / "items.csv", *images, *mapping)
    if not (home / "models" / MODEL).exists():
        run(home, "train", "--preset", "experts", "--name", MODEL)


def ranked(found: Sequence[bool], errors: int) -> dict[str, float]:
    """Return the figures of cells in their order, of which some are errors, among all errors."""
    figures = {f"precision@{first}": sum(found[:first]) / first for first in FIRST}
    total = 0.0
    right = 0
    for place, is_error in enumerate(found, 1):
        right += is_error
        total += is_error * right / place
    figures["average_precision"] = total / max(errors, 1)
    return {name: round(value, 4) for name, value in figures.items()}


def every_cell(work: Path, exchanged: set[str]) -> dict[tuple[str, str], tuple[float, float]]:
    """Return of each cell with one value how probable this and the best other one are."""
    from experts.folder import load_experts, load_left_out
    from kg.home import Home
    from kg.image_cache import read_pixels
    from serving.audit.findings import Looked
    from serving.audit.judging import LeavingOut, judge_cells
    from serving.items import CatalogItems

    home = Home.open(work / "home")
    scorer = load_left_out(load_experts(home.models / MODEL, read_pixels))
    if scorer is None:
        sys.exit("the model is of an earlier version: remove its folder")
    snapshot = home.snapshot(details=True)
    items = CatalogItems(snapshot, home.image_files())
    cells = {}
    every = range(len(snapshot.items))
    for _, judged in judge_cells(
        LeavingOut(scorer), items, every, set(snapshot.properties), Looked()
    ):
        for cell in judged:
            id = snapshot.items[cell.item]
            if id not in exchanged and len(cell.stored) == 1:
                (place,) = cell.stored
                others = np.delete(cell.whole.candidates, place)
                best = float(others.max()) if len(others) else 0.0
                cells[id, cell.property] = float(cell.whole.candidates[place]), best
    return cells


def of_parts(
    findings: Sequence[dict[str, Any]], kind: str, partner: Mapping[str, str], exchanged: set[str]
) -> dict[str, Any]:
    """Return the figures of exchanged images or titles."""
    own = [each for each in findings if each["kind"] == kind]
    named = [each for each in own if each["proposed"]]
    return {
        "planted": len(partner),
        "found": len(own),
        "right": sum(each["item"] in partner for each in own),
        "of an item with another's image or title": sum(each["item"] in exchanged for each in own),
        "partners named": len(named),
        "partners right": sum(
            each["proposed"][0]["value"] == partner.get(each["item"]) for each in named
        ),
    }


def measure(work: Path) -> dict[str, Any]:
    """Audit and compare with what was planted."""
    planted = json.loads((work / "planted.json").read_text())
    wrong = {(item, name): value for item, name, value in planted["values"]}
    exchanged = {*planted["images"], *planted["titles"]}
    out = work / "findings.jsonl"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    summary = run(work / "home", "audit", "--model", MODEL, "--out", out)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    findings = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    values = [
        each for each in findings if each["property"] is not None and each["item"] not in exchanged
    ]
    cells = every_cell(work, exchanged)
    listed = dict.fromkeys((each["item"], each["property"]) for each in values)
    order = [
        *(key for key in listed if key in cells),
        *sorted(cells.keys() - listed.keys(), key=lambda key: cells[key][0] - cells[key][1]),
    ]
    by_stored = sorted(cells, key=lambda key: cells[key][0])
    errors = sum(key in wrong for key in cells)
    corrected = [
        each["proposed"][0]["value"] == wrong[each["item"], each["property"]]
        for each in values
        if (each["item"], each["property"]) in wrong and each["proposed"]
    ]
    return {
        "items looked at": summary["items"],
        "statements": summary["statements"],
        "seconds of an audit": summary["seconds"],
        "of the processor": round(processor, 1),
        "cells in either order": len(cells),
        "wrong values": errors,
        "by expected gain": ranked([key in wrong for key in order], errors),
        "wrong values among the findings": sum(key in wrong for key in listed),
        "of these the first proposal is right": round(float(np.mean(corrected)), 4),
        "by the stored value's probability": ranked([key in wrong for key in by_stored], errors),
        "images": of_parts(findings, "image", planted["images"], exchanged),
        "titles": of_parts(findings, "title", planted["titles"], exchanged),
    }


def main() -> None:
    """Measure one catalogue and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--properties", default="")
    parser.add_argument("--sample", type=int, default=1500)
    parser.add_argument("--wrong", type=float, default=0.03)
    parser.add_argument("--swapped", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    started = time.monotonic()
    make(options)
    figures = {**measure(options.work), "seconds": round(time.monotonic() - started, 1)}
    text = json.dumps(figures, indent=1)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
