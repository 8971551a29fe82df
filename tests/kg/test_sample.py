import csv

import numpy as np
import pytest
from PIL import Image, ImageChops

from kg.sample import write_sample
from kg.sample.drawing import MATERIALS, OUTLINES, draw
from kg.sample.kinds import KINDS


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    out = tmp_path_factory.mktemp("shop")
    return out, write_sample(out, 60, seed=3)


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_it_writes_what_it_says(shop):
    out, report = shop
    assert len(rows(out / "items.csv")) == report["items"] == 60
    assert len(list((out / "images").iterdir())) == report["images"]
    assert len(rows(out / "queries.csv")) == report["queries"]


def test_the_same_seed_gives_the_same_bytes(shop, tmp_path):
    write_sample(tmp_path, 60, seed=3)
    for path in shop[0].rglob("*.*"):
        assert path.read_bytes() == (tmp_path / path.relative_to(shop[0])).read_bytes()


def test_hidden_values_are_not_in_the_table_and_spoilt_ones_differ(shop):
    items = {row["id"]: row for row in rows(shop[0] / "items.csv")}
    truth = rows(shop[0] / "truth.csv")
    assert {row["kind"] for row in truth} == {"hidden", "spoilt"}
    for row in truth:
        shown = items[row["item"]][row["property"]]
        assert shown == "" if row["kind"] == "hidden" else shown not in ("", row["value"])


def test_images_named_in_the_table_are_there(shop):
    named = [row["image"] for row in rows(shop[0] / "items.csv") if row["image"]]
    assert all((shop[0] / name).is_file() for name in named)
    assert len(named) < 60


def test_every_kind_draws_in_every_shape_and_material():
    assert set(OUTLINES) == set(KINDS)
    for name, kind in KINDS.items():
        assert set(kind.materials) <= set(MATERIALS)
        images = [draw(name, shape, "red", "plain", kind.materials[0], 1) for shape in kind.shapes]
        assert all(ImageChops.difference(images[0], other).getbbox() for other in images[1:])


def test_colour_shows_in_the_middle_of_a_image():
    red, blue = (
        np.asarray(draw("cushion", "round", colour, "plain", "cotton", 1))[112, 112]
        for colour in ("red", "blue")
    )
    assert red[0] > red[2]
    assert blue[2] > blue[0]


def test_images_are_jpegs_of_224_pixels(shop):
    with Image.open(next((shop[0] / "images").iterdir())) as image:
        assert image.size == (224, 224)


def test_purchases_never_exceed_clicks(shop):
    for row in rows(shop[0] / "queries.csv"):
        assert int(row["purchases"]) <= int(row["clicks"]) <= int(row["impressions"])
