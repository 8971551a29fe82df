"""A catalogue of coloured squares, small enough to train on in a test."""

from __future__ import annotations

from pathlib import Path

COLOURS = ("red", "green", "blue", "yellow")
SHAPES = ("mug", "lamp", "chair")


def draw_catalogue(folder: Path, items: int = 100) -> Path:
    """Write a table whose titles name the shape and whose images show the colour.

    Every fifth item has no value for its colour.
    """
    from PIL import Image

    (folder / "images").mkdir(parents=True)
    rows = ["id,title,category,image,colour,shape"]
    for number in range(items):
        colour = COLOURS[number % 4]
        shape = SHAPES[number % 3]
        image = f"images/{number}.png"
        Image.new("RGB", (16, 16), colour).save(folder / image)
        stated = "" if number % 5 == 0 else colour
        rows.append(f"{number},A {shape} number {number},Things,{image},{stated},{shape}")
    (folder / "items.csv").write_text("\n".join(rows) + "\n")
    return folder / "items.csv"
