from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evaluation.baselines import Classical, MostFrequent
from evaluation.completion import evaluate_completion
from evaluation.settings import Setting
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.errors import DataError
from schema.ontology import Ontology
from serving.cells import Scorer
from tests.serving.fakes import COLOURS, ONTOLOGY

RGB = {"black": (0, 0, 0), "white": (255, 255, 255), "red": (220, 20, 20), "blue": (20, 20, 220)}
TITLE_ONLY = Setting("full", "no", "none")
IMAGE_ONLY = Setting("none", "yes", "none")


def draw_image(colour: str, rng: np.random.Generator) -> np.ndarray:
    noise = rng.integers(-15, 15, (3, 32, 32))
    return np.clip(np.array(RGB[colour])[:, None, None] + noise, 0, 255).astype(np.uint8)


def catalogue(count: int, seed: int = 0) -> list[ItemInput]:
    """Items whose title, image and kind each give away the colour."""
    rng = np.random.default_rng(seed)
    items = []
    for number in range(count):
        colour = COLOURS[rng.choice(4, p=[0.4, 0.3, 0.2, 0.1])]
        kind = "mug" if colour in ("black", "red") else "lamp"
        title = f"{colour} item no{number}"
        known = (("colour", colour), ("kind", kind))
        items.append(ItemInput(str(number), title, draw_image(colour, rng), known))
    return items


def hits(
    scorer: Scorer, items: list[ItemInput], setting: Setting, property: str = "colour"
) -> float:
    report = evaluate_completion(scorer, items, ONTOLOGY, setting, resamples=2)
    return report.properties[property]["hits@1"].value


def test_most_frequent_counts_the_training_items_and_not_the_ontology():
    scorer = MostFrequent(ONTOLOGY, [ItemInput("1", known=(("colour", "blue"),))])
    (logits,) = scorer.score(None, [CellQuery(0, "colour")])
    assert ONTOLOGY.values_of("colour")[int(logits.argmax())] == "blue"


def test_most_frequent_is_right_as_often_as_its_value_occurs():
    items = catalogue(200)
    share = np.mean([("colour", "black") in item.known for item in items])
    assert hits(MostFrequent(ONTOLOGY, items), items, Setting()) == pytest.approx(share)


@pytest.mark.parametrize("setting", [TITLE_ONLY, IMAGE_ONLY, Setting("full", "yes", "all")])
def test_classical_learns_from_titles_and_from_images(setting):
    scorer = Classical.train(ONTOLOGY, catalogue(80), setting)
    assert hits(scorer, catalogue(30, 1), setting) > 0.9


def test_classical_learns_from_known_statements():
    setting = Setting("none", "no", "all")
    scorer = Classical.train(ONTOLOGY, catalogue(80), setting)
    assert hits(scorer, catalogue(30, 1), setting, "kind") == 1


def test_classical_without_any_feature_predicts_the_most_frequent_value():
    bare = [ItemInput(item.id, known=item.known) for item in catalogue(80)]
    scorer = Classical.train(ONTOLOGY, bare, Setting("none", "no", "none"))
    (logits,) = scorer.score(scorer.encode([ItemInput("x")]), [CellQuery(0, "colour")])
    assert int(logits.argmax()) == 0


def test_classical_never_reads_the_predicted_property():
    scorer = Classical.train(ONTOLOGY, catalogue(80), Setting("none", "no", "all"))
    encoded = scorer.encode([ItemInput("x")])
    with_value, without = scorer.score(
        encoded, [CellQuery(0, "colour", (("colour", "blue"),)), CellQuery(0, "colour")]
    )
    assert np.array_equal(with_value, without)


def test_classical_gives_probabilities_over_the_whole_vocabulary():
    without_blue = [item for item in catalogue(80) if ("colour", "blue") not in item.known]
    scorer = Classical.train(ONTOLOGY, without_blue, TITLE_ONLY)
    encoded = scorer.encode([ItemInput("x", "a blue item")])
    (logits,) = scorer.score(encoded, [CellQuery(0, "colour")])
    assert np.exp(logits).sum() == pytest.approx(1, abs=1e-5)
    assert logits[COLOURS.index("blue")] < -20


def test_classical_completes_properties_with_one_value_and_with_none():
    items = []
    for number in range(6):
        known = (("holds", "tea"), ("kind", ("mug", "lamp")[number % 2]))
        items.append(ItemInput(str(number), f"tea mug {number}", None, known))
    scorer = Classical.train(ONTOLOGY, items, TITLE_ONLY)
    encoded = scorer.encode(items[:1])
    holds, colour = scorer.score(encoded, [CellQuery(0, "holds"), CellQuery(0, "colour")])
    assert holds.tolist() == [0]
    assert len(set(colour.tolist())) == 1


def test_classical_refuses_image_files():
    items = [replace(item, image="a.jpg") for item in catalogue(10)]
    with pytest.raises(DataError, match=r"a\.jpg is not pixels"):
        Classical.train(ONTOLOGY, items, IMAGE_ONLY)


def test_classical_accepts_titles_without_words():
    items = [
        ItemInput(str(number), "!!!", None, (("kind", ("mug", "lamp")[number % 2]),))
        for number in range(4)
    ]
    assert Classical.train(ONTOLOGY, items, Setting()).encode(items).matrix.shape[0] == 4


def test_classical_needs_statements_to_train_on():
    with pytest.raises(DataError, match="none of the 1 training items"):
        Classical.train(Ontology(), [ItemInput("1", "x")], Setting())
