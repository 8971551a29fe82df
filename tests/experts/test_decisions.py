"""What people refused, and what they did not agree about, in the fit of experts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import experts.labels
from experts import FittedExperts, fit_experts
from experts.ensemble import answering
from experts.fitting import ExpertFitting
from experts.labelled_items import CellDecision, LabelledItems
from experts.situations import Situation, TitleState
from experts.variants import LEARNED, VARIANTS, CategoryVariant, TitleVariant
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.log_sums import log_sum_exp
from tests.experts.made import ONTOLOGY, labelled, made_items

WITHOUT = range(0, 60, 4)
WHOLE = replace(LEARNED, description=TitleVariant.NONE, category=CategoryVariant.NONE)
SAYS = Situation(TitleState.SAYS, True, True)


@pytest.fixture(scope="module")
def made() -> tuple[list[ItemInput], LabelledItems, LabelledItems]:
    """Return items of which some lack a colour, without decisions and with what was refused."""
    items = made_items(60)
    refused: list[dict[str, CellDecision]] = [{} for _ in items]
    for number in WITHOUT:
        colour = dict(items[number].known)["colour"]
        others = tuple(each for each in items[number].known if each[0] != "colour")
        items[number] = replace(items[number], known=others)
        # The right value, so that the decisions go against what the experts say.
        refused[number] = {"colour": CellDecision((colour,)), "kind": CellDecision(("mug",))}
    return items, labelled(items), replace(labelled(items), decisions=refused)


@pytest.fixture(scope="module")
def fitted(made: tuple[list[ItemInput], LabelledItems, LabelledItems]) -> FittedExperts:
    _, _, decided = made
    return fit_experts("decided", ONTOLOGY, decided)


def test_a_refused_cell_is_scored_like_that_of_an_item_that_nobody_knows(
    made: tuple[list[ItemInput], LabelledItems, LabelledItems], fitted: FittedExperts
) -> None:
    items, _, decided = made
    cells = ExpertFitting(ONTOLOGY, decided).fit().cells[SAYS, "colour"].joined()
    whole = cells.variant == VARIANTS.index(WHOLE)
    chosen = np.flatnonzero(whole & ~cells.examples.has_value)
    assert len(chosen) > 3
    ensemble = fitted.ensemble
    for row in chosen.tolist():
        item = items[int(cells.item[row])]
        (encoded,) = ensemble.encode([item])
        query = CellQuery(0, "colour", item.known)
        found = ensemble.expert_scores(encoded, [query], "colour", answering(SAYS))[:, 0].T
        np.testing.assert_allclose(cells.examples.shortlists.scores[row], found, atol=2e-3)
        (refused,) = decided.decisions[int(cells.item[row])]["colour"].refused
        possible = [value != refused for value in ONTOLOGY.values_of("colour")]
        assert cells.examples.true[row].tolist() == possible


def test_what_was_refused_is_less_probable_and_teaches_no_value(
    made: tuple[list[ItemInput], LabelledItems, LabelledItems], fitted: FittedExperts
) -> None:
    items, plain, decided = made
    before = fit_experts("plain", ONTOLOGY, plain)
    for expert, learned in before.ensemble.learned.items():
        same = fitted.ensemble.learned[expert]
        np.testing.assert_array_equal(learned.coefficients, same.coefficients)
    for key, cells in fitted.held_out.items():
        assert cells.true.any(1).all()
        np.testing.assert_array_equal(cells.item, before.held_out[key].item)
    probabilities = [
        np.mean(
            [
                _probability(each, items[number], decided.decisions[number]["colour"].refused[0])
                for number in WITHOUT
            ]
        )
        for each in (before, fitted)
    ]
    assert probabilities[1] < probabilities[0] - 0.02


def _probability(fitted: FittedExperts, item: ItemInput, value: str) -> float:
    ensemble = fitted.ensemble
    (logits,) = ensemble.score(ensemble.encode([item]), [CellQuery(0, "colour", item.known)])
    place = ONTOLOGY.position("colour", value)
    return float(np.exp(logits[place] - log_sum_exp(logits[None])[0]))


def test_of_many_refused_cells_some_are_scored(
    made: tuple[list[ItemInput], LabelledItems, LabelledItems], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, decided = made
    monkeypatch.setattr(experts.labels, "MAX_REFUSED", 4)
    labels = ExpertFitting(ONTOLOGY, decided).labels["colour"]
    assert labels.refused.any(1).sum() == len(WITHOUT)
    assert (labels.refused.any(1) & labels.visible).sum() == 4


def test_a_cell_counts_by_the_share_of_reviewers_that_agreed(
    made: tuple[list[ItemInput], LabelledItems, LabelledItems],
) -> None:
    _, plain, _ = made
    disputed = [
        {"kind": CellDecision(weight=0.5)} if number % 2 else {} for number in range(len(plain))
    ]
    labels = ExpertFitting(ONTOLOGY, replace(plain, decisions=disputed)).labels["kind"]
    assert labels.weight.tolist() == [0.5 if number % 2 else 1 for number in range(len(plain))]
    assert not labels.refused.any()
