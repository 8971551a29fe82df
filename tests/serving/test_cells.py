from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import serving.cells
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery, situation_of
from serving.cells import probabilities, score_in_chunks

from .fakes import FakeScorer


@pytest.mark.parametrize(
    ("title", "image", "known", "situation"),
    [
        ("a mug", "a.jpg", (("kind", "mug"),), "title+image+known"),
        ("a mug", None, (("kind", "mug"),), "title+known"),
        (None, "a.jpg", (), "image"),
        ("", None, (), "nothing"),
    ],
)
def test_situations_keep_the_names_that_calibration_files_use(title, image, known, situation):
    item = ItemInput("1", title, image)
    assert situation_of(item, CellQuery(0, "colour", known)) == situation


def test_statements_count_only_if_the_cell_may_use_them():
    item = ItemInput("1", "a mug", None, (("kind", "mug"),))
    assert situation_of(item, CellQuery(0, "kind")) == "title"


def test_a_higher_temperature_makes_probabilities_more_equal():
    logits = np.array([2.0, 0.0])
    assert_allclose(probabilities(logits, 2.0), [np.e / (np.e + 1), 1 / (np.e + 1)])


def test_chunks_give_the_same_scores(monkeypatch):
    monkeypatch.setattr(serving.cells, "MAX_CELLS_PER_CALL", 2)
    scorer = FakeScorer()
    encoded = scorer.encode([ItemInput("1", "a red mug")])
    cells = [CellQuery(0, name) for name in ("colour", "kind", "holds", "colour", "kind")]
    assert_allclose(
        np.concatenate(score_in_chunks(scorer, encoded, cells)),
        np.concatenate(scorer.score(encoded, cells)),
    )
