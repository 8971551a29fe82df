"""A made-up catalogue in which title, image and statements each tell something."""

from __future__ import annotations

import numpy as np

from experts.image_kernel import DESCRIPTOR_SIZE, describe
from experts.labelled_items import LabelledItems
from fusion.inference.featurizer import ItemInput
from schema.ontology import Ontology, PropertySpec

KINDS = ("mug", "lamp", "chair")
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 60), "blue": (40, 60, 220)}
ROOMS = {"mug": "kitchen", "lamp": "hall", "chair": "office"}
_MADE = Ontology(
    [
        PropertySpec("kind", values=KINDS, counts=(20, 20, 20)),
        PropertySpec("colour", values=tuple(COLOURS), counts=(20, 20, 20)),
        PropertySpec("room", values=tuple(ROOMS.values()), counts=(20, 20, 20)),
        PropertySpec("ean", datatype="identifier", values=(), counts=()),
    ]
)
# As a model folder has it.
ONTOLOGY = Ontology.from_toml(_MADE.to_toml(), "made.toml")
NAMES = ("Alda", "Berg", "Clou", "Dyne")


def made_items(count: int = 60, seed: int = 0) -> list[ItemInput]:
    """Return items; every fifth has no title, and every seventh has no image."""
    rng = np.random.default_rng(seed)
    items = []
    for number in range(count):
        kind = KINDS[number % 3]
        colour = list(COLOURS)[int(rng.integers(3))]
        title = f"{colour.title()} {kind} {NAMES[int(rng.integers(4))]} {number}"
        image = np.full((3, DESCRIPTOR_SIZE, DESCRIPTOR_SIZE), 255, np.uint8)
        image[:, 16:48, 16:48] = np.array(COLOURS[colour], np.uint8)[:, None, None]
        noise = rng.integers(0, 20, image.shape).astype(np.uint8)
        items.append(
            ItemInput(
                id=f"I{number}",
                title=None if number % 5 == 0 else title,
                image=None if number % 7 == 0 else np.maximum(image, noise),
                known=(("kind", kind), ("colour", colour), ("room", ROOMS[kind])),
            )
        )
    return items


def labelled(items: list[ItemInput]) -> LabelledItems:
    """Return items as experts learn from them."""
    pixels = [[each for each in item.images if isinstance(each, np.ndarray)] for item in items]
    return LabelledItems(
        [item.id for item in items],
        [item.title for item in items],
        describe(pixels),
        [item.known for item in items],
    )
