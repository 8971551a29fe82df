"""The kernel of category paths."""

import numpy as np
import pytest

from experts.categories import CategoryKernel
from experts.kernels import StatementKernel
from schema.ontology import Ontology, PropertySpec

ONTOLOGY = Ontology(
    [
        PropertySpec("kind", values=("mugs", "lamps"), counts=(2, 1)),
        PropertySpec("colour", values=("red",), counts=(2,)),
    ]
)
PATHS = [("Home", "Mugs"), ("Home", "Lamps"), ("Garden",), ()]
KNOWN = [
    (("kind", "mugs"),),
    (("kind", "lamps"), ("colour", "red")),
    (("kind", "mugs"), ("colour", "red")),
    (("colour", "red"),),
]


@pytest.fixture
def kernel():
    return CategoryKernel.fit(PATHS, PATHS, StatementKernel(ONTOLOGY, KNOWN))


def alike(cosine):
    return pytest.approx(np.exp(3 * (cosine - 1)))


def test_paths_are_alike_by_the_levels_that_they_share(kernel):
    rows = kernel.rows(kernel.one_hot([("Home", "Mugs"), ("Nowhere",)]), "colour")
    assert rows[0].tolist() == [alike(1), alike(0.5), alike(0), 0]
    assert not rows[1].any()


def test_a_landmark_s_level_that_says_its_own_value_does_not_count(kernel):
    (row,) = kernel.rows(kernel.one_hot([("Home", "Mugs")]), "kind")
    # Both landmarks have "Home" alone, which is half of what the item has.
    assert row.tolist() == [alike(0.5**0.5), alike(0.5**0.5), alike(0), 0]


def test_own_levels_are_hidden_as_the_ontology_reads_them(kernel):
    levels = kernel.one_hot(PATHS)
    true = np.array([[True, False], [True, False], [False, False], [False, True]])
    hidden = kernel.without_values(levels, "kind", true)
    # The second is no lamp, so its wrong level stays.
    assert hidden.toarray().sum(1).tolist() == [1, 2, 1, 0]
    assert (kernel.without_values(levels, "colour", true[:, :1]) != levels).nnz == 0


def test_paths_say_values(kernel):
    said = kernel.said([("Home", "MUGS"), ("mugs", "lamps"), ("Home",)], "kind")
    assert said.tolist() == [[1, 0], [0.5, 0.5], [0, 0]]


def test_a_kernel_is_the_same_from_its_arrays(kernel):
    again = CategoryKernel.from_arrays(StatementKernel(ONTOLOGY, KNOWN), kernel.arrays())
    levels = kernel.one_hot(PATHS)
    np.testing.assert_array_equal(again.rows(levels, "kind"), kernel.rows(levels, "kind"))


def test_without_categories_nothing_is_alike():
    kernel = CategoryKernel.from_arrays(StatementKernel(ONTOLOGY, KNOWN), {})
    assert kernel.is_empty
    assert not kernel.rows(kernel.one_hot([("Home",)]), "kind").any()
