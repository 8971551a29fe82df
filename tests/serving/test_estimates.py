"""Estimates and conformal intervals of numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.errors import ModelError
from schema.ontology import Ontology, PropertySpec
from serving.calibration import CellGroup, ScoredCells
from serving.estimates import Estimate, Estimator, NumberScale, fit_intervals

VOLUME = PropertySpec(
    "volume",
    datatype="quantity",
    unit="ml",
    values=("1 l", "500 ml", "1200 ml", "1100 ml", "unknown"),
    counts=(5, 4, 3, 2, 1),
)


def test_the_estimate_is_nearer_than_the_most_probable_value() -> None:
    scale = NumberScale(VOLUME)
    # 1 l is the most probable one, and half of the others are on either side of 1100 ml.
    predicted = np.array([0.4, 0.0, 0.3, 0.3, 0.0])
    assert scale.estimate(predicted, None) == Estimate("1100 ml")


def test_an_estimate_minimises_the_expected_capped_relative_error() -> None:
    scale = NumberScale(VOLUME)
    rng = np.random.default_rng(0)
    for _ in range(50):
        predicted = rng.dirichlet(np.full(4, 0.5))
        numbers = np.array([1000.0, 500.0, 1200.0, 1100.0])
        errors = np.minimum(np.abs(numbers[:, None] - numbers) / numbers, 0.25) @ predicted
        best = VOLUME.values[int(errors.argmin())]
        assert scale.estimate(np.append(predicted, 0.0), None) == Estimate(best)


def test_numbers_that_are_not_positive_have_a_median() -> None:
    spec = PropertySpec("shift", datatype="integer", values=("0", "-5", "3"), counts=(1, 1, 1))
    assert NumberScale(spec).estimate(np.array([0.3, 0.35, 0.35]), None) == Estimate("0")


def test_values_are_in_the_order_of_their_numbers_in_the_propertys_unit() -> None:
    scale = NumberScale(VOLUME)
    assert [VOLUME.values[place] for place in scale.order] == [
        "500 ml",
        "1 l",
        "1100 ml",
        "1200 ml",
    ]
    np.testing.assert_allclose(np.exp(scale.numbers), [500, 1000, 1100, 1200])


@pytest.mark.parametrize("datatype", ["string", "boolean"])
def test_what_is_no_number_has_no_estimate(datatype: str) -> None:
    spec = PropertySpec("kind", datatype=datatype, values=("1", "2"), counts=(1, 1))
    estimator = Estimator(Ontology([spec]), None)
    assert estimator.estimate("kind", "image", np.array([0.5, 0.5])) is None


def test_an_interval_ends_at_values_and_holds_the_estimate() -> None:
    scale = NumberScale(VOLUME)
    predicted = np.array([0.9, 0.02, 0.04, 0.04, 0.0])
    estimate = scale.estimate(predicted, widening=0.0)
    assert (estimate.low, estimate.value, estimate.high) == ("1 l", "1 l", "1100 ml")
    wider = scale.estimate(predicted, widening=float(np.log(2)))
    assert (wider.low, wider.high) == ("500 ml", "1200 ml")
    # A narrowing one does not pass the estimate.
    narrow = scale.estimate(predicted, widening=-10.0)
    assert narrow.low == narrow.value == narrow.high == "1 l"


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_intervals_cover_nine_of_ten_however_wrong_the_distribution(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = PropertySpec(
        "pages",
        datatype="integer",
        values=tuple(str(number) for number in range(10, 60)),
        counts=(10,) * 50,
    )
    centre = rng.integers(10, 40, 1200)
    # The distributions are too narrow, and five too low.
    true = np.clip(centre + 5 + rng.normal(0, 4, 1200).round().astype(int), 0, 49)
    logits = -np.abs(np.arange(50)[None] - centre[:, None]).astype(np.float32)
    is_true = np.eye(50, dtype=bool)[true]
    half = ScoredCells(logits[:600], is_true[:600], np.zeros(600, int), np.arange(600), 50)
    widenings = fit_intervals({CellGroup("title", "pages"): half}, Ontology([spec]), lambda *_: 1.0)
    estimator = Estimator(Ontology([spec]), {"intervals": widenings})
    covered = 0
    for row, number in zip(logits[600:], true[600:], strict=True):
        predicted = np.exp(row) / np.exp(row).sum()
        estimate = estimator.estimate("pages", "title", predicted)
        assert estimate is not None
        covered += int(estimate.low or 0) <= number + 10 <= int(estimate.high or 0)
    # Four standard deviations below 90%.
    assert covered / 600 > 0.85


def test_few_cells_give_no_interval() -> None:
    cells = ScoredCells(
        np.zeros((29, 5), np.float32),
        np.eye(5, dtype=bool)[np.zeros(29, int)],
        np.zeros(29, int),
        np.arange(29),
        5,
    )
    group = {CellGroup("title", "volume"): cells}
    assert fit_intervals(group, Ontology([VOLUME]), lambda *_: 1.0) == {}


@pytest.mark.parametrize("intervals", [[], {"title": 3}, {"title": {"volume": "wide"}}])
def test_damaged_intervals_are_told(intervals: object) -> None:
    with pytest.raises(ModelError, match="damaged"):
        Estimator(Ontology([VOLUME]), {"intervals": intervals})
