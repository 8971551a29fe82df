"""Which mapping is guessed for a source, and why."""

import pytest

from schema.errors import MappingError
from schema.mapping import Head, guess_mapping, load_mapping, resolve

FASHION = (
    "id",
    "gender",
    "masterCategory",
    "subCategory",
    "articleType",
    "baseColour",
    "season",
    "year",
    "usage",
    "productDisplayName",
)


def head(*rows, delimiter=","):
    return Head("table", rows, delimiter=delimiter)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (head(FASHION), "fashion-product-images"),
        (head(("1", "t", "http://u", "a#:#b#;#c#:#d", "cat"), delimiter="\t"), "k3m"),
        (head(("id", "title", "category", "image", "seller", "colour")), "sample"),
        (head(("sku", "name", "colour")), "generic"),
    ],
)
def test_a_mapping_is_guessed_with_a_reason(source, name):
    guess = guess_mapping(source)
    assert guess.mapping.name == name
    assert guess.reason


def test_generic_finds_its_columns_by_their_names():
    layout = resolve(
        load_mapping("generic"),
        ["SKU", "Product Name", "colour", "Description", "url", "image_url"],
    )
    assert (layout.id, layout.title, layout.images) == (("SKU",), ("Product Name",), ("image_url",))
    assert (layout.properties, layout.description) == (("colour",), ("Description",))
    assert layout.ignored == ("url",)


def test_fashion_keeps_its_path_columns_as_properties():
    layout = resolve(load_mapping("fashion-product-images"), FASHION)
    assert layout.category == ("masterCategory", "subCategory", "articleType")
    assert len(layout.properties) == 8


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (head(("colour", "size")), "finds no id column among colour, size"),
        (head(("1", "red", "http://x")), "no header"),
        (head(), "empty"),
    ],
)
def test_a_source_that_no_mapping_fits_is_refused(source, message):
    with pytest.raises(MappingError, match=message):
        guess_mapping(source)


def test_a_mapping_that_does_not_fit_names_the_missing_column():
    with pytest.raises(MappingError, match=r"fashion-product-images.*'productDisplayName'"):
        resolve(load_mapping("fashion-product-images"), ["id", "name"])
