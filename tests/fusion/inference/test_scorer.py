from contextlib import nullcontext

import numpy as np
import pytest
import torch

import fusion.inference.scorer
from fusion.checkpoint import ModelFolder, save_pretrained
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery, CellScorer
from schema.dtypes import Dtype
from schema.errors import ModelError, PropertyNotFoundError
from tests.fusion.conftest import TINY


@pytest.fixture
def scorer(tmp_path, model, tokenizer, ontology):
    save_pretrained(tmp_path / "m", TINY, tokenizer, ontology, model.state_dict(), {})
    return CellScorer(ModelFolder(tmp_path / "m"))


def test_logits_are_over_the_values_of_the_property(scorer, items):
    scores = scorer.score(scorer.encode(items), [CellQuery(0, "colour"), CellQuery(2, "kind")])
    assert [len(logits) for logits in scores] == [3, 2]
    assert all(np.isfinite(logits).all() for logits in scores)


@pytest.mark.parametrize("known", [(("colour", "red"),), (("kind", "spaceship"), ("nothing", "x"))])
def test_the_cells_own_property_and_unknown_statements_are_ignored(scorer, items, known):
    encoded = scorer.encode(items)
    (expected,) = scorer.score(encoded, [CellQuery(0, "colour")])
    (actual,) = scorer.score(encoded, [CellQuery(0, "colour", known)])
    np.testing.assert_array_equal(actual, expected)


def test_scores_come_in_the_order_of_the_cells_whatever_the_batches(scorer, items, monkeypatch):
    cells = [
        CellQuery(3, "kind"),
        CellQuery(0, "colour"),
        CellQuery(2, "kind"),
        CellQuery(1, "colour"),
    ]
    in_one_batch = scorer.score(scorer.encode(items), cells)
    monkeypatch.setattr(fusion.inference.scorer, "ENCODE_BATCH", 3)
    monkeypatch.setattr(fusion.inference.scorer, "SCORE_BATCH", 2)
    in_batches = scorer.score(scorer.encode(items), cells)
    for expected, actual in zip(in_one_batch, in_batches, strict=True):
        np.testing.assert_allclose(actual, expected, atol=0.02)


def test_it_computes_in_the_type_that_is_asked_for(scorer, items, monkeypatch):
    exact = CellScorer(scorer._folder, dtype=Dtype.FP32)
    cells = [CellQuery(0, "colour"), CellQuery(2, "kind")]
    logits = exact.score(exact.encode(items), cells)
    assert exact.encode(items).batches[0].node.dtype == torch.float32
    monkeypatch.setattr(scorer, "autocast", nullcontext)
    without = scorer.score(scorer.encode(items), cells)
    for one, other in zip(logits, without, strict=True):
        np.testing.assert_array_equal(one, other)
    monkeypatch.undo()
    halved = scorer.score(scorer.encode(items), cells)
    assert any((one != other).any() for one, other in zip(logits, halved, strict=True))
    more = {"colour": ["teal"]}
    assert exact.with_values(more).dtype is Dtype.FP32
    assert scorer.with_values(more).dtype is Dtype.BF16


def test_an_unknown_property_is_refused(scorer, items):
    with pytest.raises(PropertyNotFoundError, match="'size'"):
        scorer.score(scorer.encode(items), [CellQuery(0, "size")])


def test_images_of_another_size_are_refused(scorer):
    with pytest.raises(ModelError, match=r"\(3, 8, 8\) do not fit"):
        scorer.encode([ItemInput("a", image=np.zeros((3, 8, 8), np.uint8))])
