"""Values, properties and items as numbers: the entities and relations of PyKEEN.

Shapes: N statements, P properties, V values of all properties together, I items.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fusion.inference.featurizer import ItemInput, PropertyValue
from schema.arrays import IntArray
from schema.ontology import Ontology


@dataclass(frozen=True)
class ValueNumbers:
    """Numbers of P properties, and of V pairs of a property and a value.

    The same text under two properties is two values. A property with a single value has nothing to
    learn, and no number. Property p has the values from ``starts[p]`` to ``starts[p + 1] - 1``.
    """

    properties: tuple[str, ...]
    starts: tuple[int, ...]
    value_of: dict[PropertyValue, int]

    @classmethod
    def of(cls, ontology: Ontology) -> ValueNumbers:
        """Number the learned properties that have two or more values, and these values."""
        properties = [name for name in ontology.learned() if len(ontology.values_of(name)) > 1]
        pairs = [(name, value) for name in properties for value in ontology.values_of(name)]
        counts = [len(ontology.values_of(name)) for name in properties]
        starts = [0, *np.cumsum(counts, dtype=int).tolist()]
        return cls(
            tuple(properties), tuple(starts), {pair: number for number, pair in enumerate(pairs)}
        )

    @property
    def count(self) -> int:
        """The number of values V."""
        return self.starts[-1]

    def property_of(self, value: int) -> int:
        """Return the property of a value."""
        return int(np.searchsorted(self.starts, value, side="right")) - 1

    def values_known(self, known: Iterable[PropertyValue]) -> tuple[int, ...]:
        """Return the numbers of an item's statements in order; what has no number is left out."""
        return tuple(sorted({self.value_of[pair] for pair in known if pair in self.value_of}))


def item_triples(numbers: ValueNumbers, items: Sequence[ItemInput]) -> IntArray:
    """Return the items' statements as triples [N, 3] int64 of item, property and value.

    Values are the first V entities, and the I items follow in their order.
    """
    triples = [
        (numbers.count + index, numbers.property_of(value), value)
        for index, item in enumerate(items)
        for value in numbers.values_known(item.known)
    ]
    return np.array(triples, dtype=np.int64).reshape(-1, 3)
