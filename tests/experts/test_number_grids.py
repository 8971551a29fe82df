"""Numbers by value: the kernel of two numbers by hand, scales, and folders of before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experts.kernels import StatementKernel
from experts.number_grids import FARTHEST, Grid, NumberScale, learn_scales, number_of
from schema.ontology import Ontology, PropertySpec

SIZES = ("1 l", "2 l", "3 l", "4 l")
ONTOLOGY = Ontology(
    [
        PropertySpec("kind", values=("mug", "jug"), counts=(2, 2)),
        PropertySpec("size", "quantity", unit="l", values=SIZES, counts=(1,) * 4, learn=True),
        PropertySpec("pieces", "integer", values=("1", "2", "6"), counts=(1,) * 3, learn=True),
    ]
)
KNOWN = [(("size", size),) for size in SIZES]


@given(st.floats(-FARTHEST, FARTHEST), st.floats(-1, 1), st.sampled_from([0.1, 0.5, 1.0]))
def test_the_weights_of_two_numbers_tell_their_distance(
    number: float, by: float, width: float
) -> None:
    other = min(max(number + by * width, -FARTHEST), FARTHEST)
    grid = Grid.of_width(width)
    dense = np.zeros((2, len(grid.points)))
    for row, each in enumerate((number, other)):
        places, weights = grid.weights(each)
        dense[row, places] = weights
    assert dense[0] @ dense[0] == pytest.approx(1)
    expected = np.exp(-(((number - other) / width) ** 2) / 2)
    assert dense[0] @ dense[1] == pytest.approx(expected, abs=5e-3)


def test_skewed_positive_numbers_are_compared_by_their_logarithms() -> None:
    skewed = NumberScale.of([1, 10, 100, 1000, 1000_000])
    assert skewed is not None
    assert skewed.is_logarithmic
    assert skewed.scaled(100) == pytest.approx(0)
    assert skewed.scaled(-1) is None
    even = NumberScale.of([1, 2, 3])
    assert even is not None
    assert not even.is_logarithmic
    assert even.scaled(3) == pytest.approx(1 / np.std([1, 2, 3]))
    assert even.scaled(1e9) == FARTHEST


@pytest.mark.parametrize("numbers", [[], [1, 1, 2], [5, 5, 5], [-1.7e308, 0, 1.7e308]])
def test_numbers_without_distances_have_no_scale(numbers: list[float]) -> None:
    assert NumberScale.of(numbers) is None


def test_what_is_no_number_is_none() -> None:
    assert number_of(PropertySpec("made", "date"), "1970-01-02") == 719164
    assert number_of(ONTOLOGY["size"], "500 ml") == pytest.approx(0.5)
    assert number_of(ONTOLOGY["size"], "large") is None
    assert number_of(ONTOLOGY["kind"], "2") is None


def test_near_numbers_are_more_alike_than_far_ones() -> None:
    pieces = [(("pieces", text),) for text in ("1", "2", "6")]
    kernel = StatementKernel.fit(ONTOLOGY, [*KNOWN, *pieces], KNOWN)
    scale = learn_scales(ONTOLOGY, KNOWN)["size"]
    of_text = kernel.rows(kernel.features(KNOWN), "kind")
    near = np.exp(-((1 / scale.spread / 0.5) ** 2) / 2)
    assert of_text[0, 1] == pytest.approx(np.exp(3 * (near - 1)), abs=5e-3)
    assert of_text[0, 0] == pytest.approx(1)
    assert of_text[0, 1] > of_text[0, 2] > of_text[0, 3]
    # Where a number is asked, half of it is the number itself.
    of_number = kernel.rows(kernel.features(KNOWN), "pieces")
    assert of_number[0, 0] == pytest.approx(1)
    assert of_number[0, 1] < of_text[0, 1]
    # Without other statements an item is like nothing.
    assert not kernel.rows(kernel.features(KNOWN), "size").any()


def test_half_of_a_number_counts_as_a_class_where_a_number_is_asked() -> None:
    known = [(("pieces", text),) for text in ("1", "2", "6", "6")]
    kernel = StatementKernel.fit(ONTOLOGY, [*known, *KNOWN], known)
    rows = kernel.rows(kernel.features([(("pieces", "7"),), (("pieces", "6"),)]), "size")
    scale = learn_scales(ONTOLOGY, known)["pieces"]
    seven, six = scale.scaled(7), scale.scaled(6)
    assert seven is not None
    assert six is not None
    near = np.exp(-(((seven - six) / 0.1) ** 2) / 2)
    # 7 is no value of the ontology: it has no half that is a class.
    assert rows[0, 2] == pytest.approx(np.exp(3 * (near * np.sqrt(0.5) - 1)), abs=5e-3)
    assert rows[1, 2] == pytest.approx(1)


def test_a_number_that_the_ontology_does_not_know_is_known_by_its_value() -> None:
    kernel = StatementKernel.fit(ONTOLOGY, KNOWN, KNOWN)
    assert kernel.knows("size", "1.1 l")
    assert not kernel.knows("size", "large")
    rows = kernel.rows(kernel.features([(("size", "1.1 l"),)]), "kind")
    assert rows.argmax() == 0
    # The same number twice, in other words, is one statement.
    twice = kernel.features([(("size", "1.1 l"), ("size", "1100 ml"))])
    np.testing.assert_allclose(twice.toarray(), kernel.features([(("size", "1.1 l"),)]).toarray())


def test_a_kernel_of_some_landmarks_has_the_same_scales() -> None:
    kernel = StatementKernel.fit(ONTOLOGY, KNOWN, KNOWN)
    known = kernel.features(KNOWN)
    some = kernel.select(np.array([0, 3]))
    np.testing.assert_allclose(some.rows(known, "kind"), kernel.rows(known, "kind")[:, [0, 3]])


def test_arrays_keep_the_scales_and_older_ones_have_classes_alone() -> None:
    kernel = StatementKernel.fit(ONTOLOGY, KNOWN, KNOWN)
    known = kernel.features(KNOWN)
    arrays = kernel.arrays()
    again = StatementKernel.from_arrays(ONTOLOGY, arrays)
    np.testing.assert_array_equal(again.rows(known, "kind"), kernel.rows(known, "kind"))
    classes = StatementKernel(ONTOLOGY, KNOWN)
    older = {name: classes.arrays()[name] for name in ("indices", "indptr")}
    before = StatementKernel.from_arrays(ONTOLOGY, older)
    rows = before.rows(before.features(KNOWN), "kind")
    np.testing.assert_allclose(rows, np.where(np.eye(4), 1, np.exp(-3)), rtol=1e-5)


@pytest.mark.parametrize("row", [[0, np.nan, 1], [0, 0, 0], [1, 0, -1]])
def test_damaged_scales_are_refused(row: list[float]) -> None:
    arrays = StatementKernel.fit(ONTOLOGY, KNOWN, KNOWN).arrays()
    with pytest.raises(ValueError, match="scale"):
        StatementKernel.from_arrays(ONTOLOGY, {**arrays, "scales": np.array([row])})
