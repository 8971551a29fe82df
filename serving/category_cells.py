"""Fall back on a parent category where no path is proven.

Each level of the tree has thresholds of its own (:mod:`serving.category_calibration`). The deepest
level at which the most probable node is proven is what an item is filled with: ``Shoes`` where
``Shoes > Boots`` is not sure enough.

Shapes: V paths, U nodes of a level.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from experts.category_tree import CategoryTree, TreeLevel, level_name
from schema.arrays import FloatArray
from schema.frequencies import value_frequencies
from schema.ontology import PropertySpec
from schema.terms import path_prefixes
from serving.calibration import Calibration
from serving.deciding import CellLimits, decide


@dataclass(frozen=True)
class ProvenParent:
    """A node above the paths that is filled: ``place`` among the nodes of its ``level``.

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
class ParentCategories:
    """The nodes above the paths of ``spec``, whose values are category paths."""

    spec: PropertySpec
    calibration: Calibration

    @cached_property
    def tree(self) -> CategoryTree:
        """The tree of the paths."""
        return CategoryTree(self.spec.values)

    def proven(
        self,
        situation: str,
        probabilities: FloatArray,
        limits: CellLimits,
        withheld: Collection[str] = (),
    ) -> ProvenParent | None:
        """Return the deepest node that is filled, given the probabilities [V] of the paths.

        None if none is. Nodes that are ``withheld``, or below such a node, are not.
        """
        levels = list(enumerate(self.tree.parents, 1))
        for number, level in reversed(levels):
            name = level_name(number)
            threshold = self.calibration.threshold(situation, name, limits.target_precision)
            if threshold is None:
                continue
            sums = level.sums(probabilities)
            best = int(sums.argmax())
            probability = float(sums[best])
            if is_withheld(level.nodes[best], withheld):
                continue
            priors = level.sums(value_frequencies(self.spec))
            if decide(sums, priors, threshold, probability) == "fill":
                proven = self.calibration.proven_precision(situation, name, probability)
                return ProvenParent(level, best, probability, proven)
        return None


def is_withheld(category: str, withheld: Collection[str]) -> bool:
    """Return whether a category, or one that it is below, is among those withheld."""
    return bool(withheld) and any(each in withheld for each in path_prefixes(category))
