"""Two made catalogues that sell some of the same products under other titles."""

from __future__ import annotations

import numpy as np

from serving.alignment.records import Record, Records, Side

BRANDS = ("nordal", "velmora", "tassin", "okari", "brenta")
KINDS = ("toaster", "kettle", "blender", "grill", "lamp", "heater")


def made_records(count: int = 60, seed: int = 0) -> tuple[list[Record], list[Record]]:
    """Return a left and a right catalogue; those at the same place are the same product."""
    rng = np.random.default_rng(seed)
    left = []
    right = []
    for number in range(count):
        brand = BRANDS[rng.integers(len(BRANDS))]
        kind = KINDS[rng.integers(len(KINDS))]
        code = f"{brand[:2]}{rng.integers(100, 1000)}{'xyz'[rng.integers(3)]}"
        price = float(rng.integers(20, 300))
        left.append(
            Record(
                f"L{number}",
                f"{brand} {kind} {code}",
                f"a {kind} of {brand}",
                values={"price": (f"{price:.2f}",), "brand": (brand,)},
            )
        )
        right.append(
            Record(
                f"R{number}",
                f"{kind} by {brand.upper()}, model {code[:2]}-{code[2:]}",
                values={"price": (f"{price * rng.uniform(0.9, 1.1):.2f}",)},
            )
        )
    return left, right


def joined(left: list[Record], right: list[Record]) -> Records:
    """Return both catalogues as two sides."""
    sides = (Side.LEFT,) * len(left) + (Side.RIGHT,) * len(right)
    return Records((*left, *right), sides)
