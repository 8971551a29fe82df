"""What the synthetic shop sells: categories, their properties and values, and words for them."""

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
ROOMS = ("kitchen", "bedroom", "living room", "office", "hallway")


@dataclass(frozen=True)
class Kind:
    """A category: its path, names for it in titles, the shapes and materials that show, its measures and further choices."""

    path: str
    nouns: tuple[str, ...]
    shapes: tuple[str, ...]
    materials: tuple[str, ...]
    measures: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    choices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    several: tuple[str, ...] = ()


KINDS: dict[str, Kind] = {
    "mug": Kind(
        "Home > Kitchen > Mugs",
        ("mug", "cup", "coffee mug"),
        ("straight", "rounded", "tapered"),
        ("ceramic", "glass", "steel"),
        {"capacity": (200, 500, "ml")},
        {"dishwasher safe": ("yes", "no")},
    ),
    "shirt": Kind(
        "Clothing > Tops > T-shirts",
        ("T-shirt", "tee", "shirt"),
        ("crew neck", "V-neck", "polo"),
        ("cotton", "linen", "polyester"),
        {},
        {"audience": AUDIENCES},
        ("care",),
    ),
    "lamp": Kind(
        "Home > Lighting > Lamps",
        ("lamp", "table lamp", "light"),
        ("cone", "globe", "drum"),
        ("metal", "wood", "paper"),
        {"height": (20, 70, "cm"), "power": (4, 60, "W")},
        {},
        ("room",),
    ),
    "chair": Kind(
        "Home > Furniture > Chairs",
        ("chair", "dining chair", "seat"),
        ("slat back", "solid back", "stool"),
        ("wood", "metal", "plastic"),
        {"height": (45, 110, "cm"), "weight": (2, 12, "kg")},
        {},
        ("room",),
    ),
    "bag": Kind(
        "Accessories > Bags",
        ("bag", "tote", "handbag"),
        ("tote", "satchel", "backpack"),
        ("leather", "canvas", "nylon"),
        {"volume": (5, 40, "l")},
        {"audience": AUDIENCES},
    ),
    "shoe": Kind(
        "Clothing > Shoes",
        ("shoe", "sneaker", "trainer"),
        ("low", "boot", "heel"),
        ("leather", "canvas", "suede"),
        {},
        {"audience": AUDIENCES, "closure": ("laces", "zip", "slip-on")},
    ),
    "bottle": Kind(
        "Home > Kitchen > Bottles",
        ("bottle", "flask", "water bottle"),
        ("slim", "wide", "sport"),
        ("steel", "glass", "plastic"),
        {"capacity": (300, 1200, "ml")},
        {"insulated": ("yes", "no")},
    ),
    "rug": Kind(
        "Home > Textiles > Rugs",
        ("rug", "carpet", "mat"),
        ("rectangular", "round", "oval"),
        ("wool", "cotton", "jute"),
        {"length": (60, 300, "cm")},
        {},
        ("room",),
    ),
    "notebook": Kind(
        "Office > Paper > Notebooks",
        ("notebook", "journal", "notepad"),
        ("portrait", "landscape", "square"),
        ("paper", "leather", "cardboard"),
        {"pages": (48, 240, "")},
        {"ruling": ("lined", "blank", "grid")},
    ),
    "cushion": Kind(
        "Home > Textiles > Cushions",
        ("cushion", "pillow", "throw pillow"),
        ("square", "round", "bolster"),
        ("cotton", "velvet", "linen"),
        {"width": (30, 60, "cm")},
        {},
        ("care", "room"),
    ),
}
SEVERAL = {"care": ("machine wash", "hand wash", "do not iron", "tumble dry"), "room": ROOMS}
