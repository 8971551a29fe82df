"""Commands that prepare and describe data for training: split, card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.base import MAX_SEED, PATH, Command, Context, pass_context, shortened, table
from commands.loading import fingerprints_of, split_option
from schema.settings import shown

if TYPE_CHECKING:
    from kg.item_groups import Links
    from kg.snapshot import GraphSnapshot
    from kg.splitting import GroupSplit

BY_ITEM = "item"
SHOWN_NAME = 60
"""Characters to print of a group's name."""


@click.command(cls=Command)
@click.argument("out", metavar="OUT.csv", type=PATH)
@click.option(
    "--by",
    metavar="item|PROPERTY",
    default=BY_ITEM,
    show_default=True,
    help="Property whose values are not to be in two splits, such as brand; item: each item by "
    "itself.",
)
@click.option(
    "--pairs",
    metavar="FILE",
    type=PATH,
    help="CSV file with the columns left,right[,label]: items that are the same product stay "
    "together.  [default: no file]",
)
@click.option(
    "--twins",
    is_flag=True,
    help="Keep items together whose titles have the same words, or whose images are nearly the "
    "same. All images are read for this, which takes time.",
)
@click.option(
    "--shares",
    metavar="TRAIN/VALIDATION/TEST",
    default="90/5/5",
    show_default=True,
    help="Percentage of the items that each split is to have.",
)
@click.option(
    "--seed",
    metavar="S",
    type=click.IntRange(0, MAX_SEED),
    default=0,
    show_default=True,
    help="Another seed gives another split of the same groups.",
)
@pass_context
def split(
    context: Context, out: Path, by: str, pairs: Path | None, twins: bool, shares: str, seed: int
) -> None:
    """Share the items out to train, validation and test.

    Writes a CSV file with the columns item,split for the option --split of `train` and `evaluate`.
    Items that belong together by --by, --pairs or --twins, or by a chain of these, are in one
    split. A hash of each group's name decides on its split, so that it stays there when the
    catalogue grows; the shares are met on average.

    \b
    Example:
      catalograph split split.csv --twins
      catalograph split split.csv --by brand --shares 80/10/10
    """
    from kg.item_groups import item_groups, links_of_images, links_of_titles, links_of_values
    from kg.splits import Shares, write_split
    from kg.splitting import split_groups

    percentages = Shares.parse(shares)
    home = context.home()
    snapshot = home.snapshot()
    found = _Found()
    property = None if by == BY_ITEM else by
    if property is not None:
        links = links_of_values(snapshot, property)
        found.links.append(links)
        found.without_value = len(snapshot.items) - len(set(links.item.tolist()))
    if pairs is not None:
        _link_pairs(snapshot, pairs, found)
    if twins:
        for kind, links in (
            ("title", links_of_titles(snapshot)),
            ("image", links_of_images(fingerprints_of(home, snapshot))),
        ):
            found.links.append(links)
            found.twins[kind] = links.items
    result = split_groups(item_groups(snapshot, found.links, property), percentages, seed)
    write_split(out, result.splits)
    document = {"split": str(out), **result.as_dict(), **found.as_dict()}
    context.emit(document, *_lines(out, result), *found.lines(by))
    for line in _warnings(result):
        context.note(line)


@dataclass
class _Found:
    """What links items, and what was found on the way, None where it was not looked for."""

    links: list[Links] = field(default_factory=list)
    without_value: int | None = None
    pairs: int | None = None
    other_pairs: int | None = None
    twins: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Return plain data."""
        return {
            "without_value": self.without_value,
            "pairs": self.pairs,
            "pairs_left_out": self.other_pairs,
            "twins": self.twins or None,
        }

    def lines(self, by: str) -> list[str]:
        """Return what is printed of it."""
        lines = []
        if self.without_value:
            lines.append(f"{self.without_value:,} items have no {by}: each is a group by itself")
        if self.pairs is not None:
            lines.append(f"{self.pairs:,} pairs of the same product stay together")
        if self.other_pairs:
            lines.append(f"{self.other_pairs:,} pairs are left out: the catalogue lacks an item")
        for kind, items in self.twins.items():
            lines.append(f"{items:,} items share their {kind} with another one")
        return lines


def _link_pairs(snapshot: GraphSnapshot, path: Path, found: _Found) -> None:
    from kg.item_groups import links_of_pairs
    from serving.alignment.pair_files import read_matching_pairs

    pairs = read_matching_pairs(path)
    links = links_of_pairs(snapshot, pairs)
    found.links.append(links)
    found.pairs = len(links.item) // 2
    found.other_pairs = len(pairs) - found.pairs


def _lines(out: Path, result: GroupSplit) -> list[object]:
    columns = ("split", "items", "share", "asked", "groups")
    rows = [
        (name, f"{part.items:,}", f"{part.share:.1%}", f"{part.asked:.0%}", f"{part.groups:,}")
        for name, part in result.parts.items()
    ]
    largest = result.largest
    lines: list[object] = [f"{out}:", table(columns, rows, right=columns[1:])]
    if len(largest.group) > 1:
        name = shortened(largest.group.name, SHOWN_NAME)
        lines.append(
            f"the largest group, {shown(name)}, has {len(largest.group):,} items, all in "
            f"{largest.split}"
        )
    return lines


def _warnings(result: GroupSplit) -> Sequence[str]:
    lines = []
    for each in result.too_large:
        name = shortened(each.group.name, SHOWN_NAME)
        asked = result.parts[each.split].asked
        lines.append(
            f"the group {shown(name)} of {len(each.group):,} items is larger than all of "
            f"{each.split} should be ({asked:.0%}): try another --seed, or other --shares"
        )
    for split, part in result.parts.items():
        if part.asked and not part.items:
            lines.append(f"{split} has no items: try another --seed, or other --shares")
    return lines


@click.command(cls=Command)
@click.argument("out", metavar="OUT.md", type=PATH)
@click.option(
    "--licence",
    metavar="TEXT",
    help="Licence of the data, as their publisher states it.  [default: not stated]",
)
@split_option
@click.option(
    "--images/--no-images",
    default=True,
    show_default=True,
    help="Whether to look for twins by image, for which all images are read.",
)
@pass_context
def card(
    context: Context, out: Path, licence: str | None, split: Path | None, images: bool
) -> None:
    """Write a data card: what the catalogue holds, and how it is split.

    A page in Markdown with the sources and their digests, how many items have a title, an image and
    so on, the splits with the twins that they have in train, the properties and the categories. The
    same data give the same page.

    \b
    Example:
      catalograph card card.md --split split.csv --licence "CC BY 4.0"
    """
    from kg.data_card import read_card

    home = context.home()
    snapshot = home.snapshot(details=True, predicted_categories=False)
    fingerprints = fingerprints_of(home, snapshot) if images else None
    found = read_card(home, snapshot, licence=licence, split_file=split, fingerprints=fingerprints)
    out.write_text(found.markdown(), encoding="utf-8")
    context.emit(
        {"card": str(out), **found.as_dict()},
        f"{out}: {found.items:,} items, {found.statements:,} statements, SHA-256 {found.digest}",
    )
