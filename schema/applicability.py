"""To which categories a property applies, by shares of items that are few or many.

A category of few items says little by itself, so that its share is drawn towards that of its parent
(and a first level's towards that of all items): as if the parent had added ``PARENT_WEIGHT`` items
of its own. What a model's ontology knows counts as much beside what a home knows. With five items a
category that has a property of its own is believed, and with a single one it is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schema.ontology import Ontology

PARENT_WEIGHT = 5.0
"""Items of a category from which on its own share counts as much as that of its parent."""
ALL_ITEMS_WEIGHT = 2.0
"""The same of a first level beside the share of all items, which are less alike."""

_ROUNDING = 1e-9


def drawn_share(of_all: float, own: Iterable[tuple[int, float]]) -> float:
    """Return the share of the last of nested categories, the broadest first.

    ``own`` are the number of items of each category and the share of these that have the property,
    ``of_all`` is the share of all items.
    """
    share = of_all
    weight = ALL_ITEMS_WEIGHT
    for items, own_share in own:
        share = (items * own_share + weight * share) / (items + weight)
        weight = PARENT_WEIGHT
    return share


def shares_digest(shares: Mapping[str, float]) -> str:
    """Return a short hash of shares by category, by which edited ones are told."""
    text = "\n".join(f"{category}={float(shares[category])!r}" for category in sorted(shares))
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


class Applicability:
    """Whether a property applies to a category, by a home's ontology and by a model's.

    The more items of the category the home knows something of, the less counts the model, whose
    ontology may be None. Shares that a person has edited in the home hold as they are.
    """

    def __init__(self, home: Ontology, model: Ontology | None = None) -> None:
        self.home = home
        self.model = model
        self._items: dict[str | None, int] = {}

    def share(self, property: str, category: str | None) -> float:
        """Return the share of the category's items that should have the property.

        It is 0 for a property that neither ontology has.
        """
        spec = self.home.properties.get(property)
        own = self.home.share(property, category) if spec is not None else 0.0
        if self.model is None or property not in self.model.properties:
            return own
        is_decided = spec is not None and not spec.has_inferred_shares
        if (is_decided and self.home.knows(category)) or not self.model.knows(category):
            return own
        items = self._described_items(category)
        by_model = self.model.share(property, category)
        return (items * own + PARENT_WEIGHT * by_model) / (items + PARENT_WEIGHT)

    def applies(self, property: str, category: str | None) -> bool:
        """Return whether the share reaches the home's threshold."""
        threshold = self.home.threshold
        if property in self.home.properties:
            own = self.home.share(property, category)
            items = self._described_items(category)
            # Mostly the home's share decides, whatever the model says: from 0 to 1.
            least = items * own / (items + PARENT_WEIGHT)
            most = least + PARENT_WEIGHT / (items + PARENT_WEIGHT)
            if own < threshold and most < threshold - _ROUNDING:
                return False
            if own >= threshold and least > threshold + _ROUNDING:
                return True
        return self.share(property, category) >= threshold

    def _described_items(self, category: str | None) -> int:
        items = self._items.get(category)
        if items is None:
            items = self._items[category] = self.home.described_items(category)
        return items
