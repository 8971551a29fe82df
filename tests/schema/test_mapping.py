"""Mappings: which one is guessed for a source, and the roles that it gives to the columns."""

import re
import textwrap

import pytest

from schema import mapping as mapping_module
from schema.errors import MappingError
from schema.mapping import (
    KEYS,
    GuessRules,
    Head,
    guess_mapping,
    load_mapping,
    parse_mapping,
    shipped_mappings,
)

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


@pytest.mark.parametrize("name", shipped_mappings())
def test_every_shipped_mapping_is_named_like_its_file(name):
    assert load_mapping(name).name == name


def test_generic_finds_its_columns_by_their_names():
    layout = load_mapping("generic").resolve(
        ["SKU", "Product Name", "colour", "Description", "image_url"]
    )
    assert (layout.id, layout.title, layout.image) == ("SKU", "Product Name", "image_url")
    assert layout.properties == ("colour",)
    assert layout.ignored == ("Description",)


def test_fashion_keeps_its_path_columns_as_properties():
    layout = load_mapping("fashion-product-images").resolve(FASHION)
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
        load_mapping("fashion-product-images").resolve(["id", "name"])


def test_an_unknown_mapping_lists_the_shipped_ones():
    with pytest.raises(MappingError, match="fashion-product-images, generic, k3m"):
        load_mapping("nonesuch")


def test_a_mapping_can_be_a_file(tmp_path):
    (tmp_path / "mine.toml").write_text('id = "nr"\nproperties = ["hue"]')
    assert load_mapping(str(tmp_path / "mine.toml")).resolve(["nr", "hue", "x"]).properties == (
        "hue",
    )


@pytest.mark.parametrize(
    "text",
    ["[", 'title = "x"', 'id = "x"\ncolour = 1', 'id = "x"\n[packed]\ncolumn = "y"', "id = 3"],
)
def test_an_invalid_mapping_file_is_refused(text):
    with pytest.raises(MappingError):
        parse_mapping(text, "mine")


def test_every_key_is_documented():
    documentation = mapping_module.__doc__
    assert [key for key in sorted(KEYS) if not re.search(rf"\b{key}\b", documentation)] == []


def test_the_documented_example_works():
    example = mapping_module.__doc__.partition("::\n")[2].partition("Only ``id``")[0]
    mapping = parse_mapping(textwrap.dedent(example), "my-shop")
    columns = ["sku", "name", "department", "photo", "colours", "internal_note"]
    layout = mapping.resolve(columns)
    assert (layout.id, layout.properties) == ("sku", ("colours",))
    assert mapping.guess == GuessRules(columns=("sku", "department", "colours"))


@pytest.mark.parametrize(
    "line",
    [
        "id = 5",
        "id = [5]",
        "id = {}",
        'id = ["a", ["b"]]',
        'id = "a"\ntitle = 5',
        'id = "a"\ncategory = 5',
        'id = "a"\ncategory = {}',
        'id = "a"\ncategory = {any = 5}',
        'id = "a"\nproperties = 5',
        'id = "a"\npacked = 5',
        'id = "a"\npacked = {column = "a"}',
        'id = "a"\npacked = {column = "a", pair = "", item = ";"}',
        'id = "a"\nmulti = 5',
        'id = "a"\nmissing = 5',
        'id = "a"\nmissing = [[]]',
        'id = "a"\nheader = "no"',
        'id = "a"\ncolumns = [1, 2]',
        'id = "a"\ndelimiter = ""',
        'id = "a"\ndelimiter = "-----------"',
        'id = "a"\nheader = 0',
        'id = "a"\nencoding = "base64"',
        'id = "a"\nescape = ","\ndelimiter = ","',
        'id = "a"\nquote = "\\"\\""',
        'id = "a"\nquote = 5',
        'id = "a"\nlanguage = []',
        'id = "a"\nname = 5',
        'id = "a"\nguess = 5',
        'id = "a"\nguess = {pattern = "("}',
        f'id = "a"\nguess = {{pattern = "{"(" * 5000}"}}',
        'id = "a"\nguess = {pattern = "a{99999999999999999999}"}',
        'id = "a"\nguess = {width = "2"}',
        'id = "a"\nimage_pattern = "{id.__class__}"',
        'id = "a"\nimage_pattern = "{id:>1000000000}"',
        'id = "a"\nimage_folder = "/etc"',
        'id = "a"\nimage_folder = "a/../../b"',
        'id = "a"\nimage_folder = "a\\u0000"',
        'id = "a"\nid = "b"',
        "id = " + "[" * 100_000,
        "id",
        "\ud800",
    ],
    ids=range(40),
)
def test_a_mapping_of_anything_is_one_line(tmp_path, line):
    path = tmp_path / "m.toml"
    path.write_bytes(line.encode(errors="surrogatepass"))
    with pytest.raises(MappingError) as caught:
        load_mapping(str(path))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_a_mapping_without_end_is_not_read_whole():
    with pytest.raises(MappingError, match="no mapping '/dev/zero'"):
        load_mapping("/dev/zero")
