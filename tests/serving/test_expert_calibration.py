"""What stays proven when a second stage joins a source to the experts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax

from experts.labelled_items import HeldOutCells
from experts.second_stage import FittedSecondStage, SecondStage, group_of
from experts.situations import Situation, TitleState
from schema.ontology import Ontology, PropertySpec
from serving.calibration import Calibration
from serving.expert_calibration import calibrate_joint

SAYS = Situation(TitleState.SAYS, image=True, known=False)
BARE = Situation(TitleState.BARE, image=True, known=False)
VALUES = 4
ONTOLOGY = Ontology(
    [PropertySpec("colour", values=("a", "b", "c", "d"), counts=(9, 9, 9, 9))],
)


def made_cells(count: int, seed: int = 0) -> HeldOutCells:
    """Return cells of which the experts are all but certain, and right."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, VALUES, count)
    true = np.zeros((count, VALUES), bool)
    true[np.arange(count), truth] = True
    logits = log_softmax(8.0 * true + rng.normal(0, 0.1, true.shape), axis=1)
    # That of another value.
    logits = np.column_stack([logits, np.full(count, -9.0)])
    number = np.arange(count)
    return HeldOutCells(logits.astype(np.float32), true, number, number % 2, np.zeros(count, int))


def alone(*situations: Situation) -> dict[str, Any]:
    """Return a calibration of experts that has proven two targets."""
    steps = [[0.995, 0.9, 0.8], [0.99, 0.8, 0.9], [0.9, 0.5, 1.0]]
    return {
        "version": 2,
        "confidence": 0.95,
        "cells": 9000,
        "temperatures": {"global": 1.5, "situations": {}},
        "proven": {each.name: {"colour": {"cells": 900, "steps": steps}} for each in situations},
    }


def joined(cells: HeldOutCells, differing: int) -> FittedSecondStage:
    """Return a second stage whose answers differ from the experts' in some of the cells."""
    logits = cells.logits.copy()
    logits[:differing, :VALUES] = np.roll(logits[:differing, :VALUES], 1, axis=1)
    stage = SecondStage(("network",), {group_of(SAYS): np.array([[0.0, 1.0, 0.5]])}, {})
    return FittedSecondStage(stage, {(SAYS, "colour"): logits})


def precisions(calibration: dict[str, Any], situation: Situation) -> list[float]:
    return [step[0] for step in calibration["proven"][situation.name]["colour"]["steps"]]


def test_where_nothing_joins_all_stays_as_it_was() -> None:
    cells = made_cells(100)
    before = alone(SAYS, BARE)
    after = calibrate_joint(before, {(SAYS, "colour"): cells}, joined(cells, 0), ONTOLOGY)
    assert precisions(after, BARE) == precisions(before, BARE)
    calibration = Calibration(after)
    assert calibration.temperature(BARE.name, "colour") == 1.5
    assert calibration.proving_temperature(SAYS.name, "colour") == 1.5
    nothing = FittedSecondStage(SecondStage(("network",), {}, {}), {})
    same = calibrate_joint(before, {(SAYS, "colour"): cells}, nothing, ONTOLOGY)
    added = {"proving_temperatures": before["temperatures"], "intervals": {}}
    assert same == {**before, **added}


def test_a_proof_is_discounted_by_how_often_the_answers_agree() -> None:
    cells = made_cells(4000)
    found = {}
    for differing in (0, 400):
        stage = joined(cells, differing)
        after = calibrate_joint(alone(SAYS), {(SAYS, "colour"): cells}, stage, ONTOLOGY)
        assert after["confidence"] == 0.94
        found[differing] = precisions(after, SAYS)
    for before, all_agree, few_differ in zip((0.995, 0.99, 0.9), found[0], found[400], strict=True):
        # At best by nearly nothing; and where a tenth differs, by a ninth of the allowed error.
        assert before > all_agree > before - 0.003 * (1 - before)
        assert few_differ < 1 - (1 - before) / 0.9
        assert few_differ > 1 - (1 - before) / 0.88


@pytest.mark.parametrize("count", [0, 3])
def test_without_enough_cells_hardly_anything_stays_proven(count: int) -> None:
    cells = made_cells(3)
    held_out = {(SAYS, "colour"): cells} if count else {}
    after = calibrate_joint(alone(SAYS), held_out, joined(cells, 0), ONTOLOGY)
    assert max(precisions(after, SAYS), default=0) < 0.95
    assert Calibration(after).threshold(SAYS.name, "colour", 0.99) is None


def test_a_property_without_such_cells_proves_nothing() -> None:
    cells = made_cells(1000)
    before = alone(SAYS)
    before["proven"][SAYS.name]["shape"] = before["proven"][SAYS.name]["colour"]
    after = calibrate_joint(before, {(SAYS, "colour"): cells}, joined(cells, 0), ONTOLOGY)
    assert after["proven"][SAYS.name]["shape"]["steps"] == []
    assert before["proven"][SAYS.name]["shape"]["steps"]


def test_errors_among_the_filled_cells_stay_within_the_discounted_promise() -> None:
    # The worst case: all cells that differ are ones in which the experts are right.
    cells = made_cells(2000)
    wrong = np.arange(2000) >= 1980
    true = cells.true.copy()
    true[wrong] = np.roll(true[wrong], 1, axis=1)
    cells = replace(cells, true=true)
    stage = joined(cells, 200)
    after = calibrate_joint(alone(SAYS), {(SAYS, "colour"): cells}, stage, ONTOLOGY)
    best = cells.logits.argmax(1)
    agree = best == stage.held_out[SAYS, "colour"].argmax(1)
    right = true[np.arange(2000), best]
    assert right.mean() == 0.99
    assert right[agree].mean() < 0.99
    assert right[agree].mean() >= precisions(after, SAYS)[1]
