"""The synthetic catalogue."""

import csv
import itertools
import random

import numpy as np
import pytest
from PIL import Image, ImageChops

from kg.sample import write_sample
from kg.sample.images import MATERIALS, Look, draw
from kg.sample.kinds import KINDS
from kg.sample.offers import CORRUPTED, HIDDEN, Offer, make_offers
from kg.sample.outlines import OUTLINES
from kg.sample.pairs import labelled_pairs


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """The folder of a sample, and its report."""
    out = tmp_path_factory.mktemp("sample")
    return out, write_sample(out, 60, seed=3)


@pytest.fixture(scope="module")
def offers():
    """A thousand offers."""
    return make_offers(1000, random.Random(1))


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_report_counts_the_files(sample):
    out, report = sample
    assert len(rows(out / "items.csv")) == report["items"] == 60
    assert len(list((out / "images").iterdir())) == report["images"]
    assert len(rows(out / "queries.csv")) == report["queries"]
    assert len(rows(out / "pairs.csv")) == report["pairs"]


def test_the_same_seed_gives_the_same_bytes(sample, tmp_path):
    out, _ = sample
    write_sample(tmp_path, 60, seed=3)
    for path in out.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / path.relative_to(out)).read_bytes()


def test_pairs_are_all_offers_of_one_product_and_three_times_as_many_others(offers):
    at = {offer.id: offer for offer in offers}
    labelled = {(left, right): label for left, right, label in labelled_pairs(offers, seed=5)}
    for (left, right), label in labelled.items():
        assert left < right
        assert (at[left].truth is at[right].truth) == label
    together = {
        (first.id, second.id)
        for first, second in itertools.combinations(offers, 2)
        if first.truth is second.truth
    }
    assert {pair for pair, label in labelled.items() if label} == together
    others = [pair for pair, label in labelled.items() if not label]
    assert len(others) == 3 * len(together) > 0
    hard = [
        pair
        for pair in others
        if len({(at[item].kind, at[item].truth["brand"]) for item in pair}) == 1
    ]
    assert 0.5 <= len(hard) / len(others) < 0.6


def test_pairs_depend_on_the_seed_alone(offers):
    assert labelled_pairs(offers, 5) == labelled_pairs(list(offers), 5) != labelled_pairs(offers, 6)


def test_a_very_small_catalogue_has_as_many_pairs_as_there_are():
    truth = {"brand": "b"}
    offers = [Offer(name, "mug", "", "s", truth) for name in "ab"]
    assert labelled_pairs(offers, 0) == [("a", "b", 1)]
    offers.append(Offer("c", "mug", "", "s", {"brand": "c"}))
    assert labelled_pairs(offers, 0) == [("a", "b", 1), ("a", "c", 0), ("b", "c", 0)]
    assert labelled_pairs(offers[1:], 0) == []


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
