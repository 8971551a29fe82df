"""IRIs, and reading the names back from them."""

from hypothesis import given
from hypothesis import strategies as st

from schema.iris import iri, name_of, name_of_kind


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_a_name_can_be_read_back_from_its_iri(name):
    assert name_of(iri("property", name)) == name == name_of_kind("property", iri("property", name))


def test_an_iri_of_another_kind_has_no_name():
    assert name_of_kind("property", iri("item", "1")) is None
    assert name_of_kind("property", "https://schema.org/name") is None
