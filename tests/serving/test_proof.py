from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from serving.proof import (
    TARGETS,
    JudgedCells,
    Proven,
    design_effect,
    flawless_cells,
    flawless_cells_of_property,
    precision_bound,
    prove,
)


def judged(right: list[bool] | np.ndarray, probability: np.ndarray | None = None) -> JudgedCells:
    """Cells of as many items, with falling probabilities."""
    right = np.asarray(right, dtype=bool)
    if probability is None:
        probability = np.linspace(0.999, 0.99, len(right))
    return JudgedCells(probability, right, np.arange(len(right)))


def threshold(proofs: list[Proven], target: float) -> float | None:
    return min((each.probability for each in proofs if each.precision >= target), default=None)


@pytest.mark.parametrize(("count", "wrong"), [(299, 0), (50, 3), (10, 9)])
def test_the_precision_bound_is_clopper_pearson(count, wrong):
    test = binomtest(count - wrong, count, alternative="greater")
    expected = test.proportion_ci(0.95, method="exact").low
    assert precision_bound(count, wrong) == pytest.approx(expected, abs=1e-9)


def test_the_precision_bound_is_zero_if_nothing_is_right():
    assert precision_bound(0, 0) == precision_bound(7, 7) == 0


@pytest.mark.parametrize("target", [0.9, 0.95, 0.99])
def test_flawless_cells_are_the_fewest_that_prove_a_target(target):
    count = flawless_cells(target)
    assert precision_bound(count, 0, 0.975) >= target > precision_bound(count - 1, 0, 0.975)
    some = flawless_cells_of_property(target)
    assert precision_bound(some, 0, 0.75) >= target > precision_bound(some - 1, 0, 0.75)


def test_the_documented_numbers_of_cells():
    assert [flawless_cells(target) for target in (0.99, 0.95, 0.9)] == [368, 72, 36]
    assert [flawless_cells_of_property(target) for target in (0.99, 0.95, 0.9)] == [138, 28, 14]


@pytest.mark.parametrize(("count", "is_proven"), [(368, True), (367, False)])
def test_a_property_alone_is_proven_by_enough_flawless_cells(count, is_proven):
    proofs = prove({"colour": judged([True] * count)}, [0.99])
    assert bool(proofs["colour"]) == is_proven


def test_the_threshold_is_that_of_the_least_probable_proven_cell():
    right = [True] * 400 + [False] * 100
    cells = judged(right)
    (proof,) = prove({"colour": cells}, [0.99])["colour"]
    # The next number of cells that is tested has mistakes already.
    tested = int((cells.probability >= proof.probability).sum())
    assert 400 / 1.06 < tested <= 400
    assert proof.share == pytest.approx((cells.probability >= proof.probability).mean())


def test_equal_probabilities_are_accepted_or_refused_together():
    right = np.ones(800, dtype=bool)
    right[400:440] = False
    tied = np.where(np.arange(800) < 600, 0.99, 0.9)
    assert prove({"colour": judged(right, tied)}, [0.99])["colour"] == []


def test_early_mistakes_do_not_end_every_sequence():
    # Two of the most probable cells are wrong, such as slips of the people who stated them.
    right = np.ones(3000, dtype=bool)
    right[[3, 200]] = False
    (proof,) = prove({"colour": judged(right)}, [0.99])["colour"]
    assert proof.share == 1


def test_several_properties_prove_together_what_none_of_them_proves_alone():
    cells = {
        name: JudgedCells(
            np.linspace(0.999, 0.995, 150), np.ones(150, dtype=bool), np.arange(150) + 150 * number
        )
        for number, name in enumerate(("colour", "kind", "material"))
    }
    assert all(not prove({name: each}, [0.99])[name] for name, each in cells.items())
    assert all(steps for steps in prove(cells, [0.99]).values())


def test_cells_of_the_same_few_items_do_not():
    cells = {
        name: judged([True] * 150, np.linspace(0.999, 0.995, 150))
        for name in ("colour", "kind", "material")
    }
    assert not any(prove(cells, [0.99]).values())


def repeated(right: np.ndarray, times: int) -> JudgedCells:
    """Every item's cell, predicted several times from more or less of the item."""
    item = np.repeat(np.arange(len(right)), times)
    return JudgedCells(np.linspace(0.999, 0.99, len(item)), right[item], item)


def test_the_same_cell_several_times_proves_no_more_than_once():
    assert not prove({"colour": repeated(np.ones(367, dtype=bool), 3)}, [0.99])["colour"]
    assert prove({"colour": repeated(np.ones(368, dtype=bool), 3)}, [0.99])["colour"]


def test_luck_with_the_same_cell_several_times_proves_nothing():
    rng = np.random.default_rng(5)
    proven = sum(
        bool(prove({"colour": repeated(rng.random(600) < 0.95, 4)}, [0.9501])["colour"])
        for _ in range(100)
    )
    assert proven <= 8


def test_a_property_that_speaks_against_the_target_takes_no_part_in_the_pool():
    cells = {
        name: JudgedCells(
            np.full(200, 0.998), np.ones(200, dtype=bool), np.arange(200) + 200 * number
        )
        for number, name in enumerate(("colour", "kind", "material"))
    }
    wrong = np.arange(200) % 41 == 0
    cells["season"] = JudgedCells(np.full(200, 0.998), ~wrong, np.arange(600, 800))
    proven = prove(cells, [0.99])
    assert {name for name, steps in proven.items() if steps} == {"colour", "kind", "material"}


def rare_properties(wrong: int = 0) -> dict[str, JudgedCells]:
    """Thirty properties with twenty cells each, none of which proves anything; one has mistakes."""
    cells = {
        f"p{number}": JudgedCells(
            np.full(20, 0.998), np.ones(20, dtype=bool), np.arange(20) + 20 * number
        )
        for number in range(30)
    }
    cells["p0"].right[:wrong] = False
    return cells


def test_rare_properties_count_as_one():
    assert all(prove(rare_properties(), [0.99]).values())
    few = dict(list(rare_properties().items())[:18])
    assert not any(prove(few, [0.99]).values())


def test_a_rare_property_that_is_wrong_too_often_is_left_out():
    proven = prove(rare_properties(wrong=3), [0.98])
    assert not proven.pop("p0")
    assert all(proven.values())


def test_a_property_without_cells_has_no_proof():
    assert prove({"colour": judged([])}) == {}
    assert prove({}) == {}


def test_the_design_effect_of_independent_errors_is_near_one():
    rng = np.random.default_rng(0)
    assert design_effect([judged(rng.random(4000) < 0.9) for _ in range(4)]) < 1.1


def test_the_design_effect_of_errors_that_an_item_shares_is_its_number_of_cells():
    rng = np.random.default_rng(0)
    right = rng.random(4000) < 0.9
    assert design_effect([judged(right)] * 4) == pytest.approx(4, abs=0.1)


def test_without_errors_a_cell_counts_for_its_share_of_an_item():
    assert design_effect([judged([True] * 50)] * 4) == 4
    assert design_effect([judged([])]) == 1


drawn_properties = st.dictionaries(
    st.sampled_from(["colour", "kind", "size"]),
    st.tuples(st.integers(0, 900), st.floats(0, 0.2), st.integers(0, 1000), st.integers(1, 4)),
    min_size=1,
)


@settings(max_examples=30, deadline=None)
@given(drawn_properties)
def test_what_is_proven_falls_with_the_target_and_takes_enough_cells(drawn):
    cells = {}
    for name, (count, error, seed, digits) in drawn.items():
        rng = np.random.default_rng(seed)
        probability = rng.beta(20, 1, count).round(digits)
        cells[name] = judged(rng.random(count) >= error, probability)
    proven = prove(cells)
    for name, steps in proven.items():
        precisions = [each.precision for each in steps]
        probabilities = [each.probability for each in steps]
        assert precisions == sorted(set(precisions), reverse=True)
        assert probabilities == sorted(set(probabilities), reverse=True)
        for target in TARGETS:
            lowest = threshold(steps, target)
            if lowest is None:
                continue
            accepted = cells[name].probability >= lowest
            # Even with the help of others, a property has to be proven at 25% by itself, if it
            # has enough cells; and all cells together at 95%.
            wrong = int((accepted & ~cells[name].right).sum())
            assert accepted.any()
            if len(accepted) >= flawless_cells_of_property(target):
                assert precision_bound(int(accepted.sum()), wrong, 0.25) >= target - 1e-9
            assert sum(len(each.right) for each in cells.values()) >= flawless_cells(target)


def drawn_catalogue(
    rng: np.random.Generator, items: int, overconfidence: np.ndarray
) -> dict[str, JudgedCells]:
    """Cells of properties whose errors are more frequent than their probabilities say."""
    cells = {}
    hard = rng.normal(0, 0.5, items)
    for number, factor in enumerate(overconfidence):
        error = 1 / (1 + np.exp(rng.normal(3.5, 1.5, items) + hard))
        right = rng.random(items) >= np.minimum(error * factor, 1)
        cells[f"p{number}"] = JudgedCells(1 - error, right, np.arange(items))
    return cells


@pytest.mark.parametrize("items", [350, 1300])
@pytest.mark.parametrize("target", [0.9, 0.95])
def test_the_promise_holds_for_what_is_filled(items, target):
    rng = np.random.default_rng(items)
    runs = 40
    broken = 0
    coverage = 0.0
    for _ in range(runs):
        factors = rng.lognormal(0, 0.3, 6)
        proofs = prove(drawn_catalogue(rng, items, factors), [target])
        state = int(rng.integers(1 << 32))
        new = drawn_catalogue(np.random.default_rng(state), 10_000, factors)
        filled = []
        for name, steps in proofs.items():
            lowest = threshold(steps, target)
            if lowest is not None:
                filled.append(new[name].right[new[name].probability >= lowest])
        right = np.concatenate([*filled, np.zeros(0, dtype=bool)])
        coverage += len(right) / (6 * 10_000) / runs
        broken += len(right) > 0 and right.mean() < target
    # 5% are allowed: with that, more than 5 of 40 runs are seen in 1 of 100 cases.
    assert broken <= 5
    assert coverage > 0.3


def test_luck_proves_nothing():
    rng = np.random.default_rng(3)
    proven = 0
    for _ in range(100):
        # The worst case: however probable a cell, the share of right ones is below the target.
        cells = {
            f"p{number}": JudgedCells(
                np.sort(1 - 0.1 * rng.random(1000))[::-1], rng.random(1000) < 0.95, np.arange(1000)
            )
            for number in range(5)
        }
        proven += any(prove(cells, [0.9501]).values())
    # 5% are allowed. A bound for each threshold and property by itself does in two of three.
    assert proven <= 8
