"""Experts and other sources as one scorer: who is asked what, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from experts import FittedExperts, fit_experts
from experts.joint_scorer import JointScorer, NetworkSource, held_out_of, score_by_sources
from experts.second_stage import SecondStage, fit_second_stage, group_of
from experts.situations import Situation, TitleState
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery, CellScorer
from schema.ontology import Ontology, PropertySpec
from tests.experts.made import ONTOLOGY, labelled, made_items
from tests.experts.test_parts import told

ITEMS = made_items(120)
COLOUR_VALUES = ONTOLOGY.values_of("colour")
WHOLE = Situation(TitleState.SAYS, image=True, known=False)


@dataclass
class Insider:
    """A source that knows the colour of every item, and nothing of other properties."""

    name: str = "insider"
    asked: list[tuple[ItemInput, CellQuery]] = field(default_factory=list)
    encoded: list[str] = field(default_factory=list)

    def encode(self, items: Sequence[ItemInput]) -> Sequence[ItemInput]:
        self.encoded += [item.id for item in items]
        return items

    def scores(
        self, encoded: Sequence[ItemInput], cells: Sequence[CellQuery]
    ) -> list[NDArray[np.float32] | None]:
        self.asked += [(encoded[cell.item], cell) for cell in cells]
        return [self._score(encoded[cell.item], cell.property) for cell in cells]

    def _score(self, item: ItemInput, property: str) -> NDArray[np.float32] | None:
        if property != "colour":
            return None
        known = next(each for each in ITEMS if each.id == item.id).known
        true = dict(known)["colour"]
        return np.array([0.9 if each == true else 0.05 for each in COLOUR_VALUES], np.float32)


@pytest.fixture(scope="module")
def fitted() -> FittedExperts:
    return fit_experts("both", ONTOLOGY, labelled(ITEMS))


@pytest.fixture(scope="module")
def described() -> FittedExperts:
    """Experts of items with descriptions and categories."""
    items = told(ITEMS)
    learned = replace(
        labelled(items),
        descriptions=[item.description for item in items],
        categories=[item.category for item in items],
    )
    return fit_experts("told", ONTOLOGY, learned)


def test_sources_see_cells_in_the_forms_that_the_experts_saw(fitted: FittedExperts) -> None:
    source = Insider()
    unseen = frozenset(item.id for item in ITEMS[:20])
    held_out = held_out_of(fitted, unseen)
    cells = score_by_sources(fitted, held_out, [source], {item.id: item for item in ITEMS})
    assert {item.id for item, _ in source.asked} == unseen
    count = 0
    for key, each in cells.items():
        answered = ~np.isnan(each.probabilities[0]).any(1)
        assert answered.all() == answered.any() == (key[1] == "colour")
        if answered.any():
            np.testing.assert_array_equal(each.probabilities[0] > 0.5, each.true)
        count += len(each.item)
    situations = {
        (fitted.ensemble.situation_of(item, cell), cell.property) for item, cell in source.asked
    }
    assert situations == set(cells)
    assert len(source.asked) == count
    assert all(name != cell.property for _, cell in source.asked for name, _ in cell.known)


def test_a_source_that_knows_better_joins_only_where_the_experts_do_not_know(
    fitted: FittedExperts,
) -> None:
    source = Insider()
    held_out = held_out_of(fitted, frozenset(item.id for item in ITEMS))
    cells = score_by_sources(fitted, held_out, [source], {item.id: item for item in ITEMS})
    stage = fit_second_stage([source.name], cells).stage
    nothing = Situation(TitleState.BARE, image=False, known=False)
    assert stage.joining(nothing) == [0]
    scorer = JointScorer(fitted.ensemble, stage, [source])
    item = replace(ITEMS[1], title="Alda 1", image=None, known=())
    (logits,) = scorer.score(scorer.encode([item]), [CellQuery(0, "colour")])
    true = dict(ITEMS[1].known)["colour"]
    assert COLOUR_VALUES[int(logits.argmax())] == true


def test_the_scorer_joins_where_the_stage_says_and_asks_nothing_elsewhere(
    fitted: FittedExperts,
) -> None:
    weights = np.array([[0.0, 3.0, 0.5]])
    stage = SecondStage(("insider",), {group_of(WHOLE): weights}, {})
    source = Insider()
    scorer = JointScorer(fitted.ensemble, stage, [source])
    items = [ITEMS[1], ITEMS[5]]
    items.append(replace(ITEMS[1], id="I2", image=None))
    cells = [CellQuery(place, name) for place in range(3) for name in ("colour", "room")]
    encoded = scorer.encode(items)
    found = scorer.score(encoded, cells)
    alone = fitted.ensemble.score(fitted.ensemble.encode(items), cells)
    # Only the first item has both a title that tells its colour and an image.
    assert source.encoded == ["I1"]
    assert {cell.property for _, cell in source.asked} == {"colour"}
    probability = source._score(ITEMS[1], "colour")
    assert probability is not None
    expected = stage.join(WHOLE, "colour", alone[0][None], probability[None, None])[0]
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    for place in range(1, 6):
        np.testing.assert_array_equal(found[place], alone[place])
    for row, own in zip(scorer.proving_scores(encoded, cells), alone, strict=True):
        np.testing.assert_array_equal(row, own)


@pytest.mark.parametrize("category", [("Home", "Bright"), ("Home", "Lamp"), ()])
def test_a_source_is_asked_about_items_with_description_and_category(
    described: FittedExperts, category: tuple[str, ...]
) -> None:
    source = Insider()
    item = replace(
        ITEMS[1], title="Alda 1", image=None, description="with a long cable", category=category
    )
    cells = [CellQuery(0, name) for name in ("colour", "kind")]
    for cell in cells:
        situation = described.ensemble.situation_of(item, cell)
        assert situation.description
        stage = SecondStage(("insider",), {group_of(situation): np.array([[0.0, 3.0, 0.5]])}, {})
        scorer = JointScorer(described.ensemble, stage, [source])
        source.asked.clear()
        scorer.score(scorer.encode([item]), [cell])
        assert [asked.property for _, asked in source.asked] == [cell.property]


@dataclass
class SmallNetwork:
    """A network that knows two of the three colours, in another order, and no room."""

    ontology: Ontology

    def encode(self, items: Sequence[ItemInput]) -> Any:
        return items

    def score(self, encoded: Any, cells: Sequence[CellQuery]) -> list[NDArray[np.float32]]:
        return [np.log(np.array([0.8, 0.2], np.float32)) for _ in cells]


def test_values_that_a_network_does_not_know_are_as_probable_as_they_are_frequent(
    fitted: FittedExperts,
) -> None:
    known = PropertySpec("colour", values=("green", "red"), counts=(2, 1))
    network = SmallNetwork(Ontology([known]))
    source = NetworkSource(cast(CellScorer, network), fitted.ensemble)
    cells = [CellQuery(0, "room"), CellQuery(0, "colour")]
    room, colour = source.scores(source.encode(ITEMS[:1]), cells)
    assert room is None
    assert colour is not None
    values = fitted.ensemble.ontology.values_of("colour")
    frequency = fitted.ensemble.frequencies("colour")[values.index("blue")]
    by_value = dict(zip(values, colour.tolist(), strict=True))
    assert by_value["blue"] == pytest.approx(frequency, abs=1e-6)
    assert by_value["green"] == pytest.approx(0.8 * (1 - frequency), abs=1e-6)
    assert sum(by_value.values()) == pytest.approx(1, abs=1e-6)
