"""Make up products and the offers of two sellers for them, and hide or corrupt some values."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from kg.sample.kinds import (
    BRANDS,
    COLOURS,
    KINDS,
    MULTIPLE_VALUES,
    PATTERNS,
    SYNONYMS,
    Kind,
)

HIDDEN = "hidden"
CORRUPTED = "spoilt"
"""How ``truth.csv`` marks a corrupted value: the word is part of the file's format."""

_HIDDEN_SHARE = 0.18
_CORRUPTED_SHARE = 0.02
_NO_TITLE = 0.03
_TWO_SELLERS = 0.15
_SELLERS = ("Harbour Goods", "Northgate", "Tilia", "Marché")


@dataclass
class Offer:
    """A row of the catalogue: ``truth`` has the true values, ``values`` those in the row."""

    id: str
    kind: str
    title: str
    seller: str
    truth: dict[str, str]
    values: dict[str, str] = field(default_factory=dict)
    image: str = ""
    seed: int = 0


@dataclass(frozen=True)
class TrueValue:
    """A value that was HIDDEN or CORRUPTED in the catalogue."""

    item: str
    property: str
    value: str
    kind: str


def make_offers(items: int, rng: random.Random) -> list[Offer]:
    """Make ``items`` offers; some products are offered by two sellers."""
    offers: list[Offer] = []
    while len(offers) < items:
        name = rng.choice(list(KINDS))
        kind = KINDS[name]
        truth = make_product(kind, rng)
        sellers = rng.sample(_SELLERS, 2 if rng.random() < _TWO_SELLERS else 1)
        for seller in sellers[: items - len(offers)]:
            title = "" if rng.random() < _NO_TITLE else make_title(kind, truth, rng)
            offer = Offer(f"P{len(offers):06d}", name, title, seller, truth, dict(truth))
            # A seed for each image, so that processes may draw the images in any order.
            offer.seed = rng.getrandbits(32)
            offers.append(offer)
    return offers


def make_product(kind: Kind, rng: random.Random) -> dict[str, str]:
    """Draw a product's true values."""
    # The shape suggests the material and the material the colour, so that one can be learned
    # from the other.
    shape = rng.randrange(len(kind.shapes))
    material = kind.materials[shape] if rng.random() < 0.5 else rng.choice(kind.materials)
    truth = {
        "shape": kind.shapes[shape],
        "material": material,
        "pattern": rng.choices(PATTERNS, (5, 3, 2, 2))[0],
    }
    if material in ("wood", "steel") and rng.random() < 0.6:
        truth["colour"] = rng.choice(("brown", "grey", "black"))
    else:
        truth["colour"] = rng.choice(list(COLOURS))
    truth["brand"] = rng.choice(BRANDS)

    for name, measure in kind.measures.items():
        step = max(1, (measure.high - measure.low) // 12)
        number = rng.randrange(measure.low, measure.high + 1, step)
        truth[name] = f"{number} {measure.unit}".strip()
    for name, values in kind.choices.items():
        truth[name] = rng.choice(values)
    for name in kind.multiple:
        chosen = rng.sample(MULTIPLE_VALUES[name], rng.choice((1, 1, 2)))
        truth[name] = "|".join(sorted(chosen))
    return truth


def make_title(kind: Kind, truth: dict[str, str], rng: random.Random) -> str:
    """Write a title in one of several wordings, each of which mentions other properties."""

    def mention(name: str, probability: float) -> str:
        """Return a property's value, sometimes a synonym, or nothing."""
        value = truth.get(name, "") if rng.random() < probability else ""
        return SYNONYMS.get(value, value) if rng.random() < 0.3 else value

    noun = rng.choice(kind.nouns)
    colour = mention("colour", 0.7)
    material = mention("material", 0.55)
    pattern = mention("pattern", 0.6 if truth["pattern"] != "plain" else 0.0)
    shape = mention("shape", 0.5)
    brand = mention("brand", 0.8)
    audience = mention("audience", 0.6)
    for_audience = f"for {audience}" if audience else ""
    made_of = f"made of {material}" if material else ""
    by_brand = f"by {brand}" if brand else ""
    in_colour = "in" if colour else ""
    measure = next((truth[name] for name in kind.measures if rng.random() < 0.4), "")
    wordings = (
        (brand, colour, pattern, material, shape, noun, for_audience, measure),
        (brand, noun, shape, in_colour, colour, pattern, for_audience, measure),
        (colour, pattern, noun, made_of, by_brand, measure),
        (noun.capitalize(), "-", brand, material, shape, colour, for_audience),
    )
    return " ".join(part for part in rng.choice(wordings) if part).strip(" -")


def corrupt(offer: Offer, rng: random.Random) -> list[TrueValue]:
    """Hide some values of the row and replace others; returns the true ones."""
    true_values: list[TrueValue] = []
    alternatives = {
        "colour": list(COLOURS),
        "pattern": list(PATTERNS),
        "material": list(KINDS[offer.kind].materials),
    }
    for name, value in offer.truth.items():
        draw = rng.random()
        if draw < _HIDDEN_SHARE:
            del offer.values[name]
            true_values += [TrueValue(offer.id, name, part, HIDDEN) for part in value.split("|")]
        elif draw < _HIDDEN_SHARE + _CORRUPTED_SHARE and name in alternatives:
            others = [other for other in alternatives[name] if other != value]
            offer.values[name] = rng.choice(others)
            true_values.append(TrueValue(offer.id, name, value, CORRUPTED))
    return true_values
