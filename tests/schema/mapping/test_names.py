"""Names of columns, however they are spelled, and patterns of names."""

import pytest

from schema.mapping.names import captured, matches, matching, normalized


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("Item-ID", "item_id"),
        ("a/b", "a.b"),
        ("image_10", "image_{n}"),
        ("Image2", "image_{n}"),
        ("other image url 3", "other_image_url{n}"),
        ("Variant Price", "variant *"),
        ("brand_t", "*_t"),
        ("Attribute 1 value(s)", "Attribute {n} value(s)"),
        ("images.1.sizes", "images.*"),
    ],
)
def test_a_name_fits(name, pattern):
    assert matches(name, pattern)


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("weight", "*_t"),
        ("sugars_unit", "*_t"),
        ("variants", "variant *"),
        ("image_x", "image_{n}"),
        ("image", "image_{n}"),
        ("title 2", "title"),
    ],
)
def test_a_name_does_not_fit(name, pattern):
    assert not matches(name, pattern)


def test_columns_come_in_the_order_of_the_patterns_and_their_numbers():
    columns = ["image_10", "main", "image_2", "x"]
    assert matching(columns, ["main", "image_{n}"]) == ["main", "image_2", "image_10"]


def test_the_parts_that_wildcards_stand_for():
    assert captured("Fabric (product.metafields.custom.fabric)", "* (product.*)") == [
        "Fabric",
        "metafields.custom.fabric",
    ]
    assert captured("other", "x_*") == []
    assert normalized("Product Name") == normalized("product-name") == "productname"
