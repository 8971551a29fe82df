"""Realised precision, by hand and against scipy's own interval."""

import pytest
from scipy.stats import binomtest

from schema.proposals import Proposal, ProposalState, ProposedDecision
from serving.proof import flawless_cells
from serving.results import Candidate, Completion, Evidence
from serving.review.drifting import Drifting
from serving.review.statistics import band_of, by_kind, drifts, interval, proven_by_decisions

RIGHT = ProposalState.ACCEPTED


def decided(count, state=RIGHT, probability=0.97, **options):
    given = {"decision": ProposedDecision.FILL, "model": "m"} | options
    return [
        Proposal(f"{state}-{number}", "colour", ("red",), probability, state=state, **given)
        for number in range(count)
    ]


@pytest.mark.parametrize(("count", "right"), [(1, 0), (1, 1), (10, 7), (400, 399)])
def test_the_interval_is_that_of_clopper_and_pearson(count, right):
    expected = binomtest(right, count).proportion_ci(0.95, "exact")
    assert interval(count, right) == pytest.approx((expected.low, expected.high))


def test_counts_by_kind():
    found = by_kind(
        [*decided(3), *decided(1, ProposalState.EDITED, 0.6), *decided(2, ProposalState.PROPOSED)]
    )
    assert found["property"]["colour"].decided == 4
    assert found["property"]["colour"].right == 3
    assert found["property"]["colour"].promised == pytest.approx((3 * 0.97 + 0.6) / 4)
    assert {name: each.right for name, each in found["probability"].items()} == {
        "0.5-0.7": 0,
        "0.95-0.99": 3,
    }


@pytest.mark.parametrize(
    ("probability", "band"), [(0.0, "0-0.5"), (0.5, "0.5-0.7"), (0.99, "0.99-1"), (1.0, "0.99-1")]
)
def test_bands_have_their_lower_limit(probability, band):
    assert band_of(probability) == band


def test_decisions_alone_prove_a_precision():
    enough = flawless_cells(0.95)
    steps = proven_by_decisions(decided(enough))["colour"]
    assert max(each.precision for each in steps) >= 0.95
    assert proven_by_decisions(decided(3))["colour"] == []


def test_a_drift_is_told_if_the_interval_ends_below_the_promise():
    group = [*decided(5, proven=0.95), *decided(5, ProposalState.REJECTED, proven=0.95)]
    (drift,) = drifts(group)
    assert (drift.property, drift.threshold) == ("colour", None)
    assert "5 of 10" in drift.told()
    assert drifts([*decided(9, proven=0.95), *decided(1, ProposalState.REJECTED)]) == []
    asked = {"decision": ProposedDecision.REVIEW}
    assert drifts(decided(9, ProposalState.REJECTED, **asked)) == []


def test_what_drifts_is_reviewed_below_the_threshold():
    completion = Completion("1", "colour", (Candidate("red", 0.98),), "fill", Evidence())
    for threshold, decision in ((None, "review"), (0.99, "review"), (0.97, "fill")):
        assert Drifting({"colour": threshold}).held_back(completion).decision == decision
    assert Drifting({"kind": None}).held_back(completion) == completion
