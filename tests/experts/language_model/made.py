"""A made-up catalogue of lamps, and the cells that a language model is asked for."""

from __future__ import annotations

from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.ontology import Ontology, PropertySpec

COLOURS = ("red", "green", "blue")
KINDS = ("lamp", "lantern")
ONTOLOGY = Ontology(
    [
        PropertySpec("colour", values=COLOURS, counts=(9, 8, 7)),
        PropertySpec("kind", values=KINDS, counts=(9, 8)),
        PropertySpec(
            "height", datatype="quantity", unit="cm", values=("30 cm", "45 cm"), counts=(3, 2)
        ),
        PropertySpec("dimmable", datatype="boolean", values=("ja", "nein"), counts=(3, 2)),
    ]
)


def lamps(count: int) -> list[ItemInput]:
    """Return items that differ in their titles and colours."""
    return [
        ItemInput(f"I{number}", title=f"{COLOURS[number % 3].title()} lamp no. {number}")
        for number in range(count)
    ]


def cells_of(items: list[ItemInput], *properties: str) -> list[CellQuery]:
    """Return a cell for each item and property, which knows the item's statements."""
    names = properties or ("colour",)
    return [
        CellQuery(index, name, item.known) for index, item in enumerate(items) for name in names
    ]
