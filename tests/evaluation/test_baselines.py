from __future__ import annotations

import numpy as np
import pytest

from evaluation.baselines import Classical, MostFrequent
from evaluation.completion import evaluate_completion
from evaluation.settings import Setting
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.errors import DataError
from schema.ontology import Ontology
from tests.serving.fakes import COLOURS, ONTOLOGY

SHADES = {"black": (0, 0, 0), "white": (255, 255, 255), "red": (220, 20, 20), "blue": (20, 20, 220)}


def image(colour: str, rng: np.random.Generator) -> np.ndarray:
    noise = rng.integers(-15, 15, (3, 32, 32))
    return np.clip(np.array(SHADES[colour])[:, None, None] + noise, 0, 255).astype(np.uint8)


def catalogue(count: int, seed: int = 0) -> list[ItemInput]:
    """Titles, images and a second property that each tell the colour."""
    rng = np.random.default_rng(seed)
    items = []
    for number in range(count):
        colour = COLOURS[rng.choice(4, p=[0.4, 0.3, 0.2, 0.1])]
        kind = "mug" if colour in ("black", "red") else "lamp"
        title = f"{colour} item no{number}"
        items.append(
            ItemInput(str(number), title, image(colour, rng), (("colour", colour), ("kind", kind)))
        )
    return items


def hits1(setting: Setting, property: str = "colour") -> float:
    scorer = Classical.train(ONTOLOGY, catalogue(80), setting)
    return (
        evaluate_completion(scorer, catalogue(30, 1), ONTOLOGY, setting, draws=2)
        .properties[property]["hits@1"]
        .value
    )


def test_most_frequent_ranks_by_training_counts_not_by_the_ontology():
    scorer = MostFrequent(ONTOLOGY, [ItemInput("1", known=(("colour", "blue"),))])
    (logits,) = scorer.score(None, [CellQuery(0, "colour")])
    assert ONTOLOGY.values_of("colour")[int(logits.argmax())] == "blue"


def test_most_frequent_hits_as_often_as_its_value_occurs():
    items = catalogue(200)
    share = np.mean([("colour", "black") in item.known for item in items])
    report = evaluate_completion(MostFrequent(ONTOLOGY, items), items, ONTOLOGY, Setting(), draws=2)
    assert report.properties["colour"]["hits@1"].value == pytest.approx(share)


@pytest.mark.parametrize(
    "setting",
    [Setting("full", False, "none"), Setting("none", True, "none"), Setting("full", True, "all")],
)
def test_classical_learns_from_titles_and_from_images(setting):
    assert hits1(setting) > 0.9


def test_classical_learns_from_known_statements():
    assert hits1(Setting("none", False, "all"), "kind") == 1


def test_classical_with_nothing_to_go_by_falls_back_on_the_most_frequent():
    blind = Classical.train(
        ONTOLOGY,
        [ItemInput(i.id, None, None, i.known) for i in catalogue(80)],
        Setting("none", False, "none"),
    )
    (logits,) = blind.score(blind.encode([ItemInput("x")]), [CellQuery(0, "colour")])
    assert int(logits.argmax()) == 0


def test_classical_never_reads_the_asked_property():
    scorer = Classical.train(ONTOLOGY, catalogue(80), Setting("none", False, "all"))
    encoded = scorer.encode([ItemInput("x")])
    told, untold = scorer.score(
        encoded, [CellQuery(0, "colour", (("colour", "blue"),)), CellQuery(0, "colour")]
    )
    assert np.array_equal(told, untold)


def test_classical_gives_probabilities_over_the_whole_vocabulary():
    scorer = Classical.train(
        ONTOLOGY,
        [i for i in catalogue(80) if ("colour", "blue") not in i.known],
        Setting("full", False, "none"),
    )
    (logits,) = scorer.score(
        scorer.encode([ItemInput("x", "a blue item")]), [CellQuery(0, "colour")]
    )
    assert np.exp(logits).sum() == pytest.approx(1, abs=1e-5)
    assert logits[COLOURS.index("blue")] < -20


def test_classical_answers_properties_of_one_value_and_of_none():
    items = [
        ItemInput(
            str(n), f"tea mug {n}", None, (("holds", "tea"), ("kind", ("mug", "lamp")[n % 2]))
        )
        for n in range(6)
    ]
    scorer = Classical.train(ONTOLOGY, items, Setting("full", False, "none"))
    holds, colour = scorer.score(
        scorer.encode(items[:1]), [CellQuery(0, "holds"), CellQuery(0, "colour")]
    )
    assert holds.tolist() == [0]
    assert len(set(colour.tolist())) == 1


def test_classical_reads_images_from_files_through_the_reader():
    rng = np.random.default_rng(0)
    items = [
        ItemInput(i.id, None, f"{dict(i.known)['colour']}.jpg", i.known) for i in catalogue(60)
    ]
    setting = Setting("none", True, "none")
    scorer = Classical.train(
        ONTOLOGY,
        items,
        setting,
        read_pixels=lambda path, size: np.tile(image(path.stem, rng), (1, 2, 2)),
    )
    assert (
        evaluate_completion(scorer, items[:10], ONTOLOGY, setting, draws=2)
        .properties["colour"]["hits@1"]
        .value
        == 1
    )


def test_classical_takes_titles_without_words():
    items = [ItemInput(str(n), "!!!", None, (("kind", ("mug", "lamp")[n % 2]),)) for n in range(4)]
    assert Classical.train(ONTOLOGY, items, Setting()).encode(items).shown.shape[0] == 4


def test_classical_without_statements_is_refused():
    with pytest.raises(DataError, match="none of the 1 training items"):
        Classical.train(Ontology(), [ItemInput("1", "x")], Setting())
