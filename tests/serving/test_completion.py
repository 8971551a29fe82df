from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.modalities import Modality
from serving.cells import Cell, Scorer
from serving.completion import CompletionOptions, complete_cells
from serving.deciding import CellLimits, decide
from serving.home_scorer import HomeScorer
from serving.results import Completion, Evidence
from serving.withheld import Withheld

from .fakes import COLOURS, ONTOLOGY, FakeScorer

MUG = ItemInput("m1", "a red mug", "red", (("kind", "lamp"), ("colour", "white")))
UNIFORM = np.full(4, 0.25)


def complete(
    item: ItemInput = MUG,
    property: str = "colour",
    scorer: Scorer | None = None,
    **options: Any,
) -> Completion:
    cells = [Cell(0, property)]
    return next(complete_cells(scorer or FakeScorer(), [item], cells, CompletionOptions(**options)))


def best_probability(item: ItemInput, scorer: FakeScorer) -> float:
    return complete(item, scorer=scorer).candidates[0].probability


def calibration(threshold: float, temperature: float = 1.0) -> dict[str, Any]:
    """A calibration that proves colours from ``threshold`` on in the situations of the tests."""
    curves = {
        situation: {"colour": [[threshold, 1000, 0]]}
        for situation in ("title+image+known", "title", "nothing")
    }
    temperatures = {"global": temperature, "situations": {}}
    return {"version": 1, "temperatures": temperatures, "curves": curves}


def test_a_line_has_the_keys_of_the_contract():
    line = json.loads(json.dumps(complete(top_k=2).as_dict()))
    assert list(line) == ["item", "property", "candidates", "decision", "evidence"]
    assert [list(candidate) for candidate in line["candidates"]] == [["value", "probability"]] * 2
    assert list(line["evidence"]) == ["title", "description", "category", "image", "known"]
    assert list(line["evidence"]["known"][0]) == ["property", "value", "effect"]


def test_a_missing_modality_is_null_in_the_evidence():
    evidence = complete(ItemInput("1", "a red mug")).evidence.as_dict()
    assert evidence["title"] > 0
    assert (evidence["image"], evidence["known"]) == (None, [])


def test_what_the_model_does_not_read_has_no_effect_and_is_not_encoded_without():
    item = ItemInput("1", "a red mug", description="red", category=("home",))
    scorer = FakeScorer()
    assert set(complete(item, scorer=scorer).evidence.modalities) == {Modality.TITLE}
    assert scorer.encoded_items == {"1": 2}
    scorer.modalities |= {Modality.DESCRIPTION, Modality.CATEGORY}
    # The fake does not read them after all.
    evidence = complete(item, scorer=scorer).evidence.as_dict()
    assert (evidence["description"], evidence["category"]) == (0, 0)


def test_candidates_fall_in_probability_and_sum_to_one():
    candidates = complete().candidates
    assert candidates[0].value == "red"
    assert sum(each.probability for each in candidates) == pytest.approx(1)
    assert list(candidates) == sorted(candidates, key=lambda each: -each.probability)


def test_top_k_limits_the_candidates():
    assert len(complete(top_k=1).candidates) == 1


def test_probability_is_the_softmax_at_the_calibrated_temperature():
    scorer = FakeScorer(4.0, 0, 0, calibration(0.9, temperature=2.0))
    expected = np.exp(2.0) / (np.exp(2.0) + 3)
    assert best_probability(ItemInput("1", "red"), scorer) == pytest.approx(expected)


def test_the_completed_property_is_never_given_to_the_model():
    scorer = FakeScorer()
    complete(scorer=scorer)
    assert all(name != "colour" for query in scorer.queries for name, _ in query.known)


def test_the_effect_of_the_title_is_the_loss_without_it():
    scorer = FakeScorer(4.0, 2.0, 0)
    without_title = ItemInput("m1", None, "red")
    loss = best_probability(MUG, scorer) - best_probability(without_title, scorer)
    assert complete(scorer=scorer).evidence.modalities[Modality.TITLE] == pytest.approx(loss)


def test_the_most_informative_modality_has_the_greatest_effect():
    effects = complete(scorer=FakeScorer(4.0, 1.0, 0)).evidence.modalities
    assert effects[Modality.TITLE] > effects[Modality.IMAGE] > 0


def test_a_statement_that_suggests_another_value_has_a_negative_effect():
    (effect,) = complete(scorer=FakeScorer(4.0, 2.0, 3.0)).evidence.statements
    assert (effect.property, effect.value) == ("kind", "lamp")
    assert effect.effect < 0


def test_missing_inputs_have_no_effect():
    evidence = complete(ItemInput("1", "a red mug")).evidence
    assert set(evidence.modalities) == {Modality.TITLE}
    assert evidence.statements == ()


def test_the_statement_with_the_greatest_effect_comes_first():
    item = ItemInput("1", "mug", None, (("holds", "tea"), ("kind", "lamp")))
    assert [each.property for each in complete(item).evidence.statements] == ["kind", "holds"]


def test_statements_that_the_model_cannot_read_are_ignored():
    item = ItemInput("1", "a red mug", None, (("kind", "chair"), ("maker", "Acme")))
    scorer = FakeScorer()
    assert complete(item, scorer=scorer).evidence.statements == ()
    assert len(scorer.queries) == 2  # with everything, and without the title


def test_an_item_without_any_modality_is_completed():
    bare = complete(ItemInput("bare"))
    assert (bare.decision, bare.evidence) == ("review", Evidence())


def test_an_item_is_encoded_once_however_many_cells_it_has():
    scorer = FakeScorer()
    cells = [
        Cell(0, "colour"),
        Cell(1, "kind"),
        Cell(0, "kind"),
        Cell(0, "holds"),
        Cell(0, "colour"),
    ]
    lines = list(complete_cells(scorer, [MUG, ItemInput("m2", "lamp")], cells))
    assert [(each.item, each.property) for each in lines] == [
        ("m1", "colour"),
        ("m1", "kind"),
        ("m1", "holds"),
        ("m2", "kind"),
    ]
    assert scorer.encode_calls == 1
    # With everything, and without each content modality.
    assert scorer.encoded_items == {"m1": 3, "m2": 2}


def test_many_items_are_completed_in_batches_and_in_order():
    scorer = FakeScorer()
    items = [ItemInput(str(number), "a blue lamp") for number in range(100)]
    completions = complete_cells(scorer, items, (Cell(number, "colour") for number in range(100)))
    next(completions)
    assert scorer.encode_calls == 1
    assert [each.item for each in completions] == [item.id for item in items[1:]]


def test_without_cells_the_model_is_not_used():
    scorer = FakeScorer()
    assert list(complete_cells(scorer, [MUG], [])) == []
    assert scorer.encode_calls == 0


def test_a_property_that_the_model_does_not_know_is_left_empty():
    scorer = FakeScorer()
    unknown = complete(property="maker", scorer=scorer)
    assert (unknown.candidates, unknown.decision, scorer.encode_calls) == ((), "abstain", 0)


def test_progress_counts_items():
    calls: list[tuple[int, int]] = []
    cells = [Cell(index, "kind") for index in range(50)]
    list(
        complete_cells(
            FakeScorer(), [MUG] * 50, cells, progress=lambda *counts: calls.append(counts)
        )
    )
    assert calls == [(42, 50), (50, 50)]


@pytest.mark.parametrize(("threshold", "decision"), [(0.5, "fill"), (0.9999, "review")])
def test_cells_are_filled_from_the_proven_threshold_on(threshold, decision):
    assert complete(scorer=FakeScorer(calibration=calibration(threshold))).decision == decision


def test_a_cell_that_must_not_be_filled_is_reviewed():
    scorer = FakeScorer(calibration=calibration(0.5))
    assert complete(scorer=scorer).decision == "fill"
    assert complete(scorer=scorer, not_filled={Cell(0, "colour")}).decision == "review"
    assert complete(scorer=scorer, not_filled={Cell(0, "kind")}).decision == "fill"


def test_withheld_values_are_no_candidates_and_evidence_is_that_of_the_next():
    withheld = Withheld({"colour": ["red"]}, {("m1", "colour"): ["Black", "nothing"]})
    whole = complete(scorer=FakeScorer(4.0, 2.0, 3.0))
    line = complete(scorer=FakeScorer(4.0, 2.0, 3.0), withheld=withheld)
    assert [each.value for each in line.candidates] == ["blue", "white"]
    assert set(line.candidates) < set(whole.candidates)
    assert line.evidence.statements[0].effect > 0
    assert complete(ItemInput("m2", "red"), withheld=withheld).candidates[0].value == "black"


def test_a_cell_of_which_all_values_are_withheld_says_so():
    line = complete(withheld=Withheld(of_cell={("m1", "colour"): COLOURS}))
    assert (line.candidates, line.decision) == ((), "abstain")
    assert line.as_dict()["reason"] == "withheld"


def test_each_cell_is_decided_by_its_own_limits():
    scorer = FakeScorer(calibration=calibration(0.5))
    limits = {"colour": CellLimits(0.9), "kind": CellLimits(0.9, review_above=0.99)}
    cells = [Cell(0, "colour"), Cell(0, "kind")]
    own = CompletionOptions(limits_of=lambda cell: limits[cell.property])
    found = complete_cells(scorer, [MUG], cells, own)
    assert [each.decision for each in found] == ["fill", "abstain"]
    certain = CompletionOptions(limits_of=lambda cell: CellLimits(1.0))
    never = complete_cells(scorer, [MUG], cells[:1], certain)
    assert [each.decision for each in never] == ["review"]


def test_a_completion_says_which_precision_is_proven_for_it():
    steps = [[0.95, 0.9999, 0.1], [0.9, 0.9, 0.5], [0.8, 0.5, 0.7]]
    proofs = {"title+image+known": {"colour": {"cells": 100, "steps": steps}}}
    temperatures = {"global": 1.0, "situations": {}}
    data = {"version": 2, "temperatures": temperatures, "proven": proofs}
    assert complete(scorer=FakeScorer(calibration=data)).proven == 0.9
    assert complete().proven is None


class TellsOther(FakeScorer):
    """A scorer to whom another value is as probable as one that the title names."""

    def score(self, encoded, cells):
        rows = super().score(encoded, cells)
        return [np.append(row, np.float32(self.title_weight)) for row in rows]


def test_the_probability_of_another_value_is_taken_from_the_candidates():
    item = ItemInput("1", "a red mug")
    plain = complete(item, scorer=FakeScorer(4.0))
    telling = complete(item, scorer=TellsOther(4.0))
    total = sum(each.probability for each in telling.candidates)
    assert telling.another_value == pytest.approx(1 - total)
    assert telling.candidates[0].probability == pytest.approx(telling.another_value)
    assert telling.candidates[0].probability < plain.candidates[0].probability / 1.9
    assert telling.as_dict()["another_value"] == pytest.approx(1 - total, abs=1e-6)
    assert "another_value" not in plain.as_dict()


@pytest.mark.parametrize(
    ("predicted", "threshold", "decision"),
    [
        pytest.param([0.6, 0.0], 0.5, "fill", id="more probable than another value"),
        pytest.param([0.4, 0.1], 0.3, "review", id="less probable than another value"),
        pytest.param([0.1, 0.05], None, "abstain", id="nearly sure of another value"),
        pytest.param([0.0, 0.0], None, "abstain", id="sure of another value"),
    ],
)
def test_decision_where_another_value_is_possible(predicted, threshold, decision):
    assert decide(np.asarray(predicted), np.array([0.5, 0.5]), threshold) == decision


def test_a_higher_threshold_for_reviews_leaves_more_cells_empty():
    predicted = np.array([0.7, 0.1, 0.1, 0.1])
    assert decide(predicted, UNIFORM, None, review_above=0.7) == "review"
    assert decide(predicted, UNIFORM, None, review_above=0.71) == "abstain"
    assert decide(predicted, UNIFORM, 0.6, review_above=0.71) == "fill"


def test_a_target_precision_beyond_proof_leaves_cells_to_review():
    scorer = FakeScorer(calibration=calibration(0.5))
    assert complete(scorer=scorer, limits_of=lambda cell: CellLimits(0.9999)).decision == "review"


def test_an_uncalibrated_model_fills_nothing():
    assert complete().decision == "review"


@pytest.mark.parametrize(
    ("predicted", "prior", "threshold", "decision"),
    [
        pytest.param([0.7, 0.1, 0.1, 0.1], UNIFORM, None, "review", id="informative"),
        pytest.param(
            np.full(6, 1 / 6),
            [0.9, 0.02, 0.02, 0.02, 0.02, 0.02],
            None,
            "abstain",
            id="nothing is likely",
        ),
        pytest.param([0.8, 0.2], [0.78, 0.22], None, "abstain", id="the base rate"),
        pytest.param([0.8, 0.2], [0.78, 0.22], 0.75, "fill", id="a proven base rate"),
        pytest.param([1.0, 0.0], [0.5, 0.5], 0.99, "fill", id="certain"),
        pytest.param([1.0], [1.0], None, "abstain", id="the only value"),
    ],
)
def test_decision(predicted, prior, threshold, decision):
    assert decide(np.asarray(predicted), np.asarray(prior), threshold) == decision


class TwoMinds(FakeScorer):
    """A scorer whose precision is proven by other scores, the same or those of other values."""

    def __init__(self, agrees: bool, data: dict[str, Any]) -> None:
        super().__init__(calibration=data)
        self.agrees = agrees

    def proving_scores(
        self, encoded: Any, cells: Sequence[CellQuery]
    ) -> list[NDArray[np.float32]] | None:
        return [row if self.agrees else np.roll(row, 1) for row in self.score(encoded, cells)]


@pytest.mark.parametrize("in_home", [False, True])
@pytest.mark.parametrize(("agrees", "decision"), [(True, "fill"), (False, "review")])
def test_cells_are_filled_only_where_the_scores_that_prove_it_agree(agrees, decision, in_home):
    scorer = TwoMinds(agrees, calibration(0.5))
    alone = complete(scorer=FakeScorer(calibration=calibration(0.5)))
    completion = complete(scorer=HomeScorer(scorer, ONTOLOGY) if in_home else scorer)
    assert completion.decision == decision
    assert completion.candidates == alone.candidates
    assert (completion.proven is None) == (not agrees)


def test_scores_that_prove_have_a_temperature_of_their_own():
    flat = {"global": 1000.0, "situations": {}}
    data = calibration(0.5) | {"proving_temperatures": flat}
    assert complete(scorer=TwoMinds(True, data)).decision == "review"
