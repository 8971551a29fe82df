"""Held-out items with a twin in the train split, and metrics without them."""

import numpy as np
import pytest

from evaluation.completion import compare, evaluate_completion
from evaluation.settings import Setting
from evaluation.twins import find_twins, read_twins
from kg.home import Home
from kg.quality.image_fingerprints import ImageFingerprints
from kg.snapshot import GraphSnapshot
from kg.stores.tables import items_table
from schema.errors import DataError
from schema.terms import Item
from tests.evaluation.test_completion import catalogue
from tests.serving.fakes import ONTOLOGY, FakeScorer

TITLES = ["Red mug", "blue mug", None, "mug, red", "blue mug", "oak chair"]


def shop():
    nothing: list[str | None] = [None] * len(TITLES)
    triples = np.zeros((0, 3), np.int64)
    items = [*"abcdef"]
    return GraphSnapshot(items, TITLES, nothing, nothing, [], [], triples, np.zeros(7, np.int64))


def test_twins_by_title_and_image_are_counted_apart_and_together():
    hashes = np.array([5, 0, 9 << 30, 5, 0, 9 << 30], np.uint64)
    fingerprints = ImageFingerprints(hashes, np.zeros((6, 3, 16, 16), np.uint8))
    twins = find_twins(shop(), ["d", "e", "f"], ["a", "c"], fingerprints)
    assert twins.title == {"d"}
    assert twins.image == twins.either == {"d", "f"}
    assert twins.without(["f", "e", "d"]).tolist() == [False, True, False]
    assert twins.as_dict() == {
        "items": 3,
        "title": {"items": 1, "share": 0.3333},
        "image": {"items": 2, "share": 0.6667},
        "either": {"items": 2, "share": 0.6667},
    }
    assert "3 items 33.3% have the title of a train item, 66.7% nearly its image" in twins.line()


def test_images_that_were_not_compared_are_none():
    twins = find_twins(shop(), ["d", "e"], ["a", "b", "c"])
    assert twins.title == {"d", "e"}
    assert twins.image is None
    assert twins.as_dict()["image"] is None
    assert "images were not compared" in twins.line()


def test_a_train_item_is_no_twin_of_itself():
    with pytest.raises(DataError, match="'a' is in the train split itself"):
        find_twins(shop(), ["a", "d"], ["a", "b"])
    with pytest.raises(DataError, match="no item 'x'"):
        find_twins(shop(), ["x"], ["a"])


def test_only_images_of_the_items_in_question_are_read(tmp_path):
    home = Home.open(tmp_path, create=True)
    items = [Item(name, "same", images=(f"{name}.png",)) for name in "abc"]
    with home.store() as store:
        store.put(items_table(items), None)
    read = []
    twins = read_twins(home, ["b"], ["a"], progress=lambda done, total: read.append(total))
    assert twins.either == {"b"}
    assert set(read) == {3}
    assert read_twins(home, ["b"], ["a"], images=False).image is None


def test_a_report_on_some_items_is_that_of_evaluating_them_alone():
    items = catalogue(24)
    kept = np.array([number % 3 > 0 for number in range(24)])
    setting = Setting("none", "yes", "none")
    options = {"resamples": 20, "seed": 4}
    whole = evaluate_completion(FakeScorer(), items, ONTOLOGY, setting, **options)
    some = [item for item, keep in zip(items, kept, strict=True) if keep]
    alone = evaluate_completion(FakeScorer(), some, ONTOLOGY, setting, **options)
    part = whole.of_items(kept)
    # ECE is cross-fitted over random folds of the items, which differ.
    assert part is not None
    assert part.as_dict() == alone.as_dict()
    assert part.macro["hits@1"] != whole.macro["hits@1"]
    assert compare(part, alone).difference.macro["mrr"].value == 0
    macro = whole.rows_beside(part)[-1]
    assert macro[:2] == ["macro", "48"]
    assert macro[3] == "32"
    assert macro[4] == f"{alone.macro['hits@1'].value:.3f}"
    assert whole.of_items(np.zeros(24, bool)) is None
