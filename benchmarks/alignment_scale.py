"""Measure aligning a file with a large catalogue, with and without what is kept of it.

    python -m benchmarks.alignment_scale [--items 5000 20000 100000] [--rows 1000] [--json FILE]

Catalogues of made items have descriptions and eight properties. The file has offers of some of
them: words of the title are in another order or missing, and codes are cut in another way. A model
learns from such pairs of another catalogue. Every figure is that of a command in a process of its
own, as a user calls it: `align --left FILE` while nothing is kept, and again; the file is ingested,
and `align --new` compares its items with all others. Where the catalogue is small enough, `align`
compares all items before and after that.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.run_command import ROOT
from benchmarks.search import MadeCatalogue
from kg.home import Home
from kg.ingest.pipeline import ingest
from schema.ontology import Ontology
from serving.alignment.corpus import Corpus
from serving.alignment.fitting import LabelledPairs, fit_alignment
from serving.alignment.index import COUNTS, FOLDER, remember_alignment
from serving.alignment.records import Record, Records, Side, records_of_home

LABELLED = 600
WHOLE = 20_000
"""Items up to which a catalogue is compared with itself as a whole, which takes a minute."""
MODEL = "made"


def other_offer(record: Record, id: str, random_: random.Random) -> Record:
    """Return an offer of the same product by somebody else."""
    *words, code = record.title.split()
    random_.shuffle(words)
    if random_.random() < 0.5:
        words.pop()
    code = code.replace("-", random_.choice(["", " ", "/"]))
    said = record.description.split()
    values = {name: texts for name, texts in record.values.items() if random_.random() < 0.5}
    return Record(id, " ".join([*words, code]), " ".join(said[: len(said) // 2]), values=values)


def write_rows(path: Path, records: Sequence[Record]) -> None:
    """Write records as a table."""
    names = sorted({name for record in records for name in record.values})
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("id", "title", "description", *names))
        for record in records:
            values = (record.values.get(name, ("",))[0] for name in names)
            writer.writerow((record.id, record.title, record.description, *values))


def made_home(folder: Path, items: int, seed: int) -> Home:
    """Return a home with made items."""
    home = Home.open(folder, create=True)
    MadeCatalogue(items, seed).put(home)
    return home


def train_model(working: Path, folder: Path) -> None:
    """Save a model that has learned from offers of another catalogue's items."""
    random_ = random.Random(7)
    items = records_of_home(made_home(working / "learned", 4 * LABELLED, seed=7))
    offers = [other_offer(each, f"N{each.id}", random_) for each in items[:LABELLED]]
    sides = (Side.LEFT,) * len(offers) + (Side.RIGHT,) * len(items)
    corpus = Corpus(Records((*offers, *items), sides))
    own = np.arange(LABELLED)
    # Distinct ones that look alike: the most similar items that are others.
    near = corpus.neighbours("text words", own).items[:, :4]
    left = np.concatenate([own, np.repeat(own, near.shape[1])])
    right = np.concatenate([own + LABELLED, near.ravel()])
    is_pair = right >= 0
    left, right = left[is_pair], right[is_pair]
    pairs, kept = np.unique(np.stack([left, right]), axis=1, return_index=True)
    labelled = LabelledPairs(pairs[0], pairs[1], (right - left)[kept] == LABELLED)
    about = {"pairs": len(labelled), "items": len(corpus)}
    fit_alignment(corpus, labelled, None, Ontology(), {}, about).model.save(folder)


def run(home: Path, *words: object) -> dict[str, Any]:
    """Run a command; return its seconds, also of all cores, and its greatest memory."""
    command = [sys.executable, str(ROOT / "cli.py"), "--home", str(home), *map(str, words)]
    started = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command} failed")
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "memory_gb": round(usage.ru_maxrss / 1e6, 2),
    }


def found_among(path: Path, origin: dict[str, str]) -> dict[str, Any]:
    """Return how many pairs a file has, and the share of offers that are paired with their item."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    chances = {frozenset((row["left"], row["right"])): float(row["probability"]) for row in rows}
    own = [chances.get(frozenset(pair), -1.0) for pair in origin.items()]
    return {
        "pairs": len(rows),
        "compared": round(sum(chance >= 0 for chance in own) / len(own), 4),
        "probable": round(sum(chance >= 0.5 for chance in own) / len(own), 4),
    }


def measure(working: Path, model: Path, items: int, rows: int) -> dict[str, Any]:
    """Return the figures of a catalogue of so many items."""
    folder = working / f"home-{items}"
    home = made_home(folder, items, seed=0)
    (home.models / MODEL).parent.mkdir(exist_ok=True)
    model.rename(home.models / MODEL)
    records = records_of_home(home)
    random_ = random.Random(1)
    chosen = random_.sample(records, rows)
    offers = [other_offer(each, f"N{each.id}", random_) for each in chosen]
    origin = {f"N{each.id}": each.id for each in chosen}
    file, out = working / "new.csv", working / "found.csv"
    write_rows(file, offers)
    figures: dict[str, Any] = {"items": items, "rows": rows}
    align = ("align", "--min-probability", "0", "--out", out)
    figures["file, nothing kept"] = run(folder, *align, "--left", file)
    first = out.read_bytes()
    figures["file"] = run(folder, *align, "--left", file) | found_among(out, origin)
    if out.read_bytes() != first:
        raise SystemExit("what is kept has changed what is found")
    figures["kept_mb"] = round((folder / FOLDER / COUNTS).stat().st_size / 1e6, 1)
    if items <= WHOLE:
        figures["all"] = run(folder, *align)
    else:
        # As if all had been compared, which would take several minutes.
        remember_alignment(home, records, MODEL)
    ingest(home, [file])
    figures["new"] = run(folder, *align, "--new") | found_among(out, origin)
    (home.models / MODEL).rename(model)
    ratio = figures["file, nothing kept"]["seconds"] / figures["file"]["seconds"]
    return figures | {"ratio": round(ratio, 2)}


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, nargs="+", default=[5_000, 20_000, 100_000])
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures: dict[str, Any] = {"cores": os.cpu_count(), "sizes": []}
    with tempfile.TemporaryDirectory() as folder:
        working = Path(folder)
        train_model(working, working / MODEL)
        for items in arguments.items:
            figures["sizes"].append(measure(working, working / MODEL, items, arguments.rows))
            print(json.dumps(figures["sizes"][-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
