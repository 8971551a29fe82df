"""Choose which of many items are learned from, or compared with, so that no value is forgotten.

Shapes: N items.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from fusion.inference.featurizer import PropertyValue
from schema.arrays import IntArray
from schema.ontology import Ontology


def learnable(
    known: Sequence[Sequence[PropertyValue]], ontology: Ontology
) -> list[list[PropertyValue]]:
    """Return of the statements of N items those that can be learned."""
    names = ontology.learned()
    values = {(name, value) for name in names for value in ontology.values_of(name)}
    return [[statement for statement in each if statement in values] for each in known]


def choose_items(
    known: Sequence[Sequence[PropertyValue]],
    count: int,
    rng: np.random.Generator,
    of_value: int = 1,
) -> IntArray:
    """Choose ``count`` of N items by their ``known`` statements; their numbers are in order.

    One of each value comes first, the rarest values before others. Up to ``of_value`` of each
    follow, as far as half of ``count`` goes. All others are drawn at random, so that most of those
    chosen are like the catalogue. Items without any statement come last.
    """
    order = rng.permutation(len(known)).tolist()
    first: dict[PropertyValue, list[int]] = defaultdict(list)
    counts: dict[PropertyValue, int] = defaultdict(int)
    for place in order:
        for statement in known[place]:
            counts[statement] += 1
            if len(first[statement]) < of_value:
                first[statement].append(place)
    rarest = sorted(counts, key=lambda each: (counts[each], each))
    chosen: dict[int, None] = {}
    for turn in range(of_value):
        for statement in rarest:
            if len(chosen) >= (count // 2 if turn else count):
                break
            chosen.update(dict.fromkeys(first[statement][turn : turn + 1]))
    chosen.update(dict.fromkeys(place for place in order if known[place]))
    chosen.update(dict.fromkeys(order))
    return np.sort(np.array(list(chosen)[:count], np.int64))
