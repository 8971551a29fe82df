"""Measure the experts: what a fit costs by items, and what completing costs.

    python benchmarks/experts.py [--items 1000 2000 4000] [--made 100000:500 30000:5000]
        [--cells 10000] [--many 50000] [--home HOME --model NAME] [--without-images] [--threads N]
        [--out FILE]

Catalogues of `catalograph sample` are ingested and fitted, each in a process of its own, of which
time, CPU time and peak memory are told. Those of `--made` have so many items and so many values of
one of their eight properties, categories, some descriptions, and no images: drawing these would
take long. With the last catalogue, or with a model of another home,

- `complete` completes five cells of each item until there are as many as `--cells` says;
- `many` does so for `--many` items, of which memory matters;
- `item` completes all properties of an item that comes alone, as a service does, without and with
  known statements. The model is loaded and warm.

Where it says CPU, user and system time of all threads are meant, which other programs on the
machine change less than the time on the clock.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

ROOT = Path(__file__).resolve().parent.parent
HIDDEN = 5
"""Cells of an item that are completed."""
ALONE = 40
"""Items that are completed alone."""
MADE_PROPERTIES = ("audience", "brand", "colour", "material", "pattern", "room", "shape")
SYLLABLES = ("ba", "ko", "ri", "mu", "ten", "sol", "var", "nix", "lo", "pra", "dex", "um")
FINISHES = ("soft", "robust", "light", "matt", "glossy")


def measured(command: Sequence[str], threads: int) -> tuple[dict[str, float], str]:
    """Run a command; return what it took, and what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    costs = {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_gigabytes": usage.ru_maxrss * 1024 / 1e9,
    }
    return costs, printed


def drop_images(table: Path) -> None:
    """Empty the column of a table that names the images."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "image": ""} for row in rows)


def write_made(folder: Path, items: int, values: int) -> Path:
    """Write a catalogue of the sample's products, each of a series, of which there are many.

    How many items a series has falls with its rank to the power of .8. Six of ten titles say it.
    """
    from kg.sample.kinds import KINDS
    from kg.sample.offers import corrupt, make_offers

    rng = random.Random(0)
    offers = make_offers(items, rng)
    series = [f"{rng.choice(SYLLABLES)}{rng.choice(SYLLABLES)}{n}".title() for n in range(values)]
    drawn = rng.choices(series, [1 / (rank + 1) ** 0.8 for rank in range(values)], k=items)
    folder.mkdir()
    with (folder / "items.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "title", "category", "description", *MADE_PROPERTIES, "series"])
        for offer, name in zip(offers, drawn, strict=True):
            corrupt(offer, rng)
            title = f"{offer.title} {name}" if offer.title and rng.random() < 0.6 else offer.title
            finish = f"{offer.title} with a {rng.choice(FINISHES)} finish"
            writer.writerow(
                [
                    offer.id,
                    title,
                    KINDS[offer.kind].category,
                    finish if rng.random() < 0.3 else "",
                    *(offer.values.get(name, "") for name in MADE_PROPERTIES),
                    name if rng.random() < 0.8 else "",
                ]
            )
    return folder / "items.csv"


def fit(folder: Path, items: int, options: argparse.Namespace) -> dict[str, Any]:
    """Draw a catalogue, ingest it, and fit experts; return what the fit took."""
    shop = folder / f"shop-{items}"
    measured(["cli.py", "sample", str(shop), "--items", str(items)], options.threads)
    if options.without_images:
        drop_images(shop / "items.csv")
    return {"items": items, **fit_table(shop / "items.csv", folder / f"home-{items}", options)}


def fit_made(folder: Path, made: str, options: argparse.Namespace) -> dict[str, Any]:
    """Write a catalogue as ITEMS:VALUES says, ingest it, and fit experts; return what it took."""
    items, values = map(int, made.split(":"))
    table = write_made(folder / f"shop-{made}", items, values)
    return {
        "items": items,
        "values": values,
        **fit_table(table, folder / f"home-{made}", options),
    }


def fit_table(table: Path, home_path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Ingest a table, and fit experts; return what the fit took."""
    home = ["cli.py", "--home", str(home_path)]
    measured([*home, "ingest", str(table), "--max-rejects", "100%"], options.threads)
    train = [*home, "train", "--preset", "experts", "--name", "experts", "--json"]
    costs, printed = measured(train, options.threads)
    result = json.loads(printed)
    size = (Path(result["model"]) / "experts.safetensors").stat().st_size
    return {
        **costs,
        "folder_megabytes": size / 1e6,
        "hits@1": result["metrics"]["hits@1"],
    }


def complete(home: str, model: str, cells: int) -> dict[str, float]:
    """Complete so many cells, of items from which they are hidden; return what it took."""
    from serving.cells import Cell
    from serving.completion import complete_cells

    began = time.perf_counter()
    scorer, every = open_model(home, model)
    loaded = time.perf_counter()
    names = list(scorer.ontology.learned())

    def hidden(number: int) -> list[str]:
        return [names[(number + step) % len(names)] for step in range(min(HIDDEN, len(names)))]

    class Hiding(Sequence[Any]):
        """The catalogue's items over and over, each built on access, without the hidden cells."""

        def __len__(self) -> int:
            return -(-cells // HIDDEN)

        def __getitem__(self, number: Any) -> Any:
            item = every[number % len(every)]
            gone = set(hidden(number))
            return replace(item, known=tuple(each for each in item.known if each[0] not in gone))

    items = Hiding()
    asked = (Cell(number, name) for number in range(len(items)) for name in hidden(number))
    cpu = time.process_time()
    done = sum(1 for _ in complete_cells(scorer, items, asked))
    return {
        "cells": done,
        "loading_seconds": loaded - began,
        "completing_seconds": time.perf_counter() - loaded,
        "completing_cpu_seconds": time.process_time() - cpu,
    }


def alone(home: str, model: str) -> dict[str, float]:
    """Complete items one at a time; return the median milliseconds."""
    from serving.cells import Cell
    from serving.completion import complete_cells

    scorer, every = open_model(home, model)
    names = list(scorer.ontology.learned())
    figures = {}
    for title, is_new in (("new", True), ("with_statements", False)):
        times = []
        for number in range(ALONE):
            item = every[number]
            item = replace(item, known=()) if is_new else item
            began = time.perf_counter()
            list(complete_cells(scorer, [item], [Cell(0, name) for name in names]))
            times.append((time.perf_counter() - began) * 1000)
        figures[f"{title}_p50_ms"] = statistics.median(times[5:])
    return figures


def open_model(home: str, model: str) -> Any:
    """Return a model and the items of its home."""
    from kg.home import Home
    from kg.snapshot import read_snapshot
    from serving.items import CatalogItems
    from serving.loading import load_scorer

    opened = Home.open(home)
    scorer = load_scorer(opened, model)
    with opened.store(read_only=True) as store:
        snapshot = read_snapshot(store, ontology=opened.ontology_or_none())
    return scorer, CatalogItems(snapshot, opened.image_files())


def measure(options: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """Yield each figure with its name."""
    with tempfile.TemporaryDirectory() as made:
        fits = []
        home, model = options.home, options.model
        for catalogue in (*options.items, *options.made):
            fit_one = fit_made if isinstance(catalogue, str) else fit
            fits.append(fit_one(Path(made), catalogue, options))
            print(json.dumps(fits[-1]), flush=True)
            if options.home is None:
                home, model = str(Path(made) / f"home-{catalogue}"), "experts"
        yield "fits", fits
        if home is None:
            return
        for name, cells in (("complete", options.cells), ("many", options.many * HIDDEN)):
            if cells:
                command = ["benchmarks/experts.py", "--home", home, "--model", model]
                costs, printed = measured([*command, "--only", str(cells)], options.threads)
                yield name, {**costs, **json.loads(printed)}
        command = ["benchmarks/experts.py", "--home", home, "--model", model, "--only", "0"]
        yield "item", json.loads(measured(command, options.threads)[1])


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, nargs="*", default=[1000, 2000, 4000])
    parser.add_argument("--made", nargs="*", default=[], metavar="ITEMS:VALUES")
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--many", type=int, default=0)
    parser.add_argument("--home")
    parser.add_argument("--model", default="experts")
    parser.add_argument("--without-images", action="store_true")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.only is not None:
        found = complete if options.only else alone
        arguments = (options.only,) if options.only else ()
        print(json.dumps(found(options.home, options.model, *arguments)))
        return
    figures: dict[str, Any] = {"threads": options.threads}
    for name, figure in measure(options):
        figures[name] = figure
        print(name, json.dumps(figure), flush=True)
    if options.out is not None:
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
