"""Share groups of items out to the train, validation and test splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kg.item_groups import ItemGroup
from kg.splits import DEFAULT_SHARES, SPLITS, Shares, split_of


@dataclass(frozen=True)
class SplitPart:
    """One split: its items and groups, the share of the items that it has and should have."""

    items: int
    groups: int
    share: float
    asked: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "items": self.items,
            "groups": self.groups,
            "share": round(self.share, 4),
            "asked": self.asked,
        }


@dataclass(frozen=True)
class PlacedGroup:
    """A group of items, and the split that it is in."""

    group: ItemGroup
    split: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"name": self.group.name, "items": len(self.group), "split": self.split}


@dataclass(frozen=True)
class GroupSplit:
    """The split of every group, and what came of it.

    Attributes:
        placed: all groups
        parts: each split, by its name
        too_large: groups that have more items than their split should have in all
    """

    placed: tuple[PlacedGroup, ...]
    parts: dict[str, SplitPart]
    too_large: tuple[PlacedGroup, ...]

    @property
    def splits(self) -> dict[str, str]:
        """The split of each item."""
        return {item: each.split for each in self.placed for item in each.group.items}

    @property
    def largest(self) -> PlacedGroup:
        """The group of the most items."""
        return max(self.placed, key=lambda each: len(each.group))

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, without the items."""
        return {
            "items": sum(part.items for part in self.parts.values()),
            "groups": len(self.placed),
            "largest": self.largest.as_dict(),
            "parts": {name: part.as_dict() for name, part in self.parts.items()},
            "too_large": [each.as_dict() for each in self.too_large],
        }


def split_groups(
    groups: Sequence[ItemGroup], shares: Shares = DEFAULT_SHARES, seed: int = 0
) -> GroupSplit:
    """Share groups out by a hash of their names: all items of one are in one split.

    As long as a group keeps its name, it keeps its split, whatever else comes or goes. So the
    shares are met on average only, and the worse the fewer and the larger the groups are.
    """
    placed = tuple(PlacedGroup(group, split_of(group.name, shares, seed)) for group in groups)
    total = sum(map(len, groups))
    parts = {}
    for name in SPLITS:
        sizes = [len(each.group) for each in placed if each.split == name]
        parts[name] = SplitPart(sum(sizes), len(sizes), sum(sizes) / total, shares.of(name))
    too_large = tuple(
        each
        for each in placed
        if len(each.group) > 1 and len(each.group) > shares.of(each.split) * total
    )
    return GroupSplit(placed, parts, too_large)
