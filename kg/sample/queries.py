"""A query log that follows from the products.

Queries name properties of a product; items that fit better are clicked more often, and only those
that fit completely are bought.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from kg.sample.kinds import KINDS, SYNONYMS
from kg.sample.offers import Offer

_QUERIED_PROPERTIES = ("colour", "pattern", "material", "shape", "audience", "brand")
_OTHER_ITEMS = 8  # shown for each query, besides those of the product itself


def query_log(offers: Sequence[Offer], rng: random.Random) -> list[list[object]]:
    """Return rows (query, item, impressions, clicks, purchases), about one query per offer."""
    by_kind: dict[str, list[Offer]] = defaultdict(list)
    for offer in offers:
        by_kind[offer.kind].append(offer)
    rows: dict[tuple[str, str], list[object]] = {}
    for offer in offers:
        names = rng.sample(_QUERIED_PROPERTIES, rng.choice((1, 1, 2, 2, 3)))
        wanted = {name: offer.truth[name] for name in names if name in offer.truth}
        query = write_query(offer.kind, wanted, rng)

        same_kind = by_kind[offer.kind]
        others = rng.sample(same_kind, min(_OTHER_ITEMS, len(same_kind)))
        # Two sellers' offers of one product share the dictionary of its true values.
        same_product = [other for other in same_kind if other.truth is offer.truth]
        for other in others + same_product:
            matches = sum(other.truth.get(name) == value for name, value in wanted.items())
            fit = matches / max(1, len(wanted))
            impressions = rng.randint(5, 60)
            clicks = sum(rng.random() < 0.02 + 0.25 * fit**2 for _ in range(impressions))
            purchases = 0
            if fit == 1:
                purchases = sum(rng.random() < 0.3 * fit**3 for _ in range(clicks))
            key = (query, other.id)
            rows.setdefault(key, [query, other.id, impressions, clicks, purchases])
    return list(rows.values())


def write_query(kind: str, wanted: dict[str, str], rng: random.Random) -> str:
    """Write a query: the wanted values in any order, mostly before the noun."""
    words = []
    for value in wanted.values():
        if value != "plain":
            words.append(SYNONYMS.get(value, value) if rng.random() < 0.2 else value)
    rng.shuffle(words)
    noun = rng.choice(KINDS[kind].nouns)
    in_order = [noun, *words] if rng.random() < 0.15 else [*words, noun]
    return " ".join(in_order).lower()
