"""Draw the images of products: an outline filled with a colour, a pattern and a material."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from kg.sample.kinds import COLOURS
from kg.sample.outlines import OUTLINES

SIDE = 224
_DARK = 384  # sums of red, green and blue below this get a lighter pattern

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Surface:
    """How a material looks: how fast light falls off across it, its grain and its gloss."""

    falloff: int
    grain: int
    gloss: int


MATERIALS = {
    "ceramic": Surface(26, 2, 60),
    "glass": Surface(14, 0, 110),
    "steel": Surface(40, 3, 120),
    "metal": Surface(40, 3, 100),
    "plastic": Surface(16, 0, 70),
    "cotton": Surface(8, 7, 0),
    "linen": Surface(8, 16, 0),
    "polyester": Surface(10, 2, 24),
    "wool": Surface(8, 24, 0),
    "jute": Surface(8, 30, 0),
    "velvet": Surface(34, 5, 18),
    "leather": Surface(24, 10, 34),
    "canvas": Surface(8, 18, 0),
    "nylon": Surface(14, 4, 40),
    "suede": Surface(16, 14, 0),
    "wood": Surface(18, 12, 8),
    "paper": Surface(6, 4, 0),
    "cardboard": Surface(8, 9, 0),
}


@dataclass(frozen=True)
class Look:
    """The product in an image; the seed varies position, scale, rotation and light a little."""

    kind: str
    shape: str
    colour: str
    pattern: str
    material: str
    seed: int


@dataclass(frozen=True)
class ImageJob:
    """An image to draw and the file to save it to."""

    look: Look
    path: Path


@dataclass(frozen=True)
class Outline:
    """Masks of a product, of its shadow and of its edge."""

    mask: Image.Image
    shadow: Image.Image
    edge: Image.Image


def draw_files(jobs: Sequence[ImageJob]) -> int:
    """Draw images to JPEG files, and return their number."""
    for job in jobs:
        draw(job.look).save(job.path, "JPEG", quality=88)
    return len(jobs)


def draw(look: Look) -> Image.Image:
    """Draw an image of 224 x 224 pixels."""
    rng = random.Random(look.seed)
    colour = COLOURS[look.colour]
    outline = draw_outline(look.kind, look.shape)
    fill = add_material(draw_pattern(colour, look.pattern, rng), look.material, rng)
    grey = rng.randint(236, 255)
    background = (grey, grey, grey)
    image = Image.new("RGB", (SIDE, SIDE), background)
    image.paste((90, 90, 96), (0, 0), outline.shadow)
    image.paste(fill, (0, 0), outline.mask)
    image.paste(tuple(channel // 2 for channel in colour), (0, 0), outline.edge)

    scale = rng.uniform(0.82, 1.0)
    angle = rng.uniform(-5, 5)
    rotated = image.rotate(angle, Image.Resampling.BILINEAR, fillcolor=background)
    side = int(SIDE / scale)
    canvas = Image.new("RGB", (side, side), background)
    canvas.paste(rotated, (rng.randint(0, side - SIDE), rng.randint(0, side - SIDE)))
    return canvas.resize((SIDE, SIDE), Image.Resampling.BILINEAR)


@cache
def draw_outline(kind: str, shape: str) -> Outline:
    """Draw the masks of a kind of product in one of its shapes."""
    mask = Image.new("L", (SIDE, SIDE))
    OUTLINES[kind](ImageDraw.Draw(mask), shape)
    blurred = ImageChops.offset(mask, 4, 6).filter(ImageFilter.GaussianBlur(5))
    shadow = blurred.point(lambda value: value // 5)
    edge = ImageChops.subtract(mask, mask.filter(ImageFilter.MinFilter(3)))
    return Outline(mask, shadow, edge)


def draw_pattern(colour: Colour, pattern: str, rng: random.Random) -> Image.Image:
    """Draw a sheet of a colour with a pattern in a lighter or darker tone."""
    sheet = Image.new("RGB", (SIDE, SIDE), colour)
    if sum(colour) < _DARK:
        tone = tuple(min(255, channel + 70) for channel in colour)
    else:
        tone = tuple(max(0, channel - 80) for channel in colour)
    pen = ImageDraw.Draw(sheet)
    step = rng.randint(18, 26)
    if pattern in ("striped", "checked"):
        for x in range(0, SIDE, step):
            pen.rectangle((x, 0, x + step // 3, SIDE), fill=tone)
    if pattern == "checked":
        for y in range(0, SIDE, step):
            pen.rectangle((0, y, SIDE, y + step // 3), fill=tone)
    if pattern == "dotted":
        for x in range(0, SIDE, step):
            is_odd_column = x // step % 2
            for y in range(is_odd_column * step // 2, SIDE, step):
                pen.ellipse((x, y, x + step // 2, y + step // 2), fill=tone)
    return sheet


def add_material(sheet: Image.Image, material: str, rng: random.Random) -> Image.Image:
    """Add the light, grain and gloss of a material to a sheet."""
    surface = MATERIALS[material]
    image = ImageChops.overlay(sheet, side_light(surface.falloff))
    if surface.grain:
        # A small random tile, repeated, looks as good as noise everywhere and is faster to make.
        tile = Image.frombytes("L", (56, 56), rng.randbytes(56 * 56))
        noise = _with_contrast(tile.resize((SIDE, SIDE), Image.Resampling.NEAREST), surface.grain)
        image = ImageChops.overlay(image, Image.merge("RGB", [noise] * 3))
    if surface.gloss:
        image.paste((255, 255, 255), (0, 0), gloss_mask(surface.gloss))
    return image


@cache
def side_light(falloff: int) -> Image.Image:
    """Draw light from one side, to be overlaid on an image."""
    gradient = Image.linear_gradient("L").rotate(90).resize((SIDE, SIDE))
    return Image.merge("RGB", [_with_contrast(gradient, falloff)] * 3)


def _with_contrast(grey: Image.Image, contrast: int) -> Image.Image:
    """Scale the distance of each pixel from middle grey, which an overlay leaves unchanged."""
    return grey.point(lambda value: 128 + (value - 128) * contrast // 64)


@cache
def gloss_mask(gloss: int) -> Image.Image:
    """Draw the mask of a soft bright streak."""
    streak = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(streak).rectangle((78, 20, 92, 200), fill=gloss)
    return streak.filter(ImageFilter.GaussianBlur(6))
