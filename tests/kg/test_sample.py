"""The synthetic catalogue."""

import csv

import numpy as np
import pytest
from PIL import Image, ImageChops

from kg.sample import write_sample
from kg.sample.images import MATERIALS, Look, draw
from kg.sample.kinds import KINDS
from kg.sample.offers import CORRUPTED, HIDDEN
from kg.sample.outlines import OUTLINES


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """The folder of a sample, and its report."""
    out = tmp_path_factory.mktemp("sample")
    return out, write_sample(out, 60, seed=3)


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_report_counts_the_files(sample):
    out, report = sample
    assert len(rows(out / "items.csv")) == report["items"] == 60
    assert len(list((out / "images").iterdir())) == report["images"]
    assert len(rows(out / "queries.csv")) == report["queries"]


def test_the_same_seed_gives_the_same_bytes(sample, tmp_path):
    out, _ = sample
    write_sample(tmp_path, 60, seed=3)
    for path in out.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / path.relative_to(out)).read_bytes()


def test_hidden_values_are_empty_and_corrupted_ones_differ(sample):
    out, _ = sample
    items = {row["id"]: row for row in rows(out / "items.csv")}
    truth = rows(out / "truth.csv")
    assert {row["kind"] for row in truth} == {HIDDEN, CORRUPTED}
    for row in truth:
        value = items[row["item"]][row["property"]]
        if row["kind"] == HIDDEN:
            assert value == ""
        else:
            assert value not in ("", row["value"])


def test_images_named_in_the_table_exist(sample):
    out, _ = sample
    names = [row["image"] for row in rows(out / "items.csv") if row["image"]]
    assert all((out / name).is_file() for name in names)
    assert len(names) < 60


def test_every_kind_has_an_outline_for_each_shape_and_a_surface_for_each_material():
    assert set(OUTLINES) == set(KINDS)
    for name, kind in KINDS.items():
        assert set(kind.materials) <= set(MATERIALS)
        first, *others = [
            draw(Look(name, shape, "red", "plain", kind.materials[0], seed=1))
            for shape in kind.shapes
        ]
        assert all(ImageChops.difference(first, other).getbbox() for other in others)


def test_the_middle_of_an_image_has_the_colour_of_the_product():
    red, blue = (
        np.asarray(draw(Look("cushion", "round", colour, "plain", "cotton", seed=1)))[112, 112]
        for colour in ("red", "blue")
    )
    assert red[0] > red[2]
    assert blue[2] > blue[0]


def test_images_are_jpegs_of_224_pixels(sample):
    out, _ = sample
    with Image.open(next((out / "images").iterdir())) as image:
        assert image.size == (224, 224)


def test_purchases_never_exceed_clicks(sample):
    out, _ = sample
    for row in rows(out / "queries.csv"):
        assert int(row["purchases"]) <= int(row["clicks"]) <= int(row["impressions"])
