"""What a catalogue beyond any that was measured would take, by the figures of ``scale.py``.

    python -m benchmarks.scale_plan [--statements 100000000 10000000000] [--figures FILE]

The seconds of processors and the bytes of an item are those of the largest catalogue in which a
stage was measured, without what the smallest one takes, and are multiplied: nothing here was run.
What is only done for a sample, whatever the catalogue's size, is counted once. Prices and machines
are assumptions, which ``Assumed`` has.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scale import FIGURES
from benchmarks.scale_figures import Figures, Point, cpu_seconds, net_of_start, points_of

STATEMENTS = (100_000_000, 10_000_000_000)
ONCE = ("train experts", "finetune align")
"""Stages that learn from a sample of bounded size."""
BY_ITEM = (
    *("ingest", "ingest, unchanged", "schema infer", "validate", "verify", "export parquet"),
    *("snapshot", "index", "complete", "audit", "align", "rebuild"),
)
HOURS = 3600.0


@dataclass(frozen=True)
class Assumed:
    """What machines are and cost.

    Attributes:
        vcpus: processors of a node
        busy: the share of their time in which they work
        vcpu_hour: the price of a processor, its share of the memory included, in US dollars an hour
        disk_month: the price of a gigabyte of local disk, in US dollars a month
        shard_items: items of a shard, which is a journal and a graph of its own
    """

    vcpus: int = 16
    busy: float = 0.7
    vcpu_hour: float = 0.05
    disk_month: float = 0.08
    shard_items: int = 1_000_000


@dataclass(frozen=True)
class Planned:
    """A stage of a catalogue of so many items: hours of processors, of one node, and the price."""

    stage: str
    cpu_hours: float
    node_hours: float
    dollars: float


def cost_of_item(points: Sequence[Point]) -> float | None:
    """Return the cost of an item in the largest catalogue, without that of the start.

    None if that was not measured, or cannot be told from the start.
    """
    largest = next(iter(net_of_start(points)[-1:]), None)
    if largest is None or points[-1].cost <= min(point.cost for point in points[:-1]):
        return None
    return largest.cost / largest.items


def planned(figures: Figures, stage: str, items: int, assumed: Assumed) -> Planned | None:
    """Return what a stage takes; None if it was not measured at two sizes."""
    points = points_of(figures, stage, cpu_seconds)
    if stage in ONCE:
        seconds = points[-1].cost if points else None
    else:
        of_item = cost_of_item(points)
        seconds = None if of_item is None else of_item * items
    if seconds is None:
        return None
    hours = seconds / HOURS
    node_hours = hours / (assumed.vcpus * assumed.busy)
    return Planned(stage, hours, node_hours, node_hours * assumed.vcpus * assumed.vcpu_hour)


def statements_of_item(figures: Figures) -> float:
    """Return how many statements an item of the largest catalogue has."""
    items = max(size for size in figures.sizes if figures.is_done(size, "ingest"))
    return float(figures.of(items, "ingest").said["statements"]) / items


def shards_of(items: int, assumed: Assumed) -> int:
    """Return how many shards hold so many items."""
    return math.ceil(items / assumed.shard_items)


def gigabytes(figures: Figures, stage: str, items: int) -> float | None:
    """Return by how much a stage's files grow; None if it was not measured at two sizes."""
    of_item = cost_of_item(points_of(figures, stage, lambda figure: figure.disk_mb))
    return None if of_item is None else of_item * items / 1000


def markdown(figures: Figures, statements: Sequence[int], assumed: Assumed) -> str:
    """Return the plan as tables: time and price by stage, and what lies on the disk."""
    sizes = [round(count / statements_of_item(figures)) for count in statements]
    shards = [shards_of(items, assumed) for items in sizes]
    head = [
        f"{count:,} statements: {items:,} items, {number:,} shards"
        for count, items, number in zip(statements, sizes, shards, strict=True)
    ]
    lines = [f"| stage | {' | '.join(head)} |", "|---|" + "---|" * len(head)]
    for stage in (*BY_ITEM, *ONCE):
        found = [planned(figures, stage, items, assumed) for items in sizes]
        cells = [
            "not measured"
            if each is None
            else f"{each.cpu_hours:,.2f} CPU h, {each.node_hours:,.2f} node h, "
            f"{each.dollars:,.2f} $"
            for each in found
        ]
        lines.append(f"| {stage} | {' | '.join(cells)} |")
    for stage, told in (("ingest", "disk, home"), ("index", "disk, search")):
        sums = [gigabytes(figures, stage, items) for items in sizes]
        cells = [
            "not measured"
            if each is None
            else f"{each:,.0f} GB, {each * assumed.disk_month:,.0f} $ a month"
            for each in sums
        ]
        lines.append(f"| {told} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the plan."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--statements", type=int, nargs="+", default=STATEMENTS)
    parser.add_argument("--figures", type=Path, default=FIGURES)
    arguments = parser.parse_args()
    print(markdown(Figures.open(arguments.figures), arguments.statements, Assumed()))


if __name__ == "__main__":
    main()
