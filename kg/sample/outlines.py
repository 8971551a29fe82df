"""The outlines of products, drawn in white on a black mask of 224 x 224 pixels."""

from __future__ import annotations

from collections.abc import Callable

from PIL import ImageDraw

Pen = ImageDraw.ImageDraw

WHITE = 255
BLACK = 0


def _mug(pen: Pen, shape: str) -> None:
    pen.ellipse((136, 84, 190, 150), fill=WHITE)
    pen.ellipse((148, 98, 178, 136), fill=BLACK)
    if shape == "rounded":
        pen.rounded_rectangle((54, 62, 156, 176), 44, fill=WHITE)
    else:
        foot = 18 if shape == "tapered" else 0
        pen.polygon([(54, 62), (156, 62), (156 - foot, 176), (54 + foot, 176)], fill=WHITE)


def _shirt(pen: Pen, shape: str) -> None:
    collar = [(76, 44), (148, 44)]
    right_side = [(204, 82), (182, 116), (160, 100), (160, 190)]
    left_side = [(64, 190), (64, 100), (42, 116), (20, 82)]
    pen.polygon([*collar, *right_side, *left_side], fill=WHITE)
    if shape == "V-neck":
        pen.polygon([(92, 44), (132, 44), (112, 84)], fill=BLACK)
    else:
        pen.ellipse((92, 30, 132, 58), fill=BLACK)
    if shape == "polo":
        pen.polygon([(84, 40), (108, 62), (90, 72)], fill=WHITE)
        pen.polygon([(140, 40), (116, 62), (134, 72)], fill=WHITE)


def _lamp(pen: Pen, shape: str) -> None:
    pen.rectangle((108, 110, 116, 186), fill=WHITE)
    pen.ellipse((76, 178, 148, 200), fill=WHITE)
    if shape == "cone":
        pen.polygon([(92, 34), (132, 34), (172, 116), (52, 116)], fill=WHITE)
    elif shape == "globe":
        pen.ellipse((66, 28, 158, 120), fill=WHITE)
    else:
        pen.rectangle((62, 40, 162, 114), fill=WHITE)


def _chair(pen: Pen, shape: str) -> None:
    pen.rectangle((58, 112, 166, 128), fill=WHITE)
    for x in (60, 154):
        pen.rectangle((x, 128, x + 10, 204), fill=WHITE)
    if shape == "solid back":
        pen.rectangle((58, 22, 166, 112), fill=WHITE)
    elif shape == "slat back":
        for x in (58, 84, 110, 136, 158):
            pen.rectangle((x, 22, x + 8, 112), fill=WHITE)
        pen.rectangle((58, 22, 166, 36), fill=WHITE)


def _bag(pen: Pen, shape: str) -> None:
    if shape == "backpack":
        pen.rounded_rectangle((58, 46, 166, 196), 40, fill=WHITE)
        pen.rounded_rectangle((94, 26, 130, 58), 12, fill=WHITE)
        pen.rectangle((76, 128, 148, 132), fill=BLACK)
        return
    pen.arc((78, 24, 146, 124), 180, 360, fill=WHITE, width=9)
    if shape == "satchel":
        pen.rounded_rectangle((34, 84, 190, 192), 22, fill=WHITE)
        pen.line((34, 130, 190, 130), fill=BLACK, width=4)
    else:
        pen.rounded_rectangle((52, 74, 172, 204), 4, fill=WHITE)


def _shoe(pen: Pen, shape: str) -> None:
    if shape == "boot":
        pen.polygon(
            [(60, 40), (118, 40), (120, 120), (196, 150), (198, 182), (58, 182)], fill=WHITE
        )
    elif shape == "heel":
        upper = [(36, 84), (70, 80), (130, 146), (200, 168)]
        sole = [(198, 184), (120, 178), (66, 132)]
        heel = [(60, 196), (44, 196)]
        pen.polygon([*upper, *sole, *heel], fill=WHITE)
    else:
        pen.polygon(
            [(30, 108), (78, 92), (116, 126), (190, 146), (200, 180), (30, 180)], fill=WHITE
        )


def _bottle(pen: Pen, shape: str) -> None:
    half_width = {"slim": 24, "wide": 44, "sport": 34}[shape]
    left = 112 - half_width
    right = 112 + half_width
    pen.rounded_rectangle((left, 74, right, 206), 14, fill=WHITE)
    pen.polygon([(left, 88), (right, 88), (126, 56), (98, 56)], fill=WHITE)
    pen.rectangle((98, 34 if shape != "sport" else 44, 126, 58), fill=WHITE)
    if shape == "sport":
        pen.arc((96, 14, 128, 52), 150, 390, fill=WHITE, width=7)


def _rug(pen: Pen, shape: str) -> None:
    if shape == "round":
        pen.ellipse((30, 30, 194, 194), fill=WHITE)
    elif shape == "oval":
        pen.ellipse((14, 58, 210, 168), fill=WHITE)
    else:
        pen.rectangle((26, 56, 198, 170), fill=WHITE)
        for x in range(26, 198, 8):
            pen.line((x, 48, x, 178), fill=WHITE, width=2)


def _notebook(pen: Pen, shape: str) -> None:
    box = {
        "portrait": (62, 26, 164, 198),
        "landscape": (26, 62, 198, 164),
        "square": (46, 46, 180, 180),
    }[shape]
    left, top, _, bottom = box
    pen.rounded_rectangle(box, 8, fill=WHITE)
    for y in range(top + 12, bottom - 8, 14):
        pen.ellipse((left - 6, y, left + 8, y + 7), fill=BLACK)


def _cushion(pen: Pen, shape: str) -> None:
    if shape == "round":
        pen.ellipse((40, 40, 184, 184), fill=WHITE)
    elif shape == "bolster":
        pen.rounded_rectangle((18, 82, 206, 144), 31, fill=WHITE)
    else:
        top = [(34, 34), (112, 46), (190, 34), (178, 112)]
        bottom = [(190, 190), (112, 178), (34, 190), (46, 112)]
        pen.polygon([*top, *bottom], fill=WHITE)


OUTLINES: dict[str, Callable[[Pen, str], None]] = {
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
"""How to draw each kind of product in one of its shapes."""
