"""Labelled pairs of offers: which are of the same product, and which are not.

Half of the pairs of different products are hard: of one category and one brand.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import combinations

from kg.sample.kinds import KINDS
from kg.sample.offers import Offer

_OTHERS_PER_PAIR = 3
_MAX_DRAWS = 50  # for each pair that is wanted: a small catalogue may not have as many

_Pair = tuple[int, int]
"""The places of two offers, the earlier one first."""


def labelled_pairs(offers: Sequence[Offer], seed: int) -> list[tuple[str, str, int]]:
    """Return rows (left, right, label), in the order of the offers.

    Label 1 has every pair of offers of one product, and label 0 three times as many others, or as
    many as a very small catalogue has.
    """
    # A generator of its own: what else the sample draws stays as it is.
    rng = random.Random(f"pairs {seed}")
    # Two sellers' offers of one product share the dictionary of its true values.
    products = _grouped(offers, lambda offer: id(offer.truth))
    same = {pair for places in products for pair in combinations(places, 2)}
    wanted = _OTHERS_PER_PAIR * len(same)
    alike = _grouped(offers, lambda offer: (KINDS[offer.kind].category, offer.truth["brand"]))
    others = _drawn(alike, same, wanted // 2, rng)
    others |= _drawn([range(len(offers))], same | others, wanted - len(others), rng)
    rows = [(*pair, 1) for pair in same] + [(*pair, 0) for pair in others]
    return [(offers[left].id, offers[right].id, label) for left, right, label in sorted(rows)]


def _grouped(offers: Iterable[Offer], key: Callable[[Offer], Hashable]) -> list[Sequence[int]]:
    """Return the places of the offers of each group that has two at least."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for place, offer in enumerate(offers):
        groups[key(offer)].append(place)
    return [places for places in groups.values() if len(places) > 1]


def _drawn(
    groups: Sequence[Sequence[int]], but: set[_Pair], count: int, rng: random.Random
) -> set[_Pair]:
    """Draw ``count`` different pairs within groups, none of which is in ``but``."""
    drawn: set[_Pair] = set()
    if not groups:
        return drawn
    # All pairs shall be equally likely, and a large group has more of them.
    weights = [len(places) * (len(places) - 1) for places in groups]
    for _ in range(count * _MAX_DRAWS):
        if len(drawn) == count:
            break
        left, right = sorted(rng.sample(rng.choices(groups, weights)[0], 2))
        if (left, right) not in but:
            drawn.add((left, right))
    return drawn
