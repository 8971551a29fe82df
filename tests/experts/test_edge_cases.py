"""Catalogues in which something is missing, alone, the same or too much: still probabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import experts.compared_items
import experts.fitting
import experts.labels
from experts import FittedExperts, fit_experts
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.ontology import Ontology, PropertySpec
from tests.experts.made import COLOURS, KINDS, ONTOLOGY, labelled, made_items

QUESTIONS = [
    ItemInput("title", title="Blue mug Alda"),
    ItemInput("foreign", title="Ωμέγα 漢字 🙂"),
    ItemInput("spaces", title=" .,- "),
    ItemInput("image", image=made_items(2)[1].image),
    ItemInput("known", known=(("kind", "mug"), ("room", "kitchen"))),
    ItemInput("strange", known=(("kind", "unheard of"), ("unknown", "x"))),
    replace(made_items(2)[1], known=(("kind", "mug"), ("room", "kitchen"))),
    ItemInput("nothing"),
]


def answers(fitted: FittedExperts, property: str) -> list[np.ndarray]:
    """Return the probabilities of a property's values for each of the questions, checked."""
    ensemble = fitted.ensemble
    cells = [CellQuery(place, property, item.known) for place, item in enumerate(QUESTIONS)]
    found = []
    for logits in ensemble.score(ensemble.encode(QUESTIONS), cells):
        probabilities = np.exp(logits.astype(np.float64))
        assert np.isfinite(probabilities).all()
        assert probabilities.sum() == pytest.approx(1, abs=2e-3)
        found.append(probabilities)
    return found


def fit(items: list[ItemInput], ontology: Ontology = ONTOLOGY) -> FittedExperts:
    """Fit experts; check all that they say of items left out, and of the questions."""
    fitted = fit_experts("x", ontology, labelled(items))
    for cells in fitted.held_out.values():
        np.testing.assert_allclose(np.exp(cells.logits.astype(np.float64)).sum(1), 1, atol=2e-3)
    for property in ontology.learned():
        answers(fitted, property)
    return fitted


def without_titles_of_a_property(items: list[ItemInput]) -> list[ItemInput]:
    """Return items of which those with a colour have no title."""
    return [
        replace(item, title=None)
        if number % 2
        else replace(item, known=tuple(each for each in item.known if each[0] != "colour"))
        for number, item in enumerate(items)
    ]


Change = Callable[[list[ItemInput]], list[ItemInput]]
CHANGES: dict[str, Change] = {
    "no titles": lambda items: [replace(item, title=None) for item in items],
    "no images": lambda items: [replace(item, image=None) for item in items],
    "statements alone": lambda items: [replace(item, title=None, image=None) for item in items],
    "no statement": lambda items: [
        item if number % 3 else replace(item, known=()) for number, item in enumerate(items)
    ],
    "one property": lambda items: [replace(item, known=item.known[:1]) for item in items],
    "labelled without title": without_titles_of_a_property,
    "duplicates": lambda items: [replace(items[1], id=item.id) for item in items],
    "same title": lambda items: [replace(item, title="Blue mug") for item in items],
    "titles without words": lambda items: [replace(item, title="…!") for item in items],
    "values alone as titles": lambda items: [
        replace(item, title=" ".join(value for _, value in item.known)) for item in items
    ],
    "long titles": lambda items: [
        item if number % 8 else replace(item, title="Blue mug of 20 litres, " * 450)
        for number, item in enumerate(items)
    ],
}


@pytest.mark.parametrize("landmarks", [None, 8])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_catalogues_that_lack_something(
    change: Change, landmarks: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if landmarks is not None:
        monkeypatch.setattr(experts.compared_items, "MAX_EXACT", 10)
        monkeypatch.setattr(experts.compared_items, "LANDMARKS", landmarks)
    fit(change(made_items(24)))


def test_a_value_that_nearly_all_have() -> None:
    items = [
        replace(item, known=(("colour", "red" if number else "blue"), item.known[0]))
        for number, item in enumerate(made_items(60))
    ]
    ontology = Ontology(
        [
            PropertySpec("colour", values=("red", "blue"), counts=(59, 1)),
            PropertySpec("kind", values=KINDS, counts=(20, 20, 20)),
        ]
    )
    fitted = fit(items, ontology)
    for probabilities in answers(fitted, "colour"):
        assert probabilities[0] > 0.8


def test_values_of_the_same_words() -> None:
    ontology = Ontology(
        [
            PropertySpec("colour", values=("dark blue", "blue dark"), counts=(12, 12)),
            PropertySpec("kind", values=KINDS, counts=(8, 8, 8)),
        ]
    )
    items = [
        replace(item, known=(item.known[0], ("colour", ontology["colour"].values[number % 2])))
        for number, item in enumerate(made_items(24))
    ]
    fit(items, ontology)


def test_left_out_scores_of_a_property_of_many_values_are_a_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(experts.labels, "MAX_LEFT_OUT", 30)
    monkeypatch.setattr(experts.labels, "LEAST_ASKED", 10)
    fitted = fit(made_items(90))
    asked = {
        name: np.unique(
            np.concatenate([each.item for (_, own), each in fitted.held_out.items() if own == name])
        )
        for name in ("colour", "kind")
    }
    assert all(10 <= len(items) < 90 for items in asked.values())
    # Everything is learned from all the same.
    learned = next(iter(fitted.ensemble.learned.values()))
    assert (np.abs(learned.coefficients).sum(1) > 0).sum() > 60


def test_few_experts_learn_a_property_of_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experts.fitting, "MAX_COEFFICIENTS", 30 * 3 - 1)
    fitted = fit(made_items(30))
    assert {expert for expert, _ in fitted.ensemble.learned} <= experts.fitting.FEW_EXPERTS
    colours = answers(fitted, "colour")[0]
    assert ONTOLOGY["colour"].values[int(colours.argmax())] == "blue"


WORDS = [*KINDS, *COLOURS, "Alda", "Berg", "7"]


@st.composite
def catalogues(draw: st.DrawFn) -> list[ItemInput]:
    """Draw some items of few words and statements."""
    items = []
    for number in range(draw(st.integers(1, 9))):
        known = [
            (name, draw(st.sampled_from(values)))
            for name, values in (("kind", KINDS), ("colour", tuple(COLOURS)))
            if draw(st.booleans())
        ]
        title = " ".join(draw(st.lists(st.sampled_from(WORDS), max_size=4)))
        items.append(ItemInput(f"I{number}", title=title or None, known=tuple(known)))
    items[0] = replace(items[0], known=(("kind", "mug"),))
    return items


@settings(max_examples=12, deadline=None)
@given(items=catalogues(), landmarks=st.sampled_from([None, 3]))
def test_any_small_catalogue(items: list[ItemInput], landmarks: int | None) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if landmarks is not None:
            patch.setattr(experts.compared_items, "MAX_EXACT", 4)
            patch.setattr(experts.compared_items, "LANDMARKS", landmarks)
        fit(items)
