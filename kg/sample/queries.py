"""A query log that follows the products: people ask for what a product is, see items that fit in part, and buy those that fit."""

from __future__ import annotations

import random
from collections import defaultdict

from kg.sample.kinds import KINDS, SYNONYMS

ASKED = ("colour", "pattern", "material", "shape", "audience", "brand")
Product = tuple[str, str, dict[str, str]]


def query_log(products: list[Product], rng: random.Random) -> list[list[object]]:
    """Rows (query, item, impressions, clicks, purchases), about one query an item."""
    by_kind: dict[str, list[Product]] = defaultdict(list)
    for product in products:
        by_kind[product[1]].append(product)
    rows: dict[tuple[str, str], list[object]] = {}
    for _, kind, truth in products:
        wanted = {
            name: truth[name]
            for name in rng.sample(ASKED, rng.choice((1, 1, 2, 2, 3)))
            if name in truth
        }
        query = word(kind, wanted, rng)
        for item, _, other in rng.sample(by_kind[kind], min(8, len(by_kind[kind]))) + [
            p for p in by_kind[kind] if p[2] is truth
        ]:
            fit = sum(other.get(name) == value for name, value in wanted.items()) / max(
                1, len(wanted)
            )
            seen = rng.randint(5, 60)
            clicks = sum(rng.random() < 0.02 + 0.25 * fit**2 for _ in range(seen))
            bought = sum(rng.random() < 0.3 * fit**3 for _ in range(clicks)) if fit == 1 else 0
            rows.setdefault((query, item), [query, item, seen, clicks, bought])
    return list(rows.values())


def word(kind: str, wanted: dict[str, str], rng: random.Random) -> str:
    """The query's words: properties in any order, mostly before the noun."""
    parts = [
        SYNONYMS.get(value, value) if rng.random() < 0.2 else value
        for value in wanted.values()
        if value != "plain"
    ]
    rng.shuffle(parts)
    noun = rng.choice(KINDS[kind].nouns)
    return " ".join([noun, *parts] if rng.random() < 0.15 else [*parts, noun]).lower()
