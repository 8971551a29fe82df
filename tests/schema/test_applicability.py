"""To which categories a property applies, by a home's ontology and by a model's."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.applicability import Applicability, drawn_share, shares_digest
from schema.ontology import Ontology, PropertySpec

SHARES = st.floats(0, 1)
LEVELS = st.lists(st.tuples(st.integers(0, 10_000), SHARES), max_size=5)


def shop(category: str, described: int, properties: dict[str, int], bare: int = 0) -> Ontology:
    """Infer the ontology of one category: so many items have each of the properties."""
    count = described + bare
    facts = [
        (str(number), name, f"v{number % 3}")
        for name, holders in properties.items()
        for number in range(holders)
    ]
    columns = dict(zip(("item", "property", "value"), zip(*facts, strict=True), strict=True))
    items = {"id": list(map(str, range(count))), "category": [category] * count}
    return Ontology.infer(pa.table(items), pa.table({k: list(v) for k, v in columns.items()}))


MODEL = shop("Home > Mugs", 200, {"colour": 190, "holds": 180, "motto": 4})


@given(SHARES, LEVELS)
def test_a_drawn_share_lies_between_those_that_it_comes_from(of_all, levels):
    share = drawn_share(of_all, levels)
    every = [of_all, *(own for _, own in levels)]
    assert min(every) - 1e-9 <= share <= max(every) + 1e-9


@given(SHARES, LEVELS, st.integers(0, 100), SHARES)
def test_a_category_of_bare_items_has_the_share_of_its_parent(of_all, levels, others, own):
    parent = drawn_share(of_all, levels or [(others, own)])
    bare = drawn_share(of_all, [*(levels or [(others, own)]), (0, 0.0)])
    assert bare == pytest.approx(parent)


@given(st.dictionaries(st.text(), SHARES))
def test_a_digest_does_not_depend_on_the_order(shares):
    assert shares_digest(shares) == shares_digest(dict(reversed(shares.items())))


@pytest.mark.parametrize(
    ("described", "bare", "applies"), [(1, 0, True), (1, 500, True), (4, 0, True), (40, 0, False)]
)
def test_the_model_counts_where_the_home_says_little(described, bare, applies):
    # None of the home's items has what it holds, and all that are described have a colour.
    home = shop("Home > Mugs", described, {"colour": described}, bare)
    both = Applicability(home, MODEL)
    assert both.applies("holds", "Home > Mugs") is applies
    assert both.applies("colour", "Home > Mugs")
    assert not both.applies("motto", "Home > Mugs")
    assert not Applicability(home).applies("holds", "Home > Mugs")


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.integers(1, 60))
def test_a_property_applies_if_its_share_reaches_the_threshold(at_home, of, by_model, among):
    shares = {"Mugs": at_home / max(of, at_home, 1)}
    holds = PropertySpec("holds", applies_to=shares, inferred_shares=shares_digest(shares))
    home = Ontology([holds], categories={"Mugs": max(of, at_home)})
    known = {"Mugs": min(1.0, by_model / among)}
    model = PropertySpec("holds", applies_to=known, inferred_shares=shares_digest(known))
    both = Applicability(home, Ontology([model], categories={"Mugs": among}))
    assert both.applies("holds", "Mugs") == (both.share("holds", "Mugs") >= home.threshold)


def test_a_new_category_inherits_from_the_model_s_parent():
    home = shop("Shop", 30, {"colour": 30})
    both = Applicability(home, MODEL)
    # The home knows nothing of it, and so counts with all of its items.
    assert both.share("holds", "Home > Cups") < both.share("colour", "Home > Cups")
    small = Applicability(shop("Shop", 2, {"colour": 2}), MODEL)
    assert small.applies("holds", "Home > Cups")
    # Of a category that it does not know either the model says nothing.
    assert not small.applies("holds", "Garden")


def test_what_a_person_wrote_in_the_home_holds_over_the_model():
    home = shop("Home > Mugs", 2, {"colour": 2, "holds": 2})
    assert Applicability(home, MODEL).applies("holds", "Home > Mugs")
    holds = replace(home["holds"], applies_to={"Home": 0.0, "Home > Mugs": 0.0})
    edited = Ontology([home["colour"], holds], categories=home.categories)
    assert not Applicability(edited, MODEL).applies("holds", "Home > Mugs")
