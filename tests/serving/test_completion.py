from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from fusion.inference.featurizer import ItemInput
from serving.completion import Completion, Evidence, complete, decide

from .fakes import FakeScorer

MUG = ItemInput("m1", "a red mug", "red", (("kind", "lamp"), ("colour", "white")))
FLAT = np.full(4, 0.25)


def answer(
    item: ItemInput = MUG,
    property: str = "colour",
    scorer: FakeScorer | None = None,
    **options: Any,
) -> Completion:
    return next(complete(scorer or FakeScorer(), [item], [(0, property)], **options))


def proven(threshold: float) -> dict[str, Any]:
    """A calibration under which colours from that probability on are proven in every situation of the tests."""
    curves = {
        name: {"colour": [[threshold, 1000, 0]]}
        for name in ("title+image+known", "title", "nothing")
    }
    return {"version": 1, "temperatures": {"global": 1.0, "situations": {}}, "curves": curves}


def test_line_has_the_shape_of_the_contract():
    line = json.loads(json.dumps(answer(top_k=2).as_dict()))
    assert list(line) == ["item", "property", "candidates", "decision", "evidence"]
    assert [list(candidate) for candidate in line["candidates"]] == [["value", "probability"]] * 2
    assert list(line["evidence"]) == ["title", "image", "known"]
    assert list(line["evidence"]["known"][0]) == ["property", "value", "effect"]


def test_candidates_fall_in_probability_and_sum_to_one():
    candidates = answer().candidates
    assert candidates[0].value == "red"
    assert sum(each.probability for each in candidates) == pytest.approx(1)
    assert list(candidates) == sorted(candidates, key=lambda each: -each.probability)


def test_top_k_limits_the_candidates():
    assert len(answer(top_k=1).candidates) == 1


def test_probability_is_the_softmax_at_the_calibrated_temperature():
    calibration = {**proven(0.9), "temperatures": {"global": 2.0, "situations": {}}}
    scorer = FakeScorer(4.0, 0, 0, calibration)
    expected = np.exp(2.0) / (np.exp(2.0) + 3)
    assert answer(ItemInput("1", "red"), scorer=scorer).candidates[0].probability == pytest.approx(
        expected
    )


def test_own_property_is_never_given_to_the_model():
    scorer = FakeScorer()
    answer(scorer=scorer)
    assert all(name != "colour" for cell in scorer.asked for name, _ in cell.known)


def test_effect_of_the_title_is_the_loss_without_it():
    whole = FakeScorer(4.0, 2.0, 0)
    without = ItemInput("m1", None, "red")
    loss = (
        answer(MUG, scorer=whole).candidates[0].probability
        - answer(without, scorer=whole).candidates[0].probability
    )
    assert answer(MUG, scorer=whole).evidence.title == pytest.approx(loss)


def test_strongest_part_has_the_greatest_effect():
    evidence = answer(scorer=FakeScorer(4.0, 1.0, 0)).evidence
    assert evidence.title is not None
    assert evidence.image is not None
    assert evidence.title > evidence.image > 0


def test_known_statement_that_speaks_for_another_value_has_a_negative_effect():
    (effect,) = answer(scorer=FakeScorer(4.0, 2.0, 3.0)).evidence.known
    assert (effect.property, effect.value) == ("kind", "lamp")
    assert effect.effect < 0


def test_absent_parts_have_no_effect():
    assert answer(ItemInput("1", "a red mug")).evidence == Evidence(
        answer(ItemInput("1", "a red mug")).evidence.title, None, ()
    )


def test_strongest_statement_comes_first():
    item = ItemInput("1", "mug", None, (("holds", "tea"), ("kind", "lamp")))
    assert [each.property for each in answer(item).evidence.known] == ["kind", "holds"]


def test_statements_that_the_model_cannot_read_are_passed_over():
    item = ItemInput("1", "a red mug", None, (("kind", "chair"), ("maker", "Acme")))
    scorer = FakeScorer()
    assert answer(item, scorer=scorer).evidence.known == ()
    assert len(scorer.asked) == 2  # whole, and without the title


def test_item_without_anything_is_answered():
    bare = answer(ItemInput("bare"))
    assert (bare.decision, bare.evidence) == ("review", Evidence())


def test_each_item_is_read_once_however_many_cells_it_has():
    scorer = FakeScorer()
    cells = [(0, "colour"), (1, "kind"), (0, "kind"), (0, "holds"), (0, "colour")]
    lines = list(complete(scorer, [MUG, ItemInput("m2", "lamp")], cells))
    assert [(each.item, each.property) for each in lines] == [
        ("m1", "colour"),
        ("m1", "kind"),
        ("m1", "holds"),
        ("m2", "kind"),
    ]
    assert scorer.calls == 1
    assert scorer.encoded == {"m1": 3, "m2": 2}  # whole, and without each part


def test_many_items_are_answered_batch_by_batch_in_order():
    scorer = FakeScorer()
    items = [ItemInput(str(number), "a blue lamp") for number in range(100)]
    run = complete(scorer, items, ((number, "colour") for number in range(100)))
    next(run)
    assert scorer.calls == 1
    assert [each.item for each in run] == [item.id for item in items[1:]]


def test_no_cells_need_no_model():
    scorer = FakeScorer()
    assert list(complete(scorer, [MUG], [])) == []
    assert scorer.calls == 0


def test_property_unknown_to_the_model_is_left_alone():
    scorer = FakeScorer()
    strange = answer(property="maker", scorer=scorer)
    assert (strange.candidates, strange.decision, scorer.calls) == ((), "abstain", 0)


def test_progress_counts_items():
    seen: list[tuple[int, int]] = []
    list(
        complete(
            FakeScorer(),
            [MUG] * 50,
            [(n, "kind") for n in range(50)],
            progress=lambda *counts: seen.append(counts),
        )
    )
    assert seen == [(42, 50), (50, 50)]


@pytest.mark.parametrize(("threshold", "decision"), [(0.5, "fill"), (0.9999, "review")])
def test_fills_from_the_proven_threshold_on(threshold, decision):
    assert answer(scorer=FakeScorer(calibration=proven(threshold))).decision == decision


def test_target_precision_beyond_proof_is_left_to_review():
    scorer = FakeScorer(calibration=proven(0.5))
    assert answer(scorer=scorer, target_precision=0.9999).decision == "review"


def test_uncalibrated_model_fills_nothing():
    assert answer().decision == "review"


@pytest.mark.parametrize(
    ("answered", "prior", "threshold", "decision"),
    [
        (np.array([0.7, 0.1, 0.1, 0.1]), FLAT, None, "review"),
        (
            np.full(6, 1 / 6),
            np.array([0.9, 0.02, 0.02, 0.02, 0.02, 0.02]),
            None,
            "abstain",
        ),  # nothing is likely
        (np.array([0.8, 0.2]), np.array([0.78, 0.22]), None, "abstain"),  # the base rate
        (np.array([0.8, 0.2]), np.array([0.78, 0.22]), 0.75, "fill"),  # but a proof is a proof
        (np.array([1.0, 0.0]), np.array([0.5, 0.5]), 0.99, "fill"),
        (np.array([1.0]), np.array([1.0]), None, "abstain"),
    ],
)
def test_decision(answered, prior, threshold, decision):
    assert decide(answered, prior, threshold) == decision
