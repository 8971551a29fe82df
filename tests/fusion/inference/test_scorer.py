import numpy as np
import pytest

import fusion.inference.scorer
from fusion.checkpoint import ModelFolder, save_pretrained
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery, CellScorer
from schema.errors import ModelError, PropertyNotFoundError
from tests.fusion.conftest import TINY


@pytest.fixture
def scorer(tmp_path, model, tokenizer, ontology):
    save_pretrained(tmp_path / "m", TINY, tokenizer, ontology, model.state_dict(), {})
    return CellScorer(ModelFolder(tmp_path / "m"))


def test_logits_are_over_the_propertys_values(scorer, items):
    scores = scorer.score(scorer.encode(items), [CellQuery(0, "colour"), CellQuery(2, "kind")])
    assert [len(s) for s in scores] == [3, 2]
    assert all(np.isfinite(s).all() for s in scores)


def test_the_cells_own_property_is_never_known(scorer, items):
    encoded = scorer.encode(items)
    plain = scorer.score(encoded, [CellQuery(0, "colour")])
    told = scorer.score(encoded, [CellQuery(0, "colour", (("colour", "red"),))])
    np.testing.assert_array_equal(plain[0], told[0])


def test_unknown_statements_are_passed_over(scorer, items):
    encoded = scorer.encode(items)
    plain = scorer.score(encoded, [CellQuery(0, "colour")])
    told = scorer.score(
        encoded, [CellQuery(0, "colour", (("kind", "spaceship"), ("nothing", "x")))]
    )
    np.testing.assert_array_equal(plain[0], told[0])


def test_answers_come_in_the_order_of_the_questions(scorer, items, monkeypatch):
    cells = [
        CellQuery(3, "kind"),
        CellQuery(0, "colour"),
        CellQuery(2, "kind"),
        CellQuery(1, "colour"),
    ]
    whole = scorer.score(scorer.encode(items), cells)
    monkeypatch.setattr(fusion.inference.scorer, "ENCODE_BATCH", 3)
    for one, other in zip(whole, scorer.score(scorer.encode(items), cells), strict=True):
        np.testing.assert_allclose(one, other, atol=0.02)


def test_an_unknown_property_is_named(scorer, items):
    with pytest.raises(PropertyNotFoundError, match="'size'"):
        scorer.score(scorer.encode(items), [CellQuery(0, "size")])


def test_images_of_another_size_are_refused(scorer):
    with pytest.raises(ModelError, match=r"\(3, 8, 8\) do not fit"):
        scorer.encode([ItemInput("a", image=np.zeros((3, 8, 8), np.uint8))])
