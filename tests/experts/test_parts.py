"""Descriptions and categories beside titles, images and statements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experts import FittedExperts, fit_experts
from experts.folder import load_experts, save_experts
from experts.situations import CategoryState, Situation, TitleState
from experts.variants import CategoryVariant, variants
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.modalities import NETWORK_MODALITIES, Modality
from serving.cells import Cell
from serving.completion import complete_cells
from tests.experts.made import COLOURS, KINDS, ONTOLOGY, labelled, made_items
from tests.experts.test_ensemble import answer

WORDS = {"mug": "for hot drinks", "lamp": "with a long cable", "chair": "to sit on"}


def told(items: list[ItemInput]) -> list[ItemInput]:
    """Add a description that paraphrases the kind, and a category that may be its name."""
    told = []
    for number, item in enumerate(items):
        kind = dict(item.known)["kind"]
        path = ("Home", "Bright" if dict(item.known)["colour"] == "red" else "Dark", kind.title())
        description = None if number % 4 == 0 else f"{WORDS[kind]}, number {number}"
        told.append(replace(item, description=description, category=path))
    return told


@pytest.fixture(scope="module")
def fitted() -> FittedExperts:
    items = told(made_items(90))
    learned = replace(
        labelled(items),
        descriptions=[item.description for item in items],
        categories=[item.category for item in items],
    )
    return fit_experts("experts-1", ONTOLOGY, learned)


def test_each_part_tells_what_it_knows(fitted: FittedExperts) -> None:
    described = ItemInput("x", description="to sit on, number 5")
    assert answer(fitted, described, "kind")[0] == "chair"
    of_category = ItemInput("x", category=("Home", "Bright"))
    assert answer(fitted, of_category, "colour")[0] == "red"


def test_a_category_that_says_a_value_settles_it(fitted: FittedExperts) -> None:
    value, probability = answer(fitted, ItemInput("x", category=("Home", "LAMP")), "kind")
    assert value == "lamp"
    assert probability > 0.8


def test_a_level_that_a_cell_may_not_use_does_not_count(fitted: FittedExperts) -> None:
    ensemble = fitted.ensemble
    encoded = ensemble.encode([ItemInput("x", category=("Home", "Dark", "Lamp"))])
    hidden = CellQuery(0, "kind", category=("Home", "Dark"))
    same = ensemble.encode([ItemInput("x", category=("Home", "Dark"))])
    np.testing.assert_array_equal(
        ensemble.score(encoded, [hidden])[0], ensemble.score(same, [CellQuery(0, "kind")])[0]
    )


def test_what_was_not_learned_is_not_read(fitted: FittedExperts) -> None:
    assert fitted.ensemble.modalities == frozenset(Modality)
    bare = fit_experts("bare", ONTOLOGY, labelled(made_items(30))).ensemble
    assert bare.modalities == NETWORK_MODALITIES
    assert not bare.reads_details
    item = ItemInput("x", title="Red mug", description="for hot drinks", category=("Mug",))
    assert bare.situation(item, CellQuery(0, "kind")) == "title(says)"


def test_situations_tell_what_is_there(fitted: FittedExperts) -> None:
    ensemble = fitted.ensemble
    item = ItemInput("x", title="Alda", description="red", category=("Home", "Mug"))
    assert ensemble.situation(item, CellQuery(0, "colour")) == "title(says)+description+category"
    assert (
        ensemble.situation(item, CellQuery(0, "kind")) == "title(others)+description+category(says)"
    )
    nowhere = ItemInput("x", category=("Nowhere",))
    assert ensemble.situation(nowhere, CellQuery(0, "kind")) == "nothing"


def test_items_with_a_title_alone_are_held_out_as_such(fitted: FittedExperts) -> None:
    situations = {situation for situation, _ in fitted.held_out}
    assert Situation(TitleState.SAYS, False, False) in situations
    assert Situation(TitleState.SAYS, False, False, True, CategoryState.THERE) in situations
    assert Situation(TitleState.ABSENT, False, False, True) in situations
    says = Situation(TitleState.ABSENT, False, False, False, CategoryState.SAYS)
    # No colour is a level.
    assert {name for situation, name in fitted.held_out if situation == says} == {"kind"}


def test_a_hidden_level_is_hidden_from_the_left_out_scores(fitted: FittedExperts) -> None:
    there = Situation(TitleState.ABSENT, False, False, False, CategoryState.THERE)
    cells = fitted.held_out[there, "kind"]
    right = cells.true[np.arange(len(cells.true)), cells.logits[:, : len(KINDS)].argmax(1)]
    # Bright and dark do not tell kinds apart.
    assert right.mean() < 0.6
    colours = fitted.held_out[there, "colour"]
    best = colours.logits[:, : len(COLOURS)].argmax(1)
    assert colours.true[np.arange(len(best)), best].mean() > 0.5


def test_evidence_tells_what_each_part_contributed(fitted: FittedExperts) -> None:
    item = ItemInput("x", description="number 5", category=("Home", "Chair"))
    (completion,) = complete_cells(fitted.ensemble, [item], [Cell(0, "kind")])
    evidence = completion.evidence.as_dict()
    assert completion.candidates[0].value == "chair"
    assert evidence["category"] > 0
    assert evidence["title"] is None
    assert evidence["category"] > evidence["description"]


def test_a_folder_has_descriptions_and_categories(fitted: FittedExperts, tmp_path: Path) -> None:
    save_experts(tmp_path / "m", fitted.ensemble, {"preset": "experts"})
    loaded = load_experts(tmp_path / "m")
    assert loaded.modalities == fitted.ensemble.modalities
    items = told(made_items(20, seed=3))
    cells = [CellQuery(place, "kind", item.known) for place, item in enumerate(items)]
    expected = fitted.ensemble.score(fitted.ensemble.encode(items), cells)
    found = loaded.score(loaded.encode(items), cells)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(np.exp(one), np.exp(other), atol=0.01)


def test_variants_differ_and_those_without_description_and_category_come_first() -> None:
    every = list(variants())
    assert len(set(every)) == len(every)
    shows_more = [each.shows_description or each.shows_category for each in every]
    assert shows_more == sorted(shows_more)
    whole = [each for each in every if each.category is CategoryVariant.WHOLE]
    assert 0 < len(whole) < len(every) / 3
