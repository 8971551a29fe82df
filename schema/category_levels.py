"""What the levels of a category say of a property: often one of them is its value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from schema.ontology import PropertySpec


def levels_that_say(spec: PropertySpec, levels: Sequence[str]) -> list[int]:
    """Return the positions of the values of a property that levels of a category name."""
    positions = dict.fromkeys(spec.position(level) for level in levels)
    return [position for position in positions if position is not None]


def without_values(
    spec: PropertySpec, levels: Sequence[str], values: Iterable[str]
) -> tuple[str, ...]:
    """Return the levels without those that say one of these values of the property.

    Two texts are the same value if the ontology takes them for one, for example by case.
    """
    said = {spec.key(value) for value in values}
    return tuple(level for level in levels if spec.key(level) not in said)
