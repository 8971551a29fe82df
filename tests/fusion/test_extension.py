"""Values added to a trained model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fusion.build import build_model
from fusion.checkpoint import ModelFolder, save_pretrained
from fusion.inference.scorer import CellQuery, CellScorer
from tests.fusion.conftest import TINY

ADDED = {"colour": ("turquoise", "green", "dark red"), "nothing": ("x",)}
CELLS = [CellQuery(0, "colour"), CellQuery(0, "kind", (("colour", "red"),)), CellQuery(2, "colour")]


@pytest.fixture(params=["", "TransE"])
def scorer(request, tmp_path, tokenizer, ontology):
    torch.manual_seed(0)
    config = replace(TINY, interaction=request.param)
    model = build_model(config, tokenizer, ontology).eval()
    save_pretrained(tmp_path / "m", config, tokenizer, ontology, model.state_dict(), {})
    return CellScorer(ModelFolder(tmp_path / "m"))


def test_known_values_are_scored_as_before_and_added_ones_behind_them(scorer, items):
    extended = scorer.with_values(ADDED)
    values = ("red", "blue", "green", "turquoise", "dark red")
    assert extended.ontology.values_of("colour") == values
    assert extended.ontology["colour"].counts == (3, 2, 1, 0, 0)
    before = scorer.score(scorer.encode(items), CELLS)
    after = extended.score(extended.encode(items), CELLS)
    for old, new in zip(before, after, strict=True):
        np.testing.assert_allclose(new[: len(old)], old, atol=0.03)
    assert [len(each) for each in after] == [5, 2, 5]
    assert all(np.isfinite(each).all() for each in after)
    assert after[0][3] != after[0][4]


def test_the_scorer_itself_stays_as_it_is(scorer, items):
    (before,) = scorer.score(scorer.encode(items), CELLS[:1])
    scorer.with_values(ADDED)
    (after,) = scorer.score(scorer.encode(items), CELLS[:1])
    np.testing.assert_array_equal(after, before)
    assert scorer.ontology.values_of("colour") == ("red", "blue", "green")


def test_an_added_value_is_read_where_it_is_known(scorer, items):
    extended = scorer.with_values(ADDED)
    encoded = extended.encode(items)
    without, with_it = extended.score(
        encoded, [CellQuery(0, "kind"), CellQuery(0, "kind", (("colour", "turquoise"),))]
    )
    assert not np.array_equal(without, with_it)
