"""The tree of categories that classification knows: its paths, and the nodes above them.

Shapes: V paths, U nodes of a level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from schema.arrays import BoolArray, FloatArray, IntArray
from schema.terms import CATEGORY, CATEGORY_SEPARATOR, path_prefixes


@dataclass(frozen=True)
class TreeLevel:
    """The U nodes of a level; ``node`` [V] is the one that each path is below, or is itself."""

    nodes: tuple[str, ...]
    node: IntArray

    def sums(self, probabilities: FloatArray) -> FloatArray:
        """Return the probabilities [..., U] of the nodes, given those of the paths [..., V].

        A node is as probable as all paths below it together, so no path is more probable than its
        parent.
        """
        order = np.argsort(self.node, kind="stable")
        starts = np.searchsorted(self.node[order], np.arange(len(self.nodes)))
        return np.asarray(np.add.reduceat(probabilities[..., order], starts, axis=-1))


@dataclass(frozen=True)
class CategoryTree:
    """Category ``paths`` [V], any of which may be a parent of others."""

    paths: tuple[str, ...]

    @cached_property
    def levels(self) -> tuple[TreeLevel, ...]:
        """The levels, the broadest first; a path that ends above a level is its own node there."""
        prefixes = [path_prefixes(path) for path in self.paths]
        found = []
        for depth in range(1, max(map(len, prefixes), default=0) + 1):
            nodes: dict[str, int] = {}
            node = [
                nodes.setdefault(each[min(depth, len(each)) - 1], len(nodes)) for each in prefixes
            ]
            found.append(TreeLevel(tuple(nodes), np.array(node, np.int64)))
        return tuple(found)

    @property
    def parents(self) -> tuple[TreeLevel, ...]:
        """The levels above the deepest one, the broadest first."""
        return self.levels[:-1]

    @cached_property
    def _paths_with_level(self) -> dict[str, BoolArray]:
        found: dict[str, BoolArray] = {}
        for number, path in enumerate(self.paths):
            for level in levels_of(path):
                found.setdefault(level, np.zeros(len(self.paths), bool))[number] = True
        return found

    def with_level(self, text: str) -> BoolArray | None:
        """Return which paths [V] have a level of this name; None if no path has."""
        return self._paths_with_level.get(level_key(text))


def level_key(text: str) -> str:
    """Return what two names of a level have in common if they are the same."""
    return " ".join(text.casefold().split())


def levels_of(path: str) -> set[str]:
    """Return the levels of a path, as :func:`level_key` writes them."""
    return set(map(level_key, path.split(CATEGORY_SEPARATOR)))


def level_name(number: int) -> str:
    """Return what a level of the tree is called in calibrations; the broadest is 1."""
    return f"{CATEGORY} level {number}"


ANY_LEVEL = f"{CATEGORY} at any level"
"""What paths and the nodes above them are called together in calibrations."""


def category_text(levels: Sequence[str]) -> str | None:
    """Return the path of some levels; None if there are none."""
    return CATEGORY_SEPARATOR.join(levels) or None
