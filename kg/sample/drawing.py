"""Images of products: outline by kind and shape, fill by colour, pattern and material."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from kg.sample.kinds import COLOURS

SIDE = 224
Colour = tuple[int, int, int]
# How far each material's light falls off, how grainy it is, and how shiny.
MATERIALS = {
    "ceramic": (26, 2, 60),
    "glass": (14, 0, 110),
    "steel": (40, 3, 120),
    "metal": (40, 3, 100),
    "plastic": (16, 0, 70),
    "cotton": (8, 7, 0),
    "linen": (8, 16, 0),
    "polyester": (10, 2, 24),
    "wool": (8, 24, 0),
    "jute": (8, 30, 0),
    "velvet": (34, 5, 18),
    "leather": (24, 10, 34),
    "canvas": (8, 18, 0),
    "nylon": (14, 4, 40),
    "suede": (16, 14, 0),
    "wood": (18, 12, 8),
    "paper": (6, 4, 0),
    "cardboard": (8, 9, 0),
}


def draw(kind: str, shape: str, colour: str, pattern: str, material: str, seed: int) -> Image.Image:
    """One image, 224 x 224; the seed moves, scales and lights it a little."""
    rng = random.Random(seed)
    mask, shadow, edge = outline(kind, shape)
    fill = textured(patterned(COLOURS[colour], pattern, rng), material, rng)
    shade = rng.randint(236, 255)
    page = Image.new("RGB", (SIDE, SIDE), (shade, shade, shade))
    page.paste((90, 90, 96), (0, 0), shadow)
    page.paste(fill, (0, 0), mask)
    page.paste(tuple(c // 2 for c in COLOURS[colour]), (0, 0), edge)
    scale = rng.uniform(0.82, 1.0)
    turn = rng.uniform(-5, 5)
    moved = page.rotate(turn, Image.Resampling.BILINEAR, fillcolor=(shade, shade, shade))
    side = int(SIDE / scale)
    canvas = Image.new("RGB", (side, side), (shade, shade, shade))
    canvas.paste(moved, (rng.randint(0, side - SIDE), rng.randint(0, side - SIDE)))
    return canvas.resize((SIDE, SIDE), Image.Resampling.BILINEAR)


@cache
def outline(kind: str, shape: str) -> tuple[Image.Image, Image.Image, Image.Image]:
    """Where the product is, its shadow and its edge."""
    mask = Image.new("L", (SIDE, SIDE))
    OUTLINES[kind](ImageDraw.Draw(mask), shape)
    shadow = (
        ImageChops.offset(mask, 4, 6).filter(ImageFilter.GaussianBlur(5)).point(lambda v: v // 5)
    )
    return mask, shadow, ImageChops.subtract(mask, mask.filter(ImageFilter.MinFilter(3)))


def patterned(colour: Colour, pattern: str, rng: random.Random) -> Image.Image:
    """A sheet of the colour with its pattern in a lighter or darker tone."""
    sheet = Image.new("RGB", (SIDE, SIDE), colour)
    tone = tuple(min(255, c + 70) if sum(colour) < 384 else max(0, c - 80) for c in colour)
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
            for y in range((x // step % 2) * step // 2, SIDE, step):
                pen.ellipse((x, y, x + step // 2, y + step // 2), fill=tone)
    return sheet


def textured(sheet: Image.Image, material: str, rng: random.Random) -> Image.Image:
    """Light, grain and shine of a material."""
    fall, grain, shine = MATERIALS[material]
    out = ImageChops.overlay(sheet, light(fall))
    if grain:
        # A small seeded tile repeated is as good as noise everywhere, and quicker.
        tile = Image.frombytes("L", (56, 56), rng.randbytes(56 * 56)).resize(
            (SIDE, SIDE), Image.Resampling.NEAREST
        )
        noise = tile.point(lambda v: 128 + (v - 128) * grain // 64)
        out = ImageChops.overlay(out, Image.merge("RGB", [noise] * 3))
    if shine:
        out.paste((255, 255, 255), (0, 0), gloss(shine))
    return out


@cache
def light(fall: int) -> Image.Image:
    """Light from the side that falls off by so much."""
    grey = (
        Image.linear_gradient("L")
        .rotate(90)
        .resize((SIDE, SIDE))
        .point(lambda v: 128 + (v - 128) * fall // 64)
    )
    return Image.merge("RGB", [grey] * 3)


@cache
def gloss(shine: int) -> Image.Image:
    """A soft bright streak."""
    streak = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(streak).rectangle((78, 20, 92, 200), fill=shine)
    return streak.filter(ImageFilter.GaussianBlur(6))


Pen = ImageDraw.ImageDraw


def _mug(pen: Pen, shape: str) -> None:
    pen.ellipse((136, 84, 190, 150), fill=255)
    pen.ellipse((148, 98, 178, 136), fill=0)
    if shape == "rounded":
        pen.rounded_rectangle((54, 62, 156, 176), 44, fill=255)
    else:
        foot = 18 if shape == "tapered" else 0
        pen.polygon([(54, 62), (156, 62), (156 - foot, 176), (54 + foot, 176)], fill=255)


def _shirt(pen: Pen, shape: str) -> None:
    pen.polygon(
        [
            (76, 44),
            (148, 44),
            (204, 82),
            (182, 116),
            (160, 100),
            (160, 190),
            (64, 190),
            (64, 100),
            (42, 116),
            (20, 82),
        ],
        fill=255,
    )
    if shape == "V-neck":
        pen.polygon([(92, 44), (132, 44), (112, 84)], fill=0)
    else:
        pen.ellipse((92, 30, 132, 58), fill=0)
    if shape == "polo":
        pen.polygon([(84, 40), (108, 62), (90, 72)], fill=255)
        pen.polygon([(140, 40), (116, 62), (134, 72)], fill=255)


def _lamp(pen: Pen, shape: str) -> None:
    pen.rectangle((108, 110, 116, 186), fill=255)
    pen.ellipse((76, 178, 148, 200), fill=255)
    if shape == "cone":
        pen.polygon([(92, 34), (132, 34), (172, 116), (52, 116)], fill=255)
    elif shape == "globe":
        pen.ellipse((66, 28, 158, 120), fill=255)
    else:
        pen.rectangle((62, 40, 162, 114), fill=255)


def _chair(pen: Pen, shape: str) -> None:
    pen.rectangle((58, 112, 166, 128), fill=255)
    for x in (60, 154):
        pen.rectangle((x, 128, x + 10, 204), fill=255)
    if shape == "solid back":
        pen.rectangle((58, 22, 166, 112), fill=255)
    elif shape == "slat back":
        for x in (58, 84, 110, 136, 158):
            pen.rectangle((x, 22, x + 8, 112), fill=255)
        pen.rectangle((58, 22, 166, 36), fill=255)


def _bag(pen: Pen, shape: str) -> None:
    if shape == "backpack":
        pen.rounded_rectangle((58, 46, 166, 196), 40, fill=255)
        pen.rounded_rectangle((94, 26, 130, 58), 12, fill=255)
        pen.rectangle((76, 128, 148, 132), fill=0)
        return
    pen.arc((78, 24, 146, 124), 180, 360, fill=255, width=9)
    box = (34, 84, 190, 192) if shape == "satchel" else (52, 74, 172, 204)
    pen.rounded_rectangle(box, 22 if shape == "satchel" else 4, fill=255)
    if shape == "satchel":
        pen.line((34, 130, 190, 130), fill=0, width=4)


def _shoe(pen: Pen, shape: str) -> None:
    if shape == "boot":
        pen.polygon([(60, 40), (118, 40), (120, 120), (196, 150), (198, 182), (58, 182)], fill=255)
    elif shape == "heel":
        pen.polygon(
            [
                (36, 84),
                (70, 80),
                (130, 146),
                (200, 168),
                (198, 184),
                (120, 178),
                (66, 132),
                (60, 196),
                (44, 196),
            ],
            fill=255,
        )
    else:
        pen.polygon([(30, 108), (78, 92), (116, 126), (190, 146), (200, 180), (30, 180)], fill=255)


def _bottle(pen: Pen, shape: str) -> None:
    half = {"slim": 24, "wide": 44, "sport": 34}[shape]
    pen.rounded_rectangle((112 - half, 74, 112 + half, 206), 14, fill=255)
    pen.polygon([(112 - half, 88), (112 + half, 88), (126, 56), (98, 56)], fill=255)
    pen.rectangle((98, 34 if shape != "sport" else 44, 126, 58), fill=255)
    if shape == "sport":
        pen.arc((96, 14, 128, 52), 150, 390, fill=255, width=7)


def _rug(pen: Pen, shape: str) -> None:
    if shape == "round":
        pen.ellipse((30, 30, 194, 194), fill=255)
    elif shape == "oval":
        pen.ellipse((14, 58, 210, 168), fill=255)
    else:
        pen.rectangle((26, 56, 198, 170), fill=255)
        for x in range(26, 198, 8):
            pen.line((x, 48, x, 178), fill=255, width=2)


def _notebook(pen: Pen, shape: str) -> None:
    box = {
        "portrait": (62, 26, 164, 198),
        "landscape": (26, 62, 198, 164),
        "square": (46, 46, 180, 180),
    }[shape]
    pen.rounded_rectangle(box, 8, fill=255)
    for y in range(box[1] + 12, box[3] - 8, 14):
        pen.ellipse((box[0] - 6, y, box[0] + 8, y + 7), fill=0)


def _cushion(pen: Pen, shape: str) -> None:
    if shape == "round":
        pen.ellipse((40, 40, 184, 184), fill=255)
    elif shape == "bolster":
        pen.rounded_rectangle((18, 82, 206, 144), 31, fill=255)
    else:
        pen.polygon(
            [
                (34, 34),
                (112, 46),
                (190, 34),
                (178, 112),
                (190, 190),
                (112, 178),
                (34, 190),
                (46, 112),
            ],
            fill=255,
        )


OUTLINES = {
    "mug": _mug,
    "shirt": _shirt,
    "lamp": _lamp,
    "chair": _chair,
    "bag": _bag,
    "shoe": _shoe,
    "bottle": _bottle,
    "rug": _rug,
    "notebook": _notebook,
    "cushion": _cushion,
}
Job = tuple[str, str, str, str, str, int, str]


def draw_files(jobs: list[Job]) -> int:
    """Draw jobs (kind, shape, colour, pattern, material, seed, path) to JPEG files; how many."""
    for kind, shape, colour, pattern, material, seed, path in jobs:
        draw(kind, shape, colour, pattern, material, seed).save(Path(path), "JPEG", quality=88)
    return len(jobs)
