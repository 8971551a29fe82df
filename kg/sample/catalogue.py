"""Write a synthetic catalogue: the table, the images, the query log, the pairs, the true values."""

from __future__ import annotations

import csv
import multiprocessing
import os
import random
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple
from pathlib import Path
from typing import Any

from kg.sample.images import ImageJob, Look, draw_files
from kg.sample.kinds import KINDS
from kg.sample.offers import Offer, TrueValue, corrupt, make_offers
from kg.sample.pairs import labelled_pairs
from kg.sample.queries import query_log
from schema.progress import ProgressCallback, no_progress

_NO_IMAGE = 0.05
_JOBS_PER_CHUNK = 100
_MIN_CHUNKS_FOR_PROCESSES = 4  # with fewer, starting processes takes longer than drawing


def write_sample(
    out: Path, items: int = 1000, seed: int = 0, progress: ProgressCallback = no_progress
) -> dict[str, Any]:
    """Write items.csv, images/, queries.csv, pairs.csv and truth.csv into ``out``.

    The files are the same to the byte for the same number of items and the same seed.
    """
    started = time.monotonic()
    rng = random.Random(seed)
    offers = make_offers(items, rng)
    jobs: list[ImageJob] = []
    true_values: list[TrueValue] = []
    (out / "images").mkdir(parents=True, exist_ok=True)
    for offer in offers:
        true_values += corrupt(offer, rng)
        if rng.random() >= _NO_IMAGE:
            offer.image = f"images/{offer.id}.jpg"
            jobs.append(ImageJob(_look_of(offer), out / offer.image))
    draw_all(jobs, progress)

    columns = sorted({name for offer in offers for name in offer.truth})
    header = ["id", "title", "category", "image", "seller", *columns]
    write_csv(out / "items.csv", header, (_table_row(offer, columns) for offer in offers))
    header = ["item", "property", "value", "kind"]
    write_csv(out / "truth.csv", header, map(astuple, true_values))
    log = query_log(offers, rng)
    header = ["query", "item", "impressions", "clicks", "purchases"]
    write_csv(out / "queries.csv", header, log)
    pairs = labelled_pairs(offers, seed)
    write_csv(out / "pairs.csv", ["left", "right", "label"], pairs)
    return {
        "items": len(offers),
        "images": len(jobs),
        "queries": len(log),
        "pairs": len(pairs),
        "seconds": round(time.monotonic() - started, 2),
    }


def _look_of(offer: Offer) -> Look:
    truth = offer.truth
    return Look(
        offer.kind,
        truth["shape"],
        truth["colour"],
        truth["pattern"],
        truth["material"],
        offer.seed,
    )


def _table_row(offer: Offer, columns: Sequence[str]) -> list[str]:
    category = KINDS[offer.kind].category
    values = (offer.values.get(column, "") for column in columns)
    return [offer.id, offer.title, category, offer.image, offer.seller, *values]


def draw_all(jobs: Sequence[ImageJob], progress: ProgressCallback) -> None:
    """Draw every image, in several processes if there are many."""
    chunks = [
        jobs[start : start + _JOBS_PER_CHUNK] for start in range(0, len(jobs), _JOBS_PER_CHUNK)
    ]
    if len(chunks) < _MIN_CHUNKS_FOR_PROCESSES:
        for chunk in chunks:
            draw_files(chunk)
        return
    done = 0
    # Not forked: a fork would inherit the locks that other threads hold.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        for count in pool.map(draw_files, chunks):
            done += count
            progress(done, len(jobs))


def write_csv(path: Path, header: list[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
