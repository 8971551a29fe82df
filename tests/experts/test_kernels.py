"""Kernels by hand, missing parts, and kernels that were stored and read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experts.image_kernel import ImageKernel
from experts.kernels import StatementKernel, TitleKernel
from tests.experts.made import ONTOLOGY, labelled, made_items

TITLES = ["red mug Alda", "green lamp Berg", None, "red mug Alda"]

FOLDER = Path("model")
"""A model folder that is not there: without encoders it is not read."""


def test_equal_titles_are_as_alike_as_can_be() -> None:
    rows = TitleKernel.fit(TITLES, TITLES).rows(TITLES)
    # A cosine of 1, and exp(4 (1 - 1)).
    assert rows[0, 3] == pytest.approx(2, abs=1e-5)
    assert rows[0, 1] < 1
    np.testing.assert_allclose(rows, rows.T, atol=1e-6)


def test_titles_without_common_ngrams_are_as_unlike_as_can_be() -> None:
    rows = TitleKernel.fit(["abc", "xyz"], ["abc"]).rows(["xyz"])
    assert rows[0, 0] == pytest.approx(np.exp(-4), rel=1e-5)


def test_the_cosine_is_the_mean_of_words_and_characters() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    titles = ["red mug", "red lamp", "green mug"]
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+")
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    cosine = np.zeros((3, 3))
    for vectorizer in (words, characters):
        features = vectorizer.fit_transform(titles)
        cosine += (features @ features.T).toarray() / 2
    expected = cosine + np.exp(4 * (cosine - 1))
    np.testing.assert_allclose(TitleKernel.fit(titles, titles).rows(titles), expected, atol=1e-5)


def test_a_missing_title_is_like_nothing() -> None:
    rows = TitleKernel.fit(TITLES, TITLES).rows([None, ""])
    assert not rows.any()


def test_without_any_title_there_is_a_kernel_all_the_same() -> None:
    kernel = TitleKernel.fit([None, "", "!"], [None, "", "!"])
    assert kernel.rows(["red", None]).shape == (2, 3)
    again = TitleKernel.from_arrays(kernel.arrays(), FOLDER)
    assert not again.rows(["red"]).any()


def test_statements_are_compared_without_the_property_that_is_asked() -> None:
    known = [(("kind", "mug"), ("colour", "red")), (("kind", "mug"), ("colour", "blue"))]
    kernel = StatementKernel(ONTOLOGY, known)
    rows = kernel.rows(kernel.features(known), "colour")
    np.testing.assert_allclose(rows, 1, atol=1e-6)
    rows = kernel.rows(kernel.features(known), "kind")
    np.testing.assert_allclose(rows[0, 1], np.exp(-3), rtol=1e-5)
    rows = kernel.rows(kernel.features(known), "room")
    np.testing.assert_allclose(rows[0, 1], np.exp(3 * (0.5 - 1)), rtol=1e-5)


def test_statements_that_the_ontology_does_not_know_do_not_count() -> None:
    kernel = StatementKernel(ONTOLOGY, [(("kind", "mug"),)])
    known = kernel.features([(("kind", "sofa"), ("ean", "40"), ("weight", "3"))])
    assert known.nnz == 0
    assert not kernel.rows(known, "colour").any()
    assert not kernel.has_others(known, "colour").any()


def test_kernels_are_the_same_when_they_are_read_again() -> None:
    items = labelled(made_items())
    title = TitleKernel.fit(items.titles, items.titles)
    again = TitleKernel.from_arrays(title.arrays(), FOLDER)
    titles = ["blue chair Dyne", None, "unknown words"]
    np.testing.assert_allclose(again.rows(titles), title.rows(titles), atol=1e-6)
    image = ImageKernel.fit(items.images, items.images)
    others = labelled(made_items(9, seed=3)).images
    np.testing.assert_allclose(
        ImageKernel.from_arrays(image.arrays(), FOLDER).rows(others), image.rows(others), atol=2e-3
    )
    statements = StatementKernel(ONTOLOGY, items.known)
    known = statements.features(items.known[:4])
    np.testing.assert_array_equal(
        StatementKernel.from_arrays(ONTOLOGY, statements.arrays()).rows(known, "room"),
        statements.rows(known, "room"),
    )
