"""How often titles say their item's value, and what a silent title tells."""

from __future__ import annotations

import numpy as np
import pytest

from experts.said_values import SaidValues
from schema.ontology import PropertySpec

SPEC = PropertySpec("kind", values=("casual shoes", "shirts", "gift set"), counts=(4, 6, 2))
TITLES = ["Puma Casual Shoe", "Puma Shoes", "Puma red", None, *["Levis Shirt"] * 6, "Fun", "Joy"]
KNOWN = [
    *[[("kind", "casual shoes")]] * 4,
    *[[("kind", "shirts"), ("colour", "red")]] * 6,
    *[[("kind", "gift set")]] * 2,
]


def test_shares_are_those_of_an_items_titles_near_the_propertys() -> None:
    said = SaidValues.fit(SPEC, TITLES, KNOWN)
    # Of 11 titles 7 say the value in whole and 8 its last word; each value begins with two such.
    np.testing.assert_allclose(said.whole, (np.array([1, 6, 0]) + 2 * 7 / 11) / [5, 8, 4])
    np.testing.assert_allclose(said.head, (np.array([2, 6, 0]) + 2 * 8 / 11) / [5, 8, 4])


def test_silence_is_as_surprising_as_titles_usually_say_the_value() -> None:
    said = SaidValues.fit(SPEC, TITLES, KNOWN)
    titles = ["Polo T-Shirt", "White shirts", "Nike Shoes", None]
    features = said.features(np.array([1, 1, 0, 1]), titles)
    surprise = -np.log1p(-said.whole)
    of_head = -np.log1p(-said.head)
    # A T-shirt is no shirt.
    assert features[0] == pytest.approx([0, surprise[1], 0, of_head[1]])
    assert features[1].tolist() == [1, 0, 1, 0]
    assert features[2] == pytest.approx([0, surprise[0], 1, 0])
    assert features[3].tolist() == [0, 0, 0, 0]
    assert surprise[1] > 2 > surprise[0]


def test_every_spelling_says_the_value() -> None:
    spec = PropertySpec("kind", values=("sofa",), counts=(1,), synonyms={"sofa": ("couch",)})
    said = SaidValues.fit(spec, ["Blue couch"], [[("kind", "sofa")]])
    assert said.says(0, "Blue bed") == said.says(0, "Chair") == (False, False)
    assert said.says(0, "Blue couch") == (True, True)


def test_nothing_is_said_where_no_item_has_a_title() -> None:
    said = SaidValues.fit(SPEC, [None], [[("kind", "shirts")]])
    assert not said.features(np.array([1]), [None]).any()
