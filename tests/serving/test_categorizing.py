"""A model and its classifier as one scorer."""

import numpy as np

from experts.classification import fit_classifier
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.ontology import Ontology
from schema.terms import CATEGORY
from serving.categorizing import PREFIX, CategorizingScorer, joined_calibration
from serving.category_calibration import calibrate_classifier
from serving.cells import Cell
from serving.completion import complete_cells
from serving.home_scorer import HomeScorer
from tests.experts.made import ONTOLOGY
from tests.experts.test_classification import categorised, learnable
from tests.serving.fakes import FakeScorer


def joined():
    """Return a fake model with a classifier beside it."""
    fitted = fit_classifier("fake", ONTOLOGY, learnable(categorised()))
    classifier = fitted.classifier
    classifier.calibration = calibrate_classifier(fitted)
    model = FakeScorer()
    home = Ontology([*model.ontology.properties.values()])
    return model, classifier, CategorizingScorer(HomeScorer(model, home), classifier, home)


def test_each_cell_goes_to_its_own_scorer_whatever_the_order():
    model, classifier, scorer = joined()
    items = [
        ItemInput("a", title="red mug"),
        ItemInput("b", title="blue lamp", category=("Known", "Path")),
        ItemInput("c", title="Green chair Berg"),
    ]
    cells = [CellQuery(2, CATEGORY), CellQuery(0, "colour"), CellQuery(1, CATEGORY)]
    scores = scorer.score(scorer.encode(items), cells)
    (colour,) = model.score(model.encode(items[:1]), [CellQuery(0, "colour")])
    np.testing.assert_allclose(scores[1], colour)
    for place, item in ((0, items[2]), (2, items[1])):
        (alone,) = classifier.score(classifier.encode([item]), [CellQuery(0, CATEGORY)])
        np.testing.assert_allclose(scores[place], alone, rtol=1e-5)
    assert scorer.situation(items[0], cells[0]).startswith(PREFIX)


def test_the_model_is_spared_where_categories_alone_are_asked():
    model, _, scorer = joined()
    items = [ItemInput("a", title="Red mug Berg")]
    (completion,) = complete_cells(scorer, items, [Cell(0, CATEGORY)])
    assert completion.candidates[0].value == "Home > Cups"
    assert model.encode_calls == 0
    assert completion.evidence.modalities


def test_calibrations_are_one_with_situations_of_their_own():
    _, classifier, scorer = joined()
    own = classifier.calibration
    assert own is not None
    both = scorer.calibration
    assert both is not None
    assert set(both["proven"]) == {PREFIX + name for name in own["proven"]}
    model = {
        "version": 2,
        "cells": 7,
        "temperatures": {"global": 2.0, "situations": {"title": {}}},
        "proven": {"title": {}},
    }
    found = joined_calibration(model, own)
    assert found is not None
    assert (found["cells"], found["temperatures"]["global"]) == (7, 2.0)
    assert found["proven"]["title"] == {}
    assert len(found["proven"]) == 1 + len(own["proven"])
    former = {"version": 1, "curves": {}}
    assert joined_calibration(former, own) == former
