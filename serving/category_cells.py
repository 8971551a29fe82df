"""Fill an item's category, or a parent of it where the category is not proven.

What an item is filled with is the deepest node of the tree that passes two thresholds: the one of
all levels together, and that of its own level (:mod:`serving.category_calibration`): ``Shoes``
where ``Shoes > Boots`` is not sure enough.

Shapes: V paths, U nodes of a level.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from experts.category_tree import ANY_LEVEL, CategoryTree, TreeLevel, level_name
from schema.arrays import FloatArray
from schema.frequencies import value_frequencies
from schema.ontology import PropertySpec
from schema.terms import CATEGORY, path_prefixes
from serving.calibration import Calibration
from serving.deciding import CellLimits, decide


@dataclass(frozen=True)
class ProvenNode:
    """A node that is filled: ``place`` among the nodes of its ``level``.

    ``proven`` is the precision that is proven for it.
    """

    level: TreeLevel
    place: int
    probability: float
    proven: float | None

    @property
    def category(self) -> str:
        """The path of the node."""
        return self.level.nodes[self.place]


@dataclass(frozen=True)
class CategoryFilling:
    """Chooses the category of ``spec``, whose values are paths, that an item is filled with."""

    spec: PropertySpec
    calibration: Calibration

    @cached_property
    def tree(self) -> CategoryTree:
        """The tree of the paths."""
        return CategoryTree(self.spec.values)

    def filled(
        self,
        situation: str,
        probabilities: FloatArray,
        limits: CellLimits,
        withheld: Collection[str] = (),
    ) -> ProvenNode | None:
        """Return the node that an item is filled with, given the probabilities [V] of the paths.

        None if none is proven. Nodes that are ``withheld``, or below such a node, are passed over,
        and their probability is nobody's: a parent does not get it either.
        """
        target = limits.target_precision
        together = self.calibration.threshold(situation, ANY_LEVEL, target)
        if together is None:
            return None
        if withheld:
            kept = [not is_withheld(path, withheld) for path in self.spec.values]
            probabilities = np.where(kept, probabilities, 0)
        levels = list(enumerate(self.tree.levels, 1))
        for number, level in reversed(levels):
            sums = level.sums(probabilities)
            place = int(sums.argmax())
            probability = float(sums[place])
            name = CATEGORY if number == len(levels) else level_name(number)
            own = self.calibration.threshold(situation, name, target)
            # Of the broadest level there is no parent that could take the place of a node.
            threshold = together if number == 1 else own
            if threshold is None or is_withheld(level.nodes[place], withheld):
                continue
            priors = level.sums(value_frequencies(self.spec))
            if decide(sums, priors, max(threshold, together), probability) == "fill":
                proven = self.calibration.proven_precision(situation, ANY_LEVEL, probability)
                return ProvenNode(level, place, probability, proven)
        return None


def is_withheld(category: str, withheld: Collection[str]) -> bool:
    """Return whether a category, or one that it is below, is among those withheld."""
    return bool(withheld) and any(each in withheld for each in path_prefixes(category))
