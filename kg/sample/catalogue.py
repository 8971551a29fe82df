"""Draws the catalogue: products, their offers by two sellers, what is hidden or spoilt, and the query log."""

from __future__ import annotations

import csv
import multiprocessing
import os
import random
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kg.sample.drawing import Job, draw_files
from kg.sample.kinds import BRANDS, COLOURS, KINDS, PATTERNS, SEVERAL, SYNONYMS, Kind
from kg.sample.queries import query_log

HIDDEN, SPOILT = 0.18, 0.02
NO_TITLE, NO_IMAGE = 0.03, 0.05
TWICE = 0.15
CHUNK = 100


@dataclass
class Offer:
    """One row of the catalogue; ``truth`` is what holds of it, ``shown`` what the row says."""

    id: str
    kind: str
    title: str
    seller: str
    truth: dict[str, str]
    shown: dict[str, str] = field(default_factory=dict)
    image: str = ""
    seed: int = 0


def write_sample(
    out: Path, items: int = 1000, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Write items.csv, images/, queries.csv and truth.csv into ``out``: the same bytes for the same items and seed."""
    began = time.monotonic()
    rng = random.Random(seed)
    offers = make_offers(items, rng)
    jobs, changes = [], []
    (out / "images").mkdir(parents=True, exist_ok=True)
    for offer in offers:
        changes += spoil(offer, rng)
        if rng.random() >= NO_IMAGE:
            offer.image = f"images/{offer.id}.jpg"
            looks = (offer.truth[name] for name in ("shape", "colour", "pattern", "material"))
            jobs.append((offer.kind, *looks, offer.seed, str(out / offer.image)))
    draw_all(jobs, progress)  # type: ignore[arg-type]
    columns = sorted({name for offer in offers for name in offer.truth})
    head = ["id", "title", "category", "image", "seller", *columns]
    table = (
        [
            o.id,
            o.title,
            KINDS[o.kind].path,
            o.image,
            o.seller,
            *(o.shown.get(c, "") for c in columns),
        ]
        for o in offers
    )
    write_csv(out / "items.csv", head, table)
    write_csv(out / "truth.csv", ["item", "property", "value", "kind"], changes)
    log = query_log([(offer.id, offer.kind, offer.truth) for offer in offers], rng)
    write_csv(out / "queries.csv", ["query", "item", "impressions", "clicks", "purchases"], log)
    seconds = round(time.monotonic() - began, 2)
    return {"items": len(offers), "images": len(jobs), "queries": len(log), "seconds": seconds}


def make_offers(items: int, rng: random.Random) -> list[Offer]:
    """``items`` offers; a share of the products is offered by two sellers."""
    offers: list[Offer] = []
    while len(offers) < items:
        kind = rng.choice(list(KINDS))
        truth = make_product(KINDS[kind], rng)
        sellers = rng.sample(
            ("Harbour Goods", "Northgate", "Tilia", "Marché"), 2 if rng.random() < TWICE else 1
        )
        for seller in sellers[: items - len(offers)]:
            title = "" if rng.random() < NO_TITLE else make_title(KINDS[kind], truth, rng)
            offers.append(
                Offer(
                    f"P{len(offers):06d}",
                    kind,
                    title,
                    seller,
                    truth,
                    dict(truth),
                    seed=rng.getrandbits(32),
                )
            )
    return offers


def make_product(kind: Kind, rng: random.Random) -> dict[str, str]:
    """A product's true properties."""
    # Materials keep company with shapes and colours, so that one tells something of another.
    shape = rng.randrange(len(kind.shapes))
    material = kind.materials[shape] if rng.random() < 0.5 else rng.choice(kind.materials)
    truth = {
        "shape": kind.shapes[shape],
        "material": material,
        "pattern": rng.choices(PATTERNS, (5, 3, 2, 2))[0],
    }
    truth["colour"] = (
        rng.choice(("brown", "grey", "black"))
        if material in ("wood", "steel") and rng.random() < 0.6
        else rng.choice(list(COLOURS))
    )
    truth["brand"] = rng.choice(BRANDS)
    for name, (low, high, unit) in kind.measures.items():
        step = max(1, (high - low) // 12)
        truth[name] = f"{rng.randrange(low, high + 1, step)} {unit}".strip()
    for name, values in kind.choices.items():
        truth[name] = rng.choice(values)
    for name in kind.several:
        truth[name] = "|".join(sorted(rng.sample(SEVERAL[name], rng.choice((1, 1, 2)))))
    return truth


def make_title(kind: Kind, truth: dict[str, str], rng: random.Random) -> str:
    """A title in one of several wordings; each says some properties and leaves others out."""

    def say(name: str, probability: float) -> str:
        """The value of a property, perhaps in other words, or nothing."""
        value = truth.get(name, "") if rng.random() < probability else ""
        return SYNONYMS.get(value, value) if rng.random() < 0.3 else value

    noun, colour, material = rng.choice(kind.nouns), say("colour", 0.7), say("material", 0.55)
    pattern = say("pattern", 0.6 if truth["pattern"] != "plain" else 0.0)
    shape, brand, audience = say("shape", 0.5), say("brand", 0.8), say("audience", 0.6)
    audience = f"for {audience}" if audience else ""
    measure = next((truth[name] for name in kind.measures if rng.random() < 0.4), "")
    wordings = (
        (brand, colour, pattern, material, shape, noun, audience, measure),
        (brand, noun, shape, "in" if colour else "", colour, pattern, audience, measure),
        (
            colour,
            pattern,
            noun,
            f"made of {material}" if material else "",
            f"by {brand}" if brand else "",
            measure,
        ),
        (noun.capitalize(), "-", brand, material, shape, colour, audience),
    )
    return " ".join(part for part in rng.choice(wordings) if part).strip(" -")


def spoil(offer: Offer, rng: random.Random) -> list[list[str]]:
    """Hide and falsify some of what the row says; the truth of it as rows item, property, value, kind."""
    rows: list[list[str]] = []
    others = {
        "colour": list(COLOURS),
        "pattern": list(PATTERNS),
        "material": list(KINDS[offer.kind].materials),
    }
    for name, value in offer.truth.items():
        luck = rng.random()
        if luck < HIDDEN:
            del offer.shown[name]
            rows += [[offer.id, name, part, "hidden"] for part in value.split("|")]
        elif luck < HIDDEN + SPOILT and name in others:
            offer.shown[name] = rng.choice([other for other in others[name] if other != value])
            rows.append([offer.id, name, value, "spoilt"])
    return rows


def draw_all(jobs: Sequence[Job], progress: Callable[[int, int], None] | None) -> None:
    """Draw every image, in processes where there are many."""
    chunks = [list(jobs[start : start + CHUNK]) for start in range(0, len(jobs), CHUNK)]
    if len(chunks) < 4:
        for chunk in chunks:
            draw_files(chunk)
        return
    done = 0
    with ProcessPoolExecutor(
        os.cpu_count(), mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        for count in pool.map(draw_files, chunks):
            done += count
            if progress is not None:
                progress(done, len(jobs))


def write_csv(path: Path, head: list[str], rows: Iterable[Sequence[object]]) -> None:
    """A CSV file with a header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)
