"""Values that are never offered: what a person has taken out of the ontology, or rejected."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from schema.arrays import BoolArray
from schema.ontology import PropertySpec


@dataclass(frozen=True)
class Withheld:
    """Values that are never offered.

    Attributes:
        of_property: by property
        of_cell: by an item's id and a property
    """

    of_property: Mapping[str, Collection[str]] = field(default_factory=dict)
    of_cell: Mapping[tuple[str, str], Collection[str]] = field(default_factory=dict)

    def offered(self, item: str, spec: PropertySpec, unknown: Sequence[str] = ()) -> BoolArray:
        """Return which of a property's values and ``unknown`` ones [V + K] an item is offered."""
        withheld = (*self.of_property.get(spec.name, ()), *self.of_cell.get((item, spec.name), ()))
        offered = np.ones(len(spec.values), bool)
        for text in withheld:
            position = spec.position(text)
            if position is not None:
                offered[position] = False
        keys = {spec.key(text) for text in withheld}
        return np.append(offered, [spec.key(text) not in keys for text in unknown]).astype(bool)


NOTHING_WITHHELD = Withheld()
