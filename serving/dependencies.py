"""Which values go together: what is filled must not contradict it.

A dependency says that items with one value have, as good as always, a certain value of another
property: shirts are topwear. A model scores the cells of an item one by one, so two of its answers
may contradict each other, or what is known of the item. Of such answers only the most probable one
is filled; the others are for a person to decide.

Shapes: I items, N statements.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from fusion.inference.featurizer import PropertyValue
from kg.snapshot import GraphSnapshot
from schema.arrays import IntArray
from serving.results import Completion

MIN_SUPPORT = 50
"""Items with both values that a dependency takes at least."""
MIN_SHARE = 0.99
"""The least share of the items with one value that have the other."""


class Dependencies:
    """The dependencies between the values of a catalogue.

    ``implied`` has, by a property and its value, the values of other properties that go with it.
    """

    def __init__(self, implied: dict[PropertyValue, dict[str, str]]) -> None:
        self.implied = implied

    @classmethod
    def find(cls, snapshot: GraphSnapshot, properties: Iterable[str]) -> Dependencies:
        """Find the dependencies of a catalogue's statements about some properties."""
        names = set(properties)
        wanted = np.array([name in names for name in snapshot.properties], bool)
        triples = snapshot.triples[wanted[snapshot.triples[:, 1]]]
        implied: dict[PropertyValue, dict[str, str]] = {}
        for number in np.flatnonzero(wanted).tolist():
            value_of_item = _single_values(triples, number, len(snapshot.items))
            for cause, value in _determining(triples, number, value_of_item):
                statement = snapshot.properties[cause[0]], snapshot.values[cause[1]]
                own = implied.setdefault(statement, {})
                own[snapshot.properties[number]] = snapshot.values[value]
        return cls(implied)

    def contradiction(
        self, statement: PropertyValue, others: Iterable[PropertyValue]
    ) -> PropertyValue | None:
        """Return the first of some statements that does not go with another one; None if all do."""
        property, value = statement
        implied = self.implied.get(statement, {})
        for other in others:
            if other[0] == property:
                continue
            expected = self.implied.get(other, {}).get(property, value)
            if expected != value or implied.get(other[0], other[1]) != other[1]:
                return other
        return None

    def without_contradictions(
        self, known: Sequence[PropertyValue], completions: Sequence[Completion]
    ) -> list[Completion]:
        """Return the completions of one item, with those for review that contradict others.

        ``known`` are the item's statements.
        """
        stated = list(known)
        found = list(completions)
        filled = [place for place, each in enumerate(found) if each.filled_values()]
        filled.sort(key=lambda place: -found[place].filled_values()[0].probability)
        for place in filled:
            completion = found[place]
            statements = [(completion.property, each.value) for each in completion.filled_values()]
            others = [self.contradiction(each, stated) for each in statements]
            other = next((each for each in others if each is not None), None)
            if other is None:
                stated += statements
            else:
                found[place] = replace(completion, decision="review", contradicts=other)
        return found


def without_contradictions(
    completions: Iterable[Completion], snapshot: GraphSnapshot, dependencies: Dependencies
) -> Iterator[Completion]:
    """Yield completions, of which those of an item follow each other, without contradictions."""
    index = {item: place for place, item in enumerate(snapshot.items)}
    for item, own in itertools.groupby(completions, lambda each: each.item):
        known = snapshot.statements_of(index[item])
        yield from dependencies.without_contradictions(known, list(own))


def _single_values(triples: IntArray, property: int, items: int) -> IntArray:
    """Return each item's value of a property [I], -1 for items without one or with several."""
    own = triples[triples[:, 1] == property]
    value = np.full(items, -1, np.int64)
    value[own[:, 0]] = own[:, 2]
    value[np.bincount(own[:, 0], minlength=items) > 1] = -1
    return value


def _determining(
    triples: IntArray, property: int, value_of_item: IntArray
) -> list[tuple[tuple[int, int], int]]:
    """Return which values of other properties (property, value) determine that of this one."""
    value = value_of_item[triples[:, 0]]
    rows = triples[(triples[:, 1] != property) & (value >= 0)]
    pairs, counts = np.unique(
        np.column_stack([rows[:, 1:], value_of_item[rows[:, 0]]]), axis=0, return_counts=True
    )
    causes, of_pair = np.unique(pairs[:, :2], axis=0, return_inverse=True)
    totals = np.bincount(of_pair.ravel(), counts, minlength=len(causes))[of_pair.ravel()]
    holds = (totals >= MIN_SUPPORT) & (counts >= MIN_SHARE * totals)
    return [((int(a), int(b)), int(c)) for a, b, c in pairs[holds]]
