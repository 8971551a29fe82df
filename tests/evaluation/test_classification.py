"""Classification is measured: what is hidden, macro-F1, levels, and paired differences."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from evaluation.classification import (
    MACRO_F1,
    TOP_1,
    classification_words,
    compare_classification,
    evaluate_classification,
    hidden,
    is_right,
    macro_f1,
)
from evaluation.settings import Setting
from fusion.inference.featurizer import ItemInput
from schema.errors import DataError
from schema.ontology import Ontology, PropertySpec
from schema.terms import CATEGORY
from tests.serving.fakes import FakeScorer

PATHS = ("Home > mug", "Home > lamp", "Toys > doll")
ONTOLOGY = Ontology([PropertySpec(CATEGORY, values=PATHS, counts=(3, 2, 1), learn=True)])
TEXT = Setting("full", "no", "none")


class LastLevelScorer(FakeScorer):
    """Says the path whose last level is a word of the title, or else the first."""

    def score(self, encoded, cells):
        rows = []
        for cell in cells:
            words = (encoded[cell.item].title or "").split()
            rows.append(
                np.array([4.0 * (path.split(" > ")[-1] in words) for path in PATHS], np.float32)
            )
        return rows

    def encode(self, items):
        return items


def item(number, title, *levels, known=()):
    return ItemInput(str(number), title=title, category=levels, known=known)


ITEMS = [
    item(0, "a mug", "Home", "mug"),
    item(1, "a lamp", "Home", "lamp"),
    item(2, "a mug", "Home", "lamp"),
    item(3, "a mug", "Toys", "doll"),
    item(4, "a thing"),
]


def evaluated(scorer, **options):
    return evaluate_classification(
        scorer, ITEMS, TEXT, words=frozenset(), restating=(), resamples=200, **options
    )


def test_metrics_by_hand():
    report = evaluated(LastLevelScorer(ontology=ONTOLOGY))
    assert (report.items, report.without_category) == (4, 1)
    assert report.metrics[TOP_1].value == 0.5
    # F1 of mug 2/4, of lamp 2/3, of doll 0.
    assert report.metrics[MACRO_F1].value == pytest.approx((1 / 2 + 2 / 3) / 3)
    assert report.metrics["level 1"].value == 0.75
    assert report.metrics[TOP_1].low <= 0.5 <= report.metrics[TOP_1].high
    assert report.decisions == {}


def test_macro_f1_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    true, best = rng.integers(0, 6, (2, 50))
    weights = rng.integers(0, 3, 50).astype(float)
    expected = f1_score(true, best, average="macro", sample_weight=weights)
    assert macro_f1(true, best, weights) == pytest.approx(expected)


def test_differences_are_paired():
    model = evaluated(LastLevelScorer(ontology=ONTOLOGY))
    same = compare_classification(model, model)
    assert same.difference[TOP_1].as_dict() == {"value": 0.0, "low": 0.0, "high": 0.0}
    others = evaluate_classification(
        LastLevelScorer(ontology=ONTOLOGY), ITEMS[:2], TEXT, words=frozenset(), restating=()
    )
    with pytest.raises(DataError, match="not evaluated on the same items"):
        compare_classification(model, others)


def test_what_repeats_the_category_is_hidden():
    known = (("kind", "Mug"), ("section", "x"), ("colour", "red"))
    items = [item(0, "Home mug red", "Home", "mug", known=known)]
    words = classification_words(Ontology(), items)
    (shown,) = hidden(items, Setting("blind", "yes", "all"), words, {"section"})
    assert (shown.title, shown.category, shown.known) == ("red", (), (("colour", "red"),))
    (shown,) = hidden(items, TEXT, words, {"section"})
    assert (shown.title, shown.known) == ("Home mug red", ())


def test_items_without_any_category_are_refused():
    with pytest.raises(DataError, match="none of the 1 items has a category"):
        evaluate_classification(
            LastLevelScorer(ontology=ONTOLOGY), ITEMS[4:], TEXT, words=frozenset(), restating=()
        )


def test_a_parent_is_right_and_a_child_is_not():
    assert is_right("Home", "Home > mug")
    assert is_right("Home > mug", "Home > mug")
    assert not is_right("Home > mug", "Home")
    assert not is_right("Ho", "Home > mug")
