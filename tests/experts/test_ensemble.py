"""Experts on a made-up catalogue: what they know, what they leave out, and their folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from experts import FittedExperts, fit_experts
from experts.ensemble import EXPERTS, Part
from experts.fitting import ExpertFitting
from experts.folder import has_experts, load_experts, save_experts
from experts.situations import Situation, TitleState
from experts.variants import LEARNED
from fusion.checkpoint import write_files
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.errors import ModelError, PropertyNotFoundError, TrainingError
from schema.manifests import EXPERT_FILE
from schema.modalities import Modality
from schema.ontology import Ontology, PropertySpec
from tests.experts.made import COLOURS, KINDS, ONTOLOGY, labelled, made_items


@pytest.fixture(scope="module")
def fitted() -> FittedExperts:
    return fit_experts("experts-1", ONTOLOGY, labelled(made_items()))


def answer(fitted: FittedExperts, item: ItemInput, property: str) -> tuple[str, float]:
    """Return the best value and its probability."""
    ensemble = fitted.ensemble
    known = tuple(each for each in item.known if each[0] != property)
    (logits,) = ensemble.score(ensemble.encode([item]), [CellQuery(0, property, known)])
    probability = softmax(logits.astype(np.float64))
    # The last one is that of a value that the ensemble does not know.
    best = int(probability[:-1].argmax())
    return ensemble.ontology.values_of(property)[best], float(probability[best])


def test_each_part_tells_what_it_knows(fitted: FittedExperts) -> None:
    blue = next(
        item
        for item in made_items(30, seed=5)
        if ("colour", "blue") in item.known and item.image is not None
    )
    assert answer(fitted, ItemInput("x", title="Blue mug Alda"), "colour")[0] == "blue"
    assert answer(fitted, ItemInput("x", title="Blue mug Alda"), "kind")[0] == "mug"
    assert answer(fitted, ItemInput("x", image=blue.image), "colour")[0] == "blue"
    assert answer(fitted, ItemInput("x", known=(("room", "office"),)), "kind")[0] == "chair"


def test_with_nothing_known_the_frequencies_answer(fitted: FittedExperts) -> None:
    _, probability = answer(fitted, ItemInput("x"), "colour")
    assert probability == pytest.approx(1 / 3, rel=0.03)


def test_a_cells_own_statement_is_not_used(fitted: FittedExperts) -> None:
    ensemble = fitted.ensemble
    item = ItemInput("x", title="Alda 3")
    encoded = ensemble.encode([item])
    told = CellQuery(0, "colour", (("colour", "blue"),))
    np.testing.assert_array_equal(
        ensemble.score(encoded, [told])[0], ensemble.score(encoded, [CellQuery(0, "colour")])[0]
    )


def test_scores_do_not_depend_on_what_is_scored_beside(fitted: FittedExperts) -> None:
    ensemble = fitted.ensemble
    items = made_items(12, seed=2)
    cells = [
        CellQuery(place, name, item.known)
        for place, item in enumerate(items)
        for name in ("room", "colour")
    ]
    together = ensemble.score(ensemble.encode(items), cells)
    for cell, row in zip(cells, together, strict=True):
        (alone,) = ensemble.score(ensemble.encode([items[cell.item]]), [replace(cell, item=0)])
        np.testing.assert_allclose(row, alone, rtol=1e-4, atol=1e-4)


def test_unknown_properties_are_refused_by_name(fitted: FittedExperts) -> None:
    ensemble = fitted.ensemble
    with pytest.raises(PropertyNotFoundError, match="'ean'"):
        ensemble.score(ensemble.encode([ItemInput("x")]), [CellQuery(0, "ean")])


def test_an_image_that_cannot_be_read_is_a_missing_one(fitted: FittedExperts) -> None:
    fitted.ensemble.read_pixels = lambda path, size: None
    item = ItemInput("x", title="Blue mug", image=Path("gone.jpg"))
    without = item.without(Modality.IMAGE)
    assert answer(fitted, item, "colour") == answer(fitted, without, "colour")


def test_left_out_scores_are_those_of_experts_that_never_saw_the_item() -> None:
    items = made_items(30)
    every = labelled(items)
    fitting = ExpertFitting(ONTOLOGY, every)
    labels = fitting.labels["colour"]
    fitting.fit()
    # The kernels stay, whose n-grams and bandwidths the items share; only the label is taken away.
    place = 11
    hidden = list(every.known)
    hidden[place] = tuple(each for each in hidden[place] if each[0] != "colour")
    without = ExpertFitting(ONTOLOGY, replace(every, known=hidden))
    without.fit()
    expert = next(each for each in EXPERTS if each.parts == (Part.TITLE, Part.IMAGE))
    learned = without.learned[expert, "colour"]
    kernels = without.compared.kernels
    rows = kernels.title.rows([every.titles[place]])
    rows = rows + kernels.image.rows(every.images.select(np.array([place])))
    expected = rows @ learned.coefficients + learned.mean

    found = labels.scores[expert, LEARNED.seen_by(expert)][place]
    # The mean of the targets has the item in one case and not in the other.
    np.testing.assert_allclose(found, expected[0], atol=0.05)


def test_held_out_cells_are_of_labelled_items_in_every_situation(fitted: FittedExperts) -> None:
    situations = {situation for situation, _ in fitted.held_out}
    assert Situation(TitleState.SAYS, True, True) in situations
    assert Situation(TitleState.BARE, False, False) in situations
    assert Situation(TitleState.ABSENT, True, False) in situations
    for (situation, property), cells in fitted.held_out.items():
        assert cells.true.any(1).all()
        assert np.isfinite(cells.logits).all()
        assert set(np.unique(cells.fold)) <= {0, 1}
        if situation.title is TitleState.SAYS:
            assert property != "room"
        total = np.exp(cells.logits.astype(np.float64)).sum(1)
        np.testing.assert_allclose(total, 1, atol=1e-3)


def test_a_seed_decides_everything() -> None:
    items = labelled(made_items(30))
    one = fit_experts("x", ONTOLOGY, items, seed=3)
    other = fit_experts("x", ONTOLOGY, items, seed=3)
    for key, cells in one.held_out.items():
        np.testing.assert_array_equal(cells.logits, other.held_out[key].logits)


def test_landmarks_when_there_are_many_items(monkeypatch: pytest.MonkeyPatch) -> None:
    import experts.compared_items

    monkeypatch.setattr(experts.compared_items, "MAX_EXACT", 40)
    monkeypatch.setattr(experts.compared_items, "LANDMARKS", 30)
    monkeypatch.setattr(experts.compared_items, "MAX_ITEMS", 50)
    fitted = fit_experts("x", ONTOLOGY, labelled(made_items(60)))
    assert fitted.ensemble.kernels.landmarks == 30
    assert len(fitted.items) == 50
    assert answer(fitted, ItemInput("x", title="Blue mug Alda"), "colour")[0] == "blue"


def test_of_many_values_fewer_items_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    import experts.labels

    items = labelled(made_items(60))
    every = fit_experts("x", ONTOLOGY, items)
    monkeypatch.setattr(experts.labels, "MAX_LEFT_OUT", 1)
    monkeypatch.setattr(experts.labels, "LEAST_ASKED", 20)
    fewer = fit_experts("x", ONTOLOGY, items)
    assert max(len(cells.item) for cells in every.held_out.values()) > 20
    # All properties are asked of the same ones, which saves comparisons.
    asked = np.unique(np.concatenate([cells.item for cells in fewer.held_out.values()]))
    assert len(asked) == 20
    # They only tell how far to trust experts, which have learned from all items nevertheless.
    for key, learned in every.ensemble.learned.items():
        np.testing.assert_array_equal(
            learned.coefficients, fewer.ensemble.learned[key].coefficients
        )


@pytest.mark.parametrize("modality", list(Modality))
def test_catalogues_that_lack_a_modality(modality: Modality) -> None:
    items = [item.without(modality) for item in made_items(30)]
    if modality is Modality.STATEMENTS:
        items = [replace(item, known=(("kind", KINDS[n % 3]),)) for n, item in enumerate(items)]
    fitted = fit_experts("x", ONTOLOGY, labelled(items))
    value, probability = answer(fitted, made_items(1, seed=1)[0], "kind")
    assert value in KINDS
    assert 0 < probability <= 1


def test_properties_of_one_value_and_of_many() -> None:
    ontology = Ontology(
        [
            PropertySpec("kind", values=KINDS, counts=(20, 20, 20)),
            PropertySpec("maker", values=("Acme",), counts=(60,)),
            PropertySpec("code", values=tuple(f"c{n}" for n in range(60)), counts=(1,) * 60),
        ]
    )
    items = [
        replace(item, known=(*item.known, ("maker", "Acme"), ("code", f"c{number}")))
        for number, item in enumerate(made_items(60))
    ]
    fitted = fit_experts("x", ontology, labelled(items))
    value, probability = answer(fitted, ItemInput("x", title="Red mug"), "maker")
    assert value == "Acme"
    assert probability > 0.97
    # Nothing tells the codes apart, and the probability says so.
    assert answer(fitted, ItemInput("x", title="Red mug"), "code")[1] < 0.3


def test_one_item_is_enough_to_begin_with() -> None:
    fitted = fit_experts("x", ONTOLOGY, labelled(made_items(2)[1:]))
    assert answer(fitted, ItemInput("x", title="Red mug"), "colour")[0] in COLOURS


def test_nothing_to_learn_from_is_said() -> None:
    items = [replace(item, known=()) for item in made_items(5)]
    with pytest.raises(TrainingError, match="none of the 5 items has a value"):
        fit_experts("x", ONTOLOGY, labelled(items))


def test_a_folder_gives_the_same_scores(fitted: FittedExperts, tmp_path: Path) -> None:
    folder = tmp_path / "experts-1"
    save_experts(folder, fitted.ensemble, {"preset": "experts"}, {"version": 1})
    assert has_experts(folder)
    again = load_experts(folder)
    assert again.name == "experts-1"
    assert again.calibration == {"version": 1}
    items = made_items(9, seed=4)
    cells = [CellQuery(place, "colour", item.known) for place, item in enumerate(items)]
    ensemble = fitted.ensemble
    for one, other in zip(
        ensemble.score(ensemble.encode(items), cells),
        again.score(again.encode(items), cells),
        strict=True,
    ):
        # Half precision, which weighs more on 60 items than on a catalogue.
        np.testing.assert_allclose(softmax(other), softmax(one), atol=0.03)


def test_a_folder_that_does_not_fit_is_refused(fitted: FittedExperts, tmp_path: Path) -> None:
    from safetensors.numpy import load, save

    folder = tmp_path / "experts-1"
    save_experts(folder, fitted.ensemble, {})
    arrays = load((folder / EXPERT_FILE).read_bytes())
    for name in ("experts.title.0.mean", "kernels.title.0.idf", "kernels.statements.indptr"):
        write_files(folder, {EXPERT_FILE: save({**arrays, name: arrays[name][:-1]})})
        with pytest.raises(ModelError, match="cannot be opened"):
            load_experts(folder)
    (folder / EXPERT_FILE).write_bytes(b"")
    with pytest.raises(ModelError, match="damaged"):
        load_experts(folder)
