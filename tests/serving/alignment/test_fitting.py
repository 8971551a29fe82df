"""Learning from labelled pairs: calibration, thresholds, and a model that is stored and read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from schema.errors import ModelError, UsageError
from schema.manifests import ALIGNMENT_FILE, ALIGNMENT_TREES
from schema.ontology import Ontology
from serving.alignment.corpus import Corpus
from serving.alignment.fitting import (
    FittedAlignment,
    LabelledPairs,
    calibrate,
    fit_alignment,
    threshold_of_best_f1,
    threshold_of_expected_f1,
    thresholds_of_lost,
)
from serving.alignment.model import (
    AlignmentDecision,
    AlignmentModel,
    Calibration,
    Thresholds,
    find_alignment_model,
)
from tests.serving.alignment.made_pairs import joined, made_records

ITEMS = 60


def labelled(seed: int = 0, negatives: int = 3) -> LabelledPairs:
    """Return every match of made records, and some pairs that are none for each item."""
    rng = np.random.default_rng(seed)
    left = np.repeat(np.arange(ITEMS), 1 + negatives)
    shift = np.tile(np.arange(1 + negatives), ITEMS)
    offset = np.where(shift > 0, rng.integers(1, ITEMS, len(left)), 0)
    right = ITEMS + (left + offset) % ITEMS
    return LabelledPairs(left, right, offset == 0)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus(joined(*made_records(ITEMS)))


@pytest.fixture(scope="module")
def fitted(corpus: Corpus) -> FittedAlignment:
    return fit_alignment(corpus, labelled(), labelled(1), Ontology({}), {}, {"seed": 0})


def test_a_model_tells_pairs_apart_that_it_has_not_learned_from(fitted: FittedAlignment) -> None:
    pairs = labelled()
    assert ((fitted.left_out >= 0.5) == pairs.label).mean() > 0.95
    # Calibrated: as many matches as the probabilities promise.
    assert fitted.left_out.sum() == pytest.approx(pairs.label.sum(), rel=0.1)


def test_a_model_that_is_read_again_says_the_same(
    fitted: FittedAlignment, corpus: Corpus, tmp_path: Path
) -> None:
    pairs = labelled(2)
    fitted.model.save(tmp_path / "models" / "align")
    read = AlignmentModel.load(find_alignment_model(tmp_path / "models", None))
    expected = fitted.model.probabilities(corpus, pairs.left, pairs.right)
    assert np.array_equal(read.probabilities(corpus, pairs.left, pairs.right), expected)
    assert read.thresholds(0.9) == fitted.model.thresholds(0.9)
    assert read.name == "align"
    # Whichever item is named first.
    assert np.allclose(read.probabilities(corpus, pairs.right, pairs.left), expected)


@pytest.mark.parametrize("name", [ALIGNMENT_FILE, ALIGNMENT_TREES])
def test_a_damaged_model_is_refused(fitted: FittedAlignment, tmp_path: Path, name: str) -> None:
    fitted.model.save(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-20])
    with pytest.raises(ModelError, match=name):
        AlignmentModel.load(tmp_path)


def test_too_few_labels_are_refused(corpus: Corpus) -> None:
    pairs = labelled()
    few = np.flatnonzero(pairs.label)[:9]
    kept = np.concatenate([few, np.flatnonzero(~pairs.label)])
    chosen = LabelledPairs(pairs.left[kept], pairs.right[kept], pairs.label[kept])
    with pytest.raises(UsageError, match="9 matching pairs are too few"):
        fit_alignment(corpus, chosen, None, Ontology({}), {}, {})


def test_calibration_finds_the_line_that_labels_were_drawn_from() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 3, 20_000)
    label = rng.random(len(scores)) < expit(0.5 * scores - 1)
    found = calibrate(scores, label)
    assert (found.slope, found.intercept) == pytest.approx((0.5, -1), abs=0.05)
    # Scores that are upside down say nothing; they are not turned around.
    assert calibrate(-scores, label).slope == 0


def test_thresholds_of_f1_by_hand() -> None:
    probability = np.array([0.9, 0.8, 0.7, 0.2, 0.1])
    label = np.array([True, False, True, False, False])
    # Two of three from 0.7 on: 4 / 5; one of one from 0.9 on: 2 / 3.
    assert threshold_of_best_f1(probability, label) == 0.7
    # Expected: 2 * 2.4 / (3 + 2.7) from 0.7 on, more than from 0.8 or 0.2 on.
    assert threshold_of_expected_f1(probability) == 0.7


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1 << 30))
def test_few_matches_are_below_the_threshold_of_lost_ones(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = thresholds_of_lost(rng.random(400))
    # Of uniform probabilities the share below a threshold is the threshold itself; it exceeds what
    # was allowed with a chance of 5%, and then by little.
    assert found[0.95] < 0.05 + 0.03
    assert 0.999 not in found
    values = [found[target] for target in sorted(found)]
    assert values == sorted(values, reverse=True)


def test_a_threshold_of_lost_matches_holds_in_19_of_20_cases() -> None:
    rng = np.random.default_rng(0)
    lost = [thresholds_of_lost(rng.random(400))[0.95] for _ in range(200)]
    assert np.mean(np.array(lost) > 0.05) < 0.1


def test_decisions_are_those_of_the_thresholds() -> None:
    decide = Thresholds(match=0.9, distinct=0.2).decide
    assert decide(np.array([0.9, 0.89, 0.2, 0.19])) == [
        AlignmentDecision.MATCH,
        AlignmentDecision.REVIEW,
        AlignmentDecision.REVIEW,
        AlignmentDecision.DISTINCT,
    ]
    nothing = Thresholds(match=np.inf, distinct=-np.inf).decide
    assert set(nothing(np.array([0.0, 1.0]))) == {AlignmentDecision.REVIEW}


def test_a_target_out_of_range_is_refused(fitted: FittedAlignment) -> None:
    with pytest.raises(UsageError, match=r"1\.5"):
        fitted.model.thresholds(1.5)


def test_a_calibration_is_a_logistic_curve() -> None:
    assert Calibration(2, 1).probabilities(np.array([0.0]))[0] == pytest.approx(expit(1))
