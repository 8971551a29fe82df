"""The kinds of products in the synthetic catalogue, their properties and values, and synonyms."""

from __future__ import annotations

from dataclasses import dataclass, field

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (196, 40, 44),
    "blue": (40, 84, 176),
    "green": (52, 136, 72),
    "yellow": (232, 196, 52),
    "black": (36, 36, 40),
    "white": (238, 238, 232),
    "orange": (228, 124, 40),
    "purple": (120, 64, 148),
    "pink": (232, 140, 172),
    "brown": (120, 80, 52),
    "grey": (140, 142, 146),
    "teal": (36, 140, 144),
}
PATTERNS = ("plain", "striped", "dotted", "checked")
SYNONYMS = {
    "red": "crimson",
    "blue": "azure",
    "grey": "ash",
    "striped": "stripy",
    "dotted": "polka-dot",
    "checked": "chequered",
}
BRANDS = (
    "Alder & Co",
    "Norvik",
    "Casa Lume",
    "Tamsin",
    "Brightwater",
    "Oakhurst",
    "Velano",
    "Piet Hein",
    "Marlow",
    "Sunda",
)
AUDIENCES = ("women", "men", "kids", "unisex")
MULTIPLE_VALUES = {
    "care": ("machine wash", "hand wash", "do not iron", "tumble dry"),
    "room": ("kitchen", "bedroom", "living room", "office", "hallway"),
}
"""The values of properties of which a product may have several."""


@dataclass(frozen=True)
class Measure:
    """The range of a numeric property, and its unit."""

    low: int
    high: int
    unit: str = ""


@dataclass(frozen=True)
class Kind:
    """A kind of product: its category path, its nouns in titles, and its properties.

    The shape and the material can be seen in the image; the rest cannot.
    """

    category: str
    nouns: tuple[str, ...]
    shapes: tuple[str, ...]
    materials: tuple[str, ...]
    measures: dict[str, Measure] = field(default_factory=dict)
    choices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    multiple: tuple[str, ...] = ()
    """Properties with the values in ``MULTIPLE_VALUES``."""


KINDS: dict[str, Kind] = {
    "mug": Kind(
        category="Home > Kitchen > Mugs",
        nouns=("mug", "cup", "coffee mug"),
        shapes=("straight", "rounded", "tapered"),
        materials=("ceramic", "glass", "steel"),
        measures={"capacity": Measure(200, 500, "ml")},
        choices={"dishwasher safe": ("yes", "no")},
    ),
    "shirt": Kind(
        category="Clothing > Tops > T-shirts",
        nouns=("T-shirt", "tee", "shirt"),
        shapes=("crew neck", "V-neck", "polo"),
        materials=("cotton", "linen", "polyester"),
        choices={"audience": AUDIENCES},
        multiple=("care",),
    ),
    "lamp": Kind(
        category="Home > Lighting > Lamps",
        nouns=("lamp", "table lamp", "light"),
        shapes=("cone", "globe", "drum"),
        materials=("metal", "wood", "paper"),
        measures={"height": Measure(20, 70, "cm"), "power": Measure(4, 60, "W")},
        multiple=("room",),
    ),
    "chair": Kind(
        category="Home > Furniture > Chairs",
        nouns=("chair", "dining chair", "seat"),
        shapes=("slat back", "solid back", "stool"),
        materials=("wood", "metal", "plastic"),
        measures={"height": Measure(45, 110, "cm"), "weight": Measure(2, 12, "kg")},
        multiple=("room",),
    ),
    "bag": Kind(
        category="Accessories > Bags",
        nouns=("bag", "tote", "handbag"),
        shapes=("tote", "satchel", "backpack"),
        materials=("leather", "canvas", "nylon"),
        measures={"volume": Measure(5, 40, "l")},
        choices={"audience": AUDIENCES},
    ),
    "shoe": Kind(
        category="Clothing > Shoes",
        nouns=("shoe", "sneaker", "trainer"),
        shapes=("low", "boot", "heel"),
        materials=("leather", "canvas", "suede"),
        choices={"audience": AUDIENCES, "closure": ("laces", "zip", "slip-on")},
    ),
    "bottle": Kind(
        category="Home > Kitchen > Bottles",
        nouns=("bottle", "flask", "water bottle"),
        shapes=("slim", "wide", "sport"),
        materials=("steel", "glass", "plastic"),
        measures={"capacity": Measure(300, 1200, "ml")},
        choices={"insulated": ("yes", "no")},
    ),
    "rug": Kind(
        category="Home > Textiles > Rugs",
        nouns=("rug", "carpet", "mat"),
        shapes=("rectangular", "round", "oval"),
        materials=("wool", "cotton", "jute"),
        measures={"length": Measure(60, 300, "cm")},
        multiple=("room",),
    ),
    "notebook": Kind(
        category="Office > Paper > Notebooks",
        nouns=("notebook", "journal", "notepad"),
        shapes=("portrait", "landscape", "square"),
        materials=("paper", "leather", "cardboard"),
        measures={"pages": Measure(48, 240)},
        choices={"ruling": ("lined", "blank", "grid")},
    ),
    "cushion": Kind(
        category="Home > Textiles > Cushions",
        nouns=("cushion", "pillow", "throw pillow"),
        shapes=("square", "round", "bolster"),
        materials=("cotton", "velvet", "linen"),
        measures={"width": Measure(30, 60, "cm")},
        multiple=("care", "room"),
    ),
}
