"""Known values hidden in turn, and what an ensemble says of values that nobody has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from experts.fitting import FittedExperts, fit_experts
from experts.folder import load_experts, save_experts
from experts.hidden_values import GROUP_ITEMS, hidden_groups, logits_without, shortlists_without
from experts.stacker import Weights
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.ontology import Ontology, PropertySpec
from tests.experts.made import labelled

COLOURS = tuple(
    "red green blue black white grey pink brown beige violet amber ivory olive navy".split()
)
KINDS = ("mug", "lamp", "chair")


def made(count: int = 420) -> list[ItemInput]:
    """Items whose title says the colour, between the maker and the kind."""
    rng = np.random.default_rng(0)
    items = []
    for number in range(count):
        colour = COLOURS[int(rng.integers(len(COLOURS)))]
        kind = KINDS[number % 3]
        maker = ("Alda", "Berg", "Clou", "Dyne")[int(rng.integers(4))]
        items.append(
            ItemInput(
                id=f"I{number}",
                title=f"{maker} {colour.title()} {kind.title()}",
                known=(("colour", colour), ("kind", kind)),
            )
        )
    return items


@pytest.fixture(scope="module")
def fitted() -> FittedExperts:
    ontology = Ontology(
        [
            PropertySpec("colour", values=COLOURS, counts=(30,) * len(COLOURS)),
            PropertySpec("kind", values=KINDS, counts=(140,) * 3),
        ]
    )
    return fit_experts("made", Ontology.from_toml(ontology.to_toml(), "made"), labelled(made()))


def unknown_share(fitted: FittedExperts, title: str | None) -> float:
    ensemble = fitted.ensemble
    encoded = ensemble.encode([ItemInput("x", title=title)])
    (logits,) = ensemble.score(encoded, [CellQuery(0, "colour", ())])
    probabilities = np.exp(logits)
    assert len(probabilities) == len(COLOURS) + 1
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)
    return float(probabilities[-1])


def test_a_value_that_nobody_has_is_offered_as_the_property_writes_it(
    fitted: FittedExperts,
) -> None:
    offered = fitted.ensemble.unknown_values(ItemInput("x", title="Alda Teal Mug"), "colour")
    assert offered[0].value == "teal"
    assert offered[0].probability > 0.7
    assert "Alda Teal Mug"[offered[0].start : offered[0].end] == "Teal"
    assert unknown_share(fitted, "Alda Teal Mug") > 0.5


def test_a_known_value_leaves_little_to_unknown_ones(fitted: FittedExperts) -> None:
    assert unknown_share(fitted, "Alda Navy Mug") < 0.05
    assert unknown_share(fitted, None) < 0.2


def test_held_out_cells_have_the_probability_of_an_unknown_value(fitted: FittedExperts) -> None:
    for (_, property), cells in fitted.held_out.items():
        assert cells.logits.shape[1] == cells.true.shape[1] + 1
        np.testing.assert_allclose(np.exp(cells.logits).sum(1), 1, atol=1e-3)
        assert property in ("colour", "kind")


def test_a_folder_keeps_what_offers_unknown_values(fitted: FittedExperts, tmp_path: Path) -> None:
    save_experts(tmp_path / "made", fitted.ensemble, {"preset": "experts"})
    loaded = replace(fitted, ensemble=load_experts(tmp_path / "made"))
    item = ItemInput("x", title="Berg Teal Lamp")
    assert loaded.ensemble.unknown_values(item, "colour") == fitted.ensemble.unknown_values(
        item, "colour"
    )
    assert unknown_share(loaded, item.title) == pytest.approx(
        unknown_share(fitted, item.title), abs=0.01
    )


@settings(deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 8))), st.integers(0, 99))
def test_groups_hide_rare_values_whole_and_leave_one_visible(true: np.ndarray, seed: int) -> None:
    groups = hidden_groups(true, np.random.default_rng(seed))
    hidden = [value for group in groups for value in group.values]
    assert len(hidden) == len(set(hidden))
    if hidden:
        assert len(hidden) < np.count_nonzero(true.sum(0))
    for group in groups:
        visible = [value for value in range(true.shape[1]) if value not in group.values]
        for item in group.items:
            assert true[item, sorted(group.values)].any()
            assert not true[item, visible].any()


def test_groups_are_as_large_as_they_have_to_be() -> None:
    true = np.eye(40, dtype=bool)[np.arange(8000) % 40]
    groups = hidden_groups(true, np.random.default_rng(0))
    assert [len(group.items) for group in groups] == [400, 400, 400]
    assert GROUP_ITEMS <= 400


def test_hidden_values_are_as_good_as_impossible() -> None:
    scores = np.random.default_rng(0).random((3, 5, 4)).astype(np.float32)
    weights = Weights(np.ones(6), np.zeros(4), 0.01, np.full(4, 0.25))
    hidden = frozenset({1, 3})
    probabilities = np.exp(logits_without(shortlists_without(scores, hidden), hidden, weights))
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(probabilities[:, [1, 3]], 0, atol=1e-12)
