"""Classification by experts: what they read, what is restated, and its files in a model folder."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from experts.category_tree import ANY_LEVEL, CategoryTree, category_text
from experts.classification import (
    Restated,
    fit_classifier,
    restating_properties,
    with_restated,
    without_restating,
)
from experts.classification_folder import load_classifier, save_classifier
from fusion.checkpoint import write_files
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.errors import ModelError, TrainingError
from schema.modalities import Modality
from schema.ontology import Ontology, PropertySpec
from schema.terms import CATEGORY
from serving.category_calibration import calibrate_classifier
from tests.experts.made import ONTOLOGY, labelled, made_items

PATHS = {"mug": ("Home", "Cups"), "lamp": ("Home", "Lighting"), "chair": ("Seats", "Stools")}


def categorised(count=60):
    """Return made items with categories by kind; a level of some is restated by a property."""
    items = []
    for number, item in enumerate(made_items(count)):
        path = PATHS[item.known[0][1]]
        said = (("section", path[-1]),) if number % 2 else ()
        known = tuple(each for each in item.known if each[0] != "kind")
        items.append(replace(item, category=path, known=known + said))
    return items


SECTIONS = PropertySpec("section", values=("Cups", "Lighting", "Stools"), counts=(10, 10, 10))
WITH_SECTIONS = Ontology([*ONTOLOGY.properties.values(), SECTIONS])


def learnable(items):
    return replace(labelled(items), categories=[item.category for item in items])


@pytest.fixture(scope="module")
def fitted():
    return fit_classifier("model", WITH_SECTIONS, learnable(categorised()))


def best(classifier, item):
    query = CellQuery(0, CATEGORY, item.known)
    (logits,) = classifier.score(classifier.encode([item]), [query])
    probabilities = softmax(logits.astype(np.float64))
    place = int(probabilities[:-1].argmax())
    return classifier.tree.paths[place], float(probabilities[place])


def test_any_part_tells_the_category(fitted):
    classifier = fitted.classifier
    assert best(classifier, ItemInput("x", title="Red mug Berg"))[0] == "Home > Cups"
    assert best(classifier, ItemInput("x", known=(("room", "office"),)))[0] == "Seats > Stools"
    titled = ItemInput("x", title="Cups mug Berg")
    # The words of the levels are those that a title tells the category by.
    assert classifier.situation(titled, CellQuery(0, CATEGORY)) == "title(says)"


def test_what_restates_the_category_is_found_and_left_out():
    items = categorised()
    known = [item.known for item in items]
    paths = [item.category for item in items]
    assert restating_properties(known, paths) == {"section"}
    left = without_restating((("room", "hall"), ("colour", "KITCHEN ")), {"section"}, "A > Kitchen")
    assert left == (("room", "hall"),)


def test_experts_read_no_property_that_restates(fitted):
    assert "section" not in fitted.classifier.read_properties
    assert "room" in fitted.classifier.read_properties
    # The category itself is no input.
    assert Modality.CATEGORY not in fitted.classifier.modalities


def test_a_restating_statement_decides_and_is_a_situation_of_its_own(fitted):
    classifier = fitted.classifier
    told = ItemInput("x", known=(("section", "lighting"),))
    path, probability = best(classifier, told)
    assert (path, probability > 0.8) == ("Home > Lighting", True)
    assert classifier.situation(told, CellQuery(0, CATEGORY, told.known)) == "nothing+restated"
    assert any(name.endswith("+restated") for name in fitted.held_out)


def test_restated_levels_change_the_odds_by_how_often_they_are_wrong():
    tree = CategoryTree(("A > B", "A > C", "D"))
    known = [(("p", "B"),), (("p", "B"),), (("p", "C"),)]
    restated = Restated.learn(tree, ["p"], known, ["A > B", "A > C", "A > C"])
    # One of three is wrong, with one more of each.
    assert restated.wrong == {"p": pytest.approx(2 / 5)}
    logits = np.log(np.array([0.2, 0.3, 0.4, 0.1], np.float32))
    changed = np.exp(with_restated(logits, restated, (("p", "b"),)))
    expected = np.array([0.2 * 0.6, 0.3 * 0.4, 0.4 * 0.4])
    np.testing.assert_allclose(changed[:3], 0.9 * expected / expected.sum(), rtol=1e-5)
    assert changed[3] == pytest.approx(0.1)
    assert restated.state((("p", "b"),)) == "+restated"
    assert restated.state((("p", "a"),)) == "+partly restated"
    assert restated.state((("q", "b"), ("p", "other"))) == ""


def test_what_cannot_be_learned_is_refused():
    items = learnable(categorised(30))
    with pytest.raises(TrainingError, match="0 items have a category"):
        fit_classifier("m", WITH_SECTIONS, replace(items, categories=[()] * 30))
    with pytest.raises(TrainingError, match="the same category"):
        fit_classifier("m", WITH_SECTIONS, replace(items, categories=[("A",)] * 30))
    own = Ontology([PropertySpec(CATEGORY, values=("a",), counts=(1,))])
    with pytest.raises(TrainingError, match="of its own"):
        fit_classifier("m", own, items)


def test_each_level_is_proven_and_all_together(fitted):
    proven = calibrate_classifier(fitted)["proven"]["title(bare)+image"]
    assert set(proven) == {CATEGORY, "category level 1", ANY_LEVEL}


def test_a_folder_keeps_a_classifier(fitted, tmp_path):
    write_files(tmp_path, {"config.json": b"{}"})
    assert load_classifier(tmp_path) is None
    classifier = fitted.classifier
    classifier.calibration = calibrate_classifier(fitted)
    save_classifier(tmp_path, classifier, {"seed": 0})
    again = load_classifier(tmp_path)
    assert again is not None
    assert (again.tree.paths, again.about) == (classifier.tree.paths, {"seed": 0})
    assert again.calibration == json.loads(json.dumps(classifier.calibration))
    for item in made_items(6, seed=3):
        # The coefficients are kept in half precision.
        before = classifier.score(classifier.encode([item]), [CellQuery(0, CATEGORY, item.known)])
        after = again.score(again.encode([item]), [CellQuery(0, CATEGORY, item.known)])
        np.testing.assert_allclose(softmax(after[0]), softmax(before[0]), atol=0.02)
    (tmp_path / "classifier.json").write_text("{}")
    with pytest.raises(ModelError, match=r"classifier\.json"):
        load_classifier(tmp_path)


def test_a_left_out_item_is_scored_as_if_unseen(fitted):
    # Every item has a category text, and the cells of each situation know their items.
    cells = fitted.held_out["image"]
    assert cells.true.any(1).all()
    assert len(fitted.ids) == 60
    assert {category_text(path) for path in PATHS.values()} == set(fitted.classifier.tree.paths)
